"""The data source of one PostgreSQL schema.

A snapshot is a schema beside the live one, made in one repeatable-read transaction. A restore makes another schema from
it, whole, and the swap gives it the live schema's name. So nothing leaves the server, and nothing half-made is ever
visible. The user must own the schema's objects and may create schemas; with ``pg_read_all_stats`` it also sees old
transactions of other users, which could read restored tables as empty.

Sequences never go back behind numbers that were given out. Materialised views are computed anew. Connect to the server
itself: a pooler that hands sessions around between transactions would lose their settings.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from psycopg import IsolationLevel, sql

from lastgood.domain.snapshot import Quarantine, Schema, Snapshot
from lastgood.errors import Code, LastgoodError
from lastgood.sources import postgres_ledger as ledger
from lastgood.sources.postgres_content import Content, read_content, read_shape
from lastgood.sources.postgres_copy import copy_bare, finish, hold_still, table_names
from lastgood.sources.postgres_definitions import Definitions, fingerprint, read_definitions
from lastgood.sources.postgres_differences import differences
from lastgood.sources.postgres_refusals import refuse_outside, refuse_what_is_lost
from lastgood.sources.postgres_session import Address, Session, explained, session
from lastgood.sources.postgres_swap import make_again, swap
from lastgood.sources.tokens import checked

PROVIDER: Final = "postgres"


class PostgresSource:
    """The :class:`~lastgood.data_ports.DataSource` of one schema. Each call has a session of its own."""

    def __init__(
        self,
        name: str,
        address: Address,
        schema: str,
        *,
        lock_seconds: float,
        statement_seconds: float,
        reached: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._name = name
        self._address = address
        self._live = schema
        self._lock_seconds = lock_seconds
        self._statement_seconds = statement_seconds
        self._reached = reached

    def schema(self) -> Schema:
        """Return the columns of the live tables."""
        with self._session() as connection:
            self._there(connection)
            return read_shape(connection, self._live)

    def capture(self, token: str) -> Snapshot:
        """Copy the live schema as it is at one moment, and compare the copy with it.

        :raises LastgoodError: ``refused`` naming what a copy would lose, ``timeout`` when the schema is being changed.
        """
        place = ledger.places(self._live, checked(token)).snapshot
        with self._session(token) as connection:
            stored = ledger.kept_snapshot(connection, place)
            if stored is not None and ledger.exists(connection, place):
                return msgspec.json.decode(stored, type=Snapshot)
            self._there(connection)
            begun, taken_at = time.monotonic(), time.time()
            with self._still(connection, self._live):
                refuse_what_is_lost(connection, self._live)
                definitions = read_definitions(connection, self._live, itself=True)
                content = read_content(connection, self._live)
                copy_bare(connection, self._live, place, definitions)
                self._reached("capture copied")
                self._same(
                    read_content(connection, place).digest, content.digest, "The copy of the live schema"
                )
                refuse_outside(
                    connection, self._live
                )  # nothing in the copy may have been bound to live objects
                snapshot = self._snapshot(connection, token, place, content, definitions)
                snapshot = msgspec.structs.replace(
                    snapshot, taken_at=taken_at, seconds=time.monotonic() - begun
                )
                ledger.keep(connection, place, definitions, msgspec.json.encode(snapshot))
                self._reached("capture not committed yet")
            self._reached("capture committed")
            return snapshot

    def verify(self, snapshot: Snapshot) -> None:
        """Read the whole snapshot and what belongs to it, and compare both with their digests."""
        with self._session() as connection:
            place = self._place(connection, snapshot)
            with self._still(connection, place):
                self._definitions(connection, snapshot)
                self._same(
                    read_content(connection, place).digest, snapshot.digest, f"Snapshot {snapshot.token!r}"
                )

    def stage_restore(self, snapshot: Snapshot, token: str) -> None:
        """Make a whole schema from the snapshot and compare it, in one transaction."""
        staged = ledger.places(self._live, checked(token)).staged
        with self._session(token) as connection:
            if ledger.swapped(connection, self._live, token):
                return
            if ledger.exists(connection, staged):
                self._same_restore(ledger.kept_snapshot(connection, staged), snapshot, token)
                return
            place = self._place(connection, snapshot)
            with self._still(connection, place):
                definitions = self._definitions(connection, snapshot)
                copy_bare(connection, place, staged, definitions)
                self._reached("stage copied")
                self._same(
                    read_content(connection, staged).digest, snapshot.digest, f"Snapshot {snapshot.token!r}"
                )
                finish(connection, staged, definitions)
                refuse_outside(connection, place)
                ledger.keep(connection, staged, definitions, msgspec.json.encode(snapshot))
                self._reached("stage not committed yet")
            self._reached("stage committed")

    def swap(self, token: str) -> None:
        """Exchange the schemas' names.

        :raises LastgoodError: ``timeout`` naming the server's process that held on, ``refused`` when something outside
            the schema has come to point into it.
        """
        places = ledger.places(self._live, checked(token))
        with self._session(token) as connection:
            if ledger.swapped(connection, self._live, token):
                return
            if not ledger.exists(connection, places.staged):
                raise LastgoodError(
                    Code.NOT_FOUND,
                    f"Nothing is staged under {token!r} for data source {self._name!r}.",
                    "Stage a restore first.",
                )
            if not ledger.exists(connection, self._live):
                make_again(connection, self._live, token)
            swap(connection, self._live, token, self._lock_seconds, self._reached)

    def swapped(self, token: str) -> bool:
        """Whether the database has it written down, as part of the swap itself."""
        with self._session() as connection:
            return ledger.swapped(connection, self._live, checked(token))

    def quarantine(self, snapshot: Snapshot, token: str, exports: Path) -> Quarantine:
        """Describe and count what the swap replaced; nothing else can still write to it."""
        place = ledger.places(self._live, checked(token)).replaced
        with self._session(token) as connection:
            if not ledger.exists(connection, place):
                raise LastgoodError(
                    Code.NOT_FOUND,
                    f"Nothing that a swap under {token!r} replaced is kept for data source {self._name!r}.",
                    "Look at the list of what is in quarantine.",
                )
            kept = self._kept(connection, token, place)
            before = self._place(connection, snapshot)
            with self._still(connection, place):
                tables = differences(connection, place, before, exports)
            self._reached("quarantine counted")
            return Quarantine(token=token, since=snapshot.token, kept=kept, tables=tables)

    def release(self, token: str) -> int:
        """Drop the schemas of the token, whichever there are.

        :raises LastgoodError: ``refused`` when somebody made something that depends on them.
        """
        places = ledger.places(self._live, checked(token))
        freed = 0
        with self._session(token) as connection:
            for place in (places.snapshot, places.staged, places.replaced):
                if not ledger.exists(connection, place):
                    ledger.forget(connection, place)  # somebody else may have dropped it
                    continue
                with connection.transaction():
                    freed += ledger.size_of(connection, place)
                    refuse_outside(connection, place)
                    ledger.drop(connection, place)
                    ledger.forget(connection, place)
                    self._reached("release not committed yet")
                self._reached("release committed")
        return freed

    def room(self) -> int | None:
        """Return None: a client cannot ask PostgreSQL how much room its disk has."""
        return None

    size = room  # and without that, what a copy takes says nothing

    @contextmanager
    def _session(self, token: str | None = None) -> Iterator[Session]:
        """Open a session; with a token, one that may write, and alone works on that token."""
        with session(self._address, self._statement_seconds) as connection, explained():
            if token is not None:
                ledger.hold(connection, self._live, token)
                ledger.prepare(connection)
            yield connection

    @contextmanager
    def _still(self, connection: Session, schema: str) -> Iterator[None]:
        """Open a transaction that sees one moment, and in which the tables of ``schema`` do not change their shape."""
        names = table_names(connection, schema)
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        try:
            with connection.transaction():
                milliseconds = str(int(self._lock_seconds * 1000))
                connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(milliseconds))
                hold_still(connection, schema, names, "ACCESS SHARE")
                yield
        finally:
            if not connection.closed:
                connection.isolation_level = None

    def _there(self, connection: Session) -> None:
        if not ledger.exists(connection, self._live):
            raise LastgoodError(
                Code.NOT_FOUND,
                f"The database of data source {self._name!r} has no schema {self._live!r}.",
                "Check the option 'schema'.",
            )

    def _place(self, connection: Session, snapshot: Snapshot) -> str:
        place = str(snapshot.place.get("schema", ""))
        if not place.startswith(f"{ledger.LEDGER}_") or not ledger.exists(connection, place):
            raise LastgoodError(
                Code.NOT_FOUND,
                f"Snapshot {snapshot.token!r} of data source {self._name!r} is no longer in the database.",
                "Capture again; nothing can be restored from it.",
            )
        return place

    def _definitions(self, connection: Session, snapshot: Snapshot) -> Definitions:
        definitions = ledger.kept_definitions(connection, str(snapshot.place["schema"]))
        if definitions is None:
            raise LastgoodError(
                Code.NOT_FOUND,
                f"The definitions of snapshot {snapshot.token!r} are no longer in the database.",
                "Capture again.",
            )
        self._same(
            fingerprint(definitions),
            str(snapshot.place.get("definitions")),
            f"What belongs to snapshot {snapshot.token!r}",
        )
        return definitions

    def _kept(self, connection: Session, token: str, place: str) -> Snapshot:
        stored = ledger.kept_snapshot(connection, place)
        if stored is not None:
            return msgspec.json.decode(stored, type=Snapshot)
        begun, taken_at = time.monotonic(), time.time()
        with self._still(connection, place):
            definitions = read_definitions(connection, place)
            content = read_content(connection, place)
            kept = self._snapshot(connection, token, place, content, definitions)
            kept = msgspec.structs.replace(kept, taken_at=taken_at, seconds=time.monotonic() - begun)
            ledger.keep(connection, place, definitions, msgspec.json.encode(kept))
        self._reached("quarantine described")
        return kept

    def _snapshot(
        self,
        connection: Session,
        token: str,
        place: str,
        content: Content,
        definitions: Definitions,
    ) -> Snapshot:
        return Snapshot(
            token=token,
            source=self._name,
            provider=PROVIDER,
            taken_at=0.0,
            seconds=0.0,
            size_bytes=ledger.size_of(connection, place),
            rows=content.rows,
            schema=content.schema,
            digest=content.digest,
            place={"schema": place, "definitions": fingerprint(definitions)},
        )

    def _same_restore(self, stored: bytes | None, snapshot: Snapshot, token: str) -> None:
        if stored is not None and msgspec.json.decode(stored, type=Snapshot).digest != snapshot.digest:
            raise LastgoodError(Code.CONFLICT, f"{token!r} restores another snapshot.", "Use another token.")

    def _same(self, found: str, expected: str, what: str) -> None:
        if found != expected:
            raise LastgoodError(
                Code.CORRUPT,
                f"{what} of data source {self._name!r} is not what was captured: its digest differs.",
                "Do not restore from it; capture again.",
                details={"expected": expected, "found": found},
            )
