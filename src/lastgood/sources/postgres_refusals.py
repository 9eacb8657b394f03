"""What a copy of a schema would lose is refused by name, before anything moves."""

# ruff: noqa: S608 - these questions are put together from constants only

from collections.abc import Sequence
from typing import Final, LiteralString

from lastgood.errors import Code, LastgoodError
from lastgood.sources.postgres_rights import STRANGERS
from lastgood.sources.postgres_session import Session, search_in

_HERE: Final[LiteralString] = "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
_SHOWN: Final = 5

# Their text is another in each schema, and a number that was right goes on pointing at replaced data.
_BY_NUMBER: Final[LiteralString] = (
    "ARRAY['regclass', 'regcollation', 'regconfig', 'regdictionary', 'regnamespace', 'regoper', 'regoperator',"
    " 'regproc', 'regprocedure', 'regtype']::pg_catalog.regtype[]::oid[]"
)
_NOT_CARRIED: Final[LiteralString] = f"""
SELECT 'partitioned table ' || relname FROM pg_class WHERE relnamespace = {_HERE} AND relkind = 'p'
UNION ALL SELECT 'foreign table ' || relname FROM pg_class WHERE relnamespace = {_HERE} AND relkind = 'f'
UNION ALL SELECT 'typed table ' || relname FROM pg_class WHERE relnamespace = {_HERE} AND relkind = 'r' AND reloftype <> 0
UNION ALL SELECT DISTINCT 'inheriting table ' || c.relname FROM pg_inherits i
  JOIN pg_class c ON c.oid IN (i.inhrelid, i.inhparent) WHERE c.relnamespace = {_HERE} AND c.relkind IN ('r', 'f')
UNION ALL SELECT pg_catalog.format('rule %s on %s', r.rulename, c.relname) FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
  WHERE c.relnamespace = {_HERE} AND r.rulename <> '_RETURN'
UNION ALL SELECT pg_catalog.format('foreign key %s of %s, to a table in another schema', k.conname, c.relname)
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class r ON r.oid = k.confrelid
  WHERE c.relnamespace = {_HERE} AND r.relnamespace <> {_HERE}
UNION ALL SELECT pg_catalog.format('column %s of %s, whose type %s points at objects by their numbers', a.attname, c.relname,
    pg_catalog.format_type(a.atttypid, NULL))
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_type e ON e.oid = t.typelem
  WHERE c.relnamespace = {_HERE} AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
  AND coalesce(nullif(t.typbasetype, 0), e.oid, t.oid) = ANY ({_BY_NUMBER})
UNION ALL SELECT pg_catalog.format('publication %s of all tables', pubname) FROM pg_publication WHERE puballtables
UNION ALL SELECT 'aggregate ' || proname FROM pg_proc WHERE pronamespace = {_HERE} AND prokind = 'a'
UNION ALL SELECT 'type ' || typname FROM pg_type WHERE typnamespace = {_HERE} AND (typtype IN ('r', 'm', 'p')
  OR typtype = 'b' AND typcategory <> 'A')
UNION ALL SELECT DISTINCT 'extension ' || e.extname FROM pg_extension e LEFT JOIN pg_depend d ON d.deptype = 'e'
  AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.classid = 'pg_proc'::regclass
  LEFT JOIN pg_proc p ON p.oid = d.objid WHERE {_HERE} IN (e.extnamespace, p.pronamespace)
UNION ALL SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d
  WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = {_HERE} AND d.classid NOT IN ('pg_class'::regclass,
    'pg_type'::regclass, 'pg_proc'::regclass, 'pg_statistic_ext'::regclass, 'pg_default_acl'::regclass,
    'pg_extension'::regclass)
UNION ALL SELECT 'security label on ' || c.relname FROM pg_seclabel l JOIN pg_class c ON l.classoid = 'pg_class'::regclass
  AND c.oid = l.objoid WHERE c.relnamespace = {_HERE}
UNION ALL SELECT pg_catalog.format('%s, which the system has, too', relname) FROM pg_class WHERE relnamespace = {_HERE}
  AND relkind IN ('r', 'v', 'm', 'S') AND NOT pg_table_is_visible(oid)
UNION ALL SELECT pg_catalog.format('%s, which the system has, too', oid::regprocedure) FROM pg_proc WHERE pronamespace = {_HERE}
  AND NOT pg_function_is_visible(oid)
UNION ALL SELECT pg_catalog.format('%s, which the system has, too', t.typname) FROM pg_type t WHERE t.typnamespace = {_HERE}
  AND t.typtype IN ('e', 'd') AND NOT pg_type_is_visible(t.oid)
ORDER BY 1
"""
# A function's text is not known to the server. One that names the schema asks the live data, whichever copy is being
# built: what is computed and stored by it would be of another state than the rows beside it.
_TEXTUAL: Final[LiteralString] = f"p.pronamespace = {_HERE} AND p.prosqlbody IS NULL"
_ASKING_LIVE: Final[LiteralString] = f"""
WITH RECURSIVE stored(classid, objid) AS (
  SELECT 'pg_rewrite'::regclass::oid, r.oid FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
    WHERE c.relnamespace = {_HERE} AND c.relkind = 'm'
  UNION SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relnamespace = {_HERE} AND relkind = 'i'
  UNION SELECT 'pg_attrdef'::regclass, f.oid FROM pg_attrdef f JOIN pg_attribute a
    ON (a.attrelid, a.attnum) = (f.adrelid, f.adnum) JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = {_HERE} AND a.attgenerated <> ''
), needed(classid, objid) AS (
  SELECT classid, objid FROM stored
  UNION SELECT n.classid, n.objid FROM needed b JOIN pg_depend d ON (d.classid, d.objid) = (b.classid, b.objid)
    CROSS JOIN LATERAL (SELECT d.refclassid AS classid, d.refobjid AS objid UNION ALL
      SELECT 'pg_rewrite'::regclass, r.oid FROM pg_rewrite r WHERE d.refclassid = 'pg_class'::regclass
        AND r.ev_class = d.refobjid) n
    WHERE d.deptype = 'n'
), used AS (SELECT p.* FROM pg_proc p JOIN needed u ON u.classid = 'pg_proc'::regclass AND u.objid = p.oid WHERE {_TEXTUAL}
), naming AS (SELECT p.* FROM pg_proc p WHERE {_TEXTUAL} AND pg_catalog.strpos(
    pg_catalog.lower(p.prosrc || coalesce(pg_catalog.array_to_string(p.proconfig, ' '), '')),
    pg_catalog.lower(pg_catalog.quote_ident(current_schema()::text))) > 0)
SELECT DISTINCT p.oid::regprocedure::text FROM naming p JOIN used u
  ON u.oid = p.oid OR pg_catalog.strpos(u.prosrc, p.proname::text) > 0
ORDER BY 1
"""
# Whatever is outside the schema and points at something in it by number would go on pointing at replaced data.
_FROM_OUTSIDE: Final[LiteralString] = f"""
WITH part(classid, objid) AS (
  SELECT 'pg_class'::regclass::oid, oid FROM pg_class WHERE relnamespace = {_HERE}
  UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace = {_HERE}
  UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = {_HERE}
  UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE connamespace = {_HERE}
  UNION ALL SELECT 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext WHERE stxnamespace = {_HERE}
  UNION ALL SELECT 'pg_attrdef'::regclass, d.oid FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid
    WHERE c.relnamespace = {_HERE}
  UNION ALL SELECT 'pg_rewrite'::regclass, r.oid FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
    WHERE c.relnamespace = {_HERE}
  UNION ALL SELECT 'pg_trigger'::regclass, t.oid FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = {_HERE}
  UNION ALL SELECT 'pg_policy'::regclass, p.oid FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    WHERE c.relnamespace = {_HERE})
SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d
  JOIN part i ON (d.refclassid, d.refobjid) = (i.classid, i.objid)
WHERE NOT EXISTS (SELECT FROM part o WHERE (o.classid, o.objid) = (d.classid, d.objid))
  AND NOT (d.classid = 'pg_class'::regclass AND d.objid IN (SELECT reltoastrelid FROM pg_class WHERE relnamespace = {_HERE}))
ORDER BY 1
"""


