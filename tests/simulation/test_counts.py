"""Counts that come late, twice, from workers that ended, from older stages, and while the clock goes back."""

import msgspec
import pytest
from world import PLAN, Crash, World

from lastgood.domain.release import Phase
from lastgood.domain.traffic import Stratum

LONG = msgspec.structs.replace(PLAN.steps[0], duration=10_000.0)


@pytest.fixture
def world() -> World:
    """Release 2 gives v1.1 a tenth of the traffic for a long time."""
    made = World()
    made.register("v1.0", "v1.1")
    made.serve("v1.0")
    made.start("v1.1", plan=msgspec.structs.replace(PLAN, steps=(LONG, *PLAN.steps[1:])))
    made.turn()
    return made


def strata(world: World) -> list[Stratum]:
    return list(world.evidence.strata(2))


def counted(world: World) -> tuple[int, int]:
    """Return how many requests the strata hold, of candidate and stable."""
    found = strata(world)
    return sum(one.candidate.requests for one in found), sum(one.stable.requests for one in found)


def test_workers_that_restart_lose_and_double_nothing(world: World) -> None:
    """Every request of every life is in the strata exactly once, and lives that ended are forgotten."""
    for epoch in range(2, 7):
        world.reports.feed(2, 0, (30, 0), (270, 2), life=(0, epoch - 1))
        world.turn(1.0)
        world.reports.feed(2, 0, (1, 0), (9, 0), life=(0, epoch - 1))  # its last words: too few for a stratum
        world.reports.begin(0, epoch)
        world.turn(150.0)
        world.controller.sweep()
    world.reports.feed(2, 0, (30, 0), (270, 0), life=(0, 6))
    world.turn(150.0)
    world.controller.sweep()
    world.controller.sweep()

    assert counted(world) == (5 * 31 + 30, 5 * 279 + 270)
    assert list(world.reports.lives) == [(0, 6)]
    assert list(world.evidence.evidence(2).seen) == ["0:6"]


def test_a_life_that_ended_stays_until_its_counts_are_used(world: World) -> None:
    """What is open is not lost; and what others still want to look at is left for a while."""
    world.reports.feed(2, 0, (1, 0), (5, 0))
    world.reports.begin(0, 2)
    world.turn(500.0)
    world.controller.sweep()
    assert (0, 1) in world.reports.lives

    world.reports.feed(2, 0, (30, 0), (270, 0), life=(0, 2))
    world.turn(1.0)
    world.reports.lives[0, 1].written_at = world.clock - 100.0
    world.controller.sweep()
    assert (0, 1) in world.reports.lives, "too early"
    world.turn(100.0)
    world.controller.sweep()
    world.controller.sweep()

    assert (0, 1) not in world.reports.lives
    assert counted(world) == (31, 275)


def test_a_crash_between_forgetting_the_report_and_the_life_doubles_nothing(world: World) -> None:
    """The report goes first; the name that is left behind in the evidence goes with the next sweep."""
    world.reports.feed(2, 0, (30, 0), (270, 0))
    world.turn(1.0)
    world.reports.begin(0, 2)
    world.turn(150.0)
    world.fault = ("before evidence.save_evidence", 0)
    with pytest.raises(Crash):
        world.controller.sweep()
    assert list(world.reports.lives) == [(0, 2)]
    world.restart()
    world.reports.feed(2, 0, (30, 0), (270, 0), life=(0, 2))
    world.turn(1.0)
    world.controller.sweep()

    assert counted(world) == (60, 540)
    assert list(world.evidence.evidence(2).seen) == ["0:2"]


def test_a_report_that_cannot_be_removed_is_not_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise its counts would come in a second time; the fault is told once and stops no turn."""

    def refuse(_slot: int, _epoch: int) -> None:
        raise PermissionError("not allowed")

    world.reports.feed(2, 0, (30, 0), (270, 0))
    world.turn(1.0)
    world.reports.begin(0, 2)
    monkeypatch.setattr(world.reports, "forget", refuse)
    world.clock += 150.0
    for _ in range(3):
        world.controller.sweep()
        world.turn(1.0)

    assert counted(world) == (30, 270)
    assert "0:1" in world.evidence.evidence(2).seen
    assert len([one for one in caplog.records if "are not forgotten" in one.message]) == 1


def test_a_new_controller_counts_on_from_what_is_stored(world: World) -> None:
    """Restarted in the middle, it neither loses nor doubles a count."""
    for _ in range(4):
        world.reports.feed(2, 0, (30, 0), (270, 2))
        world.turn(1.0)
        world.restart()
        world.turn(1.0)

    assert counted(world) == (120, 1080)


def test_the_same_report_twice_is_counted_once(world: World) -> None:
    """Reports are cumulative: nothing new, no stratum."""
    world.reports.feed(2, 0, (30, 0), (270, 2))
    for _ in range(5):
        world.turn(1.0)

    assert len(strata(world)) == 1


def test_counts_of_an_older_stage_belong_to_that_stage(world: World) -> None:
    """A gateway that was slow to follow reports for the stage it served: late strata of that stage."""
    world.commands.promote("churn", full=False, actor="ada")
    world.reports.feed(2, 1, (100, 0), (100, 0))
    world.turn(1.0)
    world.reports.feed(2, 0, (30, 0), (270, 0))
    world.turn(1.0)

    assert [one.stage for one in strata(world)] == [1, 0]
    assert world.views.release(2).requests == 100, "only those of the present step count for its samples"


def test_the_clock_may_go_back(world: World) -> None:
    """Strata never go back in time; a step that had begun lasts longer, and nothing fails."""
    world.reports.feed(2, 0, (30, 0), (270, 0))
    world.turn(100.0)
    world.reports.feed(2, 0, (30, 0), (270, 0))
    world.turn(-5_000.0)
    world.reports.feed(2, 0, (30, 0), (270, 0))
    world.turn(1.0)

    moments = [one.closed_at for one in strata(world)]
    assert len(moments) == 3
    assert moments == sorted(moments)
    assert world.controller.trouble == {}
    assert world.release(2).phase is Phase.PROGRESSING


def test_counts_that_shrink_leave_their_life_out_and_stop_no_loop(world: World) -> None:
    """The others' counts are used; the guardrails say that something is wrong, and nothing is promoted on it."""
    world.reports.feed(2, 0, (30, 0), (270, 0))
    world.turn(1.0)
    world.reports.lives[0, 1].stages[-1].candidate.requests = 3
    world.reports.begin(1, 1)
    world.reports.feed(2, 0, (40, 0), (360, 0), life=(1, 1))
    world.turn(1.0)

    assert world.controller.trouble == {}
    assert counted(world) == (70, 630)
    seen = world.observer.situation(world.deployment(), world.release(2))
    errors = next(one for one in seen.findings if one.guardrail == "errors")
    assert errors.verdict.value == "error"
