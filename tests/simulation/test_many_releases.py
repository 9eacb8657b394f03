"""Many releases in one turn: what they gain is saved together, and a conflict of one is no other's."""

import msgspec
import pytest
from world import PLAN, World

from lastgood.control.starting import Order
from lastgood.domain.change import EvidenceStep
from lastgood.domain.release import Release
from lastgood.domain.verdict import Finding

LONG = msgspec.structs.replace(PLAN, steps=(msgspec.structs.replace(PLAN.steps[0], duration=10_000.0),))


@pytest.fixture
def world() -> World:
    """Three models, each with a release that has some evidence and stays for a long time."""
    made = World()
    for model in ("churn", "fraud", "spam"):
        made.register("v1.0", "v1.1", model=model)
        first = made.commands.start(Order(model=model, version="v1.0", actor="ada", plan=LONG))
        while not made.release(first.id).terminal:
            made.turn(11.0)
        made.commands.start(Order(model=model, version="v1.1", actor="ada", plan=LONG))
    made.turn(1.0)
    feed(made)
    made.turn(1.0)
    assert sequences(made) == [1, 1, 1]
    return made


def under_way(world: World) -> list[int]:
    return [one.release for one in world.store.deployments() if one.release is not None]


def sequences(world: World) -> list[int]:
    return [world.evidence.evidence(release).sequence for release in under_way(world)]


def feed(world: World) -> None:
    for release in under_way(world):
        world.reports.feed(release, 0, (10, 0), (90, 1))


def test_what_all_gain_in_a_turn_is_one_transaction(world: World) -> None:
    """Every release gets its stratum, and the evidence is saved once for all of them."""
    feed(world)
    world.passed.clear()
    world.turn(1.0)

    assert sequences(world) == [2, 2, 2]
    assert world.passed.count("before evidence.save_evidence") == 1


def test_a_turn_with_no_news_saves_nothing(world: World) -> None:
    """Counts that are in the strata already are not written again."""
    world.passed.clear()
    world.turn(1.0)

    assert sequences(world) == [1, 1, 1]
    assert "before evidence.save_evidence" not in world.passed


def test_a_conflict_of_one_is_no_other_ones(world: World) -> None:
    """When somebody else was first with one release, all three have their stratum after the same turn."""
    before = world.evidence.evidence(under_way(world)[1])
    last = list(world.evidence.strata(before.release))[-1]
    rival = msgspec.structs.replace(before, sequence=2)
    world.evidence.save_evidence(
        EvidenceStep(before=1, evidence=rival, strata=(msgspec.structs.replace(last, sequence=2),))
    )
    feed(world)
    world.turn(1.0)

    assert sequences(world) == [2, 3, 2]
    assert world.controller.trouble == {}


def test_a_release_that_cannot_be_folded_stops_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault in one release's measurement is told of its deployment; the others get their strata."""
    broken = under_way(world)[0]
    lives = world.observer.measuring._counted.lives

    def fail(release: int) -> object:
        if release == broken:
            raise ValueError("no such counts")
        return lives(release)

    monkeypatch.setattr(world.observer.measuring._counted, "lives", fail)
    feed(world)
    world.turn(1.0)

    assert sequences(world) == [1, 2, 2]
    assert world.controller.trouble == {"churn": "no such counts"}


def test_a_paused_release_that_a_person_changed_is_read_again(world: World) -> None:
    """A command between two turns leaves that release to itself: it is measured as it is now."""
    world.commands.pause("churn", actor="ada", reason="lunch")
    feed(world)
    world.passed.clear()
    world.turn(1.0)

    assert sequences(world) == [2, 2, 2]
    assert world.passed.count("before evidence.save_evidence") == 2


def test_a_turn_reads_only_the_releases_that_have_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody has changed is not read again, with news or without; a command is seen in the next turn."""
    asked: list[int] = []
    read = world.store.release

    def counted(identifier: int) -> Release | None:
        asked.append(identifier)
        return read(identifier)

    monkeypatch.setattr(world.store, "release", counted)
    feed(world)
    world.turn(1.0)
    world.turn(1.0)
    assert asked == []

    world.commands.pause("fraud", actor="ada", reason="lunch")
    asked.clear()
    world.turn(1.0)
    assert set(asked) == {under_way(world)[1]}


def test_only_a_move_puts_findings_into_words(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that lead to nothing are without sentences; the rollback that follows has them, with the numbers."""
    told: list[int] = []
    words = world.observer.measuring.told

    def counted(release: Release, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        told.append(release.id)
        return words(release, findings)

    monkeypatch.setattr(world.observer.measuring, "told", counted)
    feed(world)
    world.turn(1.0)
    assert told == []

    bad = under_way(world)[1]
    world.reports.feed(bad, 0, (50, 40), (450, 0))
    world.turn(1.0)
    assert set(told) == {bad}
    assert world.release(bad).reason.startswith("errors: ")
    assert world.release(bad).evidence["candidate"]["bad"] == 40
