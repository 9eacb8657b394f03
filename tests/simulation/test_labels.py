"""KPI guardrails on the fake clock: labels late and out of order, maturity, the watch, what is shown, what is kept."""

import io
import random
import re
from typing import Any

import msgspec
import pytest
from rich.console import Console
from world import World

from lastgood.cli.evidence import evidence_lines
from lastgood.cli.output import shown
from lastgood.cli.progress import block
from lastgood.control.preflight import check_labels
from lastgood.domain.kpi import Outcome
from lastgood.domain.plan import Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.release import Phase, Release
from lastgood.errors import Code, LastgoodError
from lastgood.settings import Settings

STEPS = "steps: [{weight: 20%, for: 10s}, {weight: 50%, for: 1h}]"
RECALL = "{metric: recall, positive: fraud, margin: 2pp, min_samples: 100, share: 50%}"


def plan(*guardrails: str, steps: str = STEPS, more: str = "") -> Plan:
    listed = ", ".join(("{metric: errors}", *(guardrails or (RECALL,))))
    return parse_plan(f"strategy: canary\n{steps}\nguardrails: [{listed}]\ndeadline: 9h\nwatch: 1h\n{more}")


@pytest.fixture
def world() -> World:
    """A deployment that serves v1.0, with v1.1 registered."""
    made = World()
    made.register("v1.0", "v1.1")
    made.serve("v1.0")
    return made


class Labels:
    """Makes outcomes of one release, seeded; the candidate finds ``found`` of the frauds, stable nine of ten."""

    def __init__(self, world: World, release: Release, found: float) -> None:
        self._world, self._release, self._found = world, release, found
        self._chance = random.Random(7)

    def come(self, count: int, *, stage: int = 0, made: float | None = None, **given: Any) -> None:
        """Let labels of ``count`` predictions come, of predictions that were made at ``made`` (now)."""
        for _ in range(count):
            arm = "candidate" if self._chance.random() < 0.3 else "stable"
            fraud = self._chance.random() < 0.3
            found = self._chance.random() < (self._found if arm == "candidate" else 0.9)
            known: dict[str, Any] = {
                "sequence": len(self._world.outcomes.listed) + 1,
                "release": self._release.id,
                "stage": stage,
                "arm": arm,
                "version": 1,
                "predicted_at": self._world.clock if made is None else made,
                "labelled_at": self._world.clock,
                "value": "fraud" if fraud else "honest",
                "answer": {"label": "fraud" if fraud and found else "honest"},
            }
            self._world.outcomes.listed.append(Outcome(**(known | given)))


def served(world: World, release: Release, stage: int = 0) -> None:
    world.reports.feed(release.id, stage, (40, 0), (160, 0))


def begun(world: World, found: float, **order: Any) -> tuple[Release, Labels]:
    release = world.start("v1.1", **{"plan": plan()} | order)
    world.turn(1.0)
    served(world, release)
    return release, Labels(world, release, found)


def test_a_candidate_without_errors_is_rolled_back_on_recall(world: World) -> None:
    """Labels of an earlier step, out of order and in small lots, count for both arms; the event can be computed again."""
    release, labels = begun(world, found=0.6)
    world.turn(30.0)
    assert world.release(release.id).step == 1
    for lot in range(200):
        served(world, release, stage=1)
        labels.come(25, stage=lot % 2, made=1_000.0 + (lot * 7) % 40)
        world.turn(2.0)
        if world.release(release.id).returning or world.release(release.id).terminal:
            break
    world.turn(1.0)
    over = world.release(release.id)
    assert over.phase is Phase.ROLLED_BACK
    assert over.evidence["guardrail"] == "recall"
    assert over.evidence["candidate"]["value"] < 0.75 < over.evidence["stable"]["value"]
    found = world.hindsight.recompute(release.id)
    assert found.findings
    assert found.strata > 0


def test_a_harmless_candidate_waits_for_its_labels_and_is_promoted(world: World) -> None:
    """Without labels the last step does not end; with enough of them it does, and the errors alone never suffice."""
    release, labels = begun(world, found=0.9)
    for _ in range(6):
        world.turn(1_000.0)
        served(world, release, stage=1)
    now = world.release(release.id)
    assert (now.phase, now.step) == (Phase.PROGRESSING, 1)
    assert "0 labelled candidate rows so far" in world.views.release(release.id).waiting
    for _ in range(40):
        labels.come(50)
        world.turn(2.0)
        if world.release(release.id).phase is not Phase.PROGRESSING:
            break
    assert world.release(release.id).phase is Phase.WATCHING
    assert world.routed() == "v1.1"


def test_a_label_counts_once_its_prediction_is_mature(world: World) -> None:
    """Labels that come at once count after 'after'; those of old predictions when they come."""
    mature = plan(RECALL.replace("}", ", after: 10m}"))
    release, labels = begun(world, found=0.9, plan=mature)
    labels.come(100)
    world.turn(2.0)
    recall = world.views.release(release.id).findings[-1]["numbers"]
    assert recall["candidate_rows"] == 0
    labels.come(100, made=world.clock - 601.0)
    world.turn(2.0)
    early = world.views.release(release.id).findings[-1]["numbers"]
    assert early["candidate"]["labelled"] + early["stable"]["labelled"] == 100
    world.turn(700.0)
    both = world.views.release(release.id).findings[-1]["numbers"]
    assert both["candidate"]["labelled"] + both["stable"]["labelled"] == 200


