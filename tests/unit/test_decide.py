"""What happens next to a release: every phase, what is seen, and the one move that follows."""

from typing import Any

import msgspec
import pytest
from plights import (
    ALERTING,
    APPROVE,
    AT_ONCE,
    BROKEN,
    BROKEN_HOST,
    CANARY,
    DUE,
    FOREVER,
    HOLDING,
    LATE,
    NOT_SHOWN,
    NOW,
    OPEN,
    OTHERS_FAULT,
    OUT,
    PASSED,
    PAUSE,
    PROVING,
    SHADOW,
    SHOWN,
    STARTING,
    TIMELY,
    UNMEASURED,
    WAY_BACK,
    WEIGHT,
    finding,
    held,
    release,
    seen,
    serving,
    with_steps,
)

from lastgood.control.decide import decide
from lastgood.control.moves import HostView
from lastgood.domain.plan import (
    NoData,
    OnDeadline,
    StepKind,
)
from lastgood.domain.release import TERMINAL, TRANSITIONS, Event, HoldReason, Phase, Release
from lastgood.domain.verdict import Verdict

TURNS: dict[str, tuple[Release, dict[str, Any], int | None, Event | None]] = {
    # name: release, what differs from a calm sight, stable, the event that follows
    "taken up": (release(Phase.PENDING), {}, 1, Event.START),
    "validated": (release(Phase.VALIDATING), {}, 1, Event.VALIDATED),
    "validated, copies first": (release(Phase.VALIDATING, with_steps(SHADOW, WEIGHT)), {}, 1, Event.SHADOW),
    "the first version": (release(Phase.VALIDATING, previous=None), {"target": None}, None, Event.PROMOTE),
    "all at once": (release(Phase.VALIDATING, AT_ONCE), {}, 1, Event.PROMOTE),
    "no steps": (release(Phase.VALIDATING, with_steps()), {}, 1, Event.PROMOTE),
    "does not load": (release(Phase.VALIDATING), {"candidate": BROKEN_HOST}, 1, Event.ROLL_BACK),
    "keeps exiting": (release(Phase.VALIDATING), {"candidate": HostView(starts=4)}, 1, Event.ROLL_BACK),
    "never ready": (release(Phase.VALIDATING, deadline=LATE), {"candidate": STARTING}, 1, Event.ROLL_BACK),
    "not its fault": (release(Phase.VALIDATING), {"candidate": OTHERS_FAULT}, 1, Event.ABORT),
    "no way back": (release(Phase.VALIDATING, deadline=LATE), {"target": STARTING}, 1, Event.ABORT),
    "next step": (release(Phase.PROGRESSING, **DUE), {"requests": 50}, 1, Event.ADVANCE),
    "next step, undecided": (
        release(Phase.PROGRESSING, **DUE),
        {"requests": 50, "findings": (OPEN,)},
        1,
        Event.ADVANCE,
    ),
    "past the copies": (
        release(Phase.SHADOWING, with_steps(SHADOW, WEIGHT), **DUE),
        {"requests": 50},
        1,
        Event.ADVANCE,
    ),
    "last step": (
        release(Phase.PROGRESSING, step=1, **DUE),
        {"requests": 50, "findings": (PASSED,)},
        1,
        Event.PROMOTE,
    ),
    "a pause": (release(Phase.PROGRESSING, with_steps(PAUSE, WEIGHT)), {}, 1, Event.HOLD),
    "a pause without end": (release(Phase.PROGRESSING, with_steps(FOREVER, WEIGHT)), {}, 1, Event.HOLD),
    "an approval": (release(Phase.PROGRESSING, with_steps(APPROVE, WEIGHT)), {}, 1, Event.HOLD),
    "the pause is over": (
        release(Phase.PAUSED, with_steps(PAUSE, WEIGHT), **held(LATE)),
        {},
        1,
        Event.RESUME,
    ),
    "the pause is over, last": (
        release(Phase.PAUSED, with_steps(WEIGHT, PAUSE), step=1, **held(LATE)),
        {},
        1,
        Event.PROMOTE,
    ),
    "broken": (release(Phase.PROGRESSING), {"findings": (BROKEN,)}, 1, Event.ROLL_BACK),
    "broken in a pause": (release(Phase.PAUSED, **held()), {"findings": (BROKEN,)}, 1, Event.ROLL_BACK),
    "broken on the way to all": (release(Phase.PROMOTING), {"findings": (BROKEN,)}, 2, Event.ROLL_BACK),
    "broken in the watch": (release(Phase.WATCHING), {"findings": (BROKEN,)}, 2, Event.ROLL_BACK),
    "broken, promotion stuck": (release(Phase.STUCK), {"findings": (BROKEN,)}, 2, Event.ROLL_BACK),
    "holding": (release(Phase.PROGRESSING), {"findings": (HOLDING,)}, 1, Event.HOLD),
    "deadline": (release(Phase.PROGRESSING, deadline=LATE), {}, 1, Event.HOLD),
    "deadline that rolls back": (
        release(Phase.PROGRESSING, with_steps(WEIGHT, on_deadline=OnDeadline.ROLLBACK), deadline=LATE),
        {},
        1,
        Event.ABORT,
    ),
    "deadline in a pause that rolls back": (
        release(Phase.PAUSED, with_steps(WEIGHT, on_deadline=OnDeadline.ROLLBACK), deadline=LATE, **held()),
        {},
        1,
        Event.ABORT,
    ),
    "deadline that asks": (
        release(Phase.PROGRESSING, with_steps(WEIGHT, on_deadline=OnDeadline.ASK), deadline=LATE),
        {},
        1,
        Event.HOLD,
    ),
    "taken out": (release(Phase.PROGRESSING), {"taken_out": (OUT,)}, 1, Event.HOLD),
    "broken and taken out": (
        release(Phase.PROGRESSING),
        {"findings": (BROKEN,), "taken_out": (OUT,)},
        1,
        Event.ROLL_BACK,
    ),
    "no data counts as a failure": (
        release(Phase.PROGRESSING, **DUE),
        {"requests": 50, "findings": (UNMEASURED,)},
        1,
        Event.ROLL_BACK,
    ),
    "proven in the first step": (
        release(Phase.PROGRESSING, PROVING),
        {"findings": (SHOWN,)},
        1,
        Event.PROMOTE,
    ),
    "proven in a timed pause": (
        release(
            Phase.PAUSED, msgspec.structs.replace(PROVING, steps=(WEIGHT, PAUSE)), step=1, **held(TIMELY)
        ),
        {"findings": (SHOWN,)},
        1,
        Event.PROMOTE,
    ),
    "not proven, next step": (
        release(Phase.PROGRESSING, PROVING, **DUE),
        {"requests": 50, "findings": (NOT_SHOWN,)},
        1,
        Event.ADVANCE,
    ),
    "served": (release(Phase.PROMOTING, deadline=TIMELY), {"acknowledged": True}, 2, Event.SERVED),
    "not served in time": (release(Phase.PROMOTING, deadline=LATE), {}, 2, Event.OVERDUE),
    "served late": (release(Phase.STUCK), {"acknowledged": True}, 2, Event.SERVED),
    "watch over": (release(Phase.WATCHING, phase_since=NOW - 100.0), {}, 2, Event.SUCCEED),
    "first version, no watch": (
        release(Phase.WATCHING, previous=None),
        {"last_good": None},
        2,
        Event.SUCCEED,
    ),
    "settled": (release(Phase.ROLLING_BACK, **WAY_BACK), {"acknowledged": True}, 1, Event.SETTLED),
    "withdrawn": (
        release(Phase.ROLLING_BACK, **WAY_BACK, aborting=True),
        {"acknowledged": True},
        1,
        Event.WITHDRAWN,
    ),
    "not settled in time": (release(Phase.ROLLING_BACK, **WAY_BACK, deadline=LATE), {}, 1, Event.OVERDUE),
    "settled late": (release(Phase.STUCK, **WAY_BACK), {"acknowledged": True}, 1, Event.SETTLED),
    "withdrawn late": (
        release(Phase.STUCK, **WAY_BACK, aborting=True),
        {"acknowledged": True},
        1,
        Event.WITHDRAWN,
    ),
}