def refuse_what_is_lost(connection: Session, schema: str) -> None:
    """Look at a schema that is to be copied; leaves the search path at it.

    :raises LastgoodError: ``not_found`` without the schema, ``refused`` naming what cannot be carried or replaced.
    """
    search_in(connection, schema)
    here = connection.execute("SELECT current_schema()").fetchone()
    if here != (schema,):
        raise LastgoodError(
            Code.NOT_FOUND,
            f"There is no schema {schema!r} that this user may use.",
            "Check the option 'schema', and grant the user USAGE on it.",
        )
    _refuse(
        _names(connection, _NOT_CARRIED),
        f"The schema {schema!r} holds what Lastgood cannot put back",
        "Move it out of the schema (an extension: ALTER EXTENSION ... SET SCHEMA), or do without it.",
    )
    _refuse(
        _names(connection, STRANGERS),
        f"The schema {schema!r} holds objects of roles that this user is no member of",
        "Connect as their owner, or grant the user those roles.",
    )
    _refuse(
        _names(connection, _ASKING_LIVE),
        f"An index, a computed column or a materialised view of {schema!r} needs functions whose text names the schema,"
        " and so would ask live data for what is built beside it",
        "Leave the schema's name out of their text: names are looked up in the schema first. Or write BEGIN ATOMIC.",
    )
    refuse_outside(connection, schema)


def refuse_outside(connection: Session, schema: str) -> None:
    """Refuse when something outside the schema points into it.

    :raises LastgoodError: ``refused`` naming it.
    """
    search_in(connection, schema)
    _refuse(
        _names(connection, _FROM_OUTSIDE),
        f"From outside, these point into the schema {schema!r} and would go on pointing at replaced data",
        "Move them into the schema, or drop them.",
    )


def _names(connection: Session, query: LiteralString) -> list[str]:
    return [str(row[0]) for row in connection.execute(query).fetchall()]


def _refuse(names: Sequence[str], what: str, next_step: str) -> None:
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise LastgoodError(Code.REFUSED, f"{what}: {', '.join(names[:_SHOWN])}{more}.", next_step)
