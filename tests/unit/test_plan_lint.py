"""``plan lint`` and ``plan check`` on a real project without a server."""

import json
import sqlite3
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from lastgood import bootstrap
from lastgood.cli.main import root
from lastgood.control.traffic_views import TrafficViews
from lastgood.domain.change import Change
from lastgood.domain.deployment import Deployment
from lastgood.domain.event import EventDraft
from lastgood.domain.plan import Plan
from lastgood.domain.release import Phase, Release
from lastgood.domain.traffic import ArmCounts, Firsts, TrafficMinute
from lastgood.errors import Code, LastgoodError
from lastgood.settings import load_settings
from lastgood.store.releases import SqlReleases
from lastgood.store.traffic import SqlTraffic

PLAN = (
    "steps: [{weight: 10%, for: 5m}]\nguardrails:\n  - {metric: errors, max: 2%, min_samples: 50}\n"
    "  - {metric: latency, name: slow, max: 1s}\n  - {metric: counter, counter: low, max: 5%}\n"
)


def run(*arguments):
    return CliRunner().invoke(root, list(arguments))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a plan file and a deployment whose version 2 is stable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LASTGOOD_HOME", raising=False)
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "model.py").write_text("def make():\n    return None\n")
    assert run("init").exit_code == 0
    for label in ("v1.0", "v1.1"):
        made = run("register", "churn", "model.py", "--factory", "model:make", "--label", label)
        assert made.exit_code == 0
    services = bootstrap.open_services(load_settings({}))
    try:
        make_stable(services, 2)
        yield services
    finally:
        bootstrap.close(services)


def make_stable(services, version, name="churn"):
    """Put ``version`` into the history of a new deployment, by a release that is over at once."""
    done = Release(
        id=0,
        deployment=name,
        model="churn",
        version=version,
        previous=None,
        plan=Plan(),
        created_at=1.0,
        created_by="ann",
        phase=Phase.SUCCEEDED,
    )
    SqlReleases(services.database).commit(
        Change(
            deployment=Deployment(name=name, model="churn", stable=version),
            release=done,
            new_route=True,
            became_stable=True,
            events=(
                EventDraft(
                    type="lastgood.test.happened",
                    at=1.0,
                    actor="ann",
                    deployment=name,
                    model="churn",
                    version=version,
                    data={},
                ),
            ),
        )
    )


