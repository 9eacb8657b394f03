"""Gateways that take a candidate out by themselves: what the controller makes of it."""

import msgspec
import pytest
from world import PLAN, World

from lastgood.control.guarding import REFLEX_SECONDS
from lastgood.domain.plan import OnDeadline, Step, StepKind
from lastgood.domain.release import Hold, HoldReason, Phase


@pytest.fixture
def world() -> World:
    """Release 2 gives v1.1 a tenth of the traffic beside v1.0."""
    made = World()
    made.register("v1.0", "v1.1")
    made.serve("v1.0")
    made.start("v1.1")
    made.turn()
    return made


def held(world: World) -> Hold:
    hold = world.release(2).hold
    assert hold is not None
    return hold


def test_a_candidate_that_was_taken_out_is_held_with_the_numbers(world: World) -> None:
    """Too little evidence to roll back: the release waits for a person, and the event has the reflex."""
    world.reports.feed(2, 0, (5, 5), (4, 0))
    world.reports.take_out(2)
    world.turn(0.1)

    assert world.release(2).phase is Phase.PAUSED
    assert held(world).reason is HoldReason.REFLEX
    assert "5 of its last 5 requests" in held(world).message
    event = next(one for one in world.journal.chain() if one.data.get("reflexes"))
    assert event.type == "lastgood.release.paused"
    assert event.data["reflexes"][0]["failures"] == 5
    assert world.stable() == "v1.0"


def test_resume_sends_it_traffic_again_in_a_new_try(world: World) -> None:
    """The route counts tries; an old reflex holds nothing, a new one holds again."""
    world.reports.take_out(2)
    world.turn(0.1)
    before = world.router.page.generation
    world.commands.resume("churn", actor="ada")
    route = world.router.page.routes[0]
    assert (route.tries, route.weight) == (1, 1000)
    assert world.router.page.generation > before
    world.turn(0.1)
    assert world.release(2).phase is Phase.PROGRESSING

    world.reports.take_out(2, tries=1)
    world.turn(0.1)

    assert held(world).reason is HoldReason.REFLEX


def test_enough_evidence_rolls_back_instead(world: World) -> None:
    """The guardrail's verdict comes first, as always; and also after the hold."""
    world.reports.feed(2, 0, (60, 40), (500, 0))
    world.reports.take_out(2)
    world.turn(0.1)

    assert world.release(2).phase is Phase.ROLLED_BACK
    assert world.release(2).evidence["guardrail"] == "errors"


def test_evidence_that_comes_during_the_hold_rolls_back(world: World) -> None:
    """Other workers still count: guardrails are judged in every hold."""
    world.reports.take_out(2)
    world.turn(0.1)
    assert world.release(2).phase is Phase.PAUSED
    world.reports.begin(1, 1)
    world.reports.feed(2, 0, (60, 40), (500, 0), life=(1, 1))
    world.turn(0.1)

    assert world.release(2).phase is Phase.ROLLED_BACK


def test_it_gets_traffic_again_by_itself_a_few_times(world: World) -> None:
    """Five tries in all, a few seconds apart, each in a route of its own; then the release waits for a person."""
    tries = []
    for number in range(10):
        world.reports.take_out(2, tries=number)
        world.turn(0.1)
        assert world.release(2).phase is Phase.PAUSED
        world.turn(REFLEX_SECONDS + 0.1)
        tries.append(world.router.page.routes[0].tries)
        if world.release(2).phase is Phase.PAUSED:
            break

    assert tries == [1, 2, 3, 4, 4]
    assert "lastgood resume churn" in held(world).message
    assert held(world).until is None


def test_what_a_few_failures_could_not_show_the_next_try_shows(world: World) -> None:
    """Evidence goes on from try to try, so a candidate that fails on is rolled back by its guardrail."""
    world.reports.feed(2, 0, (5, 5), (10, 0))
    world.reports.take_out(2)
    world.turn(0.1)
    world.turn(REFLEX_SECONDS + 0.1)
    assert world.release(2).phase is Phase.PROGRESSING
    world.reports.feed(2, 0, (5, 5), (40, 0))
    world.reports.take_out(2, tries=1)
    world.turn(0.1)
    world.turn(0.1)

    assert world.release(2).phase is Phase.ROLLED_BACK
    assert "errors" in world.release(2).reason


def test_a_person_s_pause_stands(world: World) -> None:
    """Where a person has paused the release, a reflex is told and nothing goes on by itself."""
    world.commands.pause("churn", reason="lunch", actor="ada")
    world.reports.take_out(2)
    world.turn(0.1)
    world.turn(60.0)

    assert held(world).reason is HoldReason.REFLEX
    assert world.release(2).phase is Phase.PAUSED


def test_a_reflex_takes_the_place_of_a_gate_that_comes_again() -> None:
    """Who approves must not promote what gateways have taken out; after resume the gate is there again."""
    world = World()
    world.register("v1.0", "v1.1")
    world.serve("v1.0")
    steps = (Step(kind=StepKind.WEIGHT, weight=1000), Step(kind=StepKind.APPROVE))
    world.start("v1.1", plan=msgspec.structs.replace(PLAN, steps=steps))
    world.turn()
    world.turn(0.1)
    assert held(world).reason is HoldReason.APPROVAL
    world.reports.take_out(2)
    world.turn(0.1)
    assert held(world).reason is HoldReason.REFLEX
    assert "taken out" in world.views.release(2).waiting or "took the candidate out" in held(world).message

    world.commands.resume("churn", actor="ada")
    world.turn(0.1)

    assert held(world).reason is HoldReason.APPROVAL


def test_what_was_asked_at_the_deadline_gets_a_new_deadline_after_a_reflex() -> None:
    """The question is gone with the hold, so the plan's deadline begins anew when a person resumes."""
    world = World()
    world.register("v1.0", "v1.1")
    world.serve("v1.0")
    world.start("v1.1", plan=msgspec.structs.replace(PLAN, deadline=100.0, on_deadline=OnDeadline.ASK))
    world.turn()
    world.turn(101.0)
    assert held(world).promotes
    world.reports.take_out(2)
    world.turn(0.1)
    world.commands.resume("churn", actor="ada")

    assert world.release(2).deadline == world.clock + 100.0
    assert world.release(2).tries == 1


def test_a_hold_by_a_guardrail_stays_a_guardrails_hold(world: World) -> None:
    """Resuming it overrules the guardrail; the reflex holds again until it is resumed as well."""
    world.commands.pause("churn", reason="lunch", actor="ada")
    world.reports.take_out(2)
    world.turn(0.1)

    assert held(world).reason is HoldReason.REFLEX, "a person's pause does not hide it"


def test_promote_to_the_next_step_tries_again(world: World) -> None:
    """A person who goes on sends the candidate traffic; otherwise the step could never end."""
    world.reports.take_out(2)
    world.turn(0.1)
    world.commands.promote("churn", full=False, actor="ada")

    assert world.release(2).tries == 1
    assert (world.router.page.routes[0].tries, world.router.page.routes[0].weight) == (1, 5000)
