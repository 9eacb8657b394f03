"""Drills by the plan, and news of readiness: begun and told by the looks at readiness, on a fake clock."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_data_release import AT_ONCE, Shop
from world import PLAN, World

from lastgood.control.drill import FINISHED
from lastgood.control.readiness_news import LOST, REGAINED
from lastgood.domain.channel import Channel
from lastgood.domain.event import AuditEvent
from lastgood.domain.plan import DrillPlan
from lastgood.domain.release import Phase
from lastgood.store.outbox import SqlOutbox

DAY = 86_400.0
HOUR = 3_600.0
CHANNEL = Channel(webhook="http://127.0.0.1:9/x")
DAILY = msgspec.structs.replace(PLAN, drill=DrillPlan(every=DAY), notify=(CHANNEL,))


@pytest.fixture
def world() -> World:
    """v1.1 serves by a plan that asks for a drill a day; v1.0 is the way back, v1.2 is registered."""
    made = World()
    made.register("v1.0", "v1.1", "v1.2")
    made.serve("v1.0")
    made.serve("v1.1", plan=DAILY)
    return made


def look(world: World, seconds: float = 0.0) -> None:
    """Let time pass, look at readiness once, and wait for the drill that this may have begun."""
    world.clock += seconds
    world.readiness.look()
    while world.drills.busy():
        time.sleep(0.001)


def events(world: World, kind: str) -> list[AuditEvent]:
    found = world.journal.events(deployment="churn", limit=1_000)
    return [one for one in found if one.type == kind]


def told(world: World, *kinds: str) -> list[AuditEvent]:
    """Return the events of these kinds that are queued for the plan's channel."""
    due = SqlOutbox(world.database).due(world.clock + 1.0, limit=1_000)
    return [event for delivery, event in due if event.type in kinds and delivery.channel == CHANNEL]


def link(world: World, name: str) -> Any:
    found = world.readiness.of("churn", fresh=True)
    return next(one for one in found.links if one.name.value == name)


def test_the_first_drill_comes_once_the_release_is_over_and_then_one_a_day(world: World) -> None:
    """It is in the record as the product's own, and says when the next one comes."""
    look(world)
    look(world, HOUR)
    after_one = len(events(world, FINISHED))
    look(world, DAY - HOUR - 10.0)
    before_the_second = len(events(world, FINISHED))
    look(world, 20.0)

    assert (after_one, before_the_second, len(events(world, FINISHED))) == (1, 1, 2)
    assert {event.actor for event in events(world, FINISHED)} == {"lastgood"}
    said = link(world, "last drill").sentence
    assert said.startswith("to v1.0 0 seconds ago, took ")
    assert said.endswith("; the next one in 24 hours")
    assert not told(world, FINISHED)


def test_a_restart_neither_forgets_nor_repeats_a_drill(world: World) -> None:
    """What was rehearsed when is read from the record."""
    look(world)
    world.restart()
    look(world, HOUR)
    after = len(events(world, FINISHED))
    world.restart()
    look(world, DAY)

    assert (after, len(events(world, FINISHED))) == (1, 2)


def test_a_clock_that_was_set_back_does_not_put_drills_off(world: World) -> None:
    """A rehearsal of tomorrow is none."""
    look(world)
    world.clock -= 2 * DAY
    look(world)

    assert len(events(world, FINISHED)) == 2


def test_no_drill_while_a_release_is_under_way(world: World) -> None:
    """It comes right after the release has ended, and the schedule of the plan that serves stays in force."""
    look(world)
    world.start("v1.2")
    world.turn()
    look(world, 2 * DAY)
    during = len(events(world, FINISHED))
    world.commands.abort("churn", reason="", actor="ada")
    look(world)

    assert (during, len(events(world, FINISHED))) == (1, 2)