def record(services, minutes, *, version=2, ago=100, **counts):
    now = int(time.time() // 60)
    SqlTraffic(services.database).add_traffic(
        TrafficMinute(deployment="churn", version=version, minute=now - ago + at, counts=ArmCounts(**counts))
        for at in range(minutes)
    )


def test_lint_tells_how_often_each_limit_would_have_fired(project):
    """Text and JSON say the share of replays, and a limit above the plan's own rate is pointed at."""
    record(project, 60, requests=600, errors=9, latency={200: 600})

    text = run("plan", "lint", "plan.yaml", "--deployment", "churn")
    data = json.loads(run("plan", "lint", "plan.yaml", "--deployment", "churn", "--json").stdout)

    assert text.exit_code == 0
    errors, slow, low = data["limits"]
    assert (data["deployment"], data["version"], data["minutes"], data["requests"]) == (
        "churn",
        2,
        60,
        36_000,
    )
    assert 0.2 < errors["rate"] < 0.9
    assert (errors["rate"], errors["runs"]) == (errors["fired"] / 1000, 1000)
    assert (slow["rate"], slow["quantile"], low["rate"]) == (0.0, 0.99, None)
    assert f"errors (max 2 %): would have fired in {errors['rate'] * 100:g} % of 1000 replays" in text.stdout
    assert "over the plan's false_rollback_rate of 1 %" in text.stdout
    assert "slow (max p99 1s): would have fired in 0 % of 1000 replays of 60 minutes." in text.stdout
    assert "low (max 5 %): cannot be tried, nothing of it is recorded." in text.stdout


def test_lint_says_when_little_is_recorded(project):
    """A rate from a single minute is told with the warning that it is one."""
    record(project, 1, requests=600)
    done = run("plan", "lint", "plan.yaml", "--deployment", "churn")
    assert "replays of 1 minute." in done.stdout
    assert "Warning: 1 minute of traffic says little of a whole day." in done.stdout


def test_lint_without_recorded_traffic_warns_and_says_what_to_do(project):
    """No traffic is no reason to fail and no reason to say 0: exit 0, a warning, null."""
    record(project, 5, version=1, requests=100)
    record(project, 5, ago=24 * 60 + 30, requests=100)

    text = run("plan", "lint", "plan.yaml", "--deployment", "churn")
    data = json.loads(run("plan", "lint", "plan.yaml", "--deployment", "churn", "--json").stdout)

    assert text.exit_code == 0
    assert "Warning: No traffic of the last 24 hours" in text.stdout
    assert "version 2" in text.stdout
    assert "The present minute is still open" in text.stdout
    assert "serve requests for a while, then lint again." in text.stdout
    assert [one["rate"] for one in data["limits"]] == [None, None, None]
    assert (data["minutes"], data["requests"]) == (0, 0)


def test_lint_warns_of_traps(project):
    """A limit that one request breaks, and samples that never come, are warned of in text and JSON."""
    record(project, 60, requests=10)
    Path("trap.yaml").write_text(
        "steps: [{weight: 5%, samples: 500}]\ndeadline: 1h\n"
        "guardrails: [{metric: errors, max: 1%, min_samples: 20}]\n"
    )

    text = run("plan", "lint", "trap.yaml", "--deployment", "churn")
    data = json.loads(run("plan", "lint", "trap.yaml", "--deployment", "churn", "--json").stdout)

    assert text.exit_code == 0
    assert "Warning: errors: 1 bad request of 20 requests is already over 'max' (1.0 %)." in text.stdout
    assert "Warning: Step 1 waits for 500 requests" in text.stdout
    assert [one["guardrail"] for one in data["warnings"]] == ["errors", None]
    assert all(one["next"] for one in data["warnings"])


def test_lint_warns_of_slices_by_what_stable_does_not_take(project):
    """The signature of the stable version says which columns there are; one without a signature is not asked."""
    Path("sliced.yaml").write_text("guardrails: [{metric: accuracy, slices: [age, city]}]")
    signature = {
        "inputs": [{"name": "age", "datatype": "FP64", "shape": [-1]}],
        "outputs": [{"name": "y", "datatype": "FP64", "shape": [-1]}],
    }
    Path("signature.json").write_text(json.dumps(signature))
    Path("other.py").write_text("def make():\n    return 1\n")
    lint = ("plan", "lint", "sliced.yaml", "--deployment", "churn")
    assert "city" not in run(*lint).output
    made = ("other.py", "--factory", "other:make", "--label", "v1.2", "--signature", "signature.json")
    assert run("register", "churn", *made).exit_code == 0
    make_stable(project, 3, name="churn-eu")
    told = " ".join(run(*lint, "--deployment", "churn-eu").output.split())
    assert "accuracy has slices by 'city', and version 3 takes no such column. It takes: age." in told


def test_lint_says_when_there_is_no_limit(project):
    """A plan that only compares has nothing that could raise a false alarm beyond its own rate."""
    Path("free.yaml").write_text("strategy: canary\n")
    done = run("plan", "lint", "free.yaml", "--deployment", "churn")
    assert done.exit_code == 0
    assert "sets no 'max'" in done.stdout


def test_lint_of_a_wrong_plan_or_deployment_is_an_error_like_any_other(project):
    """A faulty plan is told at its line, an unknown deployment with the known ones."""
    Path("wrong.yaml").write_text("stategy: canary\n")
    wrong = run("plan", "lint", "wrong.yaml", "--deployment", "churn")
    unknown = run("plan", "lint", "plan.yaml", "--deployment", "chrun")
    missing = run("plan", "lint", "plan.yaml")
    assert (wrong.exit_code, missing.exit_code) == (2, 2)
    assert "wrong.yaml:1:1:" in wrong.stderr
    assert "known deployments: churn" in unknown.stderr
    assert "A deployment is made by releasing a first version" in unknown.stderr
    assert unknown.exit_code == 1
    assert "--deployment" in missing.stderr


class FakeTraffic:
    """Minutes of two versions, as a store would give them."""

    def __init__(self, minutes):
        self.minutes = minutes
        self.asked = []

    def traffic(self, deployment, *, since, version=None):
        self.asked.append((deployment, since, version))
        return [one for one in self.minutes if one.minute >= since and one.version == version]


class FakeReleases:
    """One deployment."""

    def __init__(self, stable):
        self.one = Deployment(name="churn", model="churn", stable=stable)

    def deployment(self, name):
        return self.one if name == "churn" else None

    def deployments(self):
        return [self.one]


def test_the_view_holds_a_day_of_the_stable_version_without_keys():
    """Only the present stable version's last 24 hours are shown, and no key's hash leaves the store."""
    counts = ArmCounts(requests=5, errors=1, firsts={"errors": Firsts(bad=1, keys=[123])})
    store = FakeTraffic([TrafficMinute(deployment="churn", version=2, minute=5000, counts=counts)])
    views = TrafficViews(releases=FakeReleases(2), traffic=store, now=lambda: 5010 * 60.0)

    found = views.recent("churn")

    assert store.asked == [("churn", 5010 - 1440, 2)]
    assert (found.version, found.since, len(found.minutes)) == (2, 3570, 1)
    assert found.minutes[0].counts == ArmCounts(requests=5, errors=1)
    with pytest.raises(LastgoodError) as caught:
        views.recent("other")
    assert caught.value.code is Code.NOT_FOUND


def test_the_view_of_a_deployment_without_stable_is_empty():
    """Before the first version serves there is no traffic to show, and the store is not asked."""
    store = FakeTraffic([])
    found = TrafficViews(releases=FakeReleases(None), traffic=store, now=lambda: 0.0).recent("churn")
    assert (found.version, found.minutes, store.asked) == (None, [], [])


@pytest.mark.parametrize(
    ("rules", "stops"),
    [
        ("  - {metric: errors, dry_run: true}\n  - {metric: timeouts, on_fail: alert}\n", False),
        ("  - {metric: errors, dry_run: true}\n  - {metric: timeouts, on_fail: hold}\n", True),
        ("  - {metric: latency, objective: 200ms}\n", False),
        ("  - {metric: latency, objective: 200ms, max: 2s}\n", True),
    ],
)
def test_a_plan_that_nothing_but_health_can_stop_is_warned_of(project, rules, stops):
    """Check and lint say so, and then nothing is promised of false rollbacks."""
    Path("toothless.yaml").write_text(f"units: keys\nguardrails:\n{rules}")
    checked = run("plan", "check", "toothless.yaml")
    linted = run("plan", "lint", "toothless.yaml", "--deployment", "churn")

    assert (checked.exit_code, linted.exit_code) == (0, 0)
    warnings = json.loads(run("plan", "check", "toothless.yaml", "--json").stdout)["warnings"]
    assert any("Nothing but health" in one["sentence"] for one in warnings) is not stops
    for text in (checked.stdout, linted.stdout):
        assert ("Nothing but health can stop a release by this plan" in text) is not stops
    assert ("is rolled back by chance" in checked.stdout) is stops


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("strategy: all_at_once\n", None),
        ("strategy: all_at_once\nwatch: 0s\n", "'watch: 0s'"),
        (
            "strategy: all_at_once\nguardrails:\n  - {metric: errors, on_fail: hold}\n",
            "every 'max' only tells then",
        ),
        (
            "strategy: all_at_once\nguardrails:\n  - {metric: errors, dry_run: true}\n",
            "no guardrail has a 'max'",
        ),
        ("strategy: blue_green\nguardrails:\n  - {metric: errors, on_fail: hold}\n", None),
    ],
)
def test_all_traffic_at_once_that_no_limit_can_take_back_is_warned_of(project, text, said):
    """Nothing is measured before, and no comparison is possible after: only a hard limit that rolls back acts."""
    Path("bold.yaml").write_text(text)
    shown = run("plan", "check", "bold.yaml").stdout
    warnings = json.loads(run("plan", "check", "bold.yaml", "--json").stdout)["warnings"]

    assert ("all_at_once" in "".join(one["sentence"] for one in warnings)) is (said is not None)
    assert said is None or any(said in one["sentence"] for one in warnings)
    assert all(f"Warning: {one['sentence']} {one['next']}" in shown for one in warnings)
    assert shown.count("Warning: ") == len(warnings)


