"""The pages made from the code are as the code says, and what they show can be used."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lastgood.domain.plan import KPIS, LatencyTest, MarginKind, Metric, Strategy
from lastgood.domain.plan_built_in import built_in
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.plan_schema import plan_schema
from lastgood.domain.release import TRANSITIONS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATOR = runpy.run_path(str(DOCS / "generate.py"))
EXAMPLES = sorted((ROOT / "examples" / "plans").glob("*.yaml"))


@pytest.mark.parametrize("name", sorted(GENERATOR["PAGES"]))
def test_the_generated_pages_are_not_stale(name):
    """What is in docs/ is what the code says today; 'make docs' writes it again."""
    assert (DOCS / name).read_text(encoding="utf-8") == GENERATOR["PAGES"][name]()


def test_a_stale_page_is_told(tmp_path):
    """The check exits with 1 and names a page that was changed or lost, and writing it again mends that."""
    generator = shutil.copy(DOCS / "generate.py", tmp_path / "generate.py")
    shutil.copy(DOCS / "generate_cli.py", tmp_path)

    def run(*arguments):
        return subprocess.run(
            [sys.executable, generator, *arguments], capture_output=True, text=True, check=False
        )

    assert run("--check").returncode == 1
    assert run().returncode == 0
    assert run("--check").returncode == 0
    (tmp_path / "plan-reference.md").write_text("old")
    told = run("--check")
    assert (told.returncode, "plan-reference.md is stale" in told.stdout) == (1, True)


def every_key(schema):
    for part in (schema, *schema["$defs"].values()):
        yield from ((key, found) for key, found in part.get("properties", {}).items() if key != "metric")


def test_every_key_of_a_plan_file_is_described_in_schema_and_reference():
    """No key is without its meaning, in the schema that editors show and on the page that people read."""
    page = (DOCS / "plan-reference.md").read_text(encoding="utf-8")
    keys = list(every_key(plan_schema()))
    assert len(keys) > 20
    for key, found in keys:
        assert len(found["description"]) > 10, key
        assert f"| `{key}` |" in page


def test_every_default_of_the_schema_is_the_one_in_force():
    """Writing a default out gives the same plan as leaving it out."""
    schema = plan_schema()
    written = {key: found["default"] for key, found in schema["properties"].items() if "default" in found}
    assert {"watch", "deadline", "false_rollback_rate", "rollback_deadline"} <= set(written)
    text = "\n".join(f"{key}: {value}" for key, value in written.items())
    assert parse_plan(text) == parse_plan("strategy: canary")


@pytest.mark.parametrize(
    "name",
    [
        "HealthGuardrail",
        "ErrorsGuardrail",
        "TimeoutsGuardrail",
        "InvalidOutputGuardrail",
        "LatencyGuardrail",
        "CounterGuardrail",
    ],
)
def test_every_default_of_a_guardrail_is_the_one_in_force(name):
    """The same for each kind of guardrail."""
    properties = plan_schema()["$defs"][name]["properties"]
    needed = {"LatencyGuardrail": {"max": "1s"}, "CounterGuardrail": {"counter": "low_confidence"}}
    required = {"metric": properties["metric"]["enum"][0], **needed.get(name, {})}
    written = {key: found["default"] for key, found in properties.items() if "default" in found}
    plans = [
        parse_plan("guardrails:\n  - {" + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}")
        for keys in (required, {**required, **written})
    ]
    assert plans[0] == plans[1]


def test_the_defaults_told_in_words_are_the_ones_in_force():
    """Where a default is a list, its description says what is in it."""
    told = {key: found["description"] for key, found in plan_schema()["properties"].items()}
    for strategy in (Strategy.CANARY, Strategy.BLUE_GREEN):
        for step in built_in(strategy).steps:
            assert f"{step.weight / 100:g}%" in told["steps"]
            assert str(step.samples) in told["steps"]
            assert step.duration == 300
    shares = {guardrail.name: guardrail.share for guardrail in built_in(Strategy.CANARY).guardrails}
    assert shares == {"health": 0, "errors": 0.6, "invalid_output": 0.4}
    assert "errors (60% of false_rollback_rate) and invalid_output (40%)" in told["guardrails"]


def test_the_yaml_on_the_reference_page_is_accepted():
    """Whoever copies an example from the page has a plan."""
    page = (DOCS / "plan-reference.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    assert {parse_plan(block).strategy.value for block in blocks} == {"canary", "blue_green", "all_at_once"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_example_plans_are_accepted(path):
    """Each file in examples/plans is a plan of the strategy, the rule, the shadow or the data that it is named for."""
    plan = parse_plan(path.read_text(encoding="utf-8"), source=path.name)
    assert (plan.data is not None) == (path.stem == "with-data")
    assert any(one.kpi is not None for one in plan.guardrails) == (path.stem == "kpis")
    assert plan.shadows == (path.stem == "shadow")
    assert any(one.drift is not None for one in plan.guardrails) == (path.stem == "drift")
    if path.stem in ("with-data", "kpis", "shadow", "drift"):
        return
    named = plan.promote_when if path.stem == "proven" else plan.strategy
    assert named.value == path.stem.replace("-", "_")


def test_there_is_an_example_of_every_strategy():
    """Canary, blue-green and all at once each have a file to start from, and so have drift, labels, proof, shadows and data."""
    names = [
        "all-at-once.yaml",
        "blue-green.yaml",
        "canary.yaml",
        "drift.yaml",
        "kpis.yaml",
        "proven.yaml",
        "shadow.yaml",
        "with-data.yaml",
    ]
    assert [path.name for path in EXAMPLES] == names


def test_the_example_of_proof_shows_every_metric():
    """Each metric of requests alone, each way of comparing latency and both kinds of margin can be copied from it."""
    plan = parse_plan((ROOT / "examples" / "plans" / "proven.yaml").read_text(encoding="utf-8"))
    elsewhere = KPIS | {Metric.CUSTOM, Metric.DRIFT, Metric.PREDICTION_DRIFT, Metric.AGREEMENT}
    assert {one.metric for one in plan.guardrails} == set(Metric) - elsewhere
    assert {one.latency_test for one in plan.guardrails} == set(LatencyTest)
    assert {one.margin.kind for one in plan.guardrails} == set(MarginKind)


def test_the_example_of_labels_shows_every_kpi():
    """Each KPI can be copied from it."""
    plan = parse_plan((ROOT / "examples" / "plans" / "kpis.yaml").read_text(encoding="utf-8"))
    assert {one.metric for one in plan.guardrails if one.kpi is not None} == KPIS


def test_the_diagram_holds_every_transition():
    """The picture of the release machine is the table, no more and no less."""
    page = (DOCS / "release-machine.md").read_text(encoding="utf-8")
    drawn = {
        (start, event, goal)
        for start, goal, events in re.findall(r"^    (\w+) --> (\w+): (.+)$", page, re.MULTILINE)
        for event in events.split(", ")
    }
    assert drawn == {
        (phase, event, goal) for phase, row in TRANSITIONS.items() for event, goal in row.items()
    }
