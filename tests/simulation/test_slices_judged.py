"""Slices through the controller: a candidate that is worse for some rows alone, what is told of it, and what is kept."""

import html
import io
import random

import msgspec
import pytest
from rich.console import Console
from world import World

from lastgood.cli.evidence import evidence_lines
from lastgood.cli.output import shown
from lastgood.cli.release_page import render
from lastgood.domain.kpi import Outcome
from lastgood.domain.plan import Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.release import Phase, Release

RECALL = "{metric: recall, positive: fraud, margin: 2pp, min_samples: 100, share: 50%, slices: [country]}"


def plan(recall: str = RECALL) -> Plan:
    return parse_plan(
        f"strategy: canary\nsteps: [{{weight: 20%, for: 10s}}, {{weight: 50%, for: 1h}}]\n"
        f"guardrails: [{{metric: errors}}, {recall}]\ndeadline: 9h\nwatch: 1h"
    )


@pytest.fixture
def world() -> World:
    """A deployment that serves v1.0, with v1.1 registered."""
    made = World()
    made.register("v1.0", "v1.1")
    made.serve("v1.0")
    return made


def labels_come(world: World, release: Release, chance: random.Random, count: int, in_br: float) -> None:
    """Let labels of frauds come; the candidate finds ``in_br`` of those of BR, a tenth of all, and 98 % of the others."""
    for _ in range(count):
        arm = "candidate" if chance.random() < 0.3 else "stable"
        country = "BR" if chance.random() < 0.1 else chance.choice(["DE", "FR", "US"])
        rate = 0.9 if arm == "stable" else in_br if country == "BR" else 0.98
        world.outcomes.listed.append(
            Outcome(
                sequence=len(world.outcomes.listed) + 1,
                release=release.id,
                stage=0,
                arm=arm,
                version=1,
                predicted_at=world.clock,
                labelled_at=world.clock,
                value="fraud",
                answer={"label": "fraud" if chance.random() < rate else "honest"},
                slices={"country": country},
            )
        )


def judged(world: World, in_br: float, used: Plan) -> Release:
    """Run a release until it is rolled back, or over 4 000 labels long."""
    release, chance = world.start("v1.1", plan=used), random.Random(11)
    world.turn(1.0)
    for _ in range(40):
        world.reports.feed(release.id, 0, (10, 0), (40, 0))
        labels_come(world, release, chance, 100, in_br)
        world.turn(2.0)
        if world.release(release.id).terminal:
            break
    world.turn(1.0)
    return world.release(release.id)


def test_a_candidate_that_is_worse_for_one_country_is_rolled_back_and_the_country_is_named(
    world: World,
) -> None:
    """Better on average, it goes back with the country in its cause; page and status have it, and it can be computed again."""
    over = judged(world, 0.5, plan())
    assert over.phase is Phase.ROLLED_BACK
    assert "worse for country=BR: " in over.cause
    assert over.evidence["candidate"]["value"] > over.evidence["stable"]["value"]
    worst = over.evidence["slices"][0]
    assert (worst["name"], worst["failed"]) == ("country=BR", True)
    assert world.hindsight.recompute(over.id).findings
    report = msgspec.json.decode(msgspec.json.encode(world.hindsight.report(over.id)))
    for as_html in (True, False):
        page = html.unescape(render(report, as_html=as_html))
        assert (
            page.index("Slices") < page.index("country=BR", page.index("Slices")) < page.index("country=DE")
        )
    points = report["traces"]["points"]["recall"]
    assert points[-1]["part"] >= 1.0
    view = msgspec.to_builtins(world.views.release(over.id, intervals=True))
    console = Console(width=300, record=True, file=io.StringIO())
    for part in evidence_lines(view):
        console.print(shown(part))
    assert "worst of 4 slices: country=BR, " in console.export_text()


def test_without_slices_the_same_candidate_goes_on(world: World) -> None:
    """So it is the slice that fails it."""
    unsliced = plan(RECALL.replace(", slices: [country]", ""))
    assert judged(world, 0.5, unsliced).phase is Phase.PROGRESSING


def test_a_candidate_that_is_better_in_every_slice_goes_on(world: World) -> None:
    """Slices fail nobody who is as good in each of them."""
    now = judged(world, 0.95, plan())
    assert now.phase is Phase.PROGRESSING
    recall = world.views.release(now.id).findings[-1]
    assert recall["numbers"]["slices_judged"] == 4
    assert not any(one["failed"] for one in recall["numbers"]["slices"])


def test_what_slices_hold_is_saved_with_the_evidence(world: World) -> None:
    """A new controller goes on where the last one was: the same places, no row twice."""
    release, chance = world.start("v1.1", plan=plan()), random.Random(5)
    world.turn(1.0)
    for _ in range(2):
        labels_come(world, release, chance, 60, 0.95)
        world.turn(2.0)
        before = world.views.release(release.id).findings[-1]["numbers"]["slices"]
        world.restart()
        world.turn(2.0)
        assert world.views.release(release.id).findings[-1]["numbers"]["slices"] == before
    assert sum(one["candidate"]["labelled"] + one["stable"]["labelled"] for one in before) == 120
    assert world.hindsight.recompute(release.id).strata
