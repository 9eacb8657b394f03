"""The watch beside the version before: a change goes back, a change of the world holds, and all is computed again."""

import functools
import random
from typing import Any

import msgspec
import pytest
from world import World

from lastgood.cli.evidence import evidence_rows
from lastgood.cli.progress import block
from lastgood.cli.release_page import render
from lastgood.domain.agreement import PairRow
from lastgood.domain.kpi import Outcome
from lastgood.domain.plan import Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.release import HoldReason, Phase, Release
from lastgood.errors import Code, LastgoodError

RECALL = "{metric: recall, positive: fraud, min_samples: 50}"


def plan(*guardrails: str, more: str = "") -> Plan:
    listed = ", ".join(guardrails)
    return parse_plan(
        f"steps: [{{weight: 20%, for: 10s, samples: 50}}]\nguardrails: [{listed}]\nwatch: 10h\n"
        f"watch_run_length: 1d\n{more}"
    )


@pytest.fixture
def world() -> World:
    """A deployment that serves v1.0, with v1.1 registered."""
    made = World()
    made.register("v1.0", "v1.1")
    made.serve("v1.0")
    return made


class Labels:
    """Makes labelled frauds, seeded: each arm finds its part of them."""

    def __init__(self, world: World, release: Release) -> None:
        self._world, self._release, self._chance = world, release, random.Random(11)

    def come(self, count: int, stage: int, found: float, found_before: float | None = None) -> None:
        """Let frauds be labelled that the candidate found so often; with ``found_before`` they are pairs.

        What a pair's easier answer found the other has found as well: versions agree much.
        """
        for _ in range(count):
            arm, luck = "candidate", self._chance.random()
            if found_before is None and stage == 0 and self._chance.random() < 0.5:
                arm = "stable"
            answers = {"answer": {"label": "fraud" if luck < found else "honest"}}
            if found_before is not None:
                answers["other"] = {"label": "fraud" if luck < found_before else "honest"}
            known: dict[str, Any] = {
                "sequence": len(self._world.outcomes.listed) + 1,
                "release": self._release.id,
                "stage": stage,
                "arm": arm,
                "version": 2,
                "predicted_at": self._world.clock,
                "labelled_at": self._world.clock,
                "value": "fraud",
                "copied": found_before is not None,
            }
            self._world.outcomes.listed.append(Outcome(**(known | answers)))


def promoted(world: World, used: Plan, rows: int = 400) -> tuple[Release, Labels]:
    """Return a release that is watched, with so many labelled frauds in its steps, nine of ten found."""
    release = world.start("v1.1", plan=used)
    world.turn(1.0)
    labels = Labels(world, release)
    if rows:
        labels.come(rows, 0, 0.9)
    world.reports.feed(release.id, 0, (200, 1), (800, 4))
    for _ in range(4):
        world.turn(11.0)
    assert world.release(release.id).phase is Phase.WATCHING, world.release(release.id).cause
    return release, labels


def watched(world: World, release: Release, minutes: int, feed: Any) -> Release:
    """Let so many minutes of the watch pass, or until it is over or held; ``feed`` adds to each."""
    for _ in range(minutes):
        now = world.release(release.id)
        if now.phase is not Phase.WATCHING or now.hold is not None:
            break
        feed()
        world.turn(60.0)
    return world.release(release.id)


def test_a_version_that_becomes_worse_goes_back(world: World) -> None:
    """Errors that only the promoted version has in the pairs: rolled back, with the numbers, and computed again."""
    used = plan("{metric: errors}")
    release, _ = promoted(world, used)
    good = watched(
        world, release, 30, lambda: world.reports.feed(release.id, used.pair_stage, (50, 1), (50, 1))
    )
    assert (good.phase, good.hold) == (Phase.WATCHING, None)

    ended = watched(
        world, release, 30, lambda: world.reports.feed(release.id, used.pair_stage, (50, 12), (50, 1))
    )
    world.turn()
    ended = world.release(ended.id)
    assert ended.phase is Phase.ROLLED_BACK
    assert world.stable() == "v1.0"
    assert "so it has become worse" in ended.reason
    assert ended.evidence["helps"]["verdict"] == "yes"
    assert ended.evidence["watch"]["stable"]["bad"] < ended.evidence["watch"]["candidate"]["bad"]
    assert world.hindsight.recompute(release.id).findings > 0


