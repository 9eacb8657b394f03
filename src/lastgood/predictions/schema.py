"""The tables of the prediction log: one SQLite file of its own, so that no release ever waits for it."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lastgood.errors import Code, LastgoodError
from lastgood.predictions.labels_schema import LABEL_TABLES
from lastgood.predictions.sketches_schema import SKETCH_TABLES
from lastgood.wire import private

SCHEMA_VERSION: Final = 3
WAIT_SECONDS: Final = 10.0
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS served (
  number INTEGER PRIMARY KEY,
  deployment TEXT NOT NULL,
  model TEXT NOT NULL,
  version INTEGER NOT NULL,
  role TEXT NOT NULL,
  release INTEGER,
  stage INTEGER,
  arm TEXT,
  added INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS served_release ON served (release) WHERE arm IS NOT NULL;
CREATE TABLE IF NOT EXISTS predictions (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  also TEXT,
  at REAL NOT NULL,
  served INTEGER NOT NULL,
  status INTEGER NOT NULL,
  seconds REAL NOT NULL,
  key INTEGER,
  fallback TEXT,
  answer_bytes INTEGER NOT NULL,
  answer BLOB,
  inputs BLOB,
  copy BLOB,
  slices TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS predictions_id ON predictions (id);
CREATE INDEX IF NOT EXISTS predictions_also ON predictions (also) WHERE also IS NOT NULL;
CREATE TABLE IF NOT EXISTS segments (name TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tallies (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""
# What format 3 added to tables that a log of an earlier format has already.
_ADDED: Final = (
    ("predictions", "copy", "BLOB"),
    ("predictions", "slices", "TEXT"),
    ("outcomes", "copied", "INTEGER"),
    ("outcomes", "other", "BLOB"),
    ("outcomes", "slices", "TEXT"),
)
# On columns that such a log gets first.
_INDEXES: Final = (
    "CREATE INDEX IF NOT EXISTS predictions_copied ON predictions (served, seq) WHERE copy IS NOT NULL;"
)
_JOURNAL_BYTES_MAX: Final = 64 * 1024 * 1024


def connect(path: Path) -> sqlite3.Connection:
    """Open the log, making it first where there is none. The connection may be used by one thread at a time.

    :raises LastgoodError: ``conflict`` when a newer Lastgood wrote it, ``storage`` when it cannot be used.
    """
    with meant(path):
        private.make_folder(path.parent)
        private.make_file(path)
        connection = sqlite3.connect(
            path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            with private.turn(path.parent):
                _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > SCHEMA_VERSION:
        raise LastgoodError(
            Code.CONFLICT,
            f"The prediction log {path} was written by a newer Lastgood (format {found}; this one knows "
            f"{SCHEMA_VERSION}).",
            "Use that one again.",
        )
    if found == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before there is any table
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES_MAX}")
    if found < SCHEMA_VERSION:
        _make_tables(connection)


def _make_tables(connection: sqlite3.Connection) -> None:
    """Bring the file to this format in one transaction. Rows stay as they are: a new column of theirs is NULL."""
    more = ""
    for table, column, kind in _ADDED:
        known = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        if known and column not in known:
            more += f"ALTER TABLE {table} ADD COLUMN {column} {kind}; "
    connection.executescript(
        f"BEGIN IMMEDIATE; {_TABLES} {LABEL_TABLES} {SKETCH_TABLES} {more} {_INDEXES} "
        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Commit what the block does, or undo all of it when it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def meant(path: Path) -> Iterator[None]:
    """Say what errors of SQLite and of the file system mean.

    :raises LastgoodError: ``corrupt`` when the file is damaged, ``storage`` for everything else.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise LastgoodError(
                Code.CORRUPT,
                f"The prediction log {path} is damaged: {error}.",
                "Stop the server and move the files log.db* away; a new log begins. Serving does not need it.",
            ) from None
        raise LastgoodError(
            Code.STORAGE,
            f"The prediction log {path} cannot be used: {error}.",
            "Check the disk, then try again.",
        ) from None
    except OSError as error:
        raise LastgoodError(
            Code.STORAGE,
            f"The prediction log {path} cannot be used: {error.strerror or error}.",
            "Check the disk and the folder's permissions.",
        ) from None