def test_no_drill_while_another_deployment_moves_the_same_data(tmp_path: Path) -> None:
    """The drill would stage data that a release elsewhere captures and migrates."""
    shop = Shop(tmp_path)
    plan = msgspec.structs.replace(AT_ONCE, drill=DrillPlan(every=DAY), watch=1.0)
    release = shop.start(plan)
    shop.turns(lambda: shop.phase(release) is Phase.SUCCEEDED)
    shop.world.register("v1.0", model="other")
    shop.world.clock += 1.0
    other = msgspec.structs.replace(PLAN, data=msgspec.structs.replace(AT_ONCE.data, migrate=()))
    shop.world.commands.start(_order("other", other))
    look(shop.world)
    during = len(events(shop.world, FINISHED))
    shop.world.commands.abort("other", reason="", actor="ada")
    look(shop.world)

    assert (during, len(events(shop.world, FINISHED))) == (0, 1)
    assert events(shop.world, FINISHED)[0].data["ok"] is True


def _order(model: str, plan: Any) -> Any:
    from lastgood.control.starting import Order

    return Order(model=model, version="v1.0", plan=plan, actor="ada")


def test_without_a_word_of_the_plan_there_is_no_drill(world: World) -> None:
    """A plan that says nothing of drills ends those of the plan before."""
    world.serve("v1.2")
    look(world, 2 * DAY)

    assert not events(world, FINISHED)
    assert "next one" not in link(world, "last drill").sentence


def test_a_failed_drill_is_told_once_and_repeated_until_it_succeeds(world: World) -> None:
    """The plan's channels hear what failed, why and what next; then that it is mended, and nothing of the rest."""
    built = world.drills._rehearser.build
    world.drills._rehearser.build = _fails  # type: ignore[method-assign]
    look(world)
    look(world, HOUR)
    (failed,) = told(world, FINISHED)
    tries = len(events(world, FINISHED))
    broken = link(world, "last drill")
    world.drills._rehearser.build = built  # type: ignore[method-assign]
    look(world, HOUR)
    look(world, DAY)
    mended = told(world, FINISHED)[1:]

    assert tries == 2
    assert broken.state.value == "broken"
    assert (
        failed.data["cause"]
        == "the rehearsal of the rollback of churn failed at route: RuntimeError: no page"
    )
    assert "lastgood drill churn" in failed.data["next"]
    assert [one.data["ok"] for one in mended] == [True]
    assert "the one before had failed at route" in mended[0].data["cause"]


def _fails(*_: object) -> str:
    raise RuntimeError("no page")


def test_a_way_back_that_is_lost_is_not_rehearsed_but_told(world: World) -> None:
    """Three looks in a row without the host: one notification with what, why and what next, and one when it is back."""
    world.fleet.slow.add(world.key("v1.0"))
    look(world)
    look(world)
    early = len(events(world, LOST))
    look(world)
    look(world)
    world.restart()
    for _ in range(5):
        look(world)
    lost = told(world, LOST)
    world.fleet.slow.clear()
    for _ in range(5):
        look(world)

    assert early == 0
    assert [event.data["link"] for event in lost] == ["host"]
    assert (
        "churn cannot go back (host): the host of the last good version 1 is starting"
        in lost[0].data["cause"]
    )
    assert "lastgood status churn" in lost[0].data["next"]
    assert len(told(world, LOST, REGAINED)) == 2
    assert told(world, REGAINED)[0].data["cause"] == "churn can go back again"
    assert len(events(world, FINISHED)) == 1


def test_a_release_tells_of_its_own_way_back(world: World) -> None:
    """What holds a release is told by the hold, not twice."""
    world.start("v1.2", plan=DAILY)
    world.turn()
    world.fleet.slow.add(world.key("v1.1"))
    for _ in range(5):
        look(world)
    world.turn()

    assert [one.phase for one in world.store.releases("churn", limit=1)] == [Phase.PAUSED]
    assert not told(world, LOST)
    (held,) = told(world, "lastgood.release.paused")
    assert "the way back is lost: host" in held.data["cause"]


def test_a_first_version_has_lost_nothing() -> None:
    """A deployment that never had a way back is not told of every time that a server starts."""
    world = World()
    world.register("v1.0")
    world.serve("v1.0")
    for _ in range(5):
        look(world)

    assert not events(world, LOST)
