"""Notifications that wait to be sent. :mod:`lastgood.store.deliveries` queues them with the events they tell."""

from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, select, update

from lastgood.domain.change import Delivery
from lastgood.domain.channel import Channel
from lastgood.domain.event import AuditEvent
from lastgood.errors import Code, LastgoodError
from lastgood.store.database import Database, find
from lastgood.store.documents import from_text
from lastgood.store.journal import event_from
from lastgood.store.schema import SENT, WAITING, events, outbox

KEEP_SENT_SECONDS: Final = 7 * 86_400.0
"""How long a delivery is kept after it was sent. What was given up stays."""
_DUE: Final = (
    select(outbox.c.id, outbox.c.key, outbox.c.channel, outbox.c.format, outbox.c.attempts, *events.c)
    .join_from(outbox, events, outbox.c.event == events.c.sequence)
    .where(WAITING, outbox.c.due_at <= bindparam("now"))
    .order_by(outbox.c.due_at, outbox.c.id)
    .limit(bindparam("limit"))
)
_CHANGE: Final = (
    update(outbox).where(outbox.c.id == bindparam("of_id"), WAITING).values(attempts=outbox.c.attempts + 1)
)
_KNOWN: Final = select(outbox.c.id).where(outbox.c.id == bindparam("id"))
_EXPIRED: Final = (  # a few at a time: no writer waits long, and each delivery removes more than it adds
    select(outbox.c.id)
    .where(SENT, outbox.c.finished_at < bindparam("before"))
    .order_by(outbox.c.finished_at)
    .limit(50)
)
_FORGET: Final = delete(outbox).where(outbox.c.id.in_(_EXPIRED))


class SqlOutbox:
    """The :class:`~lastgood.ports.Outbox` in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, now: float, *, limit: int = 20) -> list[tuple[Delivery, AuditEvent]]:
        """Return deliveries whose time has come, oldest first."""
        rows = self._database.rows(_DUE, {"now": now, "limit": limit})
        return [
            (
                Delivery(
                    id=row.id,
                    key=row.key,
                    event=row.sequence,
                    channel=from_text(row.channel, Channel, row.format),
                    attempts=row.attempts,
                ),
                event_from(row),
            )
            for row in rows
        ]

    def sent(self, delivery: int, now: float) -> None:
        """Mark one as delivered. Marking it twice is harmless. What was sent a week before is forgotten.

        :raises LastgoodError: ``not_found`` if there is no such delivery; so do the other two.
        """
        with self._database.transaction() as connection:
            _change(connection, delivery, {"outcome": "sent", "finished_at": now, "error": None})
            connection.execute(_FORGET, {"before": now - KEEP_SENT_SECONDS})

    def retry(self, delivery: int, at: float, error: str) -> None:
        """Count a failed try and plan the next one; one that is finished stays so."""
        with self._database.transaction() as connection:
            _change(connection, delivery, {"due_at": at, "error": error})

    def give_up(self, delivery: int, now: float, error: str) -> None:
        """Stop trying; kept with its last error."""
        with self._database.transaction() as connection:
            _change(connection, delivery, {"outcome": "given_up", "finished_at": now, "error": error})


def _change(connection: Connection, delivery: int, columns: dict[str, Any]) -> None:
    """Count a try and write ``columns``, unless the delivery is finished."""
    if find(connection, _KNOWN, {"id": delivery}) is None:
        raise LastgoodError(
            Code.NOT_FOUND, f"There is no notification {delivery}.", "Read what is due again."
        )
    connection.execute(_CHANGE, {**columns, "of_id": delivery})
