"""Another plan over the strata of a release that is over: the same plan ends as the release did, others as they would have."""

import msgspec
import pytest
from world import PLAN, World

from lastgood.domain.plan import Guardrail, Metric, OnFail, Step, StepKind, UnitsChoice
from lastgood.errors import Code, LastgoodError


@pytest.fixture(scope="module")
def world() -> World:
    """Release 2 was rolled back on errors."""
    made = World()
    made.register("v1.0", "v1.1")
    made.serve("v1.0")
    made.start("v1.1", plan=PLAN)
    for _ in range(8):
        made.turn(0.5)
        made.reports.feed(2, 0, (20, 3), (180, 2))
    return made


def test_the_plan_of_the_release_ends_as_the_release_did(world: World) -> None:
    """Replayed by its own plan, a release is rolled back on the same guardrail, in the same words."""
    release = world.release(2)
    found = world.hindsight.replay(2, release.plan)

    assert release.phase.value == "rolled_back"
    assert found.rolled_back
    assert found.turns[-1].guardrail == release.evidence["guardrail"]
    assert found.turns[-1].sentence == release.cause
    assert found.candidate_requests == release.evidence["candidate_requests"]


def test_a_plan_that_only_alerts_goes_on_to_the_end(world: World) -> None:
    """A guardrail that alerts turns once; all strata are replayed and nothing is rolled back."""
    guardrails = tuple(
        msgspec.structs.replace(one, on_fail=OnFail.ALERT) for one in world.release(2).plan.guardrails
    )
    found = world.hindsight.replay(2, msgspec.structs.replace(PLAN, guardrails=guardrails))

    assert not found.rolled_back
    assert [(one.guardrail, one.follows) for one in found.turns] == [("errors", "alert")]
    assert found.strata == len(list(world.evidence.strata(2)))


def test_a_hard_limit_of_another_plan_fires_earlier_or_later_by_its_samples(world: World) -> None:
    """The limit is judged once its own min_samples are reached, whatever the recorded plan said."""
    limit = Guardrail(name="at once", metric=Metric.ERRORS, maximum=0.01, min_samples=20)
    found = world.hindsight.replay(2, msgspec.structs.replace(PLAN, guardrails=(limit,)))

    assert (found.rolled_back, found.candidate_requests, found.turns[-1].strata) == (True, 20, 1)


def test_fewer_steps_than_were_recorded_take_the_later_ones_for_the_last(world: World) -> None:
    """Stages of the recorded plan have a place in the other one; nothing is left out."""
    one = Step(kind=StepKind.WEIGHT, weight=1000, duration=1.0)
    found = world.hindsight.replay(2, msgspec.structs.replace(PLAN, steps=(one,)))

    assert {turn.stage for turn in found.turns} == {0}


def test_what_was_not_recorded_is_named(world: World) -> None:
    """Health, a counter that nobody reported: both are said not to be replayed, and why."""
    more = (
        Guardrail(name="health", metric=Metric.HEALTH),
        Guardrail(name="low", metric=Metric.COUNTER, counter="low_confidence", share=0.5),
    )
    found = world.hindsight.replay(2, msgspec.structs.replace(PLAN, guardrails=more))

    assert found.not_replayed.keys() == {"health", "low"}
    assert "low_confidence" in found.not_replayed["low"]


def test_keys_that_nobody_recorded_are_said_to_be_missing(world: World) -> None:
    """A plan that counts keys is replayed by request, and that is said."""
    found = world.hindsight.replay(2, msgspec.structs.replace(PLAN, units=UnitsChoice.KEYS))

    assert found.rolled_back
    assert "requests instead" in found.not_replayed["units: keys"]


def test_a_release_that_does_not_exist_is_not_found(world: World) -> None:
    """The number is named."""
    with pytest.raises(LastgoodError) as caught:
        world.hindsight.replay(99, PLAN)
    assert caught.value.code is Code.NOT_FOUND
