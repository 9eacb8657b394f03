"""Sessions with a PostgreSQL server: opened from a URL that is never shown, with every setting that results depend on.

The server's own errors become :class:`~lastgood.errors.LastgoodError` here. Only the sentence that the server calls its
primary message is passed on: details and hints may quote rows.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, LiteralString

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lastgood.errors import Code, LastgoodError
from lastgood.sources.secrets import is_reference, secret

Session = psycopg.Connection[tuple[Any, ...]]

_OLDEST_SERVER: Final = 140_000
_CONNECT_SECONDS: Final = 10
_NO_ROOM: Final = ("53", "58")  # classes of states: insufficient resources, system error
_SECRET_KEYS: Final = ("password", "sslpassword", "passfile")
# Rows are hashed and compared as text, so everything that changes a value's text is fixed. No name is looked up in a
# schema that somebody else may write to. A row policy must not hide rows: reading fails instead.
_SETTINGS: Final[LiteralString] = (
    "SET search_path = ''; SET client_encoding = 'UTF8'; SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; "
    "SET intervalstyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; SET xmloption = 'content'; "
    "SET lc_monetary = 'C'; SET row_security = off; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; "
    "SET default_transaction_read_only = off; SET default_transaction_isolation = 'read committed'; SET check_function_bodies = off; SET client_min_messages = 'warning'; "
    "SET default_tablespace = ''; SET default_table_access_method = 'heap'; SET jit = off"
)
# A server that looks after its clients ends the work of one that was killed.
_WATCH_CLIENT: Final[LiteralString] = "SET client_connection_check_interval = '1s'"

_CODES: Final[tuple[tuple[type[psycopg.Error], Code, str], ...]] = (
    (errors.LockNotAvailable, Code.TIMEOUT, "Try again when the other session has ended."),
    (errors.QueryCanceled, Code.TIMEOUT, "Try again, or raise statement_timeout."),
    (errors.DeadlockDetected, Code.TIMEOUT, "Try again."),
    (errors.SerializationFailure, Code.TIMEOUT, "Try again."),
    (errors.InvalidSchemaName, Code.NOT_FOUND, "Check the schema's name."),
    (
        errors.UndefinedTable,
        Code.NOT_FOUND,
        "Somebody changed the schema meanwhile; look at it, and try again.",
    ),
    (
        errors.InsufficientPrivilege,
        Code.REFUSED,
        (
            "Connect as a role that owns the schema's objects and may make schemas (GRANT CREATE ON DATABASE); where row"
            " security is forced on owners, with BYPASSRLS."
        ),
    ),
    (errors.DataCorrupted, Code.CORRUPT, "Check the database server's disk."),
    (errors.IndexCorrupted, Code.CORRUPT, "Check the database server's disk."),
)


def unusable(url: str) -> str:
    """Say what is wrong with ``url`` as an option, without showing it; empty when nothing is."""
    if is_reference(url):
        return ""
    parts = _parts(url)
    if parts is None:
        return "is neither postgresql://user@host:5432/database nor env:NAME nor file:PATH"
    if any(parts.get(key) for key in _SECRET_KEYS):
        return "has a password in it: put the whole URL in the environment or a file, and write env:NAME or file:PATH"
    return ""


class Address:
    """Where the server is. The URL is read each time a session is opened, so that its password can be changed."""

    def __init__(self, source: str, given: str) -> None:
        """Keep ``env:NAME``, ``file:PATH``, or a URL in which :func:`unusable` finds nothing."""
        self._source = source
        self._given = given

    def connect(self) -> Session:
        """Open a session in autocommit.

        :raises LastgoodError: ``unavailable`` when that fails, ``invalid`` for a server older than 14.
        """
        parts = _parts(secret(self._given) if is_reference(self._given) else self._given)
        if parts is None:
            raise LastgoodError(
                Code.INVALID,
                f"What is at {self._given} for data source {self._source!r} is not a PostgreSQL URL.",
                "Write postgresql://user:password@host:5432/database there.",
            )
        where = f"{parts.get('host', 'the local server')}:{parts.get('port', 5432)}"
        parts.setdefault("connect_timeout", _CONNECT_SECONDS)
        parts.setdefault("application_name", "lastgood")
        try:
            session = psycopg.connect(make_conninfo("", **parts), autocommit=True, prepare_threshold=None)
        except psycopg.Error as error:
            reason = "it asks for another password" if _is_about_password(error) else type(error).__name__
            raise LastgoodError(
                Code.UNAVAILABLE,
                f"The database of data source {self._source!r} at {where} cannot be reached ({reason}).",
                "Check that it runs, and the URL, user and password.",
            ) from None
        return session


@contextmanager
def session(address: Address, statement_seconds: float) -> Iterator[Session]:
    """Open a session for one piece of work and close it; a transaction that is open then never happened.

    :raises LastgoodError: for whatever the server says; see the codes above.
    """
    connection = address.connect()
    try:
        if connection.info.server_version < _OLDEST_SERVER:
            raise LastgoodError(
                Code.INVALID,
                f"The server is PostgreSQL {connection.info.server_version // 10_000}.",
                "Version 14 or later is needed.",
            )
        with explained():
            connection.execute(_SETTINGS)
            milliseconds = str(max(1, int(statement_seconds * 1000)))
            connection.execute(sql.SQL("SET statement_timeout = {}").format(milliseconds))
            if connection.execute("SELECT pg_catalog.pg_is_in_recovery()").fetchone() == (True,):
                raise LastgoodError(
                    Code.UNAVAILABLE, "The server is a standby: it cannot be written to.", "Name the primary."
                )
            with suppress(errors.InvalidParameterValue):  # not every system can watch a socket
                connection.execute(_WATCH_CLIENT)
            yield connection
    finally:
        connection.close()


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the server says into :class:`LastgoodError`."""
    try:
        yield
    except psycopg.Error as error:
        raise _said(error) from None


def search_in(connection: Session, schema: str) -> None:
    """Look names up in one schema (and the system's) until the session ends or the next call."""
    connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))


def one(connection: Session, query: LiteralString, values: Mapping[str, Any] | None = None) -> Any:
    """Return the first column of the first row, None when there is no row."""
    row = connection.execute(query, values).fetchone()
    return None if row is None else row[0]


def _said(error: psycopg.Error) -> LastgoodError:
    message = (error.diag.message_primary or type(error).__name__).rstrip(".")
    for kind, code, next_step in _CODES:
        if isinstance(error, kind):
            return LastgoodError(code, f"The database says: {message}.", next_step)
    if (error.sqlstate or "")[:2] in _NO_ROOM:
        return LastgoodError(
            Code.STORAGE,
            f"The database says: {message}.",
            "Give the database server more room, or raise its limit.",
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return LastgoodError(
            Code.UNAVAILABLE,
            f"The database went away: {message.splitlines()[0]}.",
            "Try again when it is back.",
        )
    return LastgoodError(
        Code.REFUSED,
        f"The database refused a statement ({error.sqlstate or 'no state'}): {message}.",
        "Correct what it names, and try again.",
    )


def _parts(url: str) -> dict[str, Any] | None:
    if not url.startswith(("postgresql://", "postgres://")):
        return None
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.Error:  # its message may quote the whole URL
        return None


def _is_about_password(error: psycopg.Error) -> bool:
    return "password" in str(error).lower()
