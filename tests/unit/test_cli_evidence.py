"""What a release's evidence looks like on the command line, without a server: words, JSON, exit codes."""

import json
import math
import sqlite3
from contextlib import closing

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console, Group

from lastgood.analysis.fold import fold
from lastgood.analysis.judge import judge
from lastgood.analysis.strata import collect
from lastgood.bootstrap import close, open_services
from lastgood.cli.evidence import evidence_lines, sealed_lines
from lastgood.cli.main import root
from lastgood.cli.output import shown
from lastgood.cli.status import fitted
from lastgood.control.history import told_of
from lastgood.domain.change import Change, Evidence, EvidenceStep
from lastgood.domain.deployment import Deployment
from lastgood.domain.event import EventDraft
from lastgood.domain.plan import (
    Guardrail,
    LatencyTest,
    Margin,
    Metric,
    Plan,
    PromoteWhen,
    Step,
    StepKind,
)
from lastgood.domain.release import Phase, Release
from lastgood.domain.traffic import ArmCounts, Baseline, StageCounts
from lastgood.settings import load_settings
from lastgood.store.documents import plain
from lastgood.store.evidence import SqlEvidence
from lastgood.store.releases import SqlReleases

BASELINE = Baseline(
    why="its requests go wrong one by one", minutes=60, requests=6_000, keyed=12, dispersion=1.07
)
PLAN = Plan(
    steps=(Step(kind=StepKind.WEIGHT, weight=1000, duration=600.0, samples=50),),
    guardrails=(
        Guardrail(name="health", metric=Metric.HEALTH),
        Guardrail(name="errors", metric=Metric.ERRORS, share=1.0),
        Guardrail(name="tried", metric=Metric.INVALID_OUTPUT, dry_run=True),
    ),
    promote_when=PromoteWhen.PROVEN,
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose release 1 has 608 candidate requests beside 5 432 of stable, in two strata."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LASTGOOD_ACTOR", "tester")
    monkeypatch.delenv("LASTGOOD_HOME", raising=False)
    (tmp_path / "model.py").write_text("def make():\n    return None\n")
    assert run("init").exit_code == 0
    assert run("register", "churn", "model.py", "--factory", "model:make", "--label", "v1.0").exit_code == 0
    services = open_services(load_settings())
    requested = EventDraft(
        type="lastgood.release.requested",
        at=1.0,
        actor="tester",
        model="churn",
        deployment="churn",
        data=plain({"plan": PLAN, "baseline": told_of(BASELINE)}),
    )
    release = Release(
        id=0,
        deployment="churn",
        model="churn",
        version=1,
        previous=None,
        plan=PLAN,
        baseline=BASELINE,
        phase=Phase.PROGRESSING,
        created_at=1.0,
        created_by="tester",
        traffic_since=1.0,
    )
    deployment = Deployment(name="churn", model="churn", release=0)
    SqlReleases(services.database).commit(Change(deployment=deployment, release=release, events=(requested,)))
    evidence, store = Evidence(release=1), SqlEvidence(services.database)
    for candidate, stable in (((300, 14), (2_700, 27)), ((608, 31), (5_432, 54))):
        counts = StageCounts(
            release=1,
            stage=0,
            candidate=ArmCounts(requests=candidate[0], errors=candidate[1]),
            stable=ArmCounts(requests=stable[0], errors=stable[1]),
        )
        opened, strata, _ = collect(evidence, {"0:1": [counts]}, release=1, now=2.0)
        folded = fold(PLAN, BASELINE, opened, strata)
        store.save_evidence(EvidenceStep(before=evidence.sequence, evidence=folded, strata=strata))
        evidence = folded
    close(services)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(root, list(arguments))


def forge(project, statement):
    with closing(sqlite3.connect(project / ".lastgood" / "lastgood.db")) as raw:
        raw.execute(statement)
        raw.commit()


def test_verify_says_what_was_compared(project):
    """Exit 0, how many strata, and what is not in them."""
    done = run("verify", "release", "1", "--evidence")

    assert done.exit_code == 0, done.output
    assert "The evidence of release 1 is intact." in done.stdout
    assert "2 strata" in done.stdout
    assert "not compared" in done.stdout
    assert "no sealed event holds numbers of it" in done.stdout, "so far nothing but the request was sealed"
    found = json.loads(run("verify", "release", "1", "--evidence", "--json").stdout)
    assert (found["same"], found["strata"], found["guardrails"]) == (True, 2, 3)


def test_verify_names_what_differs_and_fails(project):
    """One changed count: exit 1, the place, in words and as JSON."""
    forge(
        project,
        "UPDATE strata SET document = json_set(document, '$.candidate.errors', 13) WHERE sequence = 1",
    )
    done = run("verify", "release", "1", "--evidence")
    as_json = run("verify", "release", "1", "--evidence", "--json")

    assert (done.exit_code, as_json.exit_code) == (1, 1)
    assert "cannot be computed again" in done.stderr
    assert json.loads(as_json.stderr)["code"] == "corrupt"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(("release", "1"), 2), (("release", "0", "--evidence"), 2), (("release", "7", "--evidence"), 1)],
)
def test_verify_refuses_what_it_cannot_do(project, arguments, status):
    """Without --evidence there is nothing to verify; a number must be that of a release."""
    done = run("verify", *arguments)

    assert done.exit_code == status
    assert done.stderr


