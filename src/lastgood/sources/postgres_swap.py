"""The swap: live schema and staged schema change names in one transaction, under locks on every table and view.

A lock that waits makes everybody behind it wait. So each try waits a tenth of a second at most and then lets everybody
go on for as long, until the time for all tries is over. Statements that wait for a table meanwhile look its name up
again when the locks are gone, and find the new one; sessions plan their prepared statements anew.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, LiteralString

from psycopg import errors, sql

from lastgood.errors import Code, LastgoodError
from lastgood.sources import postgres_ledger as ledger
from lastgood.sources.postgres_copy import set_counters, table_names
from lastgood.sources.postgres_definitions import Counter, read_counters, read_itself
from lastgood.sources.postgres_refusals import refuse_outside
from lastgood.sources.postgres_session import Session

_PAUSE_SECONDS: Final = 0.1
_TRY: Final[LiteralString] = "SET LOCAL lock_timeout = '100ms'; SET LOCAL statement_timeout = '300ms'"
# The server ends an autovacuum that is in the way, but only once somebody has waited for this long; a second would be
# longer than any try. Not every user may say so (GRANT SET ON PARAMETER deadlock_timeout): then autovacuum is waited for.
_IMPATIENT: Final[LiteralString] = "SET deadlock_timeout = '20ms'"
_NO_LIMIT: Final[LiteralString] = "SET LOCAL statement_timeout = 0"

_VIEWS: Final[LiteralString] = """
SELECT c.relname, pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relkind IN ('v', 'm') ORDER BY c.relname
"""
_STEPS: Final[LiteralString] = """
SELECT c.relname, s.seqincrement, s.seqmin, s.seqmax FROM pg_catalog.pg_sequence s
  JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s ORDER BY c.relname
"""
# A transaction whose view of the database is older than the staged rows would find the new tables empty. It can only be
# one that began before this call; those that look anew for each statement show no old view while they are idle.
_OLD_VIEW: Final[LiteralString] = """
SELECT a.pid, a.xact_start::text FROM pg_catalog.pg_stat_activity a, lastgood.kept k
WHERE k.place = %(staged)s AND a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
  AND a.backend_type = 'client backend' AND a.backend_xmin IS NOT NULL AND a.xact_start < %(begun)s
  AND pg_catalog.age(a.backend_xmin) >= pg_catalog.age(k.made_by::xid)
ORDER BY a.xact_start LIMIT 1
"""
_HOLDER: Final[LiteralString] = """
SELECT l.pid, a.xact_start::text FROM pg_catalog.pg_locks l
  JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE n.nspname = %(schema)s AND l.granted AND l.pid <> pg_catalog.pg_backend_pid()
ORDER BY a.xact_start LIMIT 1
"""
_GRANTEES: Final[LiteralString] = """
SELECT DISTINCT CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.grantee)) END
FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) e
WHERE n.nspname = %(schema)s AND e.grantee <> n.nspowner
"""


class HeldError(Exception):
    """Somebody's transaction stands in the way of one try: a process of the server, and since when."""

    def __init__(self, pid: int | None, since: str | None) -> None:
        super().__init__(pid)
        self.pid = pid
        self.since = since


def swap(connection: Session, live: str, token: str, seconds: float, reached: Callable[[str], None]) -> None:
    """Try until it is done or ``seconds`` are over.

    :raises LastgoodError: ``timeout`` naming the process that stood in the way; live data is as before.
    """
    begun_here = time.monotonic()
    with suppress(errors.InsufficientPrivilege):
        connection.execute(_IMPATIENT)
    row = connection.execute("SELECT pg_catalog.clock_timestamp()").fetchone()
    assert row is not None
    while True:
        try:
            _try(connection, live, ledger.places(live, token), token, row[0], reached)
        except (errors.LockNotAvailable, errors.QueryCanceled, errors.DeadlockDetected):
            holder = connection.execute(_HOLDER, {"schema": live}).fetchone()
            held = HeldError(*(holder or (None, None)))
        except HeldError as error:
            held = error
        else:
            reached("swap committed")
            return
        if time.monotonic() - begun_here + _PAUSE_SECONDS >= seconds:
            raise _too_long(live, held, seconds)
        time.sleep(_PAUSE_SECONDS)