@pytest.mark.parametrize("name", TURNS)
def test_each_sight_makes_its_move(name):
    """The event is the expected one, legal in that phase, and says why."""
    now, differs, stable, expected = TURNS[name]
    move = decide(now, serving(stable), seen(**differs))
    assert move is not None
    assert move.event is expected
    assert move.event in TRANSITIONS[now.phase]
    assert move.cause


def test_the_table_covers_every_event_that_no_person_gives():
    """Each event of the machine is made by at least one row, but for the approval, which a person gives."""
    made = {event for _, _, _, event in TURNS.values()}
    assert made == set(Event) - {Event.APPROVE}
    assert {now.phase for now, _, _, _ in TURNS.values()} == set(Phase) - TERMINAL


CALM: dict[str, tuple[Release, dict[str, Any], int | None]] = {
    "still loading": (release(Phase.VALIDATING, deadline=TIMELY), {"candidate": STARTING}, 1),
    "stable not ready yet": (release(Phase.VALIDATING, deadline=TIMELY), {"target": STARTING}, 1),
    "time is not over": (release(Phase.PROGRESSING), {"requests": 500}, 1),
    "too few samples": (release(Phase.PROGRESSING, **DUE), {"requests": 49}, 1),
    "undecided at the last step": (
        release(Phase.PROGRESSING, step=1, **DUE),
        {"requests": 500, "findings": (OPEN,)},
        1,
    ),
    "not measured at the last step": (
        release(Phase.PROGRESSING, step=1, **DUE),
        {"requests": 500, "findings": (finding(Verdict.ERROR),)},
        1,
    ),
    "undecided when the last pause is over": (
        release(Phase.PAUSED, with_steps(WEIGHT, PAUSE), step=1, **held(LATE)),
        {"findings": (OPEN,)},
        1,
    ),
    "paused by the plan": (release(Phase.PAUSED, **held(TIMELY)), {"requests": 500}, 1),
    "held by a person": (
        release(Phase.PAUSED, **DUE, **held(reason=HoldReason.PERSON)),
        {"requests": 500},
        1,
    ),
    "deadline in a pause": (release(Phase.PAUSED, deadline=LATE, **held()), {}, 1),
    "proven, held by a person": (
        release(Phase.PAUSED, PROVING, **held(reason=HoldReason.PERSON)),
        {"findings": (SHOWN,)},
        1,
    ),
    "proven, soak not over": (
        release(Phase.PROGRESSING, msgspec.structs.replace(PROVING, soak=60.0), traffic_since=NOW - 59.0),
        {"findings": (SHOWN,)},
        1,
    ),
    "proven, a gate ahead": (
        release(Phase.PROGRESSING, msgspec.structs.replace(PROVING, steps=(WEIGHT, APPROVE))),
        {"findings": (SHOWN,)},
        1,
    ),
    "proven, an endless pause ahead": (
        release(Phase.PROGRESSING, msgspec.structs.replace(PROVING, steps=(WEIGHT, FOREVER))),
        {"findings": (SHOWN,)},
        1,
    ),
    "one of two proven": (
        release(Phase.PROGRESSING, PROVING),
        {"findings": (SHOWN, finding(Verdict.PASSED, name="slow", proven=False))},
        1,
    ),
    "proven, another not passed": (
        release(Phase.PROGRESSING, PROVING),
        {"findings": (SHOWN, finding(Verdict.INCONCLUSIVE, name="limit"))},
        1,
    ),
    "only a dry run proven": (
        release(Phase.PROGRESSING, PROVING),
        {"findings": (finding(Verdict.PASSED, proven=True, dry_run=True),)},
        1,
    ),
    "not proven at the last step": (
        release(Phase.PROGRESSING, PROVING, step=1, **DUE),
        {"requests": 50, "findings": (NOT_SHOWN,)},
        1,
    ),
    "no data yet, the step lasts": (release(Phase.PROGRESSING), {"findings": (UNMEASURED,)}, 1),
    "dry run failed": (release(Phase.PROGRESSING), {"findings": (finding(dry_run=True),)}, 1),
    "nothing at all measured": (
        release(Phase.PROGRESSING, step=1, **DUE),
        {"requests": 50, "findings": (finding(Verdict.INCONCLUSIVE, no_data=NoData.IGNORE),)},
        1,
    ),
    "taken out, held for it": (
        release(Phase.PAUSED, **held(reason=HoldReason.REFLEX)),
        {"taken_out": (OUT,)},
        1,
    ),
    "taken out, held by a guardrail": (
        release(Phase.PAUSED, **held(reason=HoldReason.GUARDRAIL)),
        {"taken_out": (OUT,)},
        1,
    ),
    "guardrail passed": (release(Phase.PROGRESSING), {"findings": (PASSED,)}, 1),
    "told before": (release(Phase.PROGRESSING, alerted=("errors",)), {"findings": (ALERTING,)}, 1),
    "set aside": (
        release(Phase.PROGRESSING, waived=("errors",), alerted=("errors",)),
        {"findings": (HOLDING,)},
        1,
    ),
    "not acknowledged yet": (release(Phase.PROMOTING, deadline=TIMELY), {}, 2),
    "watching": (release(Phase.WATCHING), {}, 2),
    "waits for acknowledgement": (release(Phase.ROLLING_BACK, **WAY_BACK, deadline=TIMELY), {}, 1),
    "stuck still": (release(Phase.STUCK, **WAY_BACK, deadline=LATE), {}, 1),
    "promotion stuck still": (release(Phase.STUCK, deadline=LATE), {}, 2),
    "waits for its target": (
        release(Phase.ROLLING_BACK, **{**WAY_BACK, "generation": None}, deadline=TIMELY),
        {"target": STARTING},
        2,
    ),
}


