"""What Lastgood remembers inside the database itself: which schemas it keeps, and which swaps happened.

It is in the schema ``lastgood`` of the same database, so that it changes in the same transaction as the data it is about.
"""

import hashlib
from typing import Final, LiteralString

import msgspec
from psycopg import sql

from lastgood.errors import Code, LastgoodError
from lastgood.sources.postgres_definitions import Definitions
from lastgood.sources.postgres_session import Session, one

LEDGER: Final = "lastgood"
_MAKE: Final[LiteralString] = """
CREATE SCHEMA IF NOT EXISTS lastgood;
CREATE TABLE IF NOT EXISTS lastgood.kept (
  place text PRIMARY KEY, definitions text NOT NULL, snapshot text, made_by xid8 NOT NULL
);
CREATE TABLE IF NOT EXISTS lastgood.swaps (
  live text NOT NULL, token text NOT NULL, replaced text NOT NULL, swapped_at timestamptz NOT NULL,
  PRIMARY KEY (live, token)
);
"""


class Places(msgspec.Struct, frozen=True):
    """The schemas that belong to one token of one live schema: a snapshot, something staged, replaced data."""

    snapshot: str
    staged: str
    replaced: str


def places(live: str, token: str) -> Places:
    """Return them; the live schema's name is in them as a digest, so that two sources may use one token."""
    stem = f"{LEDGER}_{token}_{hashlib.sha256(live.encode()).hexdigest()[:8]}"
    return Places(stem, f"{stem}_new", f"{stem}_old")


def prepare(connection: Session) -> None:
    """Make the ledger where it is missing, once, whoever else does the same.

    :raises LastgoodError: ``refused`` when it belongs to a role that is not ours: what it says could be anything.
    """
    owner = one(
        connection,
        "SELECT pg_catalog.pg_get_userbyid(nspowner) FROM pg_catalog.pg_namespace WHERE nspname = 'lastgood'"
        " AND NOT pg_catalog.pg_has_role(current_user, nspowner, 'USAGE')",
    )
    if owner is not None:
        raise LastgoodError(
            Code.REFUSED,
            f"The schema 'lastgood' of this database, which holds what is kept, belongs to {owner!r}.",
            "Connect as that role, or let this user be a member of it; all sources of one database need the same.",
        )
    if one(connection, "SELECT pg_catalog.to_regclass('lastgood.swaps')") is not None:
        return
    with connection.transaction():
        connection.execute("SELECT pg_catalog.pg_advisory_xact_lock(7815696, 1)")
        connection.execute(_MAKE)


def hold(connection: Session, live: str, token: str) -> None:
    """Wait until no other session works on this token; the lock goes with the session."""
    connection.execute(
        "SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended(%s, 7815696))", [f"{live}\n{token}"]
    )


def exists(connection: Session, schema: str) -> bool:
    """Whether there is a schema of this name."""
    query: LiteralString = "SELECT true FROM pg_catalog.pg_namespace WHERE nspname = %(schema)s"
    return one(connection, query, {"schema": schema}) is True


def keep(connection: Session, place: str, definitions: Definitions, snapshot: bytes | None) -> None:
    """Remember a schema and all that cannot be read from its tables, in the transaction that makes it."""
    forget(connection, place)  # what was remembered of a schema that somebody dropped
    connection.execute(
        "INSERT INTO lastgood.kept (place, definitions, snapshot, made_by)"
        " VALUES (%s, %s, %s, pg_catalog.pg_current_xact_id())",
        [place, msgspec.json.encode(definitions).decode(), None if snapshot is None else snapshot.decode()],
    )


def kept_snapshot(connection: Session, place: str) -> bytes | None:
    """Return the snapshot remembered with a schema, None where there is none."""
    query: LiteralString = "SELECT snapshot FROM lastgood.kept WHERE place = %(place)s"
    text = one(connection, query, {"place": place})
    return None if text is None else str(text).encode()


def kept_definitions(connection: Session, place: str) -> Definitions | None:
    """Return the definitions remembered with a schema."""
    query: LiteralString = "SELECT definitions FROM lastgood.kept WHERE place = %(place)s"
    text = one(connection, query, {"place": place})
    return None if text is None else msgspec.json.decode(text, type=Definitions)


def forget(connection: Session, place: str) -> None:
    """Forget a schema."""
    connection.execute("DELETE FROM lastgood.kept WHERE place = %s", [place])


def swapped(connection: Session, live: str, token: str) -> bool:
    """Whether the swap of this token was committed."""
    if one(connection, "SELECT pg_catalog.to_regclass('lastgood.swaps')") is None:
        return False
    query: LiteralString = "SELECT true FROM lastgood.swaps WHERE live = %(live)s AND token = %(token)s"
    return one(connection, query, {"live": live, "token": token}) is True


def record_swap(connection: Session, live: str, token: str, replaced: str) -> None:
    """Write the swap down for ever, in its own transaction."""
    connection.execute(
        "INSERT INTO lastgood.swaps VALUES (%s, %s, %s, pg_catalog.clock_timestamp())",
        [live, token, replaced],
    )


def size_of(connection: Session, schema: str) -> int:
    """Return the bytes on disk of everything in a schema."""
    query: LiteralString = (
        "SELECT coalesce(sum(pg_catalog.pg_total_relation_size(c.oid)), 0)::bigint FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'm', 'S')"
    )
    return int(one(connection, query, {"schema": schema}))


def drop(connection: Session, schema: str) -> None:
    """Drop a schema with all that is in it."""
    connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