@pytest.mark.parametrize(
    ("units", "said"), [("auto", "Should keys be chosen"), ("keys", "With keys"), ("requests", None)]
)
def test_check_says_what_keys_mean_for_latency_comparisons(project, units, said):
    """Where keys are or may be the units, a latency comparison only alerts, and check says of which guardrail."""
    Path("keyed.yaml").write_text(
        f"units: {units}\npromote_when: proven\nguardrails:\n  - {{metric: errors}}\n"
        "  - {metric: latency, name: slow, objective: 200ms}\n"
    )
    shown = run("plan", "check", "keyed.yaml").stdout

    told = "the latency comparison of slow only alerts and proves nothing" in shown
    assert told is (said is not None)
    assert said is None or said in shown
    assert ("  slow: the candidate's odds" in shown.partition("Proven means")[2]) is (units != "keys")


def test_check_says_every_rule_of_the_example_of_proof_in_words(project):
    """Margins, proof, dry run, missing data, soak, units and the end are each said."""
    Path("proven.yaml").write_text(
        "promote_when: proven\nsoak: 10m\nunits: keys\non_deadline: ask\nfalse_promotion_rate: 2%\nguardrails:\n"
        "  - {metric: errors, margin: 0.5pp, proof_margin: [2, 1pp], no_data: fail}\n"
        "  - {metric: timeouts, dry_run: true, min_bad: 1}\n"
        "  - {metric: latency, name: objective, objective: 200ms, no_data: ignore}\n"
        "  - {metric: latency, name: quantiles, quantiles: [p50, p99], max: 2s, share: 20%}\n"
        "  - {metric: latency, name: whole, compare: distribution, margin: 1.3}\n"
        "  - {metric: counter, counter: low, max: 5%}\n"
    )
    done = run("plan", "check", "proven.yaml")
    assert done.exit_code == 0
    for said in (
        "errors: rollback when the candidate's rate of errors is shown to be over 0.5 points above stable's",
        "Without any data it counts as failed.",
        "timeouts: dry run, would roll back when the candidate's odds of a timeout are shown to be over 1.2 times",
        "odds of a request slower than 200ms",
        "Without any data it is not waited for.",
        "slower than p50 or p99 of both arms' past",
        "or p99 latency is over 2s (looked at from 100 requests on)",
        "over 1.3 times as slow as stable",
        "odds of a low request are shown to be over 1.2 times stable's, with at least 2 of them, or the rate is over 5 %",
        "Of that chance: errors 20 %, objective 20 %, quantiles 20 %, whole 20 %, low 20 %.",
        "of a key nothing after its first bad one",
        "Promoted as soon as it is proven not to be worse, not before 10m after its first traffic",
        "errors: the candidate's odds of an error are shown to be under 2 times stable's",
        ", or the candidate's rate of errors is shown to be under 1 point above stable's.",
        "is proven by chance in at most 2 % of releases",
        "and is promoted only if a person approves",
    ):
        assert said in done.stdout
    assert "  timeouts: the candidate's" not in done.stdout.partition("Proven means")[2]


