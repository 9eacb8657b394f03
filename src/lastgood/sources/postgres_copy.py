"""One schema made again under another name, with its rows, in the transaction that is open."""

from collections.abc import Iterable
from typing import Final, LiteralString

from psycopg import sql

from lastgood.errors import Code, LastgoodError
from lastgood.sources.postgres_definitions import Counter, Definitions, Table
from lastgood.sources.postgres_session import Session, search_in

_TABLES: Final[LiteralString] = (
    "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = %(schema)s AND c.relkind = 'r' ORDER BY c.relname COLLATE \"C\""
)
_CALLS: Final = 500  # in one statement; the server has a limit of columns


def table_names(connection: Session, schema: str) -> list[str]:
    """Return the tables of a schema, sorted."""
    return [str(row[0]) for row in connection.execute(_TABLES, {"schema": schema}).fetchall()]


def hold_still(connection: Session, schema: str, names: list[str], mode: LiteralString) -> None:
    """Lock the tables of a schema against changes, as the first statement of a transaction.

    A repeatable-read transaction sees the moment after its locks then: rows and catalogue fit each other.

    :raises LastgoodError: ``conflict`` when tables came or went meanwhile.
    """
    if names:
        tables = sql.SQL(", ").join(sql.Identifier(schema, name) for name in names)
        connection.execute(sql.SQL("LOCK TABLE {} IN {} MODE").format(tables, sql.SQL(mode)))
    if table_names(connection, schema) != names:
        raise LastgoodError(
            Code.CONFLICT, f"Tables of the schema {schema!r} were made or dropped meanwhile.", "Try again."
        )


def copy_bare(connection: Session, source: str, target: str, definitions: Definitions) -> None:
    """Make ``target`` with the types, functions, sequences, bare tables and rows of ``source``."""
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(target)))
    search_in(connection, target)
    _run(connection, definitions.early)
    for table in definitions.tables:
        connection.execute(_filling(table, source, target))
    set_counters(connection, target, definitions.counters)


def finish(connection: Session, target: str, definitions: Definitions) -> None:
    """Give a bare copy everything else, and the statistics that the planner needs from the first query on."""
    search_in(connection, target)
    for owner in definitions.owners:
        connection.execute(
            sql.SQL("GRANT USAGE, CREATE ON SCHEMA {} TO {}").format(
                sql.Identifier(target), sql.Identifier(owner)
            )
        )
    _run(connection, definitions.late)
    if definitions.tables:
        tables = sql.SQL(", ").join(sql.Identifier(target, table.name) for table in definitions.tables)
        connection.execute(sql.SQL("ANALYZE {}").format(tables))


def set_counters(connection: Session, schema: str, counters: Iterable[Counter]) -> None:
    """Put the sequences of a schema where ``counters`` say."""
    each = sql.SQL("pg_catalog.setval({}::pg_catalog.regclass, {}, {})")
    calls = [
        each.format(sql.Identifier(schema, it.name).as_string(connection), it.value, it.is_called)
        for it in counters
    ]
    for start in range(0, len(calls), _CALLS):
        connection.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls[start : start + _CALLS])))


def _filling(table: Table, source: str, target: str) -> sql.Composed:
    columns = sql.SQL(", ").join(sql.Identifier(name) for name, _ in table.copied)
    values = sql.SQL(", ").join(
        sql.Identifier(name)
        if kind is None
        else sql.SQL("{}::pg_catalog.text::{}").format(sql.Identifier(name), sql.SQL(kind))
        for name, kind in table.copied
    )
    if (
        not table.copied
    ):  # rows of nothing but computed columns, or of no columns at all, are rows all the same
        return sql.SQL("INSERT INTO {} SELECT FROM {}").format(
            sql.Identifier(target, table.name), sql.Identifier(source, table.name)
        )
    return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}").format(
        sql.Identifier(target, table.name), columns, values, sql.Identifier(source, table.name)
    )


def _run(connection: Session, statements: Iterable[str]) -> None:
    for statement in statements:
        connection.execute(sql.SQL(statement))
