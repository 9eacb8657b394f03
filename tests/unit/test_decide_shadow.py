"""What happens next to a release whose candidate answers copies."""

from typing import Any

import msgspec
import pytest
from plights import (
    APPROVE,
    BROKEN,
    DUE,
    HOLDING,
    LATE,
    NOW,
    OPEN,
    PASSED,
    PAUSE,
    PROVING,
    SHADOW,
    SHOWN,
    STANDS,
    UNMEASURED,
    WEIGHT,
    held,
    release,
    seen,
    serving,
    with_steps,
)

from lastgood.control.decide import decide
from lastgood.control.promotion import waiting_for
from lastgood.domain.plan import OnDeadline
from lastgood.domain.readiness import Standing
from lastgood.domain.release import Event, HoldReason, Phase, Release
from lastgood.domain.snapshot import DataProgress, DataStage

GATED = with_steps(SHADOW, APPROVE, WEIGHT)
TWICE = with_steps(SHADOW, SHADOW, WEIGHT)
PLAIN = with_steps(SHADOW, WEIGHT)
FIXED = with_steps(STANDS, WEIGHT)

TURNS: dict[str, tuple[Release, dict[str, Any], Event]] = {
    "more copies": (release(Phase.SHADOWING, TWICE, **DUE), {"requests": 50}, Event.SHADOW),
    "past the copies": (release(Phase.SHADOWING, TWICE, step=1, **DUE), {"requests": 50}, Event.ADVANCE),
    "a gate behind copies": (release(Phase.SHADOWING, GATED, **DUE), {"requests": 50}, Event.SHADOW),
    "at the gate": (release(Phase.SHADOWING, GATED, step=1), {}, Event.HOLD),
    "a pause before copies": (
        release(Phase.PAUSED, with_steps(PAUSE, SHADOW, WEIGHT), **held(LATE)),
        {},
        Event.SHADOW,
    ),
    "broken": (release(Phase.SHADOWING, PLAIN), {"findings": (BROKEN,)}, Event.ROLL_BACK),
    "broken while it is held": (
        release(Phase.PAUSED, PLAIN, **held(reason=HoldReason.PERSON)),
        {"findings": (BROKEN,)},
        Event.ROLL_BACK,
    ),
    "holding": (release(Phase.SHADOWING, PLAIN), {"findings": (HOLDING,)}, Event.HOLD),
    "broken in a standing shadow": (
        release(Phase.SHADOWING, FIXED, deadline=LATE),
        {"findings": (BROKEN,)},
        Event.ROLL_BACK,
    ),
    "no data counts as a failure": (
        release(Phase.SHADOWING, PLAIN, **DUE),
        {"requests": 50, "findings": (UNMEASURED,)},
        Event.ROLL_BACK,
    ),
    "no way back": (
        release(Phase.SHADOWING, PLAIN),
        {"way_back": Standing(open=False, lost="no room")},
        Event.HOLD,
    ),
    "the way back is open again": (
        release(Phase.PAUSED, PLAIN, **held(reason=HoldReason.READINESS)),
        {"way_back": Standing(open=True, lost="")},
        Event.SHADOW,
    ),
    "deadline": (release(Phase.SHADOWING, PLAIN, deadline=LATE), {}, Event.HOLD),
    "deadline that rolls back": (
        release(Phase.SHADOWING, with_steps(SHADOW, WEIGHT, on_deadline=OnDeadline.ROLLBACK), deadline=LATE),
        {},
        Event.ABORT,
    ),
}


@pytest.mark.parametrize("name", TURNS)
def test_this_happens_next(name: str) -> None:
    """Each plight of a release in its shadow steps has its one event, which is legal there."""
    now, sight, event = TURNS[name]
    move = decide(now, serving(), seen(**sight))
    assert move is not None
    assert move.event is event
    assert move.cause
    now.after(event, NOW, **move.changes)


