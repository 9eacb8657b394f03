"""The rule that this product grew from: a rollback goes to what last served well, never to a number."""

import pytest
from world import World

from lastgood.domain.release import Phase
from lastgood.errors import Code, LastgoodError


def test_a_version_never_served_is_no_target() -> None:
    """With history v1.0, v1.1 (failed) and v1.2 only registered, a rollback gives v1.0."""
    world = World()
    world.register("v1.0", "v1.1", "v1.2")
    world.serve("v1.0")
    world.serve("v1.1")

    result = world.commands.roll_back("churn", version=None, reason="wrong answers", keep=False, actor="ada")

    assert (result.label, world.stable(), world.routed()) == ("v1.0", "v1.0", "v1.0")
    assert result.failed
    failed = world.registry.failures(world.registry.versions("churn"))
    assert list(failed) == ["sha256:churn-v1.1"]
    assert "wrong answers" in failed["sha256:churn-v1.1"].cause
    assert [one.label for one in world.registry.versions("churn")] == ["v1.2", "v1.1", "v1.0"]


def test_the_deployments_history_decides_not_the_versions_order() -> None:
    """With history v1.0, v1.2, v1.1 a rollback gives v1.2."""
    world = World()
    world.register("v1.0", "v1.1", "v1.2")
    for label in ("v1.0", "v1.2", "v1.1"):
        world.serve(label)

    assert world.commands.roll_back("churn", version=None, reason="", keep=False, actor="ada").label == "v1.2"


def test_no_good_version_left_is_refused_and_serving_is_unchanged() -> None:
    """A rollback with nowhere to go changes nothing and says why."""
    world = World()
    world.register("v1.0")
    world.serve("v1.0")
    before = world.router.page

    with pytest.raises(LastgoodError) as refused:
        world.commands.roll_back("churn", version=None, reason="", keep=False, actor="ada")

    assert refused.value.code is Code.REFUSED
    assert "no other version was ever stable" in refused.value.message
    assert world.router.page == before


def test_every_earlier_version_failed_is_refused_too() -> None:
    """Failed versions are not targets, so after two rollbacks by hand nothing is left."""
    world = World()
    world.register("v1.0", "v1.1", "v1.2")
    for label in ("v1.0", "v1.1", "v1.2"):
        world.serve(label)
    for expected in ("v1.1", "v1.0"):
        assert (
            world.commands.roll_back("churn", version=None, reason="", keep=False, actor="ada").label
            == expected
        )

    with pytest.raises(LastgoodError) as refused:
        world.commands.roll_back("churn", version=None, reason="", keep=False, actor="ada")

    assert refused.value.code is Code.REFUSED
    assert "v1.2" in refused.value.message
    assert world.stable() == "v1.0"


def test_unknown_versions_are_named_with_the_known_ones() -> None:
    """An unknown version is an error that lists what there is."""
    world = World()
    world.register("v1.0", "v1.1")
    world.serve("v1.0")

    with pytest.raises(LastgoodError) as unknown:
        world.commands.roll_back("churn", version="v9", reason="", keep=False, actor="ada")

    assert unknown.value.code is Code.NOT_FOUND
    assert "1 (v1.0)" in unknown.value.message
    assert "2 (v1.1)" in unknown.value.message


def test_rolling_back_to_what_serves_already_changes_nothing() -> None:
    """It says so, and leaves no event."""
    world = World()
    world.register("v1.0")
    world.serve("v1.0")
    head = world.journal.head()

    result = world.commands.roll_back("churn", version="v1.0", reason="", keep=False, actor="ada")

    assert (result.changed, result.label) == (False, "v1.0")
    assert world.journal.head() == head


def test_keep_leaves_the_version_untagged() -> None:
    """--keep says that the version was not at fault: it stays a target."""
    world = World()
    world.register("v1.0", "v1.1")
    world.serve("v1.0")
    world.serve("v1.1")

    assert not world.commands.roll_back("churn", version=None, reason="", keep=True, actor="ada").failed
    assert world.registry.failures(world.registry.versions("churn")) == {}
    assert world.commands.roll_back("churn", version=None, reason="", keep=True, actor="ada").label == "v1.1"


