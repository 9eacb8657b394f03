"""An event of the record as a CloudEvent 1.0 that a person can read too.

``id`` is the idempotency key: a receiver that has seen it may drop the event. ``sequence`` (the extension of
that name) gives the order where deliveries overtook each other. ``data.text`` says what happened, why, on what
numbers, and what happens next.
"""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from lastgood.domain.event import AuditEvent

CONTENT_TYPE: Final = "application/cloudevents+json"
_SHOWN_NUMBERS: Final = 12
_NEXT: Final = {
    "pending": "The controller takes it up next.",
    "validating": "Next it is loaded, verified and warmed; it gets no traffic until then.",
    "shadowing": "It answers copies of requests, to nobody, and gets no traffic in this step.",
    "progressing": "It goes on with its steps while the guardrails hold.",
    "paused": "It waits, with its guardrails watched; 'lastgood resume', 'approve', 'promote' or 'rollback'.",
    "promoting": "It counts as promoted once every gateway has acknowledged it.",
    "watching": "The guardrails go on, and the version before stays ready.",
    "succeeded": "Nothing more happens; the version before stays the way back.",
    "rolling_back": "It counts as rolled back once every gateway has acknowledged it and nothing is in flight.",
    "rolled_back": "The last good version answers. See 'lastgood history' for the evidence.",
    "aborted": "Nothing more happens; the version is not marked failed.",
    "stuck": "A person is needed: see 'lastgood status' for what has not acknowledged.",
}


def encode_cloud_event(event: AuditEvent, key: str) -> bytes:
    """Return ``event`` in structured JSON; the same bytes for the same event and key, on every try."""
    data = {
        **event.data,
        "release": event.release,
        "version": event.version,
        "model": event.model,
        "deployment": event.deployment,
        "actor": event.actor,
        "text": sentence(event),
    }
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": key,
            "source": f"lastgood/{event.deployment or event.model}",
            "type": event.type,
            "subject": _subject(event),
            "time": datetime.fromtimestamp(event.at, UTC).isoformat().replace("+00:00", "Z"),
            "sequence": str(event.sequence),
            "datacontenttype": "application/json",
            "data": data,
        }
    )


def sentence(event: AuditEvent) -> str:
    """Say what happened, why, on what numbers, and what happens next."""
    parts = [f"{_what(event)}."]
    cause = str(event.data.get("cause") or "").strip()
    evidence, timings = event.data.get("evidence"), event.data.get("timings")
    numbers = [*_numbers(evidence, ""), *_numbers(timings, " ms")]
    if cause:
        parts.append(f"Why: {cause.rstrip('.')}.")
    if numbers:
        parts.append(f"Numbers: {', '.join(numbers[:_SHOWN_NUMBERS])}.")
    following = event.data.get("next") or _NEXT.get(str(event.data.get("to")))
    if following:
        parts.append(str(following))
    return " ".join(parts)


def _what(event: AuditEvent) -> str:
    noun, _, verb = event.type.removeprefix("lastgood.").partition(".")
    subject = f"{noun} {event.release}" if event.release is not None and noun == "release" else noun
    label = event.data.get("label")
    version = f" version {event.version}" if event.version is not None else ""
    named = f"{version} ({label})" if version and label else version
    target = event.data.get("target")
    back = f", back to version {target}" if target is not None else ""
    where = event.deployment or event.model
    return f"{where}: {subject} {verb.replace('_', ' ')},{named or ' no version'}{back}, by {event.actor}"


def _subject(event: AuditEvent) -> str:
    if event.release is not None:
        return f"releases/{event.release}"
    return event.model if event.version is None else f"{event.model}/versions/{event.version}"


def _numbers(found: Any, unit: str) -> list[str]:
    if not isinstance(found, dict):
        return []
    return [
        f"{name.replace('_', ' ')} {value:.6g}{unit}"
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