def test_status_shows_what_each_guardrail_rests_on(project):
    """Rates, difference with its confidence sequence, evidence against its bound, proof, units and why, and what is missing."""
    shown = run("status", "churn", "--evidence").stdout

    assert "errors: failed" in shown
    assert "5.1 % (31 of 608), between" in shown
    assert "0.99 % (54 of 5 432), between" in shown
    assert "(95 %, at every look)" in shown
    assert "difference" in shown
    assert "bound 100 : 1, of being worse than 1.2 times stable's odds" in shown
    assert "not proven yet" in shown
    assert "requests: its requests go wrong one by one" in shown
    assert "6 000 requests in 60 minutes, 12 with a key; bad ones: dispersion 1.07" in shown
    assert "tried: " in shown
    assert "dry run" in shown
    assert "missing" in shown


def test_a_margin_and_a_maximum_are_told_in_their_own_units():
    """A distribution's margin is a factor of time, a maximum a duration or a rate; a proof names what it is of."""
    slower = Guardrail(
        name="slower",
        metric=Metric.LATENCY,
        latency_test=LatencyTest.DISTRIBUTION,
        share=0.5,
        margin=Margin(value=1.3),
    )
    limit = Guardrail(name="limit", metric=Metric.LATENCY, maximum=0.2)
    errors = Guardrail(name="errors", metric=Metric.ERRORS, share=0.5, maximum=0.03)
    plan = Plan(guardrails=(slower, limit, errors), promote_when=PromoteWhen.PROVEN)
    findings = judge(plan, Baseline(), Evidence(release=1), misses=0)
    console = Console(width=400)
    with console.capture() as caught:
        console.print(
            Group(*evidence_lines({"baseline": {}, "findings": msgspec.to_builtins(list(findings))}))
        )
    of_slower, of_limit, of_errors = caught.get().strip().split("\n\n")

    assert "of being over 1.3 times as slow as stable" in of_slower
    assert "slower than p90, stable plus 1 points" in of_slower
    assert "200 ms, a hard limit" in of_limit
    assert "before it may fail" not in of_limit, "a hard limit waits for no number of failures"
    assert "3.0 %, a hard limit" in of_errors
    assert "of being worse than 1.2 times stable's odds" in of_errors


def test_status_without_evidence_stays_short(project):
    """One line for each guardrail, as before."""
    shown = run("status", "churn").stdout

    assert "(95 %" not in shown
    assert "errors" in shown


def test_status_as_json_has_the_same_numbers(project):
    """A program reads what a person sees."""
    release = json.loads(run("status", "churn", "--evidence", "--json").stdout)["release"]
    errors = next(one for one in release["findings"] if one["guardrail"] == "errors")

    assert errors["numbers"]["candidate"]["bad"] == 31
    assert len(errors["numbers"]["difference"]["interval"]) == 2
    assert release["baseline"]["why"] == BASELINE.why
    assert "latency" not in release["baseline"]


def test_a_release_that_is_over_shows_how_its_guardrails_stood(project):
    """The baseline and the last findings; whether a host answered is not among them any more."""
    forge(
        project, "UPDATE releases SET phase = 'aborted', document = json_set(document, '$.phase', 'aborted')"
    )
    forge(project, "UPDATE deployments SET release = NULL")
    shown = run("show", "release", "1").stdout

    assert "failed: errors: 5.1 %" in shown
    assert "health" not in shown
    assert "6 000 requests in 60 minutes" in shown


def test_a_rollback_is_shown_with_its_bet():
    """Evidence as 240 : 1 with its bound, in the words of the sentence, and no logarithm."""
    told = sealed_lines(
        {
            "guardrail": "errors",
            "sentence": "errors: so",
            "error": "",
            "log_e": math.log(240.5),
            "e_value": 240.5,
            "bound": 166.7,
            "measured": 608,
        }
    )

    assert told == ["errors: 240 : 1, bound 167 : 1", "measured = 608"]
    assert sealed_lines({"misses": 3, "bound": 3}) == ["misses = 3", "bound = 3"]


@pytest.mark.parametrize(("room", "hidden"), [(200, 0), (30, 1), (8, 3)])
def test_a_small_window_says_how_many_guardrails_it_does_not_show(project, room, hidden):
    """Failed ones first, then as many as fit, then one line; never more lines than there is room for."""
    views = [json.loads(run("status", "churn", "--evidence", "--json").stdout)]
    console = Console(width=150, height=room + 2)
    with console.capture() as caught:
        console.print(Group(*map(shown, fitted(console, views, evidence=True, room=room))))
    lines = caught.get().rstrip("\n").split("\n")

    assert len(lines) <= room or (room, len(lines)) == (8, 10), "what stands above the evidence is not cut"
    told = [line.strip() for line in lines[:room] if "more guardrail" in line]
    noun = "guardrail" if hidden == 1 else "guardrails"
    assert told == ([f"{hidden} more {noun}: widen the window or leave out --watch"] if hidden else [])
    if hidden < 3:
        heads = [line.strip() for line in lines if line.startswith(("  errors: ", "  health: "))]
        assert heads[0] == "errors: failed"


def test_a_small_window_shows_each_guardrail_in_a_line(project):
    """Sentences fold where there is room for them; where there is not, none of them pushes a guardrail out."""
    views = [json.loads(run("status", "churn", "--json").stdout)]
    names = [one["guardrail"] for one in views[0]["release"]["findings"]]
    found = {}
    for room in (14, 100):
        console = Console(width=60, height=100)
        with console.capture() as caught:
            console.print(Group(*map(shown, fitted(console, views, evidence=False, room=room))))
        found[room] = caught.get().rstrip("\n").split("\n")

    for lines in found.values():
        assert [first for line in lines if (first := line.split(maxsplit=1)[:1]) and first[0] in names] == [
            [name] for name in names
        ]
    assert len(found[14]) <= 14 < len(found[100])
    assert any(line.rstrip().endswith("…") for line in found[14])
