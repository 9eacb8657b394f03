"""Slices where no gateway counted: a table of outcomes, another plan for a release, and what a plan says of itself."""

import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lastgood.analysis.course import course
from lastgood.analysis.outcome_rows import rows_of, strata_of
from lastgood.cli.main import root
from lastgood.domain.plan import Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.traffic import Baseline

RECALL = "{metric: recall, positive: 1, margin: 2pp, slices: [country, device]}"


def plan(text: str = RECALL) -> Plan:
    return parse_plan(f"steps: [{{weight: 20%, for: 1s}}]\nguardrails: [{text}]")


def table(rows: int) -> list[dict[str, Any]]:
    """Return frauds of which a tenth is from BR, where the candidate misses half; elsewhere it is the better one."""
    chance = random.Random(3)
    found = []
    for _ in range(rows):
        arm = "candidate" if chance.random() < 0.3 else "stable"
        country = "BR" if chance.random() < 0.1 else "DE"
        missed = 0.15 if arm == "stable" else 0.5 if country == "BR" else 0.05
        found.append(
            {"arm": arm, "label": 1, "prediction": int(chance.random() >= missed), "country": country}
        )
    return found


def test_a_table_of_outcomes_is_judged_by_its_own_columns() -> None:
    """A replay takes slices from the table, in lots of any size, with places by their first row."""
    used = plan(RECALL.replace("device", "nowhere"))
    strata = strata_of(rows_of(table(3_000), used), used)
    found = course(used, Baseline(), strata, release=0, recorded=used)
    assert found.rolled_back
    assert "worse for country=BR" in found.turns[-1].sentence
    names = {one["name"] for one in found.findings[-1].numbers["slices"]}
    assert names == {"country=BR", "country=DE", "nowhere=(unknown)"}


def test_columns_that_a_release_did_not_count_are_not_replayed() -> None:
    """Fewer columns than were counted are; others are named as what no recorded traffic answers."""
    recorded = plan()
    strata = strata_of(rows_of(table(300), recorded), recorded)
    fewer, other = plan(RECALL.replace(", device", "")), plan(RECALL.replace("device", "age"))
    asked = [course(used, Baseline(), strata, release=0, recorded=recorded) for used in (fewer, other)]
    assert ["recall" in one.not_replayed for one in asked] == [False, True]
    assert "columns" in asked[1].not_replayed["recall"]


@pytest.mark.slow
def test_a_plan_says_what_its_slices_cost(tmp_path: Path) -> None:
    """Checked, it names the columns and the parts of the rate; explained, how many slices share the other half."""
    file = tmp_path / "plan.yaml"
    file.write_text(
        "guardrails: [{metric: recall, positive: 1, min: 60%, slices: [country, device]}]", "utf-8"
    )
    checked = CliRunner().invoke(root, ["plan", "check", str(file)]).output
    assert "each value of country and device" in checked
    assert "the first value of a column 12 % of it, the last 0.06 %" in checked
    assert "Its hard limit is of all rows." in checked
    explained = CliRunner().invoke(root, ["plan", "explain", str(file)]).output
    assert "at most 40 of them: 20 values of each column." in explained.replace("\n", " ")


def test_a_column_that_a_table_does_not_have_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be misspelt, and is judged as the slice of all rows that have no value; one that is there is not named."""
    monkeypatch.chdir(tmp_path)
    Path("plan.yaml").write_text(f"guardrails: [{RECALL}]", "utf-8")
    Path("outcomes.csv").write_text(
        "arm,label,prediction,country\nstable,1,1,DE\ncandidate,1,1,DE\n", "utf-8"
    )
    done = CliRunner().invoke(root, ["replay", "--plan", "plan.yaml", "--outcomes", "outcomes.csv"])
    assert done.exit_code == 0, done.output
    assert done.stderr == "outcomes.csv has no column 'device': by it all rows are the slice (unknown).\n"
