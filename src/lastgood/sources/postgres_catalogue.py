"""The questions that are asked of PostgreSQL's catalogue to make a schema again.

Each is asked with the schema alone in the search path: ``current_schema()`` is it, the system's functions print its names
unqualified, and nothing of anybody else's is looked up. Queries of *units* give a key (the catalogue's letter and the
object's number) and a statement; the others give statements, in the order in which they are to run.
"""

# ruff: noqa: S608 - these questions are put together from constants only

from typing import Final, LiteralString

Query = LiteralString

_HERE: Final[Query] = "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
_COLLATION: Final[Query] = """
  (SELECT pg_catalog.format(' COLLATE %I.%I', cn.nspname, co.collname) FROM pg_collation co JOIN pg_namespace cn
     ON cn.oid = co.collnamespace WHERE co.oid = {0} AND {0} <> {1})
"""
_OPTIONS: Final[Query] = (
    "(SELECT pg_catalog.string_agg(pg_catalog.format('%s%I=%L', {1}, option_name, option_value), ', ') FROM pg_options_to_table({0}))"
)

_ENUMS: Final[Query] = f"""
SELECT 't' || t.oid, pg_catalog.format('CREATE TYPE %I AS ENUM (%s)', t.typname, coalesce((
  SELECT pg_catalog.string_agg(pg_catalog.quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid), ''))
FROM pg_type t WHERE t.typnamespace = {_HERE} AND t.typtype = 'e'
"""
_DOMAINS: Final[Query] = f"""
SELECT 't' || t.oid, pg_catalog.format('CREATE DOMAIN %I AS %s%s%s%s%s', t.typname, format_type(t.typbasetype, t.typtypmod),
  {_COLLATION.format("t.typcollation", "b.typcollation")},
  ' DEFAULT ' || pg_catalog.pg_get_expr(t.typdefaultbin, 0), CASE WHEN t.typnotnull THEN ' NOT NULL' END, (
  SELECT pg_catalog.string_agg(pg_catalog.format(' CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)), '' ORDER BY conname)
  FROM pg_constraint WHERE contypid = t.oid AND contype = 'c'))
FROM pg_type t JOIN pg_type b ON b.oid = t.typbasetype WHERE t.typnamespace = {_HERE} AND t.typtype = 'd'
"""
_COMPOSITES: Final[Query] = f"""
SELECT 't' || t.oid, pg_catalog.format('CREATE TYPE %I AS (%s)', t.typname, (
  SELECT pg_catalog.string_agg(pg_catalog.format('%I %s%s', a.attname, format_type(a.atttypid, a.atttypmod),
    {_COLLATION.format("a.attcollation", "y.typcollation")}), ', ' ORDER BY a.attnum)
  FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
  WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped))
FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid WHERE t.typnamespace = {_HERE} AND c.relkind = 'c'
"""
_FUNCTIONS: Final[Query] = f"""
SELECT 'p' || p.oid, k.head || pg_catalog.quote_ident(p.proname)
  || substr(pg_get_functiondef(p.oid), 1 + length(k.head || pg_catalog.format('%I.%I', current_schema(), p.proname)))
FROM pg_proc p, LATERAL (SELECT 'CREATE OR REPLACE '
  || CASE p.prokind WHEN 'p' THEN 'PROCEDURE ' ELSE 'FUNCTION ' END AS head) k
WHERE p.pronamespace = {_HERE} AND p.prokind IN ('f', 'p', 'w')
"""
_OWNING: Final[Query] = """
FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
  AND d.refobjsubid > 0
"""
_RANGE_OF_SEQUENCE: Final[Query] = """
pg_catalog.format('START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s %s', s.seqstart, s.seqincrement, s.seqmin,
  s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END)
"""
_SEQUENCES: Final[Query] = f"""
SELECT 'c' || c.oid, pg_catalog.format('CREATE %sSEQUENCE %I AS %s %s', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' END,
  c.relname, format_type(s.seqtypid, NULL), {_RANGE_OF_SEQUENCE})
FROM pg_class c JOIN pg_sequence s ON s.seqrelid = c.oid
WHERE c.relnamespace = {_HERE} AND NOT EXISTS (SELECT {_OWNING} AND d.deptype = 'i')
"""
UNITS: Final = (_ENUMS, _DOMAINS, _COMPOSITES, _FUNCTIONS, _SEQUENCES)