def test_labels_that_come_in_the_watch_still_roll_back(world: World) -> None:
    """What both arms answered in the steps is judged when its labels come after the promotion."""
    release, labels = begun(world, found=0.5, plan=plan(RECALL.replace("}", ", no_data: ignore}")))
    for _ in range(5):
        world.turn(1_000.0)
        served(world, release, stage=1)
    assert world.release(release.id).phase is Phase.WATCHING
    for _ in range(60):
        labels.come(50, made=1_001.0)
        world.turn(2.0)
        if world.release(release.id).phase is not Phase.WATCHING:
            break
    world.turn(1.0)
    assert world.release(release.id).phase is Phase.ROLLED_BACK
    assert world.release(release.id).evidence["guardrail"] == "recall"
    assert world.routed() == "v1.0"


def test_pending_labels_are_shown_beside_their_guardrail_alone(world: World) -> None:
    """Each arm's predictions without a label stand beside the KPI; they are in no event and no evidence."""
    release, labels = begun(world, found=0.9)
    labels.come(50)
    world.outcomes.waiting = {"candidate": 12, "stable": 40}
    world.turn(2.0)
    errors, recall = world.views.release(release.id).findings[-2:]
    assert recall["pending"] == {"candidate": 12, "stable": 40}
    assert "pending" not in errors
    assert "pending" not in msgspec.json.encode(world.evidence.evidence(release.id)).decode()


def test_kpis_are_told_in_their_own_unit(world: World) -> None:
    """Values and pending labels for a person; what the tests count, wrong rows, beside them."""
    more = ("{metric: f1, positive: fraud, min: 10%}", "{metric: mean, range: [0, 5], margin: 0.1}")
    release, labels = begun(world, found=0.9, plan=plan(RECALL, *more))
    labels.come(150)
    labels.come(150, value=2.5)
    world.outcomes.waiting = {"candidate": 12, "stable": 40}
    world.turn(2.0)
    view = msgspec.to_builtins(world.views.release(release.id, intervals=True))
    console = Console(width=300, record=True, file=io.StringIO())
    for part in (*block(view), *evidence_lines(view)):
        console.print(shown(part))
    text = console.export_text()
    assert "Labels pending: 12 candidate and 40 stable." in text
    assert re.search(r"candidate +recall [0-9.]+ %; \d+ wrong of \d+, between", text)
    assert re.search(r"minimum +10\.0 %, a hard limit", text)
    assert re.search(r"mean 2\.5 of \d+ labelled rows", text)
    assert "of being worse than stable by 0.1" in text
    assert "labelled candidate rows until it may pass" in text


def test_a_new_controller_counts_no_label_twice(world: World) -> None:
    """How far outcomes were read is saved with the strata that hold them."""
    release, labels = begun(world, found=0.9)
    labels.come(60)
    world.turn(2.0)
    world.restart()
    labels.come(40)
    world.turn(2.0)
    numbers = world.views.release(release.id).findings[-1]["numbers"]
    assert numbers["candidate"]["labelled"] + numbers["stable"]["labelled"] == 100
    assert world.hindsight.recompute(release.id).strata == numbers["strata"]


def test_rows_that_cannot_be_read_are_an_error_and_never_pass(world: World) -> None:
    """An output that the answers do not have is said, and stands in the way of the promotion."""
    wrong = plan(RECALL.replace("}", ", output: scores, threshold: 0.5}"))
    release, labels = begun(world, found=0.9, plan=wrong)
    labels.come(200)
    world.turn(2.0)
    recall = world.views.release(release.id).findings[-1]
    assert recall["verdict"] == "error"
    assert "200 labelled rows cannot be read as this guardrail says" in recall["sentence"]


def test_a_log_that_cannot_be_read_does_not_stop_the_controller(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors still roll back while labels cannot be had, and the labels count when they can."""
    release, labels = begun(world, found=0.9)
    labels.come(50)

    def fail(*_args: Any, **_given: Any) -> Any:
        raise LastgoodError(Code.STORAGE, "The log is gone.", "Look.")

    with monkeypatch.context() as patch:
        patch.setattr(world.outcomes, "outcomes", fail)
        patch.setattr(world.outcomes, "awaited", fail)
        world.turn(2.0)
        assert world.views.release(release.id).findings[-1]["numbers"]["candidate_rows"] == 0
    world.turn(2.0)
    assert world.views.release(release.id).findings[-1]["numbers"]["candidate_rows"] > 0


@pytest.mark.parametrize(
    ("guardrail", "changes", "said"),
    [
        (RECALL, {"record_predictions": False}, "no predictions are recorded"),
        (RECALL.replace("}", ", after: 2h}"), {"keep_predictions": 3_600.0}, "waits 7200 s"),
    ],
)
def test_labels_that_could_never_count_are_refused(
    guardrail: str, changes: dict[str, Any], said: str
) -> None:
    """A release that would wait for ever does not start; one whose labels can come does."""
    check_labels(plan(guardrail), Settings(home="home"))
    with pytest.raises(LastgoodError, match=said):
        check_labels(plan(guardrail), Settings(home="home", **changes))
