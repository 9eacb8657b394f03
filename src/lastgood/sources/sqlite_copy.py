"""Copies of a live SQLite file, and of what a restore replaced in it, as files that nobody changes any more."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lastgood.errors import Code, LastgoodError
from lastgood.sources.sqlite_flip import Placed
from lastgood.sources.sqlite_layout import OURS, Layout, layout_of, quoted, table_of
from lastgood.sources.sqlite_record import drop_tables
from lastgood.sources.sqlite_rows import Content, Copy, whole_digest
from lastgood.sources.sqlite_session import attach, created, opened, reading, writing

_BACKUP_PAGES: Final = 256


def back_up(live: Path, to: Path) -> None:
    """Copy the live file by SQLite's own backup, as one state, and take our own tables out of the copy."""
    with opened(live) as source, created(to) as copy, to.open("rb") as written:

        def on_disk(*_: int) -> None:
            os.fdatasync(written.fileno())  # bit by bit: else other writers' next sync waits for all of it

        # The backup reads through this connection: it has its lock already, and nobody's commit makes it start again.
        with reading(source):
            source.backup(copy, pages=_BACKUP_PAGES, progress=on_disk)
        copy.execute("PRAGMA journal_mode = DELETE")
        drop_tables(copy, OURS, lambda _: None)


def build(live: Path, replaced: Placed, to: Path, reached: Callable[[str], None]) -> None:
    """Write what was replaced to a new file, under its own names, with everything that belonged to it."""
    with opened(live) as source:
        encoding, page = (
            source.execute(f"PRAGMA {name}").fetchone()[0] for name in ("encoding", "page_size")
        )
    layout = replaced.layout
    with created(to) as copy:
        copy.execute(f"PRAGMA encoding = {quoted(encoding)}")
        copy.execute(f"PRAGMA page_size = {page}")
        copy.execute("PRAGMA journal_mode = OFF")
        _create(copy, layout, "table")
        attach(copy, live, "live", kept=False)
        for item in layout.tables():
            into, source_name = f"main.{quoted(item.name)}", f"live.{quoted(replaced.tables[item.name])}"
            rows = Copy(copy, table_of(copy, item.name), source_name, into)
            while rows.step(20_000):
                pass  # each step is a statement of its own: no lock on the live file in between
            reached("copied a replaced table")
        copy.execute("DETACH live")
        for kind in ("index", "view", "trigger"):
            _create(copy, layout, kind)
        finish(copy, layout)


def _create(connection: sqlite3.Connection, layout: Layout, kind: str) -> None:
    for item in layout.items:
        if item.kind == kind:
            connection.execute(item.sql)


def finish(connection: sqlite3.Connection, layout: Layout) -> None:
    """Set what is neither a table nor a row: the numbers of AUTOINCREMENT and the file's two versions."""
    with writing(connection):
        for name, number in layout.sequence.items():
            set_sequence(connection, name, number)
        connection.execute(f"PRAGMA user_version = {layout.user_version}")
        connection.execute(f"PRAGMA application_id = {layout.application_id}")


def set_sequence(connection: sqlite3.Connection, table: str, number: int) -> None:
    """Set the last number that AUTOINCREMENT gave in ``table``."""
    connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, number))


def check_copy(connection: sqlite3.Connection, live: Path, replaced: Placed) -> Content:
    """Compare what was written with what is still in the live file, row by row through their digests; return it.

    :raises LastgoodError: ``corrupt``.
    """
    copied = whole_digest(connection, layout_of(connection))
    with opened(live) as source:
        there = whole_digest(source, replaced.layout, replaced.tables)
    if copied.digest != there.digest:
        raise LastgoodError(
            Code.CORRUPT,
            "The copy of what was replaced differs from it.",
            "It is still in the live file; try again, and check the disk.",
        )
    return copied
