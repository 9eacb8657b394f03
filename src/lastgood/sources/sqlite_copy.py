"""Copies of a live SQLite file, and of what a restore replaced in it, as files that nobody changes any more."""

import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from lastgood.errors import Code, LastgoodError
from lastgood.sources.durable import cannot_write
from lastgood.sources.sqlite_content import Content, content_of
from lastgood.sources.sqlite_flip import Placed, rehearse
from lastgood.sources.sqlite_layout import OURS, Layout, layout_of, quoted, table_of
from lastgood.sources.sqlite_record import drop_tables
from lastgood.sources.sqlite_rows import Copy, equal_rows
from lastgood.sources.sqlite_session import (
    Others,
    Pace,
    attach,
    created,
    opened,
    opened_kept,
    reading,
    writing,
)

_STEP_BYTES: Final = 65_536  # a fraction of a millisecond: nobody waits longer for the processor
_SYNC_STEPS: Final = 4  # while others write
_SYNC_STEPS_ALONE: Final = 128
_CACHE_KIB: Final = 2048


def back_up(live: Path, to: Path) -> bool:
    """Copy the live file by SQLite's own backup, as one state, and take our own tables out of the copy.

    Return whether others wrote to the live file meanwhile.
    """
    with opened(live) as source, opened(live) as watch, created(to) as copy, to.open("rb") as written:
        copy.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")  # else its pages come to the disk all at once
        # Without a write-ahead log nobody writes while we read, and to look would be to wait for who wants to.
        wal = source.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        page = source.execute("PRAGMA page_size").fetchone()[0]
        with ThreadPoolExecutor(1) as beside:
            steps = _Steps(beside, to, written.fileno(), Others(watch) if wal else None)
            # The backup reads through this connection: it has its lock already, and nobody's commit makes it start again.
            with reading(source):
                source.backup(copy, pages=max(1, _STEP_BYTES // page), progress=steps.taken)
            steps.end()
        copy.execute("PRAGMA journal_mode = DELETE")
        drop_tables(copy, OURS, lambda _: None)
        return steps.pace.shared


class _Steps:
    """What is done after each step of a backup.

    What was copied goes to the disk bit by bit, else the next commit of somebody else would wait for all of it. Alone,
    that happens while more is copied; while ``others`` write, they get the processor and the disk in between.
    """

    def __init__(self, beside: ThreadPoolExecutor, to: Path, descriptor: int, others: Others | None) -> None:
        self._beside = beside
        self._to = to
        self._descriptor = descriptor
        self._others = others
        self.pace = Pace(shared=False)
        self._steps = 0
        self._syncing: Future[None] | None = None

    def taken(self, *_: int) -> None:
        """Send what was copied on its way to the disk, and pause where somebody else is about."""
        self._steps += 1
        if self._steps % _SYNC_STEPS == 0:
            self.pace.shared = self._others is not None and self._others.write()
        if self._steps % (_SYNC_STEPS if self.pace.shared else _SYNC_STEPS_ALONE) == 0:
            self.end()
            self._syncing = self._beside.submit(os.fdatasync, self._descriptor)
            if self.pace.shared:
                self.end()
        self.pace.rest()

    def end(self) -> None:
        """Wait until what is on its way has come to the disk.

        :raises LastgoodError: ``storage``.
        """
        if self._syncing is not None:
            try:
                self._syncing.result()
            except OSError as error:
                raise cannot_write(self._to, error) from None


def read_back(path: Path, pace: Pace) -> Content:
    """Read every row of a copy, and try in memory whether its schema can be put back.

    :raises LastgoodError: ``corrupt``, ``refused``.
    """
    with opened_kept(path) as connection:
        layout = layout_of(connection)
        rehearse(layout, layout)
        return content_of(connection, path, layout, pace)


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


def check_copy(connection: sqlite3.Connection, path: Path, live: Path, replaced: Placed) -> Content:
    """Compare what was written to ``path`` with what is still in the live file, row by row; return what it is.

    :raises LastgoodError: ``corrupt``.
    """
    layout = layout_of(connection)
    same = sorted(layout.items, key=str) == sorted(replaced.layout.items, key=str)
    with opened(live) as source:
        attach(source, path, "kept", kept=True)
        for item in layout.tables() if same else ():
            table = table_of(source, item.name, "kept")
            there = f"main.{quoted(replaced.tables[item.name])}"
            same = same and equal_rows(source, table, f"kept.{quoted(item.name)}", there)
    if not same:
        raise LastgoodError(
            Code.CORRUPT,
            "The copy of what was replaced differs from it.",
            "It is still in the live file; try again, and check the disk.",
        )
    return content_of(connection, path, layout, Pace(shared=False))