@pytest.mark.slow
def test_measure_asks_each_custom_metric_once(project, tmp_path):
    """What is there, what is not, and what cannot be asked, about the stable version in both places; exit 1 for the last."""
    guardrails = "\n".join(
        f"  - {{metric: custom, name: {name}, source: {{sql: '{statement}', url: 'sqlite:///shop.db'}}, {more}}}"
        for name, statement, more in (
            ("rate", "SELECT rate FROM answers WHERE version = :candidate", "max: 0.5"),
            ("none", "SELECT rate FROM answers WHERE version = 99", "max: 1"),
            ("wrong", "SELECT rate FROM ordres", "max: 1"),
        )
    )
    (tmp_path / "custom.yaml").write_text(f"guardrails:\n{guardrails}\n")
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("CREATE TABLE answers (version, rate)")
        shop.execute("INSERT INTO answers VALUES (2, 0.75)")
    shop.close()
    done = run("plan", "measure", "custom.yaml", "--deployment", "churn", "--json")
    told = {one["guardrail"]: one["says"] for one in json.loads(done.stdout)["measured"]}
    assert done.exit_code == 1
    assert told["rate"] == "0.75: out of bounds"
    assert told["none"] == "no data: the plan says hold"
    assert "no such table: ordres" in told["wrong"]
    assert run("plan", "measure", "plan.yaml", "--deployment", "churn").exit_code != 0
