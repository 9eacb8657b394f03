"""A release as one page: everything that was decided is on it, it needs no network, and no text of a caller becomes markup."""

import html
import re
from typing import Any

import msgspec
import pytest
from world import PLAN, World

from lastgood.cli.release_page import render
from lastgood.control.release_report import what_is_left
from lastgood.control.views import ReleaseView
from lastgood.domain.plan import Guardrail, Metric

TRICK = "<img src=x onerror=alert(1)> | b ![p](//e) [l](//e) `\\| \u202e c"


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """Release 2 was rolled back on errors."""
    world = World()
    world.register("v1.0", "v1.1")
    world.serve("v1.0")
    trial = Guardrail(name="trial", metric=Metric.ERRORS, share=0.5, dry_run=True)
    world.start("v1.1", plan=msgspec.structs.replace(PLAN, guardrails=(*PLAN.guardrails, trial)))
    for _ in range(8):
        world.turn(0.5)
        world.reports.feed(2, 0, (20, 3), (180, 2))
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(world.hindsight.report(2)))
    return plain


def test_the_evidence_grows_to_its_bound_where_it_rolled_back(report: dict[str, Any]) -> None:
    """The last point is the last stratum, and there the failed guardrail is at its bound or over it."""
    points = report["traces"]["points"]["errors"]

    assert report["release"]["phase"] == "rolled_back"
    assert points[-1]["strata"] == max(one["strata"] for one in points)
    assert points[-1]["part"] >= 1.0 > points[0]["part"]
    assert sum(one["candidate"] for one in report["traces"]["stages"]) == points[-1]["candidate_requests"]


def test_what_is_left_to_do_names_the_failed_version_and_the_trial(report: dict[str, Any]) -> None:
    """A rolled back release leaves a failed version; a guardrail on a dry run that failed asks for a decision."""
    told = " ".join(report["follow_up"])

    assert "v1.1 is tagged failed" in told
    assert "trial failed on a dry run" in told


@pytest.mark.parametrize("as_html", [True, False], ids=["html", "markdown"])
def test_everything_is_on_the_page(report: dict[str, Any], as_html: bool) -> None:
    """Cause, each guardrail's sentence, each event, each step's traffic and what is left to do."""
    page = render(report, as_html=as_html)
    page = html.unescape(page)

    assert report["release"]["cause"] in page
    assert all(
        one["sentence"].removeprefix(f"{one['guardrail']}: ") in page for one in report["release"]["findings"]
    )
    assert all(one["type"] in page for one in report["timeline"])
    assert all(one in page for one in report["follow_up"])
    assert all(str(one["candidate"]) in page for one in report["traces"]["stages"])


def test_the_page_needs_no_network(report: dict[str, Any]) -> None:
    """It loads nothing: no link, script, image or font, and its policy forbids them."""
    page = render(report, as_html=True)

    assert not re.search(r"<(script|link|img|iframe)|url\(|https?://", page)
    assert "default-src 'none'" in page


def test_no_text_becomes_markup(report: dict[str, Any]) -> None:
    """Who writes a reason or is an actor writes text, on the page and in the ticket's table."""
    timeline = [{**one, "cause": TRICK, "actor": TRICK} for one in report["timeline"]]
    forged = {**report, "timeline": timeline, "release": {**report["release"], "cause": TRICK}}

    assert not re.search("<img|\u202e", render(forged, as_html=True))
    forged_page = render(forged, as_html=False)
    row = next(line for line in forged_page.splitlines() if "onerror" in line and line[0] == "|")
    assert row.count("|") == 5
    assert not re.search(r"(?<!\\)[\[\]`]|<", forged_page.replace("- [ ] ", ""))


def test_what_a_rollback_left_unmeasured_is_nobodys_work(report: dict[str, Any]) -> None:
    """A guardrail that could not say anything before another one rolled back asks for nothing."""
    view = msgspec.convert(report["release"], ReleaseView)
    early = [{**one, "verdict": "inconclusive"} for one in view.findings]
    over = msgspec.structs.replace(view, findings=early)
    served = msgspec.structs.replace(over, phase="succeeded")

    assert not any("inconclusive" in one for one in what_is_left(over, with_data=False))
    assert any("inconclusive" in one for one in what_is_left(served, with_data=False))


def test_a_release_without_traffic_has_a_page(report: dict[str, Any]) -> None:
    """The first version of a deployment had nothing beside it."""
    empty = {**report, "traces": {"points": {}, "stages": []}, "follow_up": []}
    page = render({**empty, "release": {**report["release"], "findings": [], "previous": None}}, as_html=True)

    assert "None has been judged." in page
    assert "<svg" not in page


def test_only_labels_that_are_missing_are_left_to_wait_for(report: dict[str, Any]) -> None:
    """An arm whose labels are all there is no work for anybody."""
    release = msgspec.convert(report["release"], ReleaseView)
    one = {**report["release"]["findings"][0], "verdict": "passed", "dry_run": False}

    def told(pending: dict[str, int]) -> str:
        view = msgspec.structs.replace(release, findings=[{**one, "pending": pending}])
        return " ".join(what_is_left(view, with_data=False))

    assert "labels" not in told({"candidate": 0, "stable": 0})
    assert "(1 500 candidate)" in told({"candidate": 1500, "stable": 0})


def test_evidence_that_is_hardly_less_than_none_is_no_minus_nothing(report: dict[str, Any]) -> None:
    """A part of the bound that rounds to 0 % has no sign."""
    changed = {**report, "traces": {**report["traces"]}}
    points = {
        name: [{**one, "part": -0.001} for one in trace] for name, trace in report["traces"]["points"].items()
    }
    changed["traces"]["points"] = points
    page = render(changed, as_html=True)

    assert "errors 0 %" in page
    assert "-0 %" not in page
