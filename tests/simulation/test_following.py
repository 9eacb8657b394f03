"""Gateways follow the store: after a restored backup, a lost page, an unreadable row, a change by somebody else."""

import msgspec
import pytest
from world import World

from lastgood.domain.release import Phase
from lastgood.domain.route import RouteTable
from lastgood.errors import Code, LastgoodError


@pytest.fixture
def world() -> World:
    """A deployment that served v1.0 and now serves v1.1."""
    made = World()
    made.register("v1.0", "v1.1", "v1.2")
    made.serve("v1.0")
    made.serve("v1.1")
    return made


def _foreign(world: World, generation: int) -> None:
    """Put a later table on the page: the store was restored from before it, and workers obey it."""
    routes = tuple(
        msgspec.structs.replace(route, generation=generation, stable=route.standby)
        for route in world.router.page.routes
    )
    world.router.page = RouteTable(generation=generation, routes=routes)
    world.router.hear()


def test_a_page_ahead_of_the_store_is_published_anew_at_start(world: World) -> None:
    """A restored store wins over the page, under a generation that no worker has seen."""
    _foreign(world, 1_000)
    assert world.routed() == "v1.0"

    world.restart()

    assert world.routed() == "v1.1"
    assert world.router.page.generation > 1_000
    assert world.store.generation() >= world.router.page.generation


def test_old_acknowledgements_prove_nothing_after_a_restore(world: World) -> None:
    """A rollback is not done because workers once obeyed a higher generation of another history."""
    _foreign(world, 1_000)
    world.router.deaf = True
    world.restart()
    deployment = world.store.deployment("churn")
    assert deployment is not None

    release = world.rollback._begin(deployment, None, "", False, "ada", False)
    assert release is not None
    world.turn(1.0)
    assert world.release(release.id).phase is Phase.ROLLING_BACK

    world.router.deaf = False
    world.router.hear()
    world.turn(1.0)
    assert world.release(release.id).phase is Phase.ROLLED_BACK
    assert world.routed() == "v1.0"


def test_a_lost_page_is_published_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the payload did not survive a power cut, the next start puts a whole table there."""
    before = world.router.page.generation
    monkeypatch.setattr(world.router, "table", lambda: None)

    world.restart()

    assert world.router.page.generation > before
    assert world.routed() == "v1.1"


def test_each_turn_repairs_a_page_that_does_not_follow(world: World) -> None:
    """Whatever put the page ahead or behind, the next turn makes it say what the store says."""
    _foreign(world, 1_000)
    world.turn(0.1)

    assert world.routed() == "v1.1"


def test_one_unreadable_release_stops_no_other_deployment(world: World) -> None:
    """A row that cannot be read is told, its candidate loses its traffic, and others go on."""
    world.register("v1.0", "v1.1", model="fraud")
    from lastgood.control.starting import Order

    world.commands.start(Order(model="fraud", version="v1.0", actor="ada"))
    world.turn(1.0)
    broken = world.start("v1.2")
    world.turn(1.0)
    assert world.executor.splits("churn")
    read = world.store.release

    def unreadable(identifier: int) -> object:
        if identifier == broken.id:
            raise LastgoodError(Code.STORAGE, "That row cannot be read.", "Restore it.")
        return read(identifier)

    world.store.release = unreadable  # type: ignore[method-assign,assignment]
    world.controller._known.clear()  # as after a change of it: what nobody has changed is not read again
    world.router.lease = 0.0
    world.turn(1.0)
    assert (world.router.lease, list(world.controller.trouble)) == (0.0, ["churn"])

    world.controller._lease_seconds = -1.0
    world.turn(1.0)
    assert not world.executor.splits("churn")
    world.controller._lease_seconds = 5.0
    started = world.commands.start(Order(model="fraud", version="v1.1", actor="ada"))
    world.turn(1.0)
    assert world.router.lease == 5.0
    assert world.release(started.id).phase is Phase.PROGRESSING

    world.restart()
    assert world.routed() == "v1.1"


@pytest.mark.parametrize("goal", ["v1.2", "v1.3"])
def test_a_refused_rollback_moves_nothing(world: World, goal: str) -> None:
    """A target that nobody can go back to is refused before the release under way is touched."""
    world.register("v1.3")
    release = world.start("v1.2")
    world.turn(1.0)
    head = world.journal.head()

    with pytest.raises(LastgoodError) as refused:
        world.commands.roll_back("churn", version=goal, reason="", keep=False, actor="ada")

    assert refused.value.code is Code.REFUSED
    assert world.journal.head() == head
    assert world.release(release.id).phase is Phase.PROGRESSING


def test_the_failed_tag_names_who_asked(world: World) -> None:
    """A rollback by hand is that person's, an automatic one Lastgood's."""
    world.commands.roll_back("churn", version=None, reason="wrong", keep=False, actor="grace")
    world.fail("v1.2")

    found = world.registry.failures(world.registry.versions("churn"))
    assert {mark.by for mark in found.values()} == {"grace", "lastgood"}
