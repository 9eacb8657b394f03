"""Drift on the fake clock: a world that moves convicts nobody, a candidate that answers otherwise is found."""

import io
import random
from typing import Any

import msgspec
import pytest
from rich.console import Console
from world import World

from lastgood.cli.evidence import evidence_lines
from lastgood.cli.output import shown
from lastgood.cli.release_page import render
from lastgood.control.preflight import check_reference, check_sketches
from lastgood.domain.plan import Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.release import HoldReason, Phase, Release
from lastgood.domain.sketch import Feature, Reference, SketchRow, sketch_of
from lastgood.errors import Code, LastgoodError
from lastgood.settings import Settings
from lastgood.stats import shift

STEPS = "steps: [{weight: 50%, for: 20m}, {weight: 50%, for: 20m}]"


def plan(*guardrails: str) -> Plan:
    listed = ", ".join(("{metric: errors}", *guardrails))
    return parse_plan(f"{STEPS}\nguardrails: [{listed}]\ndeadline: 9h\nwatch: 30m\n")


def trained() -> Reference:
    chance = random.Random(1)
    sketch = sketch_of([chance.gauss(58.0, 15.0) for _ in range(4000)])
    cuts = shift.edges(sketch.numbers, 16)
    shares = tuple(count / 4000 for count in shift.binned(sketch.numbers, cuts))
    return Reference(rows=4000, features=(Feature(name="monthly_charges", cuts=cuts, shares=shares),))


@pytest.fixture
def world() -> World:
    """A deployment that serves v1.0, with v1.1 registered together with what it was trained on."""
    made = World()
    made.register("v1.0")
    made.register("v1.1", reference=trained())
    made.serve("v1.0")
    return made


class Traffic:
    """Requests of one release, seeded: inputs around ``charges`` in both arms, scores of the candidate ``higher``."""

    def __init__(self, world: World, release: Release) -> None:
        self._world, self._release = world, release
        self._chance = random.Random(7)

    def come(
        self, *, charges: float = 58.0, higher: float = 0.0, arms: tuple[str, ...] = ("candidate", "stable")
    ) -> None:
        """Let some requests of the present step come, counted and sketched."""
        now = self._world.release(self._release.id)
        stage = (
            max(now.plan.stage_at(now.step), 0) if now.phase is not Phase.WATCHING else now.plan.watch_stage
        )
        self._world.reports.feed(self._release.id, stage, (50, 0), (50 if len(arms) > 1 else 0, 0))
        for arm in arms:
            shifted = higher if arm == "candidate" else 0.0
            inputs = sketch_of([self._chance.gauss(charges, 15.0) for _ in range(50)])
            scores = sketch_of([min(1.0, self._chance.random() + shifted) for _ in range(50)])
            self._world.sketches.listed.append(
                SketchRow(
                    seq=len(self._world.sketches.listed) + 1,
                    at=self._world.clock,
                    deployment="churn",
                    version=2 if arm == "candidate" else 1,
                    release=self._release.id,
                    stage=stage,
                    arm=arm,
                    rows=50,
                    inputs={"monthly_charges": inputs},
                    outputs={"score": scores},
                )
            )


def begun(world: World, *guardrails: str) -> tuple[Release, Traffic]:
    release = world.start("v1.1", plan=plan(*guardrails))
    world.turn(1.0)
    return release, Traffic(world, release)


def test_a_world_that_moves_holds_the_release_and_rolls_nothing_back(world: World) -> None:
    """Both arms get the new customers; the release is held in words, goes on once a person says so, and is promoted."""
    release, traffic = begun(world, "{metric: drift, on_fail: hold}")
    for _ in range(30):
        traffic.come(charges=74.0)
        world.turn(30.0)
    held = world.release(release.id)
    assert held.phase is Phase.PAUSED
    assert held.hold is not None
    assert (held.hold.reason, held.hold.guardrail) == (HoldReason.WORLD, "drift")
    assert "held by drift: monthly_charges moved by" in held.hold.message
    world.commands.resume("churn", actor="ada")
    for _ in range(120):
        traffic.come(charges=74.0)
        world.turn(30.0)
    assert world.release(release.id).phase in (Phase.WATCHING, Phase.SUCCEEDED)
    assert world.routed() == "v1.1"
    assert world.hindsight.recompute(release.id).findings


def test_drift_of_the_inputs_alerts_by_default(world: World) -> None:
    """The release goes on to its end; whoever is to be told is told once."""
    release, traffic = begun(world, "{metric: drift}")
    for _ in range(110):
        traffic.come(charges=74.0)
        world.turn(30.0)
        if world.release(release.id).phase is Phase.WATCHING:
            break
    assert world.release(release.id).phase is Phase.WATCHING
    assert world.release(release.id).alerted == ("drift",)


def test_drift_that_begins_in_the_watch_is_told(world: World) -> None:
    """The promoted version's inputs are held against its reference for as long as the release lasts."""
    release, traffic = begun(world, "{metric: drift}")
    for _ in range(110):
        traffic.come()
        world.turn(30.0)
        if world.release(release.id).phase is Phase.WATCHING:
            break
    assert world.release(release.id).alerted == ()
    for _ in range(30):
        traffic.come(charges=74.0, arms=("candidate",))
        world.turn(30.0)
    assert world.release(release.id).phase is Phase.WATCHING
    assert world.release(release.id).alerted == ("drift",)


