"""Somebody else changes the deployment between a command's look and its write."""

from collections.abc import Callable
from typing import Any

import pytest
from world import World

from lastgood.domain.release import Phase
from lastgood.errors import Code, LastgoodError


@pytest.fixture
def world() -> World:
    """A deployment that serves v1.0, with more versions registered."""
    made = World()
    made.register("v1.0", "v1.1", "v1.2")
    made.serve("v1.0")
    return made


def _once_before(target: Any, name: str, rival: Callable[[], object]) -> None:
    """Let ``rival`` act before the next call of a method, and only then."""
    inner = getattr(target, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        setattr(target, name, inner)
        rival()
        return inner(*args, **kwargs)

    setattr(target, name, call)


def test_the_release_that_came_second_names_the_first(world: World) -> None:
    """All checks pass, then a rival starts: the refusal says which release stands in the way, and how to end it."""
    _once_before(world.blobs, "verify", lambda: world.start("v1.2"))
    with pytest.raises(LastgoodError, match="is still under way") as refused:
        world.start("v1.1")

    assert refused.value.code is Code.CONFLICT
    assert "lastgood abort churn" in refused.value.next_step
    assert [one.version for one in world.store.releases("churn", limit=2)] == [3, 1]


def test_a_release_starts_although_something_else_changed(world: World) -> None:
    """A rival that came and went does not stop a release."""

    def come_and_go() -> None:
        world.start("v1.2")
        world.commands.abort("churn", reason="", actor="bob")

    _once_before(world.blobs, "verify", come_and_go)
    assert world.start("v1.1").version == 2


def test_an_abort_holds_although_the_controller_moves_the_release_meanwhile(world: World) -> None:
    """The loop takes the release up between the abort's look and its write: it is aborted all the same."""
    release = world.start("v1.1")
    _once_before(world.executor, "apply", world.turn)
    world.commands.abort("churn", reason="wrong file", actor="ada")
    world.turn()

    assert world.release(release.id).phase is Phase.ABORTED
    with pytest.raises(LastgoodError, match="nothing to abort"):
        world.commands.abort("churn", reason="", actor="ada")


def test_a_rollback_goes_on_when_the_stable_version_changed_meanwhile(world: World) -> None:
    """A promotion that ends between the rollback's look and its write is rolled back like any other."""
    release = world.start("v1.1")
    world.turn()

    def win() -> None:
        world.commands.promote("churn", full=True, actor="bob")
        world.turn()
        assert world.stable() == "v1.1"

    _once_before(world.registry, "resolve", win)
    result = world.rollback.to_version("churn", version="v1.0", actor="ada")

    assert result.label == "v1.0"
    assert world.stable() == world.routed() == "v1.0"
    assert world.release(release.id).phase is Phase.ROLLED_BACK
