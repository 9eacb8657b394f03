"""When a candidate is promoted, on the fake clock: by proof, by measurement, by a person; and when it is not."""

from typing import Any

import msgspec
import pytest
from world import PLAN, World

from lastgood.domain.event import AuditEvent
from lastgood.domain.plan import (
    Guardrail,
    LatencyTest,
    Metric,
    NoData,
    OnDeadline,
    OnFail,
    Plan,
    PromoteWhen,
    Step,
    StepKind,
)
from lastgood.domain.release import HoldReason, Phase
from lastgood.errors import Code, LastgoodError

RAMP = Step(kind=StepKind.WEIGHT, weight=1000, duration=600.0, samples=50)
SHORT = Step(kind=StepKind.WEIGHT, weight=1000, duration=1.0)
ERRORS = Guardrail(name="errors", metric=Metric.ERRORS, share=1.0)
SLOW = Guardrail(name="slow", metric=Metric.LATENCY, maximum=0.2, min_samples=1)
PROVEN = msgspec.structs.replace(PLAN, steps=(RAMP,), promote_when=PromoteWhen.PROVEN, deadline=5_000.0)


@pytest.fixture
def world() -> World:
    """A deployment that serves v1.0, with more versions registered."""
    made = World()
    made.register("v1.0", "v1.1", "v1.2")
    made.serve("v1.0")
    return made


def plan(base: Plan = PROVEN, **changes: Any) -> Plan:
    return msgspec.structs.replace(base, **changes)


def begin(world: World, wanted: Plan, label: str = "v1.1") -> int:
    """Start a release and let it reach its first step."""
    release = world.start(label, plan=wanted)
    world.turn()
    return release.id


def feed_good(world: World, release: int, times: int, stage: int = 0) -> None:
    """Let a candidate answer as well as stable, one error in a hundred, in ``times`` strata."""
    for _ in range(times):
        world.reports.feed(release, stage, (100, 1), (900, 9))
        world.turn(0.1)


def promotions(world: World) -> list[AuditEvent]:
    return [one for one in world.journal.chain() if one.type == "lastgood.release.promotion_started"]


def test_a_proven_candidate_is_promoted_before_its_steps_are_over(world: World) -> None:
    """As soon as the evidence shows that it is not worse, and the event says by which rule and on what."""
    release = begin(world, PROVEN)
    feed_good(world, release, 60)

    assert world.release(release).phase is Phase.WATCHING
    event = promotions(world)[-1]
    assert event.data["rule"] == "proven"
    assert event.data["cause"].startswith("proven not worse")
    errors = next(one for one in event.data["findings"] if one["guardrail"] == "errors")
    assert errors["proven"]
    assert errors["numbers"]["strata"] >= 1


def test_soak_is_the_least_time_with_traffic(world: World) -> None:
    """Proof alone does not promote before the soak is over, and then at once."""
    release = begin(world, plan(soak=300.0))
    feed_good(world, release, 60)
    assert world.release(release).phase is Phase.PROGRESSING
    world.turn(290.0)
    assert world.release(release).phase is Phase.PROGRESSING
    world.turn(10.0)

    assert world.release(release).phase is Phase.WATCHING


def test_soak_holds_a_measured_promotion_back_too(world: World) -> None:
    """The steps are over and everything has passed, but the candidate has not had traffic for long enough."""
    release = begin(world, plan(PLAN, steps=(SHORT,), soak=60.0))
    feed_good(world, release, 5)
    world.turn(10.0)
    assert world.release(release).phase is Phase.PROGRESSING
    assert "soak" in world.views.release(release).waiting
    world.turn(60.0)

    assert world.release(release).phase is Phase.WATCHING
    assert promotions(world)[-1].data["rule"] == "measured"


@pytest.mark.parametrize("gate", [Step(kind=StepKind.APPROVE), Step(kind=StepKind.PAUSE, duration=None)])
def test_proof_does_not_pass_over_a_gate(world: World, gate: Step) -> None:
    """An approval or a pause without end is honoured however good the evidence is."""
    release = begin(world, plan(steps=(SHORT, gate)))
    feed_good(world, release, 60)
    world.turn(700.0)
    held = world.release(release)
    assert (held.phase, held.step) == (Phase.PAUSED, 1)

    (world.commands.approve if gate.kind is StepKind.APPROVE else world.commands.resume)("churn", actor="ada")

    assert world.release(release).phase is Phase.PROMOTING
    assert promotions(world)[-1].data["rule"] == "person"
    assert promotions(world)[-1].actor == "ada"


@pytest.mark.parametrize("on_deadline", list(OnDeadline))
def test_what_is_not_proven_by_the_deadline_is_never_promoted_silently(
    world: World, on_deadline: OnDeadline
) -> None:
    """Hold, roll back without blame, or ask: as the plan says, with what is missing."""
    release = begin(world, plan(on_deadline=on_deadline, deadline=2_000.0))
    feed_good(world, release, 1)
    world.turn(1_000.0)
    assert world.release(release).phase is Phase.PROGRESSING, "the steps are over, the proof is not there"
    world.turn(1_001.0)

    now = world.release(release)
    if on_deadline is OnDeadline.ROLLBACK:
        assert (now.phase, now.blame) == (Phase.ABORTED, False)
        return
    reason = HoldReason.APPROVAL if on_deadline is OnDeadline.ASK else HoldReason.INCONCLUSIVE
    assert now.hold is not None
    assert now.hold.reason is reason
    assert "errors" in now.hold.message