SEQUENCE_NAMES: Final[Query] = """
SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relkind = 'S' ORDER BY c.relname
"""
TABLES: Final[Query] = f"""
SELECT 'c' || c.oid, c.relname, pg_catalog.format('CREATE %sTABLE %I', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' END, c.relname),
  pg_catalog.format(' USING %I', m.amname) || coalesce(' WITH (' || nullif(pg_catalog.concat_ws(', ', {_OPTIONS.format("c.reloptions", "''")},
    {_OPTIONS.format("t.reloptions", "'toast.'")}), '') || ')', '') || coalesce(' TABLESPACE ' || pg_catalog.quote_ident(s.spcname), '')
FROM pg_class c JOIN pg_am m ON m.oid = c.relam LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
  LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
WHERE c.relnamespace = {_HERE} AND c.relkind = 'r' ORDER BY c.relname COLLATE "C"
"""
COLUMNS: Final[Query] = f"""
SELECT 'c' || a.attrelid, a.attname, pg_catalog.format('%I %s%s%s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
    CASE a.attcompression WHEN 'p' THEN ' COMPRESSION pglz' WHEN 'l' THEN ' COMPRESSION lz4' END,
    {_COLLATION.format("a.attcollation", "t.typcollation")},
    CASE WHEN a.attgenerated = 's' THEN pg_catalog.format(' GENERATED ALWAYS AS (%s) STORED', pg_catalog.pg_get_expr(f.adbin, f.adrelid))
      WHEN a.attgenerated = 'v' THEN pg_catalog.format(' GENERATED ALWAYS AS (%s) VIRTUAL', pg_catalog.pg_get_expr(f.adbin, f.adrelid))
      WHEN a.attidentity <> '' THEN (
        SELECT pg_catalog.format(' GENERATED %s AS IDENTITY (SEQUENCE NAME %I %s)',
          CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, i.relname, {_RANGE_OF_SEQUENCE})
        FROM pg_depend d JOIN pg_class i ON i.oid = d.objid JOIN pg_sequence s ON s.seqrelid = i.oid
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i'
          AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum)
      ELSE ' DEFAULT ' || pg_catalog.pg_get_expr(f.adbin, f.adrelid) END,
    CASE WHEN a.attnotnull THEN ' NOT NULL' END),
  CASE WHEN t.typnamespace = {_HERE} THEN format_type(a.atttypid, a.atttypmod) END, a.attgenerated = ''
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
WHERE c.relnamespace = {_HERE} AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""
VIEWS: Final[Query] = f"""
SELECT 'c' || c.oid, pg_catalog.format('CREATE %sVIEW %I%s%s AS %s%s', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED ' END, c.relname,
  ' WITH (' || {_OPTIONS.format("c.reloptions", "''")} || ')',
  (SELECT pg_catalog.format(' TABLESPACE %I', spcname) FROM pg_tablespace WHERE oid = c.reltablespace),
  rtrim(pg_get_viewdef(c.oid), ';'),
  CASE WHEN c.relkind = 'm' AND NOT c.relispopulated THEN ' WITH NO DATA' END)
