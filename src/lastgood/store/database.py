"""The one place that knows which database this is: connections, transactions, locks and error codes.

A writer takes the database's write lock when it begins (``BEGIN IMMEDIATE``), never half-way, so that it
cannot fail between its first read and its first write. Writers of one process queue in memory before
that, because SQLite makes waiters of other connections sleep. Readers never wait for writers (WAL).
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, Row, Select, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from lastgood.errors import Code, LastgoodError
from lastgood.store import ballast

BUSY_SECONDS: Final = 10.0
"""How long a writer waits for another one before it gives up with a conflict."""
_BEGIN: Final = "lastgood_begin"
# A quota that is used up comes as a failed write, a disk that is full under the log's index as the second.
_NO_ROOM: Final = frozenset({sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})
_SETTINGS: Final = (
    f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}",
    "PRAGMA foreign_keys = ON",
    "PRAGMA synchronous = FULL",  # a commit that was answered survives a power cut
    "PRAGMA journal_size_limit = 67108864",
)
_NOTHING: Final[Mapping[str, Any]] = {}
FULL: Final = "full"
"""What ``details["reason"]`` of an error says when the disk is full, or may be."""
_UNSTORABLE: Final = (OverflowError, UnicodeEncodeError)
T = TypeVar("T")
_PRIMARY: Final = 0xFF  # the low byte of an extended result code says what kind it is


class Database:
    """One database. Safe to use from any thread; every process opens its own."""

    def __init__(self, engine: Engine, where: str, ballast: Path | None = None) -> None:
        self.engine = engine
        self.where = where
        self._ballast = ballast
        self._writing = engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        self._asking = engine.execution_options(**{_BEGIN: None})
        self._turn = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give a connection that holds the write lock; commit at the end, undo on any error.

        :raises LastgoodError: ``conflict`` when the lock is not free in time or a constraint is broken,
            ``storage`` when the disk is full or fails.
        """
        with _translated(self.where), self._own_turn(), self._writing.begin() as connection:
            yield connection

    def write(self, work: Callable[[Connection], T], *, urgent: bool = False) -> T:
        """Do ``work`` in a :meth:`transaction`, once more without the ballast when it is urgent and finds no room.

        So ``work`` must do nothing but read and write the database.

        :raises LastgoodError: as :meth:`transaction`.
        """
        try:
            with self.transaction() as connection:
                return work(connection)
        except LastgoodError as error:
            full = error.details.get("reason") == FULL
            if not (full and urgent and self._ballast is not None and ballast.drop(self._ballast)):
                raise
        with self.transaction() as connection:
            return work(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one moment of the database and changes nothing.

        :raises LastgoodError: ``storage`` when the database cannot be read.
        """
        with _translated(self.where), self.engine.begin() as connection:
            yield connection

    def rows(self, query: Select[Any], parameters: Mapping[str, Any] = _NOTHING) -> Sequence[Row[Any]]:
        """Return what one query finds. One statement sees one moment by itself: it needs no transaction.

        A parameter that no column can hold (a number beyond 64 bits, text that is no UTF-8) finds nothing.

        :raises LastgoodError: ``storage`` when the database cannot be read.
        """
        with _translated(self.where), self._asking.connect() as connection:
            try:
                return connection.execute(query, parameters).all()
            except _UNSTORABLE:
                return []

    def row(self, query: Select[Any], parameters: Mapping[str, Any] = _NOTHING) -> Row[Any] | None:
        """Return the one row that a query by key finds, or None. Otherwise as :meth:`rows`."""
        with _translated(self.where), self._asking.connect() as connection:
            return find(connection, query, parameters)

    def close(self) -> None:
        """Close every connection that is not in use."""
        self.engine.dispose()

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=BUSY_SECONDS):
            raise _busy(self.where)
        try:
            yield
        finally:
            self._turn.release()


def find(connection: Connection, query: Select[Any], parameters: Mapping[str, Any]) -> Row[Any] | None:
    """Return the one row that a query by key finds; what no column can hold finds none."""
    try:
        return connection.execute(query, parameters).one_or_none()
    except _UNSTORABLE:
        return None


def open_database(path: Path | None) -> Database:
    """Open the SQLite file at ``path``, making it when it is not there; None gives one in memory, for tests.

    :raises LastgoodError: ``storage`` when it cannot be opened, ``corrupt`` when it is no database.
    """
    where = "the database in memory" if path is None else str(path)
    single = {
        "pool_size": 1,
        "max_overflow": 0,
    }  # one connection IS the database in memory; threads take turns
    many = {"pool_size": 8, "max_overflow": 56}
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=":memory:" if path is None else str(path)),
        poolclass=QueuePool,
        pool_timeout=BUSY_SECONDS,
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
        **(single if path is None else many),
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    if path is None:
        return Database(engine, where)
    spare = path.with_name("ballast")
    database = Database(engine, where, spare)
    try:
        _write_ahead(database)
    except LastgoodError as error:
        if error.details.get("reason") != FULL or not ballast.drop(spare):
            raise
        _write_ahead(database)
    ballast.keep(spare)
    return database


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    """Switch the driver's own transactions off, then set what SQLite forgets with each connection."""
    connection.isolation_level = None
    for setting in _SETTINGS:
        connection.execute(setting).close()


def _begin(connection: Connection) -> None:
    statement = connection.get_execution_options().get(_BEGIN, "BEGIN")
    if statement is not None:
        connection.exec_driver_sql(statement)


def _write_ahead(database: Database) -> None:
    """Turn the write-ahead log on; the file remembers it.

    Processes that open a new file together collide here, and SQLite does not wait by itself in that case.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    with _translated(database.where):
        while True:
            raw = database.engine.raw_connection()
            try:
                raw.cursor().execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            finally:
                raw.close()


@contextmanager
def _translated(where: str) -> Iterator[None]:
    try:
        yield
    except PoolTimeoutError:
        raise _busy(where) from None
    except _UNSTORABLE as error:
        raise LastgoodError(
            Code.INVALID,
            f"A value cannot be stored ({error}); nothing was written.",
            "Use numbers of at most 64 bits and text that is UTF-8.",
        ) from error
    except (DBAPIError, sqlite3.Error) as error:
        raise _as_lastgood(error, where) from error


def _as_lastgood(error: Exception, where: str) -> LastgoodError:
    """Say in our words what the database said in its own."""
    cause: Any = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(error, IntegrityError) or isinstance(cause, sqlite3.IntegrityError):
        return LastgoodError(
            Code.CONFLICT,
            f"The change contradicts what is stored ({cause}); nothing was written.",
            "Look at the present state, then try again.",
        )
    code = getattr(cause, "sqlite_errorcode", 0)
    kind = code & _PRIMARY
    if kind in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return _busy(where)
    if kind == sqlite3.SQLITE_FULL:
        return LastgoodError(
            Code.STORAGE,
            f"The disk of {where} is full; nothing was written.",
            "Free some space there, then try again. Serving goes on meanwhile.",
            details={"reason": FULL},
        )
    if kind in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return LastgoodError(
            Code.CORRUPT,
            f"{where} is damaged or is no database ({cause}).",
            "Put it aside and restore it from a backup. Serving goes on meanwhile.",
        )
    if kind in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
        return LastgoodError(
            Code.STORAGE,
            f"{where} cannot be read or written ({cause}); nothing was written.",
            "Check that its folder exists, that this user may write there, and that the disk works and has room.",
            details={"reason": FULL} if code in _NO_ROOM else {},
        )
    return LastgoodError(
        Code.INTERNAL, f"{where} did not understand a statement ({cause}).", "Please report this."
    )


def _busy(where: str) -> LastgoodError:
    return LastgoodError(
        Code.CONFLICT,
        f"Another process kept {where} locked for {BUSY_SECONDS:.0f} seconds; nothing was written.",
        "Try again. If it stays so, look for a hanging backup or an open sqlite3 shell.",
    )