CALM: dict[str, tuple[Release, dict[str, Any]]] = {
    "time is not over": (release(Phase.SHADOWING, PLAIN), {"requests": 500}),
    "too few pairs": (release(Phase.SHADOWING, PLAIN, **DUE), {"requests": 49}),
    "it stands": (release(Phase.SHADOWING, FIXED, deadline=LATE, **DUE), {"requests": 900}),
    "it stands, held": (
        release(Phase.PAUSED, FIXED, deadline=LATE, **held(reason=HoldReason.PERSON)),
        {"requests": 900},
    ),
    "proven on copies alone": (
        release(Phase.SHADOWING, with_steps(SHADOW, WEIGHT, promote_when=PROVING.promote_when)),
        {"requests": 500, "findings": (SHOWN,)},
    ),
    "proven on copies, the first weight not over": (
        release(
            Phase.PROGRESSING, with_steps(SHADOW, WEIGHT, WEIGHT, promote_when=PROVING.promote_when), step=1
        ),
        {"requests": 500, "findings": (SHOWN,)},
    ),
    "copies at the plan's end": (
        release(Phase.SHADOWING, with_steps(WEIGHT, SHADOW), step=1, **DUE),
        {"requests": 50, "findings": (PASSED,)},
    ),
}


@pytest.mark.parametrize("name", CALM)
def test_nothing_happens(name: str) -> None:
    """It waits: for time and pairs, for a person where it stands, and never promotes on copies alone."""
    now, sight = CALM[name]
    assert decide(now, serving(), seen(**sight)) is None
    assert waiting_for(now, seen(**sight))


def test_a_proof_counts_once_the_first_weight_step_is_over() -> None:
    """Pairs are evidence for the proof, which needs callers' traffic beside them."""
    plan = with_steps(SHADOW, WEIGHT, WEIGHT, promote_when=PROVING.promote_when)
    over = release(Phase.PROGRESSING, plan, step=1, **DUE)
    move = decide(over, serving(), seen(requests=50, findings=(SHOWN,)))
    assert move is not None
    assert (move.event, move.told) == (Event.PROMOTE, {"rule": "proven"})


def test_copies_before_are_no_reason_to_promote_a_step_without_requests() -> None:
    """Guardrails that passed on copies do not promote while no caller's request was answered in the last step."""
    bare = msgspec.structs.replace(WEIGHT, duration=0.0, samples=0)
    now = release(Phase.PROGRESSING, with_steps(SHADOW, bare), step=1, **DUE)
    assert decide(now, serving(), seen(findings=(PASSED,))) is None
    assert "only copies before" in waiting_for(now, seen(findings=(PASSED,)))
    move = decide(now, serving(), seen(findings=(PASSED,), requests=1))
    assert move is not None
    assert move.event is Event.PROMOTE


def test_copies_are_no_traffic() -> None:
    """Neither the soak begins with them, nor do they count as touching the data."""
    data = DataProgress(source="features", stage=DataStage.CAPTURED)
    first = decide(
        release(Phase.VALIDATING, with_steps(SHADOW, SHADOW, WEIGHT), data=data), serving(), seen()
    )
    assert first is not None
    assert first.event is Event.SHADOW
    assert not first.changes.keys() & {"traffic_since", "data"}
    assert first.changes["deadline"] == NOW + 5_000.0

    now = release(Phase.SHADOWING, with_steps(SHADOW, SHADOW, WEIGHT), data=data, **DUE)
    second = decide(now, serving(), seen(requests=50))
    assert second is not None
    assert not second.changes.keys() & {"traffic_since", "data", "deadline"}

    third = decide(now.with_changes(step=1), serving(), seen(requests=50))
    assert third is not None
    assert third.changes["traffic_since"] == NOW
    assert third.changes["data"].touched


def test_undecided_copies_go_on_to_the_first_weight() -> None:
    """Only failures stop a release in its shadow steps: what is open may pass on callers' traffic."""
    move = decide(release(Phase.SHADOWING, PLAIN, **DUE), serving(), seen(requests=50, findings=(OPEN,)))
    assert move is not None
    assert (move.event, move.changes["step"], move.publish) == (Event.ADVANCE, 1, True)