def test_versions_skipped_on_the_way_keep_their_tags() -> None:
    """Going back two versions blames the one that is left, not the one in between."""
    world = World()
    world.register("v1.0", "v1.1", "v1.2")
    for label in ("v1.0", "v1.1", "v1.2"):
        world.serve(label)

    world.commands.roll_back("churn", version="v1.0", reason="", keep=False, actor="ada")

    failed = world.registry.failures(world.registry.versions("churn"))
    assert list(failed) == ["sha256:churn-v1.2"]


@pytest.mark.parametrize("label", ["v1.2", "v1.1"])
def test_never_served_or_failed_versions_are_refused_as_targets(label: str) -> None:
    """A rollback cannot smuggle in what was never released, nor what failed."""
    world = World()
    world.register("v1.0", "v1.1", "v1.2", "v1.3")
    world.serve("v1.0")
    world.serve("v1.3")
    world.fail("v1.1")

    with pytest.raises(LastgoodError) as refused:
        world.commands.roll_back("churn", version=label, reason="", keep=False, actor="ada")

    assert refused.value.code is Code.REFUSED
    assert world.stable() == "v1.3"


def test_a_rollback_during_a_release_leaves_the_candidate() -> None:
    """While a candidate is on its way, a rollback takes it out; stable never moved."""
    world = World()
    world.register("v1.0", "v1.1")
    world.serve("v1.0")
    release = world.start("v1.1")
    world.turn()
    assert world.release(release.id).phase is Phase.PROGRESSING

    result = world.commands.roll_back("churn", version=None, reason="looks bad", keep=False, actor="ada")

    assert (result.left_label, result.label) == ("v1.1", "v1.0")
    assert world.release(release.id).phase is Phase.ROLLED_BACK
    assert world.router.page.routes[0].candidate is None


def test_a_rollback_to_another_version_during_a_release_leaves_both() -> None:
    """Asked for a third version, it takes the candidate out and then leaves stable as well."""
    world = World()
    world.register("v1.0", "v1.1", "v1.2")
    world.serve("v1.0")
    world.serve("v1.1")
    world.start("v1.2")
    world.turn()

    result = world.commands.roll_back("churn", version="v1.0", reason="", keep=False, actor="ada")

    assert (result.label, world.stable(), world.routed()) == ("v1.0", "v1.0", "v1.0")


def test_a_rollback_that_is_not_acknowledged_is_stuck_and_settles_later() -> None:
    """Past its deadline it is stuck, loudly; once the gateways obey it is rolled back."""
    world = World()
    world.register("v1.0", "v1.1")
    world.serve("v1.0")
    release = world.start("v1.1")
    world.turn()
    world.router.deaf = True
    deployment = world.store.deployment("churn")
    assert deployment is not None
    now = world.release(release.id)
    from lastgood.control.moves import roll_back

    move = roll_back(now, deployment, world.observer.situation(deployment, now, measure=False), cause="bad")
    assert move is not None
    world.executor.apply(deployment, now, move)
    world.turn(31.0)
    assert world.release(release.id).phase is Phase.STUCK
    with pytest.raises(LastgoodError) as stuck:
        world.rollback.settling.settle(world.release(release.id))
    assert stuck.value.code is Code.STUCK
    assert stuck.value.details["behind"] == [0, 1]

    world.router.deaf = False
    world.router.hear()
    world.turn(1.0)

    assert world.release(release.id).phase is Phase.ROLLED_BACK


def test_a_rollback_waits_for_a_target_that_is_not_resident() -> None:
    """The version that answers keeps answering until the one gone back to is ready."""
    world = World()
    world.register("v1.0", "v1.1", "v1.2")
    for label in ("v1.0", "v1.1", "v1.2"):
        world.serve(label)
    world.fleet.slow.add(world.key("v1.0"))
    deployment = world.store.deployment("churn")
    assert deployment is not None
    release = world.rollback._begin(deployment, 1, "", False, "ada", False)
    assert release is not None
    world.turn(1.0)
    assert (world.release(release.id).phase, world.routed()) == (Phase.ROLLING_BACK, "v1.2")

    world.fleet.slow.clear()
    world.turn(1.0)
    world.turn(1.0)

    assert (world.release(release.id).phase, world.routed()) == (Phase.ROLLED_BACK, "v1.0")
