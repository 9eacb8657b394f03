"""The swap of a SQLite file: one transaction that renames, whatever the size of the tables.

What is staged lies in the live file already, under our names. The transaction moves the live tables aside with ALTER
TABLE (which carries their constraints along), and then gives the staged tables, their indexes and the views and triggers
of the snapshot their own entries in ``sqlite_schema``, word for word as they were captured. It reads the new schema back
before it commits. Other connections see the schema's number change and prepare their statements again.
"""

import sqlite3
from contextlib import closing
from typing import Final

import msgspec

from lastgood.errors import Code, LastgoodError
from lastgood.sources.sqlite_layout import OURS, Item, Layout, layout_of, quoted, renamed_sql, table_of
from lastgood.sources.sqlite_rows import source_columns
from lastgood.sources.sqlite_session import writing

INDEX: Final = ":index"  # how our names for indexes end
_AUTO: Final = "sqlite_autoindex_"


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A layout, and under which of our names its tables and indexes are in the live file."""

    layout: Layout
    tables: dict[str, str]
    indexes: dict[str, str]


def placed(layout: Layout, token: str, kind: str) -> Placed:
    """Choose our names for a layout; ``kind`` is ``new`` for what is staged, ``old`` for what is replaced."""
    tables, indexes = {}, {}
    for number, item in enumerate(layout.items):
        name = f"{prefix(token, kind)}{number}"
        if item.kind == "table":
            tables[item.name] = name
        elif item.kind == "index":
            indexes[item.name] = f"{name}{INDEX}"
    return Placed(layout=layout, tables=tables, indexes=indexes)


def prefix(token: str, kind: str) -> str:
    """Return how our names for one token begin."""
    return f"{OURS}{token}:{kind}:"


def create_staged(connection: sqlite3.Connection, staged: Placed) -> None:
    """Make the staged tables, empty and without their indexes; call it in a transaction."""
    for item in staged.layout.tables():
        connection.execute(renamed_sql(item.sql, staged.tables[item.name]))


def staged_index(item: Item, staged: Placed) -> str:
    """Return the SQL of an index on the staged table; SQLite stores ``CREATE INDEX name ON table(...)`` as written."""
    named = renamed_sql(item.sql, staged.indexes[item.name])
    head = named[: named.index(quoted(staged.indexes[item.name]))] + quoted(staged.indexes[item.name])
    rest = named[len(head) :].lstrip()
    # "ON" and the table's name come next; a second pass over the rest as if it were a table's SQL changes that name.
    table = renamed_sql(f"CREATE TABLE {rest[2:].lstrip()}", staged.tables[item.table])
    return f"{head} ON {table.removeprefix('CREATE TABLE ')}"


def flip(connection: sqlite3.Connection, staged: Placed, token: str) -> Placed:
    """Swap, inside the caller's transaction; return what was live, under its new names.

    :raises LastgoodError: ``refused`` when the schema could not be read back; the caller's transaction is undone then.
    """
    live = layout_of(connection)
    replaced = placed(live, token, "old")
    for kind in ("trigger", "view"):
        for item in live.items:
            if item.kind == kind:
                connection.execute(f"DROP {kind} {quoted(item.name)}")
    for name, aside in replaced.tables.items():
        connection.execute(f"ALTER TABLE {quoted(name)} RENAME TO {quoted(aside)}")
    connection.execute("PRAGMA writable_schema = ON")
    for name, aside in replaced.indexes.items():
        (sql,) = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?", (name,)
        ).fetchone()
        connection.execute(
            "UPDATE sqlite_schema SET name = ?, sql = ? WHERE type = 'index' AND name = ?",
            (aside, renamed_sql(sql, aside), name),
        )
    for item in staged.layout.items:
        _enter(connection, item, staged)
    number = connection.execute("PRAGMA schema_version").fetchone()[0]
    connection.execute(f"PRAGMA schema_version = {number + 1}")
    connection.execute("PRAGMA writable_schema = RESET")
    connection.execute(f"PRAGMA user_version = {staged.layout.user_version}")
    connection.execute(f"PRAGMA application_id = {staged.layout.application_id}")
    now = layout_of(connection)
    if sorted(now.items, key=str) != sorted(staged.layout.items, key=str):
        raise LastgoodError(
            Code.REFUSED, "The schema did not come back as it was captured.", "Report this schema as a bug."
        )
    return replaced


def _enter(connection: sqlite3.Connection, item: Item, staged: Placed) -> None:
    if item.kind == "table":
        hidden = staged.tables[item.name]
        connection.execute(
            "UPDATE sqlite_schema SET tbl_name = ?, sql = CASE WHEN type = 'table' THEN ? ELSE sql END, "
            "name = CASE WHEN type = 'table' THEN ? WHEN sql IS NULL THEN ? || substr(name, ?) ELSE name END "
            "WHERE tbl_name = ? AND type IN ('table', 'index')",
            (item.name, item.sql, item.name, _AUTO + item.name, len(_AUTO + hidden) + 1, hidden),
        )
        if item.name in staged.layout.sequence:
            connection.execute("UPDATE sqlite_sequence SET name = ? WHERE name = ?", (item.name, hidden))
    elif item.kind == "index":
        # Staged as an index, or as a table with the index's own tree.
        connection.execute(
            "UPDATE sqlite_schema SET type = 'index', name = ?, tbl_name = ?, sql = ? WHERE name = ?",
            (item.name, item.table, item.sql, staged.indexes[item.name]),
        )
    else:
        connection.execute(
            "INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES (?, ?, ?, 0, ?)",
            (item.kind, item.name, item.table, item.sql),
        )


def rehearse(live: Layout, wanted: Layout) -> None:
    """Do the whole swap in memory, without rows, to know now what would fail later.

    :raises LastgoodError: ``refused``, saying why.
    """
    try:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            for kind in ("table", "index", "view", "trigger"):
                for item in live.items:
                    if item.kind == kind:
                        connection.execute(item.sql)
            staged = placed(wanted, "rehearsal", "new")
            with writing(connection):
                create_staged(connection, staged)
                for item in wanted.items:
                    if item.kind == "index":
                        connection.execute(staged_index(item, staged))
                for name in staged.tables.values():
                    columns = source_columns(table_of(connection, name))
                    into = f"{quoted(name)} ({columns})"
                    connection.execute(f"EXPLAIN INSERT INTO {into} SELECT {columns} FROM {quoted(name)}")
            with writing(connection):
                flip(connection, staged, "rehearsal")
    except sqlite3.Error as error:
        raise LastgoodError(
            Code.REFUSED,
            f"This schema could not be put back: {error}.",
            "Functions and collations of the application's own, and checks that name their own table, are why as a rule.",
        ) from error