@pytest.mark.parametrize("name", CALM)
def test_no_move_is_made_without_cause(name):
    """Where nothing is due and nothing is broken, the release stays as it is."""
    now, differs, stable = CALM[name]
    assert decide(now, serving(stable), seen(**differs)) is None


@pytest.mark.parametrize("phase", sorted(TERMINAL))
def test_nothing_happens_to_a_release_that_is_over(phase):
    """However bad it looks, an ended release is not moved."""
    assert (
        decide(release(phase, deadline=LATE), serving(), seen(findings=(BROKEN,), acknowledged=True)) is None
    )


@pytest.mark.parametrize(
    ("phase", "more"),
    [
        (Phase.PROGRESSING, {"deadline": LATE, **DUE}),  # the deadline and the next step are due as well
        (Phase.PAUSED, {"deadline": LATE, **held(LATE)}),  # as are the deadline and the pause's end
        (Phase.PAUSED, held(reason=HoldReason.PERSON)),
        (Phase.PAUSED, held(reason=HoldReason.APPROVAL)),
        (Phase.PROMOTING, {"deadline": LATE}),
        (Phase.WATCHING, {"phase_since": 0.0}),
    ],
)
def test_a_broken_guardrail_comes_before_everything_else_that_is_due(phase, more):
    """Rolling back wins over steps, gates, holds, deadlines, acknowledgements and the end of the watch."""
    stable = 2 if phase in (Phase.PROMOTING, Phase.WATCHING) else 1
    sight = seen(findings=(HOLDING, BROKEN), acknowledged=True, requests=500)
    move = decide(release(phase, **more), serving(stable), sight)
    assert move.event is Event.ROLL_BACK
    assert move.changes["evidence"] == {"guardrail": "errors", "sentence": "errors says so", "n": 9}
    assert move.changes["blame"]
    assert move.changes["target"] == 1


