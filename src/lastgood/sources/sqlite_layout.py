"""What is in a SQLite file: its tables, indexes, views and triggers as it stores them, and each table's columns and key.

Names that begin with ``lastgood:`` are ours: what is staged, what was replaced, and our own record in the live file. No
schema, snapshot or count has them.
"""

import re
import sqlite3
from collections.abc import Iterable
from typing import Final

import msgspec

from lastgood.domain.snapshot import Column
from lastgood.errors import Code, LastgoodError

OURS: Final = "lastgood:"
_INTERNAL: Final = "sqlite_"
_VIRTUAL: Final = 2  # how PRAGMA table_xinfo marks a column that is computed when it is read
_CREATED: Final = re.compile(r"CREATE (TABLE|UNIQUE INDEX|INDEX) ", re.IGNORECASE)
_NAME: Final = re.compile(r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|\'(?:[^\']|\'\')*\'|[^\s(]+')


class Item(msgspec.Struct, frozen=True):
    """One entry of a schema: ``kind`` is table, index, view or trigger, ``sql`` is what SQLite stores for it."""

    kind: str
    name: str
    table: str
    sql: str


class Table(msgspec.Struct, frozen=True):
    """What copying a table needs. ``stored`` are the columns that hold values, generated ones left out.

    ``key`` orders the rows and finds each one; ``implicit`` when it is a row number that no column shows, and
    ``without_rowid`` when rows have no number at all. ``fields`` is how many columns a stored record has, computed ones
    that are stored among them.
    """

    name: str
    columns: tuple[Column, ...]
    stored: tuple[str, ...]
    key: tuple[str, ...]
    implicit: bool
    without_rowid: bool
    fields: int


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a file but its rows. ``sequence`` is the last number given by each AUTOINCREMENT."""

    items: tuple[Item, ...]
    user_version: int
    application_id: int
    sequence: dict[str, int]

    def tables(self) -> tuple[Item, ...]:
        """Return the tables, in the order they were made."""
        return tuple(item for item in self.items if item.kind == "table")


def quoted(name: str) -> str:
    """Return the name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def layout_of(connection: sqlite3.Connection, schema: str = "main") -> Layout:
    """Read the layout, our own parts left out.

    :raises LastgoodError: ``refused`` when there is a virtual table.
    """
    rows = connection.execute(
        f"SELECT type, name, tbl_name, sql FROM {schema}.sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid"
    ).fetchall()
    items = tuple(Item(*row) for row in rows if not _left_out(row[1]) and not _left_out(row[2]))
    for item in items:
        if item.kind == "table" and item.sql[:14].upper() == "CREATE VIRTUAL":
            raise LastgoodError(
                Code.REFUSED,
                f"{item.name!r} is a virtual table; those cannot be put back in one step.",
                "Keep full-text and other virtual tables in a file of their own.",
            )
    sequence = {}
    if connection.execute(f"SELECT 1 FROM {schema}.sqlite_schema WHERE name = 'sqlite_sequence'").fetchone():
        known = {item.name for item in items if item.kind == "table"}
        found = connection.execute(f"SELECT name, seq FROM {schema}.sqlite_sequence ORDER BY name").fetchall()
        sequence = {name: seq for name, seq in found if name in known}
    return Layout(
        items=items,
        user_version=connection.execute(f"PRAGMA {schema}.user_version").fetchone()[0],
        application_id=connection.execute(f"PRAGMA {schema}.application_id").fetchone()[0],
        sequence=sequence,
    )


def _left_out(name: str) -> bool:
    return name.startswith((OURS, _INTERNAL))


def table_of(connection: sqlite3.Connection, name: str, schema: str = "main") -> Table:
    """Read one table's columns and key."""
    found = connection.execute(
        "SELECT name, type, hidden, pk FROM pragma_table_xinfo(?, ?)", (name, schema)
    ).fetchall()
    columns = tuple(Column(name=column, type=kind.lower() or "any") for column, kind, _, _ in found)
    stored = tuple(column for column, _, hidden, _ in found if hidden == 0)
    fields = sum(hidden != _VIRTUAL for _, _, hidden, _ in found)
    primary = tuple(row[0] for row in sorted(found, key=lambda row: row[3]) if row[3])
    wr = connection.execute("SELECT wr FROM pragma_table_list(?) WHERE schema = ?", (name, schema)).fetchone()
    if wr is not None and wr[0]:
        return Table(name, columns, stored, primary, implicit=False, without_rowid=True, fields=fields)
    indexed = connection.execute(
        "SELECT 1 FROM pragma_index_list(?, ?) WHERE origin = 'pk'", (name, schema)
    ).fetchone()
    if len(primary) == 1 and indexed is None:
        return Table(name, columns, stored, primary, implicit=False, without_rowid=False, fields=fields)
    taken = {column.name.lower() for column in columns}
    number = next((alias for alias in ("rowid", "_rowid_", "oid") if alias not in taken), None)
    if number is None:
        raise LastgoodError(
            Code.REFUSED,
            f"The columns of table {name!r} hide its row number under all its names.",
            "Give the table a primary key, or rename one of rowid, _rowid_ and oid.",
        )
    return Table(name, columns, stored, (number,), implicit=True, without_rowid=False, fields=fields)


def columns_of(connection: sqlite3.Connection, items: Iterable[Item]) -> dict[str, tuple[Column, ...]]:
    """Return the columns of the tables among ``items``."""
    return {item.name: table_of(connection, item.name).columns for item in items if item.kind == "table"}


def renamed_sql(sql: str, name: str) -> str:
    """Return the stored SQL of a table or index with another name for itself; what it refers to stays."""
    begin = _CREATED.match(sql)
    old = None if begin is None else _NAME.match(sql, begin.end())
    if begin is None or old is None:
        raise LastgoodError(
            Code.REFUSED, f"SQLite stores something unknown: {sql[:60]!r}.", "Report this schema as a bug."
        )
    return f"{begin.group()}{quoted(name)}{sql[old.end() :]}"