def test_an_outage_that_hits_both_blames_nobody(world: World) -> None:
    """Half of all requests fail for an hour, the copies as well: the watch goes on."""
    used = plan("{metric: errors}", "{metric: timeouts}")
    release, _ = promoted(world, used)
    after = watched(
        world, release, 60, lambda: world.reports.feed(release.id, used.pair_stage, (60, 30), (60, 30))
    )
    assert (after.phase, after.hold) == (Phase.WATCHING, None)


def test_recall_that_falls_for_one_version_goes_back(world: World) -> None:
    """Pair by pair the version before finds what the promoted one misses."""
    used = plan(RECALL)
    release, labels = promoted(world, used)
    ended = watched(world, release, 60, lambda: labels.come(20, used.pair_stage, 0.6, 0.9))
    world.turn()
    ended = world.release(ended.id)
    assert ended.phase is Phase.ROLLED_BACK
    assert "so it has become worse" in ended.reason
    assert ended.evidence["helps"]["verdict"] == "yes"
    assert ended.evidence["helps"]["differ"] > 0


def test_recall_that_falls_for_both_holds_and_says_why(world: World) -> None:
    """The world changed: the watch stays, told and alerted; a person ends the hold, and the watch then ends by itself."""
    used = plan(RECALL)
    release, labels = promoted(world, used)

    def come() -> None:
        labels.come(20, used.pair_stage, 0.6, 0.61)
        labels.come(60, used.watch_stage, 0.6)

    held = watched(world, release, 120, come)
    assert (held.phase, world.stable()) == (Phase.WATCHING, "v1.1")
    assert held.hold is not None
    assert (held.hold.reason, held.hold.guardrail) == (HoldReason.WORLD, "recall")
    assert "in the watch 6" in held.hold.message
    assert "the version before does hardly better on the same requests" in held.hold.message
    assert "going back would not help" in held.hold.message
    assert "lastgood resume churn" in held.hold.message
    assert "recall" in held.alerted
    (finding,) = [one for one in world.observer.peek(held).findings if one.guardrail == "recall"]
    assert finding.numbers["helps"]["verdict"] == "no"
    assert 0.3 < finding.numbers["helps"]["candidate_wrong"] < 0.5
    view = world.views.release(release.id)
    assert (view.hold, view.waiting) == ("world", held.hold.message)
    plain = msgspec.to_builtins(view)
    assert f"  {held.hold.message}" in block(plain)
    (shown,) = [one for one in plain["findings"] if one["guardrail"] == "recall"]
    rows = dict(evidence_rows(shown, plain["baseline"]))
    assert rows["Would going back help?"].startswith("no: it does hardly better; wrong there: ")
    assert rows["change, the steps"].startswith("alarm: at ")
    page = render(msgspec.to_builtins(world.hindsight.report(release.id)), as_html=True)
    assert "Would going back help?" in page

    world.restart()
    for _ in range(3):
        come()
        world.turn(60.0)
    assert world.release(release.id).hold == held.hold
    told = [event.type for event in world.journal.chain() if event.release == release.id]
    assert sum(one.endswith(".alerted") for one in told) == 1, (
        "a controller that starts again tells nobody twice"
    )
    world.turn(20 * 3600.0)
    assert world.release(release.id).phase is Phase.WATCHING, "it does not end by itself while it is held"
    world.commands.resume("churn", actor="ada")
    now = world.release(release.id)
    assert (now.phase, now.hold, now.waived) == (Phase.WATCHING, None, ("recall",))
    told = [event.type.rpartition(".")[2] for event in world.journal.chain() if event.release == release.id]
    assert told[-2:] == ["alerted", "resumed"]
    world.turn(1.0)
    assert world.release(release.id).phase is Phase.SUCCEEDED


def test_a_held_watch_still_goes_back(world: World) -> None:
    """By the comparison, once that is enough, and by a person's word at any time."""
    used = plan(RECALL)
    for by_hand in (False, True):
        again = World()
        again.register("v1.0", "v1.1")
        again.serve("v1.0")
        release, labels = promoted(again, used)
        come = functools.partial(labels.come, 60, used.watch_stage, 0.6)
        held = watched(again, release, 120, come)
        assert held.hold is not None
        assert "nobody answers the same requests beside it" in held.hold.message
        if by_hand:
            again.commands.roll_back("churn", version=None, reason="enough", keep=False, actor="ada")
        for _ in range(40):
            labels.come(20, used.pair_stage, 0.6, 0.9)
            again.turn(60.0)
        assert again.release(release.id).phase is Phase.ROLLED_BACK
        assert again.stable() == "v1.0"


