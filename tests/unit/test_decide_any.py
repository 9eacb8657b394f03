"""Decisions on drawn releases and sights: what holds whatever is seen."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from plights import (
    APPROVE,
    DUE,
    FOREVER,
    LATE,
    NOW,
    OUT,
    PAUSE,
    SHADOW,
    STANDS,
    TIMELY,
    WEIGHT,
    finding,
    held,
    release,
    seen,
    serving,
    with_steps,
)

from lastgood.control.decide import decide
from lastgood.control.moves import HostView, Situation
from lastgood.control.promotion import waiting_for
from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import (
    NoData,
    OnDeadline,
    OnFail,
    PromoteWhen,
)
from lastgood.domain.release import Event, Hold, HoldReason, Kind, Phase, Release
from lastgood.domain.verdict import Verdict

HOSTS = st.builds(
    HostView,
    ready=st.booleans(),
    failed=st.booleans(),
    error=st.sampled_from(["", "it raised"]),
    code=st.sampled_from(["", "refused", "corrupt", "unavailable"]),
    starts=st.integers(0, 5),
)
FINDINGS = st.lists(
    st.builds(
        finding,
        st.sampled_from(list(Verdict)),
        st.sampled_from(list(OnFail)),
        st.sampled_from(["errors", "health"]),
        no_data=st.none() | st.sampled_from(list(NoData)),
        proven=st.none() | st.booleans(),
        dry_run=st.booleans(),
    ),
    max_size=3,
).map(tuple)
TIMES = st.sampled_from([0.0, LATE, NOW, TIMELY, NOW + 9_999.0])
STEPS = st.lists(
    st.sampled_from([WEIGHT, PAUSE, FOREVER, APPROVE, SHADOW, STANDS]), min_size=1, max_size=3
).map(tuple)
GUARDRAIL_NAMES = st.sampled_from([(), ("errors",), ("errors", "health")])


@st.composite
def plights(draw: st.DrawFn) -> tuple[Release, Deployment, Situation]:
    """Draw a release in any phase, where it serves, and any sight of it."""
    steps = draw(STEPS)
    plan = with_steps(
        *steps,
        on_deadline=draw(st.sampled_from(list(OnDeadline))),
        promote_when=draw(st.sampled_from(list(PromoteWhen))),
        soak=draw(st.sampled_from([0.0, 60.0])),
    )
    phase = draw(st.sampled_from(list(Phase)))
    returning = phase is Phase.ROLLING_BACK or (phase is Phase.STUCK and draw(st.booleans()))
    now = release(
        phase,
        plan,
        kind=draw(st.sampled_from(list(Kind))),
        previous=draw(st.sampled_from([None, 1])),
        step=draw(st.integers(0, len(steps) - 1)),
        step_since=draw(TIMES),
        phase_since=draw(TIMES),
        deadline=draw(st.none() | TIMES),
        traffic_since=draw(st.none() | TIMES),
        hold=Hold(draw(st.sampled_from(list(HoldReason))), "held", draw(st.none() | TIMES))
        if phase is Phase.PAUSED
        else None,
        target=1 if returning else None,
        returning=returning,
        aborting=returning and draw(st.booleans()),
        generation=draw(st.sampled_from([None, 3])),
        waived=draw(GUARDRAIL_NAMES),
        alerted=draw(GUARDRAIL_NAMES),
        cause="a cause",
        reason="a reason",
    )
    sight = seen(
        candidate=draw(HOSTS),
        target=draw(st.none() | HOSTS),
        last_good=draw(st.sampled_from([None, 1])),
        acknowledged=now.generation is not None and draw(st.booleans()),
        served=draw(st.booleans()),
        findings=draw(FINDINGS),
        requests=draw(st.integers(0, 100)),
        taken_out=draw(st.sampled_from([(), (OUT,)])),
    )
    return now, serving(draw(st.sampled_from([None, 1, 2]))), sight


@settings(max_examples=1_000, deadline=None)
@given(plights())
def test_every_move_is_legal_and_has_a_cause(plight):
    """Whatever is seen in whatever phase: nothing is raised, and a move can be made and says why."""
    now, deployment, sight = plight
    move = decide(now, deployment, sight)
    assert isinstance(waiting_for(now, sight), str)
    if move is None:
        return
    assert not now.terminal
    assert move.cause
    after = (
        now.with_changes(**move.changes)
        if move.event is None
        else now.after(move.event, NOW, cause=move.cause, **move.changes)
    )
    assert after.revision == now.revision + 1
    assert 0 <= after.step < len(now.plan.steps)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([(Phase.PROGRESSING, WEIGHT, {}), (Phase.PAUSED, PAUSE, held(LATE))]),
    FINDINGS,
    GUARDRAIL_NAMES,
)
def test_all_traffic_is_given_only_after_the_evidence(end, findings, waived):
    """At the end of the last step the release is promoted exactly when no guardrail that is in force objects.

    Nothing objects that is on a dry run, nor what may be without data, as long as something was measured.
    """
    phase, last, hold = end
    now = release(phase, with_steps(WEIGHT, last), step=1, waived=waived, **DUE, **hold)
    move = decide(now, serving(), seen(findings=findings, requests=50))
    objects = [
        one
        for one in findings
        if not one.dry_run
        and (
            (
                one.verdict is not Verdict.PASSED
                and one.on_fail is not OnFail.ALERT
                and one.guardrail not in waived
                and not (one.no_data is NoData.IGNORE and one.verdict is not Verdict.FAILED)
            )
            or (  # rolls back, or is told first
                (one.verdict is Verdict.FAILED or one.no_data is NoData.FAIL)
                and not (one.on_fail is OnFail.HOLD and one.guardrail in waived)
            )
        )
    ]
    unmeasured = bool(findings) and all(one.no_data is not None for one in findings)
    promoted = move is not None and move.event is Event.PROMOTE
    assert promoted == (not objects and not unmeasured)
    if promoted:
        assert move.told["rule"] == "measured"
        assert move.findings == findings


@settings(max_examples=1_000, deadline=None)
@given(plights())
def test_words_decide_nothing(plight):
    """Findings without sentences and numbers lead to the same move: what is said of it alone differs."""
    now, deployment, sight = plight
    wordless = tuple(msgspec.structs.replace(one, sentence="", numbers={}) for one in sight.findings)
    spoken = decide(now, deployment, sight)
    silent = decide(now, deployment, msgspec.structs.replace(sight, findings=wordless))

    if spoken is None or silent is None:
        assert spoken is silent
        return
    assert (silent.event, silent.stable, silent.publish, silent.alert) == (
        spoken.event,
        spoken.stable,
        spoken.publish,
        spoken.alert,
    )
    assert silent.changes.keys() == spoken.changes.keys()
