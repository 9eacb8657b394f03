"""The catalogue's questions about who owns what, who may do what, and what people wrote about it.

Asked like those of :mod:`~lastgood.sources.postgres_catalogue`, with the schema alone in the search path.
"""

# ruff: noqa: S608 - these questions are put together from constants only

from typing import Final, LiteralString

Query = LiteralString

_HERE: Final[Query] = "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
# Every object that has an owner and rights of its own: how ALTER and how GRANT call it. Sequences that belong to a column
# follow its table. A table's row type is the table.
_OBJECTS: Final[Query] = f"""
  SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS altered,
    CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS granted, pg_catalog.quote_ident(c.relname) AS name,
    c.relowner AS owner, c.relacl AS acl, CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END AS letter,
    c.relkind = 'S' AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
      AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0) AS follows
  FROM pg_class c WHERE c.relnamespace = {_HERE} AND c.relkind IN ('r', 'v', 'm', 'S')
  UNION ALL
  SELECT 'ROUTINE', 'ROUTINE', oid::regprocedure::text, proowner, proacl, 'f', false FROM pg_proc
  WHERE pronamespace = {_HERE}
  UNION ALL
  SELECT 'TYPE', 'TYPE', pg_catalog.quote_ident(t.typname), t.typowner, t.typacl, 'T', false FROM pg_type t
    LEFT JOIN pg_class c ON c.oid = t.typrelid
  WHERE t.typnamespace = {_HERE} AND (t.typtype IN ('e', 'd') OR c.relkind = 'c')
  UNION ALL
  SELECT 'STATISTICS', NULL, pg_catalog.quote_ident(stxname), stxowner, NULL, NULL, false FROM pg_statistic_ext
  WHERE stxnamespace = {_HERE}
"""
OWNERS_OF: Final[Query] = f"SELECT DISTINCT pg_get_userbyid(o.owner) FROM ({_OBJECTS}) o"
STRANGERS: Final[Query] = f"""
SELECT pg_catalog.format('%s (owned by %s)', o.name, pg_get_userbyid(o.owner)) FROM ({_OBJECTS}) o
WHERE NOT pg_has_role(current_user, o.owner, 'USAGE') ORDER BY 1
"""
_OWNERS: Final[Query] = f"""
SELECT pg_catalog.format('ALTER %s %s OWNER TO %I', o.altered, o.name, pg_get_userbyid(o.owner)) FROM ({_OBJECTS}) o
WHERE NOT o.follows
"""
# New objects may begin with rights of their own (default privileges of whoever makes them), so these are taken first.
_REVOKED: Final[Query] = """
  (SELECT pg_catalog.string_agg(DISTINCT ', ' || pg_catalog.quote_ident(pg_get_userbyid(e.grantee)), '') FROM pg_default_acl a,
    aclexplode(a.defaclacl) e WHERE e.grantee <> 0)
"""
_GRANTS: Final[Query] = f"""
WITH o AS (SELECT *, coalesce(acl, acldefault(letter, owner)) AS rights FROM ({_OBJECTS}) x
  WHERE granted IS NOT NULL AND (acl IS NOT NULL OR EXISTS (SELECT FROM pg_default_acl)))
SELECT s FROM (
  SELECT 1 AS step, pg_catalog.format('REVOKE ALL ON %s %s FROM PUBLIC, %I%s', granted, name, pg_get_userbyid(owner), {_REVOKED}) AS s
  FROM o
  UNION ALL
  SELECT 2, pg_catalog.format('GRANT %s ON %s %s TO %s%s', e.privilege_type, granted, name,
    CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_get_userbyid(e.grantee)) END,
    CASE WHEN e.is_grantable THEN ' WITH GRANT OPTION' END) FROM o, aclexplode(o.rights) e
  UNION ALL
  SELECT 2, pg_catalog.format('GRANT %s (%I) ON TABLE %I TO %s%s', e.privilege_type, a.attname, c.relname,
    CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_get_userbyid(e.grantee)) END,
    CASE WHEN e.is_grantable THEN ' WITH GRANT OPTION' END)
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid, aclexplode(a.attacl) e
  WHERE c.relnamespace = {_HERE} AND a.attnum > 0 AND NOT a.attisdropped) q ORDER BY step
"""
_COMMENTS: Final[Query] = f"""
SELECT pg_catalog.format('COMMENT ON %s %I IS %L', CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE'
  WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'INDEX' END, c.relname, d.description)
FROM pg_description d JOIN pg_class c ON c.oid = d.objoid AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0
WHERE c.relnamespace = {_HERE} AND c.relkind IN ('r', 'v', 'm', 'S', 'i')
UNION ALL
SELECT pg_catalog.format('COMMENT ON COLUMN %I.%I IS %L', c.relname, a.attname, d.description)
FROM pg_description d JOIN pg_class c ON c.oid = d.objoid AND d.classoid = 'pg_class'::regclass
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid
WHERE c.relnamespace = {_HERE} AND d.objsubid > 0 AND c.relkind IN ('r', 'v', 'm', 'c')
UNION ALL
SELECT pg_catalog.format('COMMENT ON TYPE %I IS %L', t.typname, d.description)
FROM pg_description d JOIN pg_type t ON t.oid = d.objoid AND d.classoid = 'pg_type'::regclass
WHERE t.typnamespace = {_HERE}
UNION ALL
SELECT pg_catalog.format('COMMENT ON ROUTINE %s IS %L', p.oid::regprocedure, d.description)
FROM pg_description d JOIN pg_proc p ON p.oid = d.objoid AND d.classoid = 'pg_proc'::regclass
WHERE p.pronamespace = {_HERE}
UNION ALL
SELECT pg_catalog.format('COMMENT ON CONSTRAINT %I ON %s%I IS %L', k.conname, CASE WHEN k.contypid <> 0 THEN 'DOMAIN ' END,
  coalesce(c.relname, t.typname), d.description)
FROM pg_description d JOIN pg_constraint k ON k.oid = d.objoid AND d.classoid = 'pg_constraint'::regclass
  LEFT JOIN pg_class c ON c.oid = k.conrelid LEFT JOIN pg_type t ON t.oid = k.contypid
WHERE k.connamespace = {_HERE}
UNION ALL
SELECT pg_catalog.format('COMMENT ON TRIGGER %I ON %I IS %L', g.tgname, c.relname, d.description)
FROM pg_description d JOIN pg_trigger g ON g.oid = d.objoid AND d.classoid = 'pg_trigger'::regclass
  JOIN pg_class c ON c.oid = g.tgrelid WHERE c.relnamespace = {_HERE}
UNION ALL
SELECT pg_catalog.format('COMMENT ON POLICY %I ON %I IS %L', p.polname, c.relname, d.description)
FROM pg_description d JOIN pg_policy p ON p.oid = d.objoid AND d.classoid = 'pg_policy'::regclass
  JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace = {_HERE}
UNION ALL
SELECT pg_catalog.format('COMMENT ON STATISTICS %I IS %L', s.stxname, d.description)
FROM pg_description d JOIN pg_statistic_ext s ON s.oid = d.objoid AND d.classoid = 'pg_statistic_ext'::regclass
WHERE s.stxnamespace = {_HERE}
"""
RIGHTS: Final = (_COMMENTS, _OWNERS, _GRANTS)