FROM pg_class c WHERE c.relnamespace = {_HERE} AND c.relkind IN ('v', 'm')
"""
NEEDS: Final[Query] = f"""
WITH part(classid, objid, unit) AS (
  SELECT 'pg_class'::regclass, c.oid, 'c' || coalesce((SELECT d.refobjid {_OWNING} AND d.deptype = 'i'
    AND c.relkind = 'S'), c.oid) FROM pg_class c WHERE c.relnamespace = {_HERE} AND c.relkind IN ('r', 'v', 'm', 'S')
  UNION ALL
  SELECT 'pg_type', t.oid, CASE WHEN e.typrelid <> 0 AND c.relkind <> 'c' THEN 'c' || c.oid ELSE 't' || e.oid END
    FROM pg_type t JOIN pg_type e ON e.oid = CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN t.typelem ELSE t.oid END
    LEFT JOIN pg_class c ON c.oid = e.typrelid WHERE t.typnamespace = {_HERE}
  UNION ALL
  SELECT 'pg_class', c.oid, 't' || c.reltype FROM pg_class c WHERE c.relnamespace = {_HERE} AND c.relkind = 'c'
  UNION ALL SELECT 'pg_proc', oid, 'p' || oid FROM pg_proc WHERE pronamespace = {_HERE}
  UNION ALL SELECT 'pg_attrdef', d.oid, 'c' || d.adrelid FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid
    WHERE c.relnamespace = {_HERE}
  UNION ALL SELECT 'pg_rewrite', r.oid, 'c' || r.ev_class FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
    WHERE c.relnamespace = {_HERE}
  UNION ALL SELECT 'pg_constraint', oid, 't' || contypid FROM pg_constraint WHERE connamespace = {_HERE} AND contypid <> 0)
SELECT DISTINCT a.unit, b.unit FROM pg_depend d JOIN part a ON (d.classid, d.objid) = (a.classid, a.objid)
  JOIN part b ON (d.refclassid, d.refobjid) = (b.classid, b.objid)
WHERE a.unit <> b.unit AND NOT EXISTS (SELECT FROM pg_sequence WHERE 'c' || seqrelid = a.unit)
"""

COLUMN_STORAGE: Final[tuple[Query, ...]] = (
    f"""
