"""Releases whose requests are not split as their route says."""

import pytest
from world import World

from lastgood.domain.release import Phase
from lastgood.domain.verdict import Verdict

WRONG = ((1240, 0), (2760, 0))
"""31 % for the candidate in a step of 10 %."""


@pytest.fixture
def world() -> World:
    """v1.1 is the candidate beside v1.0, as release 2."""
    made = World()
    made.register("v1.0", "v1.1")
    made.serve("v1.0")
    made.start("v1.1")
    made.turn()
    return made


def through_the_steps(world: World) -> None:
    """Give every step its time and requests that are split as they should be."""
    for _ in range(6):
        world.turn(11.0)
        if world.release(2).phase is Phase.PROGRESSING:
            counts = ((200, 0), (1800, 0)) if world.release(2).step == 0 else ((1000, 0), (1000, 0))
            world.reports.feed(2, world.release(2).step, *counts, keyed=False)


def test_a_release_with_a_wrong_split_is_not_promoted(world: World) -> None:
    """No guardrail failed, and still it does not become stable; its evidence is computed again to the same."""
    world.reports.feed(2, 0, *WRONG, keyed=False)
    through_the_steps(world)

    assert world.release(2).phase in (Phase.PROGRESSING, Phase.PAUSED)
    assert world.routed() == "v1.0"
    errors = world.views.release(2).findings[-1]
    assert (errors["guardrail"], errors["verdict"]) == ("errors", Verdict.ERROR)
    assert "31.0 % of" in errors["sentence"]
    assert world.hindsight.recompute(2).strata > 1


def test_a_release_with_the_right_split_is_promoted(world: World) -> None:
    """The same release, but for the requests that were split in another way."""
    through_the_steps(world)

    assert world.routed() == "v1.1"


def test_a_failing_candidate_is_rolled_back_whatever_the_split(world: World) -> None:
    """What is known to be wrong with the split keeps no guardrail from failing."""
    world.reports.feed(2, 0, *WRONG, keyed=False)
    world.turn(0.5)
    assert world.release(2).phase is Phase.PROGRESSING
    world.reports.feed(2, 0, (100, 50), (900, 0), keyed=False)
    for _ in range(3):
        world.turn(0.5)

    assert world.release(2).phase is Phase.ROLLED_BACK
    assert world.routed() == "v1.0"
