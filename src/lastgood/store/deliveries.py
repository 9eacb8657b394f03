"""Queueing notifications: with the events they tell, in the same transaction."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import Connection, insert

from lastgood.domain.channel import Channel
from lastgood.domain.event import AuditEvent
from lastgood.store.documents import FORMAT, to_text
from lastgood.store.schema import outbox

_QUEUE: Final = insert(outbox)


def queue(connection: Connection, sealed: Sequence[AuditEvent], channels: Iterable[Channel]) -> None:
    """Queue each event for each channel, once, as part of the change under way."""
    texts = list(dict.fromkeys(to_text(channel) for channel in channels))
    rows = [
        {
            "key": hashlib.sha256(f"{event.hash} {text}".encode()).hexdigest()[:32],
            "event": event.sequence,
            "channel": text,
            "format": FORMAT,
            "attempts": 0,
            "due_at": event.at,
        }
        for event in sealed
        for text in texts
    ]
    if rows:
        connection.execute(_QUEUE, rows)
