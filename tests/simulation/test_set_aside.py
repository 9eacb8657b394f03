"""What a person overrules, what a release seals of its evidence when it ends, and reports that cannot be read."""

import logging

import msgspec
import pytest
from world import PLAN, World

from lastgood.analysis.fold import fold
from lastgood.control.recompute import recompute
from lastgood.domain.change import Evidence
from lastgood.domain.event import AuditEvent
from lastgood.domain.plan import Guardrail, LatencyTest, Metric, OnFail, Plan, PromoteWhen
from lastgood.domain.release import Phase
from lastgood.domain.traffic import Baseline, Units
from lastgood.domain.verdict import Verdict
from lastgood.errors import Code, LastgoodError

HOLDS = Guardrail(name="errors", metric=Metric.ERRORS, share=1.0, on_fail=OnFail.HOLD)
LONG = tuple(msgspec.structs.replace(step, duration=10_000.0) for step in PLAN.steps)
HOLDING = msgspec.structs.replace(PLAN, guardrails=(PLAN.guardrails[0], HOLDS), steps=LONG)


def begun(plan: Plan = HOLDING) -> World:
    """Return a world whose release 2 gives v1.1 a tenth of the traffic for a long time."""
    world = World()
    world.register("v1.0", "v1.1")
    world.serve("v1.0")
    world.start("v1.1", plan=plan)
    world.turn()
    return world


def feed(world: World, bad: int, times: int = 6) -> None:
    for _ in range(times):
        world.reports.feed(2, max(world.release(2).step, 0), (30, bad), (270, 2))
        world.turn(0.1)


def last(world: World, kind: str) -> AuditEvent:
    return [one for one in world.journal.chain() if one.type == f"lastgood.{kind}" and one.release == 2][-1]


def shown(world: World) -> dict[str, dict[str, object]]:
    return {one["guardrail"]: one for one in world.views.release(2).findings}


def test_a_hold_by_a_guardrail_names_it_once_and_says_what_to_do() -> None:
    """The next steps stand in the message, and the guardrail's name is not told twice."""
    world = begun()
    feed(world, bad=20)
    waiting = world.views.release(2).waiting

    assert waiting.startswith("held by errors: ")
    assert "errors: errors" not in waiting
    assert "lastgood resume churn sets errors aside and goes on" in waiting
    assert "lastgood rollback churn goes back" in waiting


def test_resume_sets_the_guardrail_aside_and_everybody_can_see_it() -> None:
    """Status says by whom in place of what would follow, and so does the event of the promotion."""
    world = begun()
    feed(world, bad=20)
    world.commands.resume("churn", actor="ada")
    feed(world, bad=20, times=2)

    assert world.release(2).phase is Phase.PROGRESSING
    assert shown(world)["errors"]["set_aside_by"] == "ada"
    assert str(shown(world)["errors"]["sentence"]).endswith(": set aside by ada.")
    assert shown(world)["health"]["set_aside_by"] is None
    assert world.views.release(2).set_aside == {"errors": "ada"}
    world.commands.promote("churn", full=True, actor="bob")
    assert last(world, "release.promotion_started").data["set_aside"] == {"errors": "ada"}


def test_only_the_guardrail_that_held_is_set_aside() -> None:
    """One that had only alerted before still holds."""
    told = Guardrail(name="told", metric=Metric.ERRORS, share=0.5, on_fail=OnFail.ALERT)
    other = msgspec.structs.replace(HOLDS, share=0.5)
    world = begun(msgspec.structs.replace(HOLDING, guardrails=(told, other)))
    feed(world, bad=20)
    world.commands.promote("churn", full=False, actor="ada")

    assert world.release(2).waived == ("errors",)


def test_a_latency_comparison_under_keys_stops_nobody_but_its_maximum_does() -> None:
    """Ten times as slow: told once and not held; over the maximum later: rolled back."""
    slow = Guardrail(
        name="slow",
        metric=Metric.LATENCY,
        latency_test=LatencyTest.OBJECTIVE,
        objective=0.01,
        share=0.5,
        maximum=1.0,
    )
    errors = msgspec.structs.replace(HOLDS, share=0.5)
    world = begun(msgspec.structs.replace(HOLDING, guardrails=(slow, errors)))
    keyed = msgspec.structs.replace(world.release(2), baseline=Baseline(units=Units.KEYS))
    own = {"candidate": 16 * 16, "stable": 16 * 12}
    seen = world.observer.situation(world.deployment(), keyed)
    assert seen.findings[0].verdict is Verdict.INCONCLUSIVE
    for _ in range(8):
        world.reports.feed(2, 0, (30, 0), (270, 0))
        counts = world.reports.lives[0, 1].stages[-1]
        counts.candidate.latency = {own["candidate"]: counts.candidate.requests}
        counts.stable.latency = {own["stable"]: counts.stable.requests}
        world.clock += 0.1
        world.observer.begin_turn()
        seen = world.observer.situation(world.deployment(), keyed)

    assert (seen.findings[0].verdict, seen.findings[0].on_fail) == (Verdict.FAILED, OnFail.ALERT)


