"""Staging a snapshot inside the live SQLite file, while its users go on."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from lastgood.domain.snapshot import Snapshot
from lastgood.errors import Code, LastgoodError
from lastgood.sources.sqlite_copy import set_sequence
from lastgood.sources.sqlite_flip import Placed, create_staged, placed, prefix, rehearse, staged_index
from lastgood.sources.sqlite_index import build_index
from lastgood.sources.sqlite_layout import Table, layout_of, quoted, table_of
from lastgood.sources.sqlite_record import STAGED, STAGING, Restore, drop_tables, forget, record
from lastgood.sources.sqlite_rows import Copy, equal_rows
from lastgood.sources.sqlite_session import attach, in_chunks, opened, opened_kept, writing

Reached = Callable[[str], None]


def stage(live: Path, kept: Path, snapshot: Snapshot, token: str, reached: Reached) -> None:
    """Build the snapshot's tables in the live file under our names; what was begun is removed on an error.

    :raises LastgoodError: ``corrupt`` when what was staged reads differently, ``storage``, ``refused``, ``timeout``.
    """
    with opened_kept(kept) as source:
        wanted = layout_of(source)
    staged = placed(wanted, token, "new")
    restore = Restore(phase=STAGING, digest=snapshot.digest, staged=staged)
    with opened(live) as connection:
        rehearse(layout_of(connection), wanted)
        attach(connection, kept, "kept", kept=True)
        # The record and the swap are synced to the disk; what lies between them may be lost and staged again.
        if connection.execute("PRAGMA main.journal_mode").fetchone()[0] == "wal":
            connection.execute("PRAGMA main.synchronous = NORMAL")
        try:
            _fill(connection, live, kept, restore, token, reached)
        except (LastgoodError, sqlite3.Error) as error:
            _remove(connection, token, error)
            raise
        connection.execute("PRAGMA main.synchronous = FULL")
        with writing(connection):
            record(connection, token, msgspec.structs.replace(restore, phase=STAGED))
        reached("staged")


def _fill(
    connection: sqlite3.Connection, live: Path, kept: Path, restore: Restore, token: str, reached: Reached
) -> None:
    staged: Placed = restore.staged
    with writing(connection):
        record(connection, token, restore)
        create_staged(connection, staged)
    reached("made the staged tables")
    # What is staged is read back, through a connection of its own, while more is written.
    with ThreadPoolExecutor(1) as beside:
        compared: list[Future[bool]] = []
        for item in staged.layout.tables():
            table, place = table_of(connection, item.name, "kept"), staged.tables[item.name]
            rows = Copy(connection, table, f"kept.{quoted(item.name)}", f"main.{quoted(place)}")
            in_chunks(connection, rows.step)
            compared.append(beside.submit(_same, live, kept, table, place))
            reached("staged a table")
        for item in staged.layout.items:
            if item.kind == "index":
                build_index(connection, kept, item, staged.indexes[item.name], staged_index(item, staged))
                reached("staged an index")
        same = all(each.result() for each in compared)
    with writing(connection):
        for name, number in staged.layout.sequence.items():
            set_sequence(connection, staged.tables[name], number)
    if not same:
        raise LastgoodError(
            Code.CORRUPT,
            "What was staged reads differently from the snapshot.",
            "Try again, and check the disk and the live file with PRAGMA integrity_check.",
        )
    reached("compared what is staged")


def _same(live: Path, kept: Path, table: Table, place: str) -> bool:
    with opened(live) as connection:
        attach(connection, kept, "kept", kept=True)
        if msgspec.structs.replace(table_of(connection, place), name=table.name) != table:
            return False
        return equal_rows(connection, table, f"kept.{quoted(table.name)}", f"main.{quoted(place)}")


def _remove(connection: sqlite3.Connection, token: str, cause: Exception) -> None:
    """Take back what was begun; when that fails too, the first error says so."""
    try:
        drop_tables(connection, prefix(token, "new"), lambda _: None)
        with writing(connection):
            forget(connection, token)
    except (LastgoodError, sqlite3.Error) as error:
        cause.add_note(
            f"What was begun is still in the live file ({type(error).__name__}); release the token."
        )
