"""Seals: an event holds only as it was sealed, and only in its place."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.domain.event import GENESIS, AuditEvent, EventDraft, seal, seal_holds

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def _draft(**fields: Any) -> EventDraft:
    known = {"type": "lastgood.test.happened", "at": 1.5, "actor": "ann", "model": "churn", **fields}
    return EventDraft(**known)


def _chain(count: int) -> list[AuditEvent]:
    events: list[AuditEvent] = []
    for number in range(1, count + 1):
        previous = events[-1].hash if events else GENESIS
        events.append(seal(_draft(data={"number": number}), number, previous))
    return events


@given(
    data=st.dictionaries(st.text(), _json, max_size=4), at=st.floats(allow_nan=False, allow_infinity=False)
)
def test_seal_holds_after_a_round_trip(data: dict[str, Any], at: float) -> None:
    """An event written as JSON and read back still holds, whatever it says."""
    event = seal(_draft(data=data, at=at), 1, GENESIS)
    again = msgspec.json.decode(msgspec.json.encode(event), type=AuditEvent)

    assert seal_holds(again, 1, GENESIS)


@pytest.mark.parametrize("name", AuditEvent.__struct_fields__)
def test_every_field_is_sealed(name: str) -> None:
    """Changing any single field breaks the seal."""
    event = seal(_draft(deployment="d", release=1, version=2, data={"a": 1}), 1, GENESIS)
    other: dict[str, Any] = {"sequence": 2, "at": 1.25, "release": 9, "version": None, "data": {"a": 2}}
    forged = msgspec.structs.replace(event, **{name: other.get(name, "forged")})

    assert not seal_holds(forged, forged.sequence, forged.previous)


def test_moved_event_does_not_hold() -> None:
    """An untouched event in another place, or after another event, does not hold."""
    first, second, third = _chain(3)

    assert seal_holds(second, 2, first.hash)
    assert not seal_holds(second, 3, first.hash)
    assert not seal_holds(third, 2, first.hash)
    assert not seal_holds(second, 2, third.hash)


def test_removed_event_breaks_what_follows() -> None:
    """With one event taken out, the next one does not follow."""
    first, _, third = _chain(3)

    assert not seal_holds(third, 2, first.hash)
    assert not seal_holds(third, 3, first.hash)


def test_order_of_keys_does_not_matter() -> None:
    """The same data with keys in another order has the same hash."""
    one = seal(_draft(data={"a": 1, "b": {"c": 2, "d": 3}}), 1, GENESIS)
    two = seal(_draft(data={"b": {"d": 3, "c": 2}, "a": 1}), 1, GENESIS)

    assert one.hash == two.hash
