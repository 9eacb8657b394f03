"""How replaced data in one SQLite file differs from a snapshot in another: counts by table, and the added rows."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from lastgood.domain.snapshot import Gained
from lastgood.sources.export import RowsFile, export_name
from lastgood.sources.sqlite_layout import Table, layout_of, quoted, table_of
from lastgood.sources.sqlite_rows import equal_values, fetched, pages
from lastgood.sources.sqlite_session import attach, opened_kept

_PAGE_ROWS: Final = 10_000


def differences(kept: Path, snapshot: Path, exports: Path) -> dict[str, Gained]:
    """Compare the file ``kept`` with ``snapshot``, and write the rows that only ``kept`` has to files in ``exports``.

    Rows of a table with a primary key are found by it. Rows of one without are compared as a heap of equal ones. Where
    a table's columns changed, every row is another row.
    """
    gained: dict[str, Gained] = {}
    names: list[str] = []
    with opened_kept(kept) as connection:
        attach(connection, snapshot, "before", kept=True)
        now = {item.name for item in layout_of(connection).tables()}
        before = {item.name for item in layout_of(connection, "before").tables()}
        for name in sorted(now | before):
            file = exports / export_name(name, names)
            there = [name in now, name in before]
            added, removed = _table(connection, name, there, file)
            gained[name] = Gained(added=added, removed=removed, export=file.name if added else None)
            names.append(file.name)
    return gained


def _table(connection: sqlite3.Connection, name: str, there: list[bool], file: Path) -> tuple[int, int]:
    new, old = (
        table_of(connection, name, schema) if known else None
        for schema, known in zip(("main", "before"), there, strict=True)
    )
    with RowsFile(file, new.stored if new is not None else ()) as export:
        if new is None or old is None or _shape(new) != _shape(old):
            if new is not None:
                for page in pages(connection, new):
                    export.add(page)
            return export.rows, 0 if old is None else _count(connection, old)
        added, removed = _only(connection, new, "main", "before"), _only(connection, new, "before", "main")
        if not new.implicit:
            for page in added:
                export.add(page)
            return export.rows, sum(len(page) for page in removed)
        # Without a primary key a row that moved to another row number is still the same row.
        spare = Counter(repr(row) for page in removed for row in page)
        for page in added:
            fresh = []
            for row in page:
                if spare[repr(row)] > 0:
                    spare[repr(row)] -= 1
                else:
                    fresh.append(row)
            export.add(fresh)
        return export.rows, spare.total()


def _shape(table: Table) -> tuple[object, ...]:
    return table.columns, table.stored, table.key, table.implicit


def _only(
    connection: sqlite3.Connection, table: Table, here: str, other: str
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of ``here`` that the other file has not under the same key with the same values."""
    name = quoted(table.name)
    columns = ", ".join(f"h.{quoted(column)}" for column in table.stored)
    same = " AND ".join(f"h.{quoted(key)} = o.{quoted(key)}" for key in table.key)
    equal = equal_values(table, table.stored, "h", "o")
    last: tuple[Any, ...] | None = None
    keys = ", ".join(f"h.{quoted(key)}" for key in table.key)
    given = f"({keys}) > ({', '.join('?' * len(table.key))}) AND "
    while True:
        page = fetched(
            connection,
            f"SELECT {keys}, {columns} FROM {here}.{name} AS h WHERE {given if last is not None else ''}"
            f"NOT EXISTS (SELECT 1 FROM {other}.{name} AS o WHERE {same} AND {equal}) ORDER BY {keys} LIMIT {_PAGE_ROWS}",
            last or (),
        )
        if page:
            last = page[-1][: len(table.key)]
            yield [row[len(table.key) :] for row in page]
        if len(page) < _PAGE_ROWS:
            return


def _count(connection: sqlite3.Connection, table: Table) -> int:
    return int(connection.execute(f"SELECT count(*) FROM before.{quoted(table.name)}").fetchone()[0])
