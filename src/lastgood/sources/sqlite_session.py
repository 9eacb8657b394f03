"""Connections to SQLite files: how they are opened, how a transaction begins and ends, what its errors mean.

Our connections never change what a file is: its journal mode, page size and encoding stay. Chunks of work are short
transactions with pauses in between, so that other writers get their turn: SQLite has no queue, whoever waits polls.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from lastgood.errors import Code, LastgoodError

BACKGROUND_WAIT_SECONDS: Final = (
    10.0  # how long staging and cleaning wait for a lock; the swap has its own limit
)
_CACHE_KIB: Final = 65_536
_OLDEST: Final = (3, 37, 0)  # PRAGMA table_list and STRICT tables
_CHUNK_SECONDS: Final = 0.005  # what one chunk may take while it holds the write lock
_PAUSE_SECONDS: Final = 0.004  # while others write
_SHORT_PAUSE_SECONDS: Final = 0.001
_ALONE_SECONDS: Final = 1.0  # without a foreign commit before the pauses get short
_REST_SECONDS_MAX: Final = 0.1
_CHUNK_ROWS_MAX: Final = 20_000


def check_library() -> None:
    """Refuse a SQLite library that is too old.

    :raises LastgoodError: ``unavailable``.
    """
    if sqlite3.sqlite_version_info < _OLDEST:
        raise LastgoodError(
            Code.UNAVAILABLE,
            f"The SQLite library is {sqlite3.sqlite_version}; snapshots need 3.37.",
            "Use a Python that is built with a newer SQLite.",
        )


@contextmanager
def opened(path: Path, *, wait: float = BACKGROUND_WAIT_SECONDS) -> Iterator[sqlite3.Connection]:
    """Open the live file, which must exist; closed at the end. ``wait`` is in seconds, for each lock."""
    if not path.exists():
        raise LastgoodError(
            Code.NOT_FOUND,
            f"There is no SQLite file {path.name!r}.",
            "Check the option 'path' of the source.",
        )
    with meant(path), closing(sqlite3.connect(_uri(path, "rw"), uri=True, timeout=wait)) as connection:
        _ready(connection)
        yield connection


@contextmanager
def opened_kept(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file that nobody changes any more, for reading only."""
    if not path.exists():
        raise LastgoodError(
            Code.NOT_FOUND, f"The snapshot's file {path.name!r} is not there.", "Capture the data again."
        )
    with meant(path), closing(sqlite3.connect(_uri(path, "ro&immutable=1"), uri=True)) as connection:
        _ready(connection)
        yield connection


@contextmanager
def created(path: Path) -> Iterator[sqlite3.Connection]:
    """Make a new file that is only ours; fast, because whoever made it syncs it at the end."""
    path.unlink(missing_ok=True)
    with meant(path), closing(sqlite3.connect(_uri(path, "rwc"), uri=True)) as connection:
        _ready(connection)
        connection.execute("PRAGMA synchronous = OFF")
        yield connection


def attach(connection: sqlite3.Connection, path: Path, name: str, *, kept: bool) -> None:
    """Attach a file under ``name``: one that nobody changes (``kept``), or the live one."""
    connection.execute(f"ATTACH ? AS {name}", (_uri(path, "ro&immutable=1" if kept else "rw"),))


def _uri(path: Path, mode: str) -> str:
    return f"file:{quote(str(path))}?mode={mode}"


def _ready(connection: sqlite3.Connection) -> None:
    connection.isolation_level = None
    # No foreign key acts on its own while tables are copied and dropped, old rows are carried even if a check was
    # added later, and freed pages are not overwritten: what was in them is in quarantine anyway.
    for pragma in (
        "foreign_keys = OFF",
        "ignore_check_constraints = ON",
        "secure_delete = OFF",
        "legacy_alter_table = OFF",
        "recursive_triggers = OFF",
        f"cache_size = -{_CACHE_KIB}",
    ):
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def meant(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, with the file's name."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(path, error) from error


def _translated(path: Path, error: sqlite3.Error) -> LastgoodError:
    number = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    name, said = path.name, str(error)
    if number in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LastgoodError(
            Code.TIMEOUT,
            f"Somebody kept {name!r} locked.",
            "Find the long transaction, or allow more time with the option 'lock_timeout'; then try again.",
        )
    if number in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_TOOBIG):
        return LastgoodError(
            Code.STORAGE,
            f"{name!r} could not be written: {said}.",
            "Free some room on its disk, then try again.",
        )
    if number in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LastgoodError(
            Code.CORRUPT, f"{name!r} is damaged: {said}.", "Check it with PRAGMA integrity_check."
        )
    if number in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return LastgoodError(
            Code.UNAVAILABLE, f"{name!r} cannot be used: {said}.", "Check the file's and its folder's rights."
        )
    return LastgoodError(
        Code.REFUSED, f"SQLite will not do this with {name!r}: {said}.", "Look at the schema of the file."
    )


@contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold one state of the file; writers go on where it has a write-ahead log, and wait where it has not."""
    connection.execute("BEGIN")
    try:
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
        yield
    finally:
        connection.execute("ROLLBACK")


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold the write lock from the first statement; commit at the end, and undo everything on any error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class Others:
    """Whether other connections write to the file: looked up, never waited for. Use it outside of transactions."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._version = self._now()
        self._seen = -_ALONE_SECONDS

    def write(self) -> bool:
        """Whether somebody else has committed within the last second of those calls."""
        version, now = self._now(), time.monotonic()
        if version != self._version:
            self._version, self._seen = version, now
        return now - self._seen < _ALONE_SECONDS

    def _now(self) -> int:
        return int(self._connection.execute("PRAGMA main.data_version").fetchone()[0])


class Pace:
    """Rests as long as the work since the last rest took, where the file is ``shared`` with others who write to it."""

    def __init__(self, *, shared: bool) -> None:
        self.shared = shared
        self._begun = time.monotonic()

    def rest(self) -> None:
        """Call it after each piece of work that takes some milliseconds."""
        if self.shared:
            time.sleep(min(time.monotonic() - self._begun, _REST_SECONDS_MAX))
        self._begun = time.monotonic()


def in_chunks(connection: sqlite3.Connection, step: Callable[[int], bool]) -> None:
    """Call ``step(rows)`` in one short transaction after another until it says False, with pauses for other writers.

    ``rows`` is how many to handle; it follows how long the last ones took. The pauses are short while nobody else writes.
    """
    rows, others = 200, Others(connection)
    while True:
        with writing(connection):
            begun = time.monotonic()
            more = step(rows)
            took = time.monotonic() - begun
        if not more:
            return
        rows = max(20, min(_CHUNK_ROWS_MAX, int(rows * min(4.0, _CHUNK_SECONDS / max(took, 1e-6)))))
        shared = others.write()
        if shared:  # else the next one who commits would take all of it from the log to the file
            connection.execute("PRAGMA main.wal_checkpoint(PASSIVE)")
        time.sleep(_PAUSE_SECONDS if shared else _SHORT_PAUSE_SECONDS)