def test_drift_in_the_watch_keeps_it_from_ending(world: World) -> None:
    """With hold the watch waits for a person, and once resumed it ends in its time."""
    release, traffic = begun(world, "{metric: drift, on_fail: hold}")
    for _ in range(110):
        traffic.come()
        world.turn(30.0)
        if world.release(release.id).phase is Phase.WATCHING:
            break
    for _ in range(90):
        traffic.come(charges=74.0, arms=("candidate",))
        world.turn(30.0)
    held = world.release(release.id)
    assert held.phase is Phase.WATCHING
    assert held.hold is not None
    assert held.hold.reason is HoldReason.WORLD
    world.commands.resume("churn", actor="ada")
    world.turn(30.0)
    assert world.release(release.id).phase is Phase.SUCCEEDED
    assert world.routed() == "v1.1"


def test_a_candidate_that_answers_otherwise_is_found(world: World) -> None:
    """With on_fail rollback it is rolled back, and the event can be computed again."""
    release, traffic = begun(world, "{metric: drift}", "{metric: prediction_drift, on_fail: rollback}")
    for _ in range(40):
        traffic.come(higher=0.3)
        world.turn(30.0)
        if world.release(release.id).terminal:
            break
    over = world.release(release.id)
    assert over.phase is Phase.ROLLED_BACK
    assert over.evidence["guardrail"] == "prediction_drift"
    assert over.cause.startswith("prediction_drift: score is ")
    assert world.hindsight.recompute(release.id).findings


def test_a_harmless_candidate_passes_both(world: World) -> None:
    """Nothing is told and it is promoted, also by a controller that began anew in between."""
    release, traffic = begun(
        world, "{metric: drift, on_fail: hold}", "{metric: prediction_drift, on_fail: rollback}"
    )
    for turn in range(110):
        traffic.come()
        world.turn(30.0)
        if turn == 20:
            world.restart()
        if world.release(release.id).phase is Phase.WATCHING:
            break
    assert world.release(release.id).phase is Phase.WATCHING
    assert world.release(release.id).alerted == ()
    verdicts = {one["guardrail"]: one["verdict"] for one in world.views.release(release.id).findings}
    assert verdicts["drift"] == verdicts["prediction_drift"] == "passed"
    drift = next(one for one in world.views.release(release.id).findings if one["guardrail"] == "drift")
    assert drift["numbers"]["rows"] == sum(one.rows for one in world.sketches.listed)


def test_drift_is_shown_with_its_features(world: World) -> None:
    """In the evidence of the status and on the page of the release, worst first, without network."""
    release, traffic = begun(world, "{metric: drift}", "{metric: prediction_drift}")
    for _ in range(20):
        traffic.come(charges=74.0, higher=0.3)
        world.turn(30.0)
    view = msgspec.to_builtins(world.views.release(release.id, intervals=True))
    console = Console(width=200, record=True, file=io.StringIO())
    for part in evidence_lines(view):
        console.print(shown(part))
    text = console.export_text()
    assert "monthly_charges" in text
    assert "median 7" in text
    report: dict[str, Any] = msgspec.to_builtins(world.hindsight.report(release.id))
    page, ticket = render(report, as_html=True), render(report, as_html=False)
    for told in (page, ticket):
        assert "Drift" in told
        assert "monthly" in told
    assert "<rect" in page


def test_a_log_that_cannot_be_read_does_not_stop_the_controller(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is judged of drift meanwhile; the rows count once they can be read, each once."""
    release, traffic = begun(world, "{metric: drift}")
    traffic.come()

    def fail(*_args: Any, **_given: Any) -> Any:
        raise LastgoodError(Code.STORAGE, "The log is gone.", "Look.")

    with monkeypatch.context() as patch:
        patch.setattr(world.sketches, "since", fail)
        world.turn(30.0)
    traffic.come()
    world.turn(30.0)
    assert world.views.release(release.id).findings[-1]["numbers"]["rows"] == 200


@pytest.mark.parametrize(
    ("guardrail", "changes", "label", "said"),
    [
        ("{metric: drift}", {}, "v1.0", "v1.0 has no reference"),
        (
            "{metric: drift, features: [tenur]}",
            {},
            "v1.1",
            "'tenur', which the reference of v1.1 does not have",
        ),
        ("{metric: prediction_drift}", {"record_predictions": False}, "v1.1", "no predictions are recorded"),
    ],
)
def test_drift_that_nobody_could_see_is_refused(
    world: World, guardrail: str, changes: dict[str, Any], label: str, said: str
) -> None:
    """Before anything moves, with what to do."""
    version = world.registry.resolve("churn", label)
    fitting = plan("{metric: drift, features: [monthly_charges]}")
    check_sketches(fitting, Settings(home="home"))
    check_reference(fitting, world.registry.resolve("churn", "v1.1"))

    def start() -> None:
        check_sketches(plan(guardrail), Settings(home="home", **changes))
        check_reference(plan(guardrail), version)

    with pytest.raises(LastgoodError, match=said):
        start()


def test_sketches_of_a_log_that_was_begun_anew_count(world: World) -> None:
    """Numbers of rows begin again there: what comes after the first look is counted, and once."""
    release = world.start("v1.1", plan=plan("{metric: drift, min_samples: 50}"))
    traffic = Traffic(world, release)

    def served(minutes: int) -> int:
        for _ in range(minutes):
            traffic.come()
            world.turn(60.0)
        findings = world.views.release(release.id, intervals=True).findings
        return int(findings[-1]["numbers"]["rows"])

    before = served(8)
    world.sketches.listed = []
    world.turn(60.0)
    assert served(4) in (before + 300, before + 400)
    assert served(3) - before in (600, 700)