SELECT pg_catalog.format('ALTER TABLE %I ALTER COLUMN %I SET STORAGE %s', c.relname, a.attname, CASE a.attstorage
  WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relnamespace = {_HERE} AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attstorage <> t.typstorage ORDER BY c.relname, a.attnum
""",
)
_CONSTRAINTS: Final[Query] = """
SELECT pg_catalog.format('ALTER TABLE %I ADD CONSTRAINT %I %s', c.relname, k.conname, pg_get_constraintdef(k.oid))
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE c.relnamespace = {} AND k.contype IN ({})
ORDER BY k.contype = 'c', c.relname, k.conname
"""
_INDEXES: Final[Query] = """
SELECT pg_get_indexdef(i.indexrelid, 0, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
  JOIN pg_class x ON x.oid = i.indexrelid
WHERE c.relnamespace = {} AND c.relkind = '{}' AND i.indisvalid
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid AND contype IN ('p', 'u', 'x'))
ORDER BY c.relname, x.relname
"""
_STATISTICS: Final[Query] = f"""
SELECT 'CREATE STATISTICS ' || pg_catalog.quote_ident(s.stxname)
  || substr(pg_get_statisticsobjdef(s.oid), 1 + length(pg_catalog.format('CREATE STATISTICS %I.%I', current_schema(), s.stxname)))
FROM pg_statistic_ext s WHERE s.stxnamespace = {_HERE} ORDER BY s.stxname
"""
BEFORE_VIEWS: Final = (
    _CONSTRAINTS.format(_HERE, "'p', 'u', 'x', 'c'"),
    _INDEXES.format(_HERE, "r"),
    _STATISTICS,
)
_INDEX_PLACES: Final[Query] = f"""
SELECT pg_catalog.format('ALTER INDEX %I SET TABLESPACE %I', x.relname, s.spcname) FROM pg_class x
  JOIN pg_tablespace s ON s.oid = x.reltablespace WHERE x.relnamespace = {_HERE} AND x.relkind = 'i'
UNION ALL
SELECT pg_catalog.format('ALTER INDEX %I SET (%s)', x.relname, {_OPTIONS.format("x.reloptions", "''")}) FROM pg_class x
  JOIN pg_constraint k ON k.conindid = x.oid AND k.contype IN ('p', 'u', 'x')
WHERE x.relnamespace = {_HERE} AND x.reloptions IS NOT NULL
UNION ALL
SELECT pg_catalog.format('ALTER TABLE %I CLUSTER ON %I', c.relname, x.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
  JOIN pg_class x ON x.oid = i.indexrelid WHERE c.relnamespace = {_HERE} AND c.relkind IN ('r', 'm') AND i.indisclustered
UNION ALL
SELECT pg_catalog.format('ALTER TABLE %I REPLICA IDENTITY %s', c.relname, CASE c.relreplident WHEN 'n' THEN 'NOTHING'
  WHEN 'f' THEN 'FULL' ELSE (SELECT pg_catalog.format('USING INDEX %I', x.relname) FROM pg_index i JOIN pg_class x
    ON x.oid = i.indexrelid WHERE i.indrelid = c.oid AND i.indisreplident) END)
FROM pg_class c WHERE c.relnamespace = {_HERE} AND c.relkind = 'r' AND c.relreplident <> 'd'
"""
_COLUMN_TUNING: Final[Query] = f"""
SELECT pg_catalog.format('ALTER TABLE %I ALTER COLUMN %I SET STATISTICS %s', c.relname, a.attname, a.attstattarget)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = {_HERE} AND c.relkind IN ('r', 'm')
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget >= 0
UNION ALL
SELECT pg_catalog.format('ALTER TABLE %I ALTER COLUMN %I SET (%s)', c.relname, a.attname, {_OPTIONS.format("a.attoptions", "''")})
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = {_HERE} AND c.relkind IN ('r', 'm')
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attoptions IS NOT NULL
UNION ALL
SELECT pg_catalog.format('ALTER VIEW %I ALTER COLUMN %I SET DEFAULT %s', c.relname, a.attname, pg_catalog.pg_get_expr(f.adbin, f.adrelid))
FROM pg_attrdef f JOIN pg_class c ON c.oid = f.adrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = f.adnum
WHERE c.relnamespace = {_HERE} AND c.relkind = 'v'
UNION ALL
SELECT pg_catalog.format('ALTER SEQUENCE %I OWNED BY %I.%I', c.relname, t.relname, a.attname)
FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'a'
  AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 JOIN pg_class t ON t.oid = d.refobjid
  JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE c.relnamespace = {_HERE} AND c.relkind = 'S'
"""
_TRIGGERS: Final[Query] = f"""
SELECT s FROM (
  SELECT c.relname, t.tgname, 1 AS step, pg_get_triggerdef(t.oid, true) AS s FROM pg_trigger t
    JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = {_HERE} AND NOT t.tgisinternal
  UNION ALL
  SELECT c.relname, t.tgname, 2, pg_catalog.format('ALTER TABLE %I %s TRIGGER %I', c.relname, CASE t.tgenabled WHEN 'D' THEN 'DISABLE'
    WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, t.tgname) FROM pg_trigger t
    JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = {_HERE} AND NOT t.tgisinternal AND t.tgenabled <> 'O'
) q ORDER BY step, relname, tgname
"""
_POLICIES: Final[Query] = f"""
SELECT pg_catalog.format('CREATE POLICY %I ON %I AS %s FOR %s TO %s%s%s', p.polname, c.relname,
  CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, CASE p.polcmd WHEN 'r' THEN 'SELECT'
  WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
  (SELECT pg_catalog.string_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_get_userbyid(r)) END, ', ') FROM pg_catalog.unnest(p.polroles) r),
  ' USING (' || pg_catalog.pg_get_expr(p.polqual, p.polrelid) || ')',
  ' WITH CHECK (' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) || ')')
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace = {_HERE}
UNION ALL
SELECT pg_catalog.format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', relname) FROM pg_class
WHERE relnamespace = {_HERE} AND relrowsecurity
UNION ALL
SELECT pg_catalog.format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', relname) FROM pg_class
WHERE relnamespace = {_HERE} AND relforcerowsecurity
"""
AFTER_VIEWS: Final = (
    _INDEXES.format(_HERE, "m"),
    _CONSTRAINTS.format(_HERE, "'f'"),
    _INDEX_PLACES,
    _COLUMN_TUNING,
    _TRIGGERS,
    _POLICIES,
)
