"""Indexes of staged tables, built beside the live data without holding its write lock for long.

Filling an index row by row, in another order than its own, rewrites its pages over and over. So a big one is written in its
own order, as a table WITHOUT ROWID of the index's fields: in SQLite's file format that is the very same tree of the very
same records. The swap then enters its root as the index. Such a table cannot hold NULL in its key, and what an expression
or a condition comes to is only known to the index itself; those indexes, and those of tables without a primary key, are made in
one statement, during which writers wait (about 0.4 s for a million rows).
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from lastgood.sources.sqlite_layout import Item, Table, quoted, table_of
from lastgood.sources.sqlite_session import in_chunks, opened_kept, writing

_SMALL_ROWS: Final = 20_000


class Field(msgspec.Struct, frozen=True):
    """One field of an index's records: where it comes from, and how it is ordered. ``source`` is quoted."""

    source: str
    collation: str
    down: bool

    def ordered(self, name: str) -> str:
        """Return ``name`` with this field's order, for a key or for ORDER BY."""
        return f"{name} COLLATE {quoted(self.collation)}{' DESC' if self.down else ''}"


def build_index(connection: sqlite3.Connection, kept: Path, item: Item, place: str, whole: str) -> None:
    """Build the index ``item`` of the snapshot ``kept`` under the name ``place``.

    ``whole`` is the SQL that makes it in one statement, for where it cannot be written in its own order.
    """
    with opened_kept(kept) as source:
        fields = _fields(source, item, table_of(source, item.table))
        if fields is not None and _written_in_order(connection, source, item, place, fields):
            return
    with writing(connection):
        connection.execute(f"DROP TABLE IF EXISTS main.{quoted(place)}")
        connection.execute(whole)


def _written_in_order(
    connection: sqlite3.Connection, source: sqlite3.Connection, item: Item, place: str, fields: list[Field]
) -> bool:
    """Write the index's records; False when a text is not UTF-8, which cannot pass through here unharmed."""
    names = [f"c{number}" for number in range(len(fields))]
    key = ", ".join(field.ordered(name) for field, name in zip(fields, names, strict=True))
    with writing(connection):
        connection.execute(
            f"CREATE TABLE main.{quoted(place)} ({', '.join(names)}, PRIMARY KEY ({key})) WITHOUT ROWID"
        )
    ranges = _Ranges(connection, item, place, fields)
    step = ranges.step if ranges.found_by_key() else _passed_on(connection, source, item, place, fields)
    try:
        in_chunks(connection, step)
    except sqlite3.OperationalError as error:
        if "decode" in str(error):
            return False
        raise
    return True


class _Ranges:
    """Copies an index's records within SQLite, a range of them at a time; the snapshot is attached as ``kept``."""

    def __init__(self, connection: sqlite3.Connection, item: Item, place: str, fields: list[Field]) -> None:
        self._connection = connection
        self._width = len(fields)
        self._key = ", ".join(field.source for field in fields)
        self._marks = ", ".join("?" * self._width)
        self._from = f"SELECT {self._key} FROM kept.{quoted(item.table)} INDEXED BY {quoted(item.name)}"
        self._insert = f"INSERT INTO main.{quoted(place)} {self._from}"
        self._last: tuple[Any, ...] | None = None

    def found_by_key(self) -> bool:
        """Whether SQLite finds a range without reading all: where every field goes up, in its column's own collation."""
        both = f"({self._key}) > ({self._marks}) AND ({self._key}) <= ({self._marks})"
        query = f"EXPLAIN QUERY PLAN {self._from} WHERE {both} ORDER BY {self._key}"
        plan = self._connection.execute(query, (None,) * (2 * self._width)).fetchall()
        return len(plan) == 1 and str(plan[0][3]).startswith("SEARCH")

    def step(self, rows: int) -> bool:
        """Copy about so many records more; False when none are left."""
        where, given = "", ()
        if self._last is not None:
            where, given = f" WHERE ({self._key}) > ({self._marks})", self._last
        order = f" ORDER BY {self._key}"
        upper = self._connection.execute(
            f"{self._from}{where}{order} LIMIT 1 OFFSET ?", (*given, rows - 1)
        ).fetchone()
        if upper is not None:
            where += f" {'AND' if where else 'WHERE'} ({self._key}) <= ({self._marks})"
        self._connection.execute(f"{self._insert}{where}{order}", (*given, *(upper or ())))
        self._last = upper
        return upper is not None


def _passed_on(
    connection: sqlite3.Connection, source: sqlite3.Connection, item: Item, place: str, fields: list[Field]
) -> Callable[[int], bool]:
    """Return a step that passes an index's records on from one connection to the other, in any order of theirs."""
    insert = f"INSERT INTO main.{quoted(place)} VALUES ({', '.join('?' * len(fields))})"
    values = ", ".join(field.source for field in fields)
    order = ", ".join(field.ordered(field.source) for field in fields)
    records = source.execute(f"SELECT {values} FROM {quoted(item.table)} ORDER BY {order}")

    def step(count: int) -> bool:
        page = records.fetchmany(count)
        connection.executemany(insert, page)
        return len(page) == count

    return step


def _fields(source: sqlite3.Connection, item: Item, table: Table) -> list[Field] | None:
    """Return the fields of an index's records, None when it is small or cannot be written in its own order."""
    partial = source.execute(
        "SELECT partial FROM pragma_index_list(?) WHERE name = ?", (item.table, item.name)
    ).fetchone()[0]
    found = source.execute(
        'SELECT cid, name, "desc", coll FROM pragma_index_xinfo(?) ORDER BY seqno', (item.name,)
    ).fetchall()
    name = quoted(item.table)
    large = source.execute(f"SELECT 1 FROM {name} LIMIT 1 OFFSET ?", (_SMALL_ROWS,)).fetchone()
    # Column -2 is an expression. Row numbers that no column shows may change when somebody runs VACUUM meanwhile.
    if partial or large is None or table.implicit or any(cid == -2 for cid, *_ in found):
        return None
    fields = [
        Field(quoted(table.key[0] if cid == -1 else column), collation, bool(down))
        for cid, column, down, collation in found
    ]
    unfit = " OR ".join(f"{field.source} IS NULL" for field in fields)
    if source.execute(f"SELECT 1 FROM {name} WHERE {unfit} LIMIT 1").fetchone() is not None:
        return None
    return fields