def test_nothing_is_held_against_few_labels_of_the_steps(world: World) -> None:
    """With a hundred labelled rows there is no reference, so a fall is held against nobody."""
    used = plan("{metric: recall, positive: fraud, min_samples: 20}")
    release, labels = promoted(world, used, rows=90)
    after = watched(world, release, 60, lambda: labels.come(40, used.watch_stage, 0.6))
    assert (after.phase, after.hold) == (Phase.WATCHING, None)


def test_a_limit_that_both_break_holds_the_steps(world: World) -> None:
    """Stable is over it hardly less: going back would not help; one that stable keeps goes back as ever."""
    used = plan("{metric: errors, max: 5%, min_samples: 100}")
    release = world.start("v1.1", plan=used)
    world.turn(1.0)
    world.reports.feed(release.id, 0, (200, 24), (800, 90))
    world.turn(1.0)
    now = world.release(release.id)
    assert now.phase is Phase.PAUSED
    assert now.hold is not None
    assert (now.hold.reason, now.hold.guardrail) == (HoldReason.WORLD, "errors")
    assert "stable is over it too (11.2 %): going back would not help" in now.hold.message
    world.commands.resume("churn", actor="ada")
    assert world.release(release.id).phase is Phase.PROGRESSING

    world.reports.feed(release.id, 0, (400, 200), (1600, 10))
    world.turn(1.0)
    world.turn(1.0)
    assert world.release(release.id).phase is Phase.ROLLED_BACK


def test_a_watch_that_is_not_held_cannot_be_resumed(world: World) -> None:
    """Resuming is refused while nothing holds it."""
    promoted(world, plan("{metric: errors}"))
    with pytest.raises(LastgoodError) as refused:
        world.commands.resume("churn", actor="ada")
    assert refused.value.code is Code.CONFLICT


def test_the_watch_is_computed_again_from_its_strata(world: World) -> None:
    """Verdicts, states and numbers of a watch with pairs follow from the stored strata alone, bit for bit."""
    used = plan("{metric: errors, margin: 1pp}", "{metric: timeouts}", RECALL)
    release, labels = promoted(world, used)

    def feed() -> None:
        world.reports.feed(release.id, used.pair_stage, (50, 2), (50, 1))
        labels.come(10, used.pair_stage, 0.6, 0.61)
        labels.come(30, used.watch_stage, 0.6)

    held = watched(world, release, 120, feed)
    assert held.hold is not None
    found = world.hindsight.recompute(release.id)
    assert found.strata == world.evidence.evidence(release.id).sequence
    assert found.findings > 1, "those of the promotion, and of the hold"


def test_versions_that_say_other_things_are_told_without_labels() -> None:
    """Answers to copies that differ too often alert once in the watch, and hold it where the plan says so."""
    for on_fail, held in (("alert", None), ("hold", HoldReason.GUARDRAIL)):
        again = World()
        again.register("v1.0", "v1.1")
        again.serve("v1.0")
        used = plan(
            "{metric: errors}", f"{{metric: agreement, min: 80%, min_samples: 20, on_fail: {on_fail}}}"
        )
        release, _ = promoted(again, used, rows=0)
        again.outcomes.copied += [
            PairRow(
                sequence=number + 1,
                stage=used.pair_stage,
                arm="candidate",
                answer={"label": 1},
                other={"label": int(number % 3 > 0)},
            )
            for number in range(60)
        ]
        again.turn(2.0)
        again.turn(2.0)
        now = again.release(release.id)
        assert now.phase is Phase.WATCHING
        assert (now.hold.reason if now.hold else None) is held
        assert now.alerted == ("agreement",)
        last = [event for event in again.journal.chain() if event.release == release.id][-1]
        assert last.type == "lastgood.guardrail.alerted"
        assert "66.7 % of both versions' answers are the same, 40 of 60" in last.data["cause"]
        assert again.hindsight.recompute(release.id).findings > 0
