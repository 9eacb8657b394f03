"""Stable's history on the fake clock, and the baseline that a release takes from it."""

import logging
from collections.abc import Iterable

import pytest
from world import World

from lastgood.control.history import Recorder
from lastgood.domain.release import Phase
from lastgood.domain.traffic import ArmCounts, TrafficMinute
from lastgood.errors import Code, LastgoodError


@pytest.fixture
def world() -> World:
    """A deployment that serves v1.0, on the minute, whose recorder has looked once."""
    made = World()
    made.register("v1.0", "v1.1")
    made.serve("v1.0")
    made.clock = 60_000.0
    made.recorder.record()
    return made


def minutes(world: World, version: int | None = None) -> dict[int, int]:
    """Return requests by minute."""
    found = world.traffic.traffic("churn", since=0, version=version)
    return {one.minute: one.counts.requests for one in found}


def look(world: World, seconds: float) -> None:
    world.clock += seconds
    world.recorder.record()


def test_gains_are_written_by_minute(world: World) -> None:
    """Each minute gets what was counted in it; several workers add up."""
    world.reports.answer(1, 100, 2)
    look(world, 60.0)
    world.reports.begin(1, 1)
    world.reports.answer(1, 30)
    world.reports.answer(1, 20, life=(1, 1))
    look(world, 60.0)

    assert minutes(world) == {1000: 100, 1001: 50}
    assert world.traffic.traffic("churn", since=0)[0].counts.errors == 2


def test_a_look_within_the_minute_adds_to_it(world: World) -> None:
    """At the end of a release the recorder looks early; nothing is counted twice."""
    world.reports.answer(1, 10)
    look(world, 20.0)
    world.reports.answer(1, 5)
    look(world, 20.0)
    look(world, 20.0)

    assert minutes(world) == {1000: 15}


def test_a_new_recorder_counts_from_its_first_look(world: World) -> None:
    """What a life had counted before belongs to minutes that nobody knows; a life that begins later counts whole."""
    world.reports.answer(1, 1_000_000)
    world.restart()
    world.recorder.record()
    world.reports.answer(1, 7)
    world.reports.begin(1, 2)
    world.reports.answer(1, 3, life=(1, 2))
    look(world, 60.0)

    assert minutes(world) == {1000: 10}


def test_versions_are_kept_apart(world: World) -> None:
    """After a promotion the new stable has a history of its own."""
    world.reports.answer(1, 10)
    world.reports.answer(2, 4)
    look(world, 60.0)

    assert (minutes(world, 1), minutes(world, 2)) == ({1000: 10}, {1000: 4})


def test_a_life_that_contradicts_itself_is_left_out_and_told_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Shrinking counts are not used, now or later; the others' are."""
    world.reports.begin(1, 1)
    world.reports.answer(1, 50)
    world.reports.answer(1, 50, life=(1, 1))
    look(world, 60.0)
    world.reports.lives[0, 1].totals[0].counts.requests = 1
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            world.reports.answer(1, 10)
            world.reports.answer(1, 10, life=(1, 1))
            look(world, 60.0)

    assert minutes(world) == {1000: 100, 1001: 10, 1002: 10, 1003: 10}
    assert len([one for one in caplog.records if "leaves gateway worker" in one.message]) == 1


def test_old_minutes_are_dropped(world: World) -> None:
    """The history is bounded: a day by default."""
    world.reports.answer(1, 10)
    look(world, 60.0)
    world.reports.answer(1, 20)
    look(world, 86_400.0)

    assert minutes(world) == {1001: 20}


def test_a_store_that_fails_costs_nothing_but_time(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The counts wait and are written when the store is back; the fault is told once."""
    flaky = _Flaky(world)
    recorder = Recorder(traffic=flaky, reports=world.reports, keep_seconds=86_400.0, now=lambda: world.clock)
    recorder.record()
    flaky.broken = True
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            world.reports.answer(1, 10)
            world.clock += 60.0
            recorder.record()
    assert minutes(world) == {}
    assert len([one for one in caplog.records if "waits" in one.message]) == 1
    flaky.broken = False
    world.clock += 60.0
    recorder.record()

    assert minutes(world) == {1000: 10, 1001: 10, 1002: 10}


def test_a_release_begins_with_what_stable_did(world: World) -> None:
    """The baseline is in the release and, without the histogram, in the event of the request."""
    for _ in range(40):
        world.reports.answer(1, 100, 1)
        world.reports.lives[0, 1].totals[0].counts.latency = {
            160: world.reports.lives[0, 1].totals[0].counts.requests
        }
        look(world, 60.0)
    release = world.start("v1.1")

    assert (release.baseline.minutes, release.baseline.requests) == (40, 4_000)
    assert release.baseline.latency == {160: 4_000}
    event = next(one for one in world.journal.events(newest_first=True, deployment="churn"))
    assert event.data["baseline"]["requests"] == 4_000
    assert event.data["baseline"]["why"] == release.baseline.why
    assert "latency" not in event.data["baseline"]
    assert world.views.release(release.id).baseline["minutes"] == 40


def test_only_the_last_day_of_the_present_stable_counts(world: World) -> None:
    """An older version's traffic, and what is older than a day, say nothing of what is stable now."""
    world.traffic.add_traffic(
        TrafficMinute(deployment="churn", version=version, minute=minute, counts=counts(9))
        for version, minute in ((1, 1000 - 1441), (1, 999), (2, 998))
    )

    assert world.start("v1.1").baseline.requests == 9


def test_a_history_that_cannot_be_read_stops_no_release(world: World) -> None:
    """The baseline knows nothing, and says why."""
    flaky = _Flaky(world)
    flaky.broken = True
    world.commands._starting._traffic = flaky
    release = world.start("v1.1")
    world.turn()

    assert world.release(release.id).phase is Phase.PROGRESSING
    assert "could not be used" in release.baseline.why


def counts(requests: int) -> ArmCounts:
    return ArmCounts(requests=requests)


class _Flaky:
    """The history's store, broken at will."""

    def __init__(self, world: World) -> None:
        self._traffic = world.traffic
        self.broken = False

    def _check(self) -> None:
        if self.broken:
            raise LastgoodError(Code.STORAGE, "The disk is full.", "Free some space.")

    def add_traffic(self, minutes: Iterable[TrafficMinute]) -> None:
        found = list(minutes)
        self._check()
        self._traffic.add_traffic(found)

    def traffic(self, deployment: str, *, since: int, version: int | None = None) -> list[TrafficMinute]:
        self._check()
        return self._traffic.traffic(deployment, since=since, version=version)

    def drop_traffic(self, before: int) -> None:
        self._check()
        self._traffic.drop_traffic(before)