def test_a_broken_guardrail_comes_before_a_gate_that_was_just_reached():
    """An approval step does not shelter a bad candidate."""
    move = decide(
        release(Phase.PROGRESSING, with_steps(APPROVE, WEIGHT)), serving(), seen(findings=(BROKEN,))
    )
    assert move.event is Event.ROLL_BACK


@pytest.mark.parametrize("step", [0, 1])
def test_a_guardrail_that_holds_keeps_a_pause_from_ending_by_itself(step):
    """No next step, and after the last one no promotion, follows on a pause in which a guardrail held."""
    pausing = release(Phase.PAUSED, with_steps(PAUSE, PAUSE), step=step, **held(LATE))
    move = decide(pausing, serving(), seen(findings=(HOLDING,)))
    assert (move.event, move.alert) == (None, "errors")
    after = pausing.with_changes(**move.changes)
    assert (after.hold.reason, after.hold.until) == (HoldReason.GUARDRAIL, None)
    assert decide(after, serving(), seen(findings=(HOLDING,))) is None


def test_a_guardrail_that_alerts_tells_once_and_moves_nothing():
    """The move within the phase names the guardrail and remembers it."""
    move = decide(release(Phase.PROGRESSING), serving(), seen(findings=(ALERTING,)))
    assert (move.event, move.alert, move.changes) == (None, "errors", {"alerted": ("errors",)})


