"""What a kept SQLite file holds, read back from the disk: its digest, and rows and columns by table."""

import sqlite3
from pathlib import Path
from typing import Final

import msgspec

from lastgood.domain.snapshot import Column
from lastgood.sources.digest import RowsDigest, content_digest, schema_of
from lastgood.sources.sqlite_layout import Item, Layout, Table, quoted, table_of
from lastgood.sources.sqlite_records import records_digest
from lastgood.sources.sqlite_rows import Copy, pages
from lastgood.sources.sqlite_session import Pace, attach, created
from lastgood.sources.sqlite_tree import TreeFile, tree_file

_ROWS: Final = 20_000
_FORMAT: Final = 4  # of schemas, since 2006: older files store 0 and 1 in another way


class Content(msgspec.Struct, frozen=True):
    """What reading everything came to: the digest, and rows and columns by table."""

    digest: str
    rows: dict[str, int]
    columns: dict[str, tuple[Column, ...]]


def content_of(connection: sqlite3.Connection, path: Path, layout: Layout, pace: Pace) -> Content:
    """Read and hash everything in the kept file ``path``, which ``connection`` has open.

    :raises LastgoodError: ``corrupt``, ``storage``.
    """
    digests, rows, columns = {}, {}, {}
    with tree_file(path) as file:
        for item in layout.tables():
            table = table_of(connection, item.name)
            found = _stored(connection, file, table, pace) or _anew(connection, path, item, table, pace)
            rows[item.name], digests[item.name] = found
            columns[item.name] = table.columns
    also = {
        "sql": sorted([item.kind, item.name, item.sql] for item in layout.items),
        "sequence": layout.sequence,
        "versions": [layout.user_version, layout.application_id],
    }
    return Content(content_digest(schema_of(columns), digests, also), rows, columns)


def _stored(
    connection: sqlite3.Connection, file: TreeFile, table: Table, pace: Pace
) -> tuple[int, str] | None:
    """Return the rows and the digest of a table; None when its records are not in the form that SQLite writes today."""
    if table.without_rowid:  # its rows lie on all levels of its tree
        digest = RowsDigest()
        for page in pages(connection, table):
            digest.add(page)
            pace.rest()
        value = digest.value()
        return digest.rows, value
    if file.format != _FORMAT:
        return None
    found = connection.execute(
        "SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = ?", (table.name,)
    ).fetchone()
    return records_digest(file, int(found[0]), table.fields, pace.rest)


def _anew(
    connection: sqlite3.Connection, path: Path, item: Item, table: Table, pace: Pace
) -> tuple[int, str]:
    """Have SQLite write a table anew beside the kept file, and read that."""
    encoding = connection.execute("PRAGMA encoding").fetchone()[0]
    beside = path.with_name(path.name + ".anew")
    try:
        with created(beside) as fresh:
            fresh.execute(f"PRAGMA encoding = {quoted(encoding)}")
            fresh.execute("PRAGMA journal_mode = OFF")
            fresh.execute(item.sql)
            attach(fresh, path, "kept", kept=True)
            rows = Copy(fresh, table, f"kept.{quoted(item.name)}", f"main.{quoted(item.name)}")
            while rows.step(_ROWS):
                pace.rest()
            fresh.execute("DETACH kept")
            with tree_file(beside) as file:
                found = _stored(fresh, file, table, pace)
                if found is None:
                    raise file.damaged("a row has columns that its table has not")
                return found
    finally:
        beside.unlink(missing_ok=True)