def make_again(connection: Session, live: str, token: str) -> None:
    """Make a live schema that somebody dropped, empty, with the owner and rights that it had when it was captured.

    The swap has something to replace then: what is staged is all that is left of the data.
    """
    known = ledger.kept_definitions(connection, ledger.places(live, token).staged)
    with connection.transaction():
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(live)))
        for statement in () if known is None else known.itself:
            connection.execute(sql.SQL(statement))


def _try(
    connection: Session,
    live: str,
    places: ledger.Places,
    token: str,
    begun: object,
    reached: Callable[[str], None],
) -> None:
    with connection.transaction():
        connection.execute(_TRY)
        held = connection.execute(_OLD_VIEW, {"staged": places.staged, "begun": begun}).fetchone()
        if held is not None:
            raise HeldError(*held)
        _lock(connection, live)
        reached("swap locked")
        connection.execute(_NO_LIMIT)
        refuse_outside(connection, live)
        _carry_counters(connection, live, places.staged)
        rights = read_itself(connection, live)
        _withdraw(connection, live)
        _withdraw(connection, places.staged)
        _rename(connection, live, places.replaced)
        reached("swap renamed the old")
        _rename(connection, places.staged, live)
        for statement in rights:
            connection.execute(sql.SQL(statement))
        ledger.forget(connection, places.staged)
        ledger.record_swap(connection, live, token, places.replaced)
        reached("swap not committed yet")


def _lock(connection: Session, live: str) -> None:
    names = table_names(connection, live)
    if names:
        tables = sql.SQL(", ").join(sql.Identifier(live, name) for name in names)
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(tables))
    # LOCK TABLE on a view would lock what it reads in other schemas, too, and cannot lock a materialised one. Naming the
    # owner again changes nothing, and takes the same lock on the view alone.
    view = sql.SQL("ALTER TABLE {} OWNER TO {}")
    _together(
        connection,
        [
            view.format(sql.Identifier(live, name), sql.Identifier(owner))
            for name, owner in connection.execute(_VIEWS, {"schema": live}).fetchall()
        ],
    )
    if table_names(connection, live) != names:  # a table was made while the locks were taken
        raise HeldError(None, None)


def _carry_counters(connection: Session, live: str, staged: str) -> None:
    """Take each sequence to where live data's was: a number that was given out is never given out again."""
    same = sql.SQL("ALTER SEQUENCE {} INCREMENT BY {}")
    # The same step again changes nothing, and nobody draws a number until the transaction ends.
    _together(
        connection,
        [
            same.format(sql.Identifier(live, name), step)
            for name, step, _, _ in connection.execute(_STEPS, {"schema": live}).fetchall()
        ],
    )
    steps = {name: step for name, *step in connection.execute(_STEPS, {"schema": staged}).fetchall()}
    restored = {counter.name: counter for counter in read_counters(connection, staged)}
    ahead = [
        counter
        for counter in read_counters(connection, live)
        if counter.name in restored and _is_ahead(counter, restored[counter.name], steps[counter.name])
    ]
    set_counters(connection, staged, ahead)


def _is_ahead(counter: Counter, other: Counter, step: list[Any]) -> bool:
    increment, lowest, highest = step
    if not lowest <= counter.value <= highest:
        return False
    sign = 1 if increment > 0 else -1
    return (sign * counter.value, counter.is_called) > (sign * other.value, other.is_called)


def _withdraw(connection: Session, schema: str) -> None:
    grantees = [str(row[0]) for row in connection.execute(_GRANTEES, {"schema": schema}).fetchall()]
    if grantees:
        connection.execute(
            sql.SQL("REVOKE ALL ON SCHEMA {} FROM {} CASCADE").format(
                sql.Identifier(schema), sql.SQL(", ".join(grantees))
            )
        )


def _together(connection: Session, statements: list[sql.Composed]) -> None:
    """Send statements as one: everybody waits meanwhile, and each way to the server takes time."""
    if statements:
        connection.execute(sql.SQL("; ").join(statements))


def _rename(connection: Session, schema: str, name: str) -> None:
    connection.execute(
        sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(schema), sql.Identifier(name))
    )


def _too_long(live: str, held: HeldError, seconds: float) -> LastgoodError:
    who = "A transaction" if held.pid is None else f"The transaction of server process {held.pid}"
    since = f", open since {held.since}," if held.since else ""
    return LastgoodError(
        Code.TIMEOUT,
        f"{who}{since} did not let go of the schema {live!r} within {seconds:g} s; live data is as before.",
        "Wait for it or end it, then try again.",
        details={} if held.pid is None else {"pid": held.pid, "since": held.since},
    )