def test_a_waived_guardrail_does_not_hold_again():
    """What a person overruled is told but stops nothing; another guardrail still rolls back."""
    overruled = release(Phase.PROGRESSING, waived=("errors",), alerted=("errors",))
    assert decide(overruled, serving(), seen(findings=(HOLDING,))) is None
    both = seen(findings=(HOLDING, finding(name="health")))
    assert decide(overruled, serving(), both).event is Event.ROLL_BACK


def test_a_way_back_is_published_only_when_its_host_can_answer():
    """After the promotion the route changes at once if the last good host is ready, else not yet."""
    bad = release(Phase.WATCHING)
    at_once = decide(bad, serving(2), seen(findings=(BROKEN,)))
    later = decide(bad, serving(2), seen(findings=(BROKEN,), target=STARTING))
    assert (at_once.stable, at_once.publish) == (1, True)
    assert (later.event, later.stable, later.publish) == (Event.ROLL_BACK, None, False)
    waiting = release(Phase.ROLLING_BACK, **{**WAY_BACK, "generation": None}, deadline=TIMELY)
    then = decide(waiting, serving(2), seen())
    assert (then.event, then.stable, then.publish) == (None, 1, True)


def test_before_the_promotion_the_way_back_waits_for_nothing():
    """Stable serves already, so the route without the candidate is published whatever its host says."""
    move = decide(release(Phase.PROGRESSING), serving(), seen(findings=(BROKEN,), target=STARTING))
    assert (move.publish, move.stable, move.changes["target"]) == (True, None, 1)


def test_without_a_good_version_a_broken_guardrail_is_told_and_serving_stays():
    """There is nothing to go back to, so nothing moves; somebody hears of it, once."""
    lonely = release(Phase.WATCHING, previous=None)
    move = decide(lonely, serving(2), seen(findings=(BROKEN,), last_good=None, target=None))
    assert (move.event, move.alert, move.publish) == (None, "errors", False)


def test_taking_out_replaces_a_pause_and_keeps_its_phase():
    """A pause that would end by itself, or that a person ends, becomes a hold that tells of it."""
    for hold in (held(LATE), held(reason=HoldReason.APPROVAL), held(reason=HoldReason.PERSON)):
        move = decide(release(Phase.PAUSED, **hold), serving(), seen(taken_out=(OUT,)))
        assert move.event is None
        assert move.changes["hold"].reason is HoldReason.REFLEX
        assert (move.changes["hold"].until is None) == (hold["hold"].until is None)
        assert move.told["reflexes"][0]["failures"] == 5


def test_a_question_at_the_deadline_leads_to_a_promotion_when_it_is_approved():
    """The hold says what is missing and how to promote all the same, and marks itself."""
    asking = release(Phase.PROGRESSING, with_steps(WEIGHT, on_deadline=OnDeadline.ASK), deadline=LATE)
    hold = decide(asking, serving(), seen(findings=(OPEN,))).changes["hold"]
    assert (hold.reason, hold.promotes) == (HoldReason.APPROVAL, True)
    assert "errors says so" in hold.message
    assert "lastgood approve churn" in hold.message


@pytest.mark.parametrize(
    ("plan", "rule"), [(CANARY, "measured"), (PROVING, "proven"), (with_steps(PAUSE), "at_once")]
)
def test_a_promotion_says_by_which_rule(plan, rule):
    """The event's rule and findings are those that the move rests on."""
    last = plan.steps[-1].kind is StepKind.PAUSE
    now = release(
        Phase.PAUSED if last else Phase.PROGRESSING,
        plan,
        step=len(plan.steps) - 1,
        **DUE,
        **(held(LATE) if last else {}),
    )
    move = decide(now, serving(), seen(requests=50, findings=(SHOWN,)))
    assert (move.event, move.told["rule"], move.findings) == (Event.PROMOTE, rule, (SHOWN,))


def test_traffic_is_noted_once():
    """The soak begins with the first route that gives the candidate a weight, not with a later one."""
    first = decide(release(Phase.VALIDATING), serving(), seen())
    assert first.changes["traffic_since"] == NOW
    later = release(Phase.PROGRESSING, traffic_since=5.0, **DUE)
    assert "traffic_since" not in decide(later, serving(), seen(requests=50)).changes
    gate = release(Phase.VALIDATING, with_steps(APPROVE, WEIGHT))
    assert "traffic_since" not in decide(gate, serving(), seen()).changes
