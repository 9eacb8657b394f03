"""Rows of SQLite tables, in the order of their keys and a page at a time: reading, copying, comparing, deleting.

A page is one short statement. Nothing holds a lock between pages, so other connections go on in every journal mode;
that is safe for tables that nobody writes to any more, which are the only ones read here.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final

from lastgood.sources.sqlite_layout import Table, quoted

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


def equal_values(table: Table, names: Sequence[str], one: str, other: str) -> str:
    """Return the condition that rows of ``one`` and ``other`` have the same values in the columns ``names``."""
    # As bytes: 'a' and 'A' differ in a column without case, and so do 1 and 1.0 in one whose type keeps both.
    kinds = {column.name: column.type for column in table.columns}
    conditions = []
    for name in names:
        here, there = f"{one}.{quoted(name)}", f"{other}.{quoted(name)}"
        conditions.append(f"{here} IS {there} COLLATE BINARY")
        if _keeps_kinds(kinds[name]):
            conditions.append(f"typeof({here}) = typeof({there})")
    return " AND ".join(conditions) or "1"


def _keeps_kinds(kind: str) -> bool:
    """Whether a column of this type stores whole numbers and others as they were given."""
    numbers_or_text = any(part in kind for part in ("int", "char", "clob", "text"))
    return not numbers_or_text and ("blob" in kind or kind == "any")


def equal_rows(
    connection: sqlite3.Connection, table: Table, kept: str, live: str, rows: int = _PAGE_ROWS
) -> bool:
    """Whether two tables of the same shape in two attached files have the same rows under the same keys.

    Nobody may change either; each statement reads about ``rows`` of them.
    """
    keys = key_list(table)
    named = ", ".join(f"k.{quoted(key)}" for key in table.key)
    found = " AND ".join(f"k.{quoted(key)} = l.{quoted(key)}" for key in table.key)
    # A row number found is the same one; a key of texts may be found in another case.
    names = [name for name in table.stored if table.without_rowid or name not in table.key]
    same = equal_values(table, names, "k", "l")
    # CROSS JOIN keeps the order: each kept row is looked up in the live file.
    count = f"SELECT count(*) FROM {kept} AS k CROSS JOIN {live} AS l ON {found} WHERE {same}"
    equal, last = 0, None
    while True:
        where, given = ("", ()) if last is None else (f" WHERE {above(table, '>')}", last)
        upper = connection.execute(
            f"SELECT {keys} FROM {kept}{where} ORDER BY {keys} LIMIT 1 OFFSET ?", (*given, rows - 1)
        ).fetchone()
        between = "" if last is None else f" AND ({named}) > ({', '.join('?' * len(last))})"
        if upper is not None:
            between += f" AND ({named}) <= ({', '.join('?' * len(upper))})"
        equal += connection.execute(count + between, (*given, *(upper or ()))).fetchone()[0]
        if upper is None:
            break
        last = upper
    return all(
        connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] == equal for name in (kept, live)
    )


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
