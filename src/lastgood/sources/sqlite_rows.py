"""Rows of SQLite tables, in the order of their keys and a page at a time: reading, hashing, copying, deleting.

A page is one short statement. Nothing holds a lock between pages, so other connections go on in every journal mode;
that is safe for tables that nobody writes to any more, which are the only ones read here.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from lastgood.domain.snapshot import Column
from lastgood.sources.digest import RowsDigest, content_digest, schema_of
from lastgood.sources.sqlite_layout import Layout, Table, quoted, table_of

_PAGE_ROWS: Final = 10_000


def source_columns(table: Table, prefix: str = "") -> str:
    """Return the columns that a copy reads and writes, the row number first where no column shows it."""
    names = (*table.key, *table.stored) if table.implicit else table.stored
    return ", ".join(prefix + quoted(name) for name in names)


def key_list(table: Table) -> str:
    """Return the key's columns for ORDER BY and comparisons."""
    return ", ".join(quoted(name) for name in table.key)


def above(table: Table, operator: str) -> str:
    """Return the condition that a row's key compares so with a given key."""
    return f"({key_list(table)}) {operator} ({', '.join('?' * len(table.key))})"


def pages(
    connection: sqlite3.Connection, table: Table, schema: str = "main"
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the stored columns of all rows in the order of the key."""
    columns = ", ".join(quoted(name) for name in table.stored)
    select = f"SELECT {key_list(table)}, {columns} FROM {schema}.{quoted(table.name)} "
    order = f" ORDER BY {key_list(table)} LIMIT {_PAGE_ROWS}"
    width, last = len(table.key), None
    while True:
        sql = select + (order if last is None else f"WHERE {above(table, '>')}{order}")
        page = fetched(connection, sql, () if last is None else last)
        if page:
            last = page[-1][:width]
            yield [row[width:] for row in page]
        if len(page) < _PAGE_ROWS:
            return


def fetched(connection: sqlite3.Connection, sql: str, given: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return all rows of a query. A text that is not UTF-8 comes as ``["text", bytes]``."""
    try:
        return connection.execute(sql, given).fetchall()
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
    connection.text_factory = _text_or_bytes
    try:
        return connection.execute(sql, given).fetchall()
    finally:
        connection.text_factory = str


def _text_or_bytes(raw: bytes) -> Any:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return ["text", raw]


def rows_digest(connection: sqlite3.Connection, table: Table, schema: str = "main") -> RowsDigest:
    """Hash a table's rows."""
    digest = RowsDigest()
    for page in pages(connection, table, schema):
        digest.add(page)
    return digest


class Content(msgspec.Struct, frozen=True):
    """What reading everything came to: the digest, and rows and columns by table."""

    digest: str
    rows: dict[str, int]
    columns: dict[str, tuple[Column, ...]]


def whole_digest(
    connection: sqlite3.Connection, layout: Layout, places: Mapping[str, str] | None = None
) -> Content:
    """Read and hash everything. ``places`` says under which names the tables are here, where not their own."""
    digests, rows, columns = {}, {}, {}
    for item in layout.tables():
        table = table_of(connection, item.name if places is None else places[item.name])
        hashed = rows_digest(connection, table)
        digests[item.name], rows[item.name], columns[item.name] = hashed.value(), hashed.rows, table.columns
    also = {
        "sql": sorted([item.kind, item.name, item.sql] for item in layout.items),
        "sequence": layout.sequence,
        "versions": [layout.user_version, layout.application_id],
    }
    return Content(content_digest(schema_of(columns), digests, also), rows, columns)


class Copy:
    """A copy of one table into another of the same shape, a chunk at a time, from one attached file to another."""

    def __init__(self, connection: sqlite3.Connection, table: Table, source: str, into: str) -> None:
        self._connection = connection
        self._table = table
        self._source = source
        self._insert = (
            f"INSERT INTO {into} ({source_columns(table)}) SELECT {source_columns(table)} FROM {source}"
        )
        self._last: tuple[Any, ...] | None = None

    def step(self, rows: int) -> bool:
        """Copy about so many rows more; False when none are left."""
        keys = key_list(self._table)
        where = "" if self._last is None else f" WHERE {above(self._table, '>')}"
        given = self._last or ()
        upper = self._connection.execute(
            f"SELECT {keys} FROM {self._source}{where} ORDER BY {keys} LIMIT 1 OFFSET ?", (*given, rows - 1)
        ).fetchone()
        if upper is not None:
            where = f"{where} AND " if where else " WHERE "
            where += above(self._table, "<=")
            given = (*given, *upper)
        self._connection.execute(f"{self._insert}{where} ORDER BY {keys}", given)
        self._last = upper
        return upper is not None


class Removal:
    """The deletion of all rows of one table, a chunk at a time."""

    def __init__(self, connection: sqlite3.Connection, table: Table) -> None:
        self._connection = connection
        self._table = table

    def step(self, rows: int) -> bool:
        """Delete about so many rows more; False when none are left."""
        keys, name = key_list(self._table), quoted(self._table.name)
        upper = self._connection.execute(
            f"SELECT {keys} FROM {name} ORDER BY {keys} LIMIT 1 OFFSET ?", (rows - 1,)
        ).fetchone()
        where, given = ("", ()) if upper is None else (f" WHERE {above(self._table, '<=')}", upper)
        self._connection.execute(f"DELETE FROM {name}{where}", given)
        return upper is not None
