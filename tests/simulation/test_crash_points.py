"""Kill the control plane at every named point of every story: same end, nothing doubled."""

from collections import Counter
from collections.abc import Callable

import pytest
from world import Crash, World

from lastgood.domain.event import GENESIS, seal_holds
from lastgood.domain.release import Phase
from lastgood.errors import LastgoodError


def _promotion(world: World) -> None:
    world.serve("v1.1")


def _automatic_rollback(world: World) -> None:
    world.fail("v1.1")


def _rollback_by_hand(world: World) -> None:
    world.serve("v1.1")
    world.commands.roll_back("churn", version=None, reason="", keep=False, actor="ada")


STORIES: dict[str, Callable[[World], None]] = {
    "promotion": _promotion,
    "automatic rollback": _automatic_rollback,
    "rollback by hand": _rollback_by_hand,
}
POINTS = [
    f"{when} {effect}"
    for effect in ("store.commit", "page.publish", "fleet.want", "evidence.save_evidence")
    for when in ("before", "after")
]


def _prepared() -> World:
    world = World()
    world.register("v1.0", "v1.1")
    world.serve("v1.0")
    world.passed.clear()
    return world


def _finish(world: World, *, failing: bool) -> None:
    """Drive whatever is under way to its end, feeding healthy or failing traffic as before."""
    for _ in range(60):
        deployment = world.store.deployment("churn")
        assert deployment is not None
        if deployment.release is None:
            return
        release = world.release(deployment.release)
        if release.phase is Phase.PROGRESSING:
            stage = max(release.plan.stage_at(release.step), 0)
            world.reports.feed(release.id, stage, (200, 100 if failing else 0), (1800, 0))
        world.turn(11.0)
    raise AssertionError("the release never ended")


def _state(world: World) -> tuple[object, ...]:
    releases = [
        (one.version, one.phase, one.kind) for one in reversed(world.store.releases("churn", limit=50))
    ]
    history = [(one.version, one.good) for one in reversed(world.store.history("churn", limit=50))]
    failures = sorted(world.registry.failures(world.registry.versions("churn")))
    route = world.router.page.routes[0]
    return world.stable(), world.routed(), route.candidate, releases, history, failures


def _ended_events(world: World) -> Counter[tuple[int | None, str]]:
    once = ("requested", "promoted", "succeeded", "rolled_back", "rollback_started")
    return Counter(
        (event.release, event.type)
        for event in world.journal.chain()
        if event.type.rsplit(".", 1)[-1] in once
    )


@pytest.mark.parametrize("story", STORIES)
def test_a_crash_at_any_point_ends_the_same(story: str) -> None:
    """For every point that the story passes, dying there and starting again gives the same state."""
    calm = _prepared()
    STORIES[story](calm)
    expected = _state(calm)
    visits = Counter(point for point in calm.passed if point in POINTS)
    assert visits["before store.commit"] > 3

    for point, times in visits.items():
        for visit in range(times):
            world = _prepared()
            world.fault = (point, visit)
            try:
                STORIES[story](world)
            except Crash:
                world.restart()
                _finish(world, failing=story == "automatic rollback")
                _repeat_what_was_lost(world, story)
            assert _state(world) == expected, f"{story}: died at {point}, visit {visit}"
            assert max(_ended_events(world).values()) == 1, f"{point} {visit} doubled an event"
            previous = GENESIS
            for sequence, event in enumerate(world.journal.chain(), start=1):
                assert seal_holds(event, sequence, previous)
                previous = event.hash


def _repeat_what_was_lost(world: World, story: str) -> None:
    """A person whose command died before its intent was saved types it again."""
    labels = {one.version for one in world.store.releases("churn", limit=50)}
    number = world.registry.resolve("churn", "v1.1").number
    if number not in labels:
        STORIES[story](world)
        return
    if story == "rollback by hand" and world.stable() == "v1.1":
        world.commands.roll_back("churn", version=None, reason="", keep=False, actor="ada")


def test_a_new_controller_publishes_what_the_store_says() -> None:
    """A page that fell behind (the crash came between intent and effect) is brought up at start."""
    world = _prepared()
    world.serve("v1.1")
    world.fault = ("before page.publish", 0)
    with pytest.raises(Crash):
        world.commands.roll_back("churn", version=None, reason="", keep=False, actor="ada")
    assert (world.stable(), world.routed()) == ("v1.0", "v1.1")

    world.restart()

    assert world.routed() == "v1.0"


def test_the_lease_is_not_renewed_by_a_turn_that_failed() -> None:
    """A controller that cannot reach its store lets candidate traffic end."""
    world = _prepared()
    world.start("v1.1")
    world.turn()
    world.router.lease = 0.0
    world.database.close()
    world.store.deployments = _unreachable  # type: ignore[method-assign]

    with pytest.raises(LastgoodError):
        world.controller.turn()

    assert world.router.lease == 0.0


def _unreachable() -> list[object]:
    from lastgood.errors import Code

    raise LastgoodError(Code.STORAGE, "The store is gone.", "Bring it back.")
