"""Staging a snapshot inside the live SQLite file, while its users go on."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec

from lastgood.domain.snapshot import Snapshot
from lastgood.errors import Code, LastgoodError
from lastgood.sources.sqlite_copy import set_sequence
from lastgood.sources.sqlite_flip import Placed, create_staged, placed, prefix, rehearse, staged_index
from lastgood.sources.sqlite_index import build_index
from lastgood.sources.sqlite_layout import layout_of, quoted, table_of
from lastgood.sources.sqlite_record import STAGED, STAGING, Restore, drop_tables, forget, record
from lastgood.sources.sqlite_rows import Copy, whole_digest
from lastgood.sources.sqlite_session import attach, in_chunks, opened, opened_kept, writing


def stage(live: Path, kept: Path, snapshot: Snapshot, token: str, reached: Callable[[str], None]) -> None:
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
            _fill(connection, kept, restore, token, reached)
        except (LastgoodError, sqlite3.Error) as error:
            _remove(connection, token, error)
            raise
        connection.execute("PRAGMA main.synchronous = FULL")
        with writing(connection):
            record(connection, token, msgspec.structs.replace(restore, phase=STAGED))
        reached("staged")


def _fill(
    connection: sqlite3.Connection,
    kept: Path,
    restore: Restore,
    token: str,
    reached: Callable[[str], None],
) -> None:
    staged: Placed = restore.staged
    with writing(connection):
        record(connection, token, restore)
        create_staged(connection, staged)
    reached("made the staged tables")
    for item in staged.layout.tables():
        table = table_of(connection, item.name, "kept")
        rows = Copy(
            connection, table, f"kept.{quoted(item.name)}", f"main.{quoted(staged.tables[item.name])}"
        )
        in_chunks(connection, rows.step)
        reached("staged a table")
    for item in staged.layout.items:
        if item.kind == "index":
            build_index(connection, kept, item, staged.indexes[item.name], staged_index(item, staged))
            reached("staged an index")
    with writing(connection):
        for name, number in staged.layout.sequence.items():
            set_sequence(connection, staged.tables[name], number)
    found = whole_digest(connection, staged.layout, staged.tables)
    if found.digest != restore.digest:
        raise LastgoodError(
            Code.CORRUPT,
            "What was staged reads differently from the snapshot.",
            "Try again, and check the disk and the live file with PRAGMA integrity_check.",
        )
    reached("compared what is staged")


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
