"""Our own record in a live SQLite file: one row for each restore. It changes in the same transactions as the data does."""

import sqlite3
import time
from collections.abc import Callable
from typing import Final

import msgspec

from lastgood.errors import Code, LastgoodError
from lastgood.sources.sqlite_flip import INDEX, Placed
from lastgood.sources.sqlite_layout import OURS, quoted, table_of
from lastgood.sources.sqlite_rows import Removal
from lastgood.sources.sqlite_session import in_chunks, writing

STAGING: Final = "staging"
STAGED: Final = "staged"
SWAPPED: Final = "swapped"
RELEASED: Final = "released"  # swapped, and what was replaced is freed

_TABLE: Final = quoted(f"{OURS}restores")


class Restore(msgspec.Struct, frozen=True, kw_only=True):
    """One restore: its phase, the snapshot's digest, what is staged and, once swapped, what was replaced.

    ``at`` is when the swap happened, in seconds since 1970.
    """

    phase: str
    digest: str
    staged: Placed
    replaced: Placed | None = None
    at: float | None = None


def restore_of(connection: sqlite3.Connection, token: str) -> Restore | None:
    """Return what is recorded of a token, None when nothing is.

    :raises LastgoodError: ``corrupt`` when somebody else wrote it.
    """
    if not _recorded(connection):
        return None
    row = connection.execute(f"SELECT note FROM {_TABLE} WHERE token = ?", (token,)).fetchone()
    if row is None:
        return None
    try:
        return msgspec.json.decode(row[0], type=Restore)
    except (msgspec.MsgspecError, TypeError):
        raise LastgoodError(
            Code.CORRUPT,
            f"The record of the restore {token!r} in the live file is damaged.",
            "Use another token.",
        ) from None


def record(connection: sqlite3.Connection, token: str, restore: Restore) -> None:
    """Record a restore; call it in a transaction."""
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {_TABLE} (token TEXT NOT NULL PRIMARY KEY, note TEXT NOT NULL) WITHOUT ROWID"
    )
    text = msgspec.json.encode(restore).decode()
    connection.execute(f"INSERT OR REPLACE INTO {_TABLE} (token, note) VALUES (?, ?)", (token, text))


def forget(connection: sqlite3.Connection, token: str) -> None:
    """Remove the record of a restore that never happened, and the table with the last one; call it in a transaction."""
    if not _recorded(connection):
        return
    connection.execute(f"DELETE FROM {_TABLE} WHERE token = ?", (token,))
    if connection.execute(f"SELECT 1 FROM {_TABLE} LIMIT 1").fetchone() is None:
        connection.execute(f"DROP TABLE {_TABLE}")


def _recorded(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (f"{OURS}restores",)).fetchone()
    return found is not None


def swapped_now(restore: Restore, replaced: Placed) -> Restore:
    """Return the restore as it is once its swap commits."""
    return msgspec.structs.replace(restore, phase=SWAPPED, replaced=replaced, at=time.time())


def drop_tables(connection: sqlite3.Connection, begin: str, reached: Callable[[str], None]) -> int:
    """Drop our tables whose names begin so, in short transactions; return the bytes that their pages were."""
    freed = 0
    page = connection.execute("PRAGMA page_size").fetchone()[0]

    def pages_free() -> int:
        return int(connection.execute("PRAGMA freelist_count").fetchone()[0])

    def drop(kind: str, name: str) -> None:
        nonlocal freed
        with writing(connection):
            before = pages_free()
            connection.execute(f"DROP {kind} {quoted(name)}")
            freed += (pages_free() - before) * page

    for kind in ("index", "table"):
        found = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = ? AND substr(name, 1, ?) = ? ORDER BY rowid DESC",
            (kind, len(begin), begin),
        ).fetchall()
        for (name,) in found:
            if kind == "table" and not name.endswith(
                INDEX
            ):  # an index's tree is small enough to drop at once
                removal = Removal(connection, table_of(connection, name))

                def step(rows: int, removal: Removal = removal) -> bool:
                    nonlocal freed
                    before = pages_free()
                    more = removal.step(rows)
                    freed += (pages_free() - before) * page
                    return more

                in_chunks(connection, step)
            drop(kind, name)
            reached(f"dropped a {kind}")
    return freed