ENDINGS = ["rolled back by hand", "aborted", "rolled back for its health", "succeeded"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_end_seals_all_strata(ending: str) -> None:
    """The last event carries the number and the digest of the strata, and the evidence is held against it."""
    world = begun(msgspec.structs.replace(HOLDING, promote_when=PromoteWhen.MEASURED))
    feed(world, bad=0)
    if ending == "rolled back by hand":
        world.commands.roll_back("churn", version=None, reason="", keep=False, actor="ada")
    elif ending == "aborted":
        world.commands.abort("churn", reason="", actor="ada")
    elif ending == "rolled back for its health":
        world.fleet.missed[world.key("v1.1")] = 3
    else:
        world.commands.promote("churn", full=True, actor="ada")
    for _ in range(5):
        world.turn(3.0)
    assert world.release(2).terminal
    kind = {"aborted": "aborted", "succeeded": "succeeded"}.get(ending, "rolled_back")
    event = last(world, f"release.{kind}")
    found = world.hindsight.recompute(2)

    assert (event.data["strata"], event.data["log"]) == (found.strata, found.log)
    assert found.strata >= 6
    assert found.ends == (2 if ending == "succeeded" else 1)
    release, strata = world.release(2), list(world.evidence.strata(2))
    other = [*strata[:-1], msgspec.structs.replace(strata[-1], closed_at=strata[-1].closed_at + 1.0)]
    for forged, told in ((strata[:-1], f"rests on stratum {len(strata)}"), (other, "log is kept as")):
        evidence = fold(release.plan, release.baseline, Evidence(release=2), forged)
        with pytest.raises(LastgoodError) as caught:
            recompute(release, evidence, forged, world.journal.chain())
        assert caught.value.code is Code.CORRUPT
        assert told in caught.value.message


def test_what_is_shown_knows_of_corrupt_counts(caplog: pytest.LogCaptureFixture) -> None:
    """Counts that shrink are an error to the controller and to whoever looks, not ``passed`` to one of them."""
    world = begun()
    feed(world, bad=0)
    assert shown(world)["errors"]["verdict"] == "passed"
    world.reports.lives[0, 1].stages[0].candidate.requests -= 1
    with caplog.at_level(logging.ERROR):
        world.turn(0.1)

    assert shown(world)["errors"]["verdict"] == "error"
    assert "0:1" in str(shown(world)["errors"]["sentence"])


def test_an_unreadable_report_of_a_living_worker_is_an_error_until_it_is_written_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Verdict error, told once; the next report that can be read goes on without losing or doubling a count."""
    world = begun()
    feed(world, bad=0)
    world.reports.unreadable[0, 1] = world.clock
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            world.turn(60.0)
            world.controller.sweep()
    told = [one for one in caplog.records if "cannot be read" in one.getMessage()]

    assert len(told) == 1
    assert shown(world)["errors"]["verdict"] == "error"
    assert "0:1" in world.evidence.evidence(2).seen, "what is known of it is kept"
    world.reports.unreadable.clear()
    feed(world, bad=0, times=1)
    assert shown(world)["errors"]["verdict"] == "passed"
    assert sum(one.candidate.requests for one in world.evidence.strata(2)) == 7 * 30


def test_an_unreadable_report_of_a_dead_worker_is_swept_and_stops_nothing() -> None:
    """Half a file after a power cut: its worker has a successor, so it goes, and nothing waits for it."""
    world = begun()
    feed(world, bad=0)
    world.reports.unreadable[0, 1] = world.clock
    world.reports.begin(0, 2)
    world.turn(1.0)
    assert shown(world)["errors"]["verdict"] == "passed"
    world.turn(150.0)
    world.controller.sweep()

    assert world.reports.unreadable == {}
    assert list(world.reports.lives) == [(0, 2)]
    assert shown(world)["errors"]["verdict"] == "passed"