# A schema's own owner, comment and rights, and the rights that new objects get in it, asked by its name. They are live
# data's, whichever schema is live, so they are taken over when the schemas change places.
SCHEMA_RIGHTS: Final[Query] = """
WITH n AS (SELECT * FROM pg_catalog.pg_namespace WHERE nspname = %(schema)s)
SELECT pg_catalog.format('ALTER SCHEMA %%I OWNER TO %%I', nspname, pg_catalog.pg_get_userbyid(nspowner)) FROM n
WHERE nspowner <> (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)
UNION ALL
SELECT pg_catalog.format('GRANT %%s ON SCHEMA %%I TO %%s%%s', e.privilege_type, nspname, CASE e.grantee WHEN 0 THEN 'PUBLIC'
  ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.grantee)) END,
  CASE WHEN e.is_grantable THEN ' WITH GRANT OPTION' END) FROM n, pg_catalog.aclexplode(n.nspacl) e
UNION ALL
SELECT pg_catalog.format('COMMENT ON SCHEMA %%I IS %%L', nspname, pg_catalog.obj_description(oid, 'pg_namespace')) FROM n
WHERE pg_catalog.obj_description(oid, 'pg_namespace') IS NOT NULL
UNION ALL
SELECT pg_catalog.format('ALTER DEFAULT PRIVILEGES FOR ROLE %%I IN SCHEMA %%I GRANT %%s ON %%s TO %%s%%s',
  pg_catalog.pg_get_userbyid(a.defaclrole), n.nspname, e.privilege_type, CASE a.defaclobjtype WHEN 'r' THEN 'TABLES'
  WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES' ELSE 'TYPES' END, CASE e.grantee WHEN 0 THEN 'PUBLIC'
  ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.grantee)) END,
  CASE WHEN e.is_grantable THEN ' WITH GRANT OPTION' END)
FROM n JOIN pg_catalog.pg_default_acl a ON a.defaclnamespace = n.oid, pg_catalog.aclexplode(a.defaclacl) e
"""
