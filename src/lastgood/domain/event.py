"""The audit record: append-only rows, each bound to the one before it by a hash."""

import hashlib
from typing import Any, Final

import msgspec

GENESIS: Final = "0" * 64
_canonical = msgspec.json.Encoder(order="deterministic").encode


class EventDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, before it has a place in the record. ``type`` is ``lastgood.<noun>.<past tense>``."""

    type: str
    at: float
    actor: str
    model: str
    deployment: str | None = None
    release: int | None = None
    version: int | None = None
    data: dict[str, Any] = {}


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One row. ``sequence`` counts 1, 2, 3 without gaps; ``hash`` covers every other field."""

    sequence: int
    type: str
    at: float
    actor: str
    model: str
    deployment: str | None
    release: int | None
    version: int | None
    data: dict[str, Any]
    previous: str
    hash: str


def seal(draft: EventDraft, sequence: int, previous: str) -> AuditEvent:
    """Give ``draft`` its place after the row whose hash is ``previous``."""
    fields = {**msgspec.structs.asdict(draft), "sequence": sequence, "previous": previous}
    return AuditEvent(**fields, hash=_digest(fields))


def seal_holds(event: AuditEvent, sequence: int, previous: str) -> bool:
    """Whether ``event`` is untouched and stands where it should."""
    fields = msgspec.structs.asdict(event)
    claimed = fields.pop("hash")
    return event.sequence == sequence and event.previous == previous and claimed == _digest(fields)


def _digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical(fields)).hexdigest()
