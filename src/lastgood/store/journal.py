"""The record: events appended under the write lock, each sealed to the one before it."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from sqlalchemy import Row, Select, select

from lastgood.domain.channel import Channel
from lastgood.domain.event import AuditEvent, EventDraft
from lastgood.domain.replay import Tables
from lastgood.store.database import Database
from lastgood.store.deliveries import queue
from lastgood.store.documents import from_text
from lastgood.store.effects import bound_from, read_tables, with_effects
from lastgood.store.ledger import read_ledger, record, save_ledger
from lastgood.store.schema import events

_PAGE: Final = 500


class SqlJournal:
    """The :class:`~lastgood.ports.Journal` in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, event: EventDraft, notify: Iterable[Channel] = ()) -> AuditEvent:
        """Append one event that belongs to no change, and queue its delivery to these channels. One transaction."""
        with self._database.transaction() as connection:
            before = read_ledger(connection, lock=True)
            after, sealed = record(connection, before, with_effects((event,), {}))
            save_ledger(connection, before, after)
            queue(connection, sealed, notify)
        return sealed[0]

    def events(
        self, *, after: int = 0, limit: int = 100, deployment: str | None = None, newest_first: bool = False
    ) -> list[AuditEvent]:
        """Return events with a sequence above ``after`` (or the last ones, newest first)."""
        query = select(events).where(events.c.sequence > after)
        if deployment is not None:
            query = query.where(events.c.deployment == deployment)
        order = events.c.sequence.desc() if newest_first else events.c.sequence
        return self._fetch(query.order_by(order).limit(limit))

    def last(self, kind: str, deployment: str) -> AuditEvent | None:
        """Return a deployment's newest event of this type."""
        of_it = (events.c.deployment == deployment, events.c.type == kind)
        query = select(events).where(*of_it).order_by(events.c.sequence.desc()).limit(1)
        return next(iter(self._fetch(query)), None)

    def head(self) -> tuple[int, str]:
        """Return sequence and hash of the last event; (0, GENESIS) when there is none.

        It is kept apart from the events, so that a chain whose end was cut off does not meet it.
        """
        with self._database.reading() as connection:
            book = read_ledger(connection)
        return book.sequence, book.hash

    def bound_from(self) -> int:
        """Return the sequence from which on events carry effects: 1 unless the database is older than they are."""
        with self._database.reading() as connection:
            return bound_from(connection)

    def tables(self, after: int) -> Tables:
        """Return what the tables hold, and the events above ``after``, at one moment."""
        query = select(events).where(events.c.sequence > after).order_by(events.c.sequence)
        with self._database.reading() as connection:
            book = read_ledger(connection)
            return Tables(
                events=tuple(event_from(row) for row in connection.execute(query)),
                head=(book.sequence, book.hash),
                bound_from=bound_from(connection),
                rows=read_tables(connection),
            )

    def chain(self) -> Iterator[AuditEvent]:
        """Yield every event in order, a page at a time; the database is free between pages."""
        last = -1  # whatever a forger put before the first event is seen as well
        while True:
            query = select(events).where(events.c.sequence > last).order_by(events.c.sequence)
            page = self._fetch(query.limit(_PAGE))
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1].sequence

    def _fetch(self, query: Select[Any]) -> list[AuditEvent]:
        return [event_from(row) for row in self._database.rows(query)]


def event_from(row: Row[Any]) -> AuditEvent:
    """Return the event of a row that holds all columns of ``events``."""
    return AuditEvent(
        sequence=row.sequence,
        type=row.type,
        at=row.at,
        actor=row.actor,
        model=row.model,
        deployment=row.deployment,
        release=row.release,
        version=row.version,
        data=from_text(row.data, dict),
        previous=row.previous,
        hash=row.hash,
    )