def test_what_was_asked_at_the_deadline_is_promoted_by_approval_and_says_that_it_is_not_proven(
    world: World,
) -> None:
    """Whatever steps are left, approve leads to 100 %; the cause says what was missing."""
    steps = (RAMP, msgspec.structs.replace(RAMP, weight=5000))
    release = begin(world, plan(steps=steps, on_deadline=OnDeadline.ASK, deadline=500.0))
    feed_good(world, release, 1)
    world.turn(501.0)
    world.commands.approve("churn", actor="grace")
    world.turn()

    assert world.release(release).phase is Phase.WATCHING
    event = promotions(world)[-1]
    assert (event.data["rule"], event.actor) == ("person", "grace")
    assert "not proven" in event.data["cause"]


def test_a_release_without_any_measurement_is_never_promoted(world: World) -> None:
    """Not even when every guardrail may be without data."""
    ignored = tuple(
        msgspec.structs.replace(one, no_data=NoData.IGNORE, min_samples=0) for one in (ERRORS, SLOW)
    )
    release = begin(world, plan(PLAN, steps=(SHORT,), guardrails=ignored, deadline=1e6))
    for _ in range(5):
        world.turn(1_000.0)

    assert world.release(release).phase is Phase.PROGRESSING
    assert "measured" in world.views.release(release).waiting


def test_ignored_guardrails_without_data_are_in_nobodys_way(world: World) -> None:
    """The version reports no counter, the plan does not mind, and the errors have been measured."""
    counter = Guardrail(
        name="low",
        metric=Metric.COUNTER,
        counter="low",
        share=0.5,
        no_data=NoData.IGNORE,
        on_fail=OnFail.HOLD,
    )
    release = begin(world, plan(PLAN, steps=(SHORT,), guardrails=(ERRORS, counter)))
    feed_good(world, release, 5)
    world.turn(2.0)

    assert world.release(release).phase is Phase.WATCHING


def test_a_guardrail_whose_missing_data_holds_stands_in_the_way(world: World) -> None:
    """The default: without data it is inconclusive, and the deadline decides."""
    counter = Guardrail(name="low", metric=Metric.COUNTER, counter="low", share=0.5)
    release = begin(world, plan(PLAN, steps=(SHORT,), guardrails=(ERRORS, counter), deadline=500.0))
    feed_good(world, release, 5)
    world.turn(100.0)
    assert world.release(release).phase is Phase.PROGRESSING
    world.turn(500.0)

    assert world.release(release).phase is Phase.PAUSED


@pytest.mark.parametrize(
    ("on_fail", "phase"), [(OnFail.ROLLBACK, Phase.ROLLED_BACK), (OnFail.HOLD, Phase.PAUSED)]
)
def test_missing_data_may_count_as_a_failure(world: World, on_fail: OnFail, phase: Phase) -> None:
    """Not before the step would be left; then its on_fail follows."""
    counter = Guardrail(
        name="low", metric=Metric.COUNTER, counter="low", share=0.5, no_data=NoData.FAIL, on_fail=on_fail
    )
    release = begin(world, plan(PLAN, steps=(RAMP, RAMP), guardrails=(ERRORS, counter)))
    feed_good(world, release, 5)
    assert world.release(release).phase is Phase.PROGRESSING
    world.turn(600.0)

    now = world.release(release)
    assert now.phase is phase
    assert "counts no data as a failure" in (now.cause if now.hold is None else now.hold.message)


def test_a_dry_run_is_shown_and_nothing_follows(world: World) -> None:
    """It fails, is seen to fail, holds nothing, rolls nothing back and tells nobody; the real one promotes."""
    dry = Guardrail(name="dry", metric=Metric.ERRORS, dry_run=True)
    real = Guardrail(name="invalid", metric=Metric.INVALID_OUTPUT, share=1.0)
    release = begin(world, plan(PLAN, steps=(RAMP,), guardrails=(dry, real)))
    for _ in range(10):
        world.reports.feed(release, 0, (100, 30), (900, 9))
        world.turn(0.1)
    shown = {one["guardrail"]: one for one in world.views.release(release).findings}
    assert shown["dry"]["verdict"] == "failed"
    assert shown["dry"]["dry_run"]
    world.turn(600.0)

    assert world.release(release).phase is Phase.WATCHING
    assert not [one for one in world.journal.chain() if one.type == "lastgood.guardrail.alerted"]


def test_a_plan_that_proves_waits_for_a_guardrail_to_compare(world: World) -> None:
    """A limit alone can pass but proves nothing, so the deadline decides."""
    slow = msgspec.structs.replace(SLOW, latency_test=LatencyTest.NONE)
    release = begin(world, plan(guardrails=(slow,), steps=(SHORT,)))
    world.reports.feed(release, 0, (100, 0), (900, 0))
    world.reports.lives[0, 1].stages[-1].candidate.latency = {160: 100}
    world.turn(10.0)

    assert world.release(release).phase is Phase.PROGRESSING
    assert "nothing can be proven" in world.views.release(release).waiting


def test_resume_does_not_open_what_was_asked_at_the_deadline(world: World) -> None:
    """Only approve does; resume says so."""
    begin(world, plan(on_deadline=OnDeadline.ASK, deadline=500.0))
    world.turn(501.0)

    with pytest.raises(LastgoodError) as conflict:
        world.commands.resume("churn", actor="ada")
    assert conflict.value.code is Code.CONFLICT
