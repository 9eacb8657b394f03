"""A table of outcomes becomes the strata that a release would have made of it."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from lastgood.analysis.course import course
from lastgood.analysis.outcome_rows import rows_of, strata_of
from lastgood.domain.plan import Metric, Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.traffic import Baseline
from lastgood.errors import Code, LastgoodError

PLAN = """\
strategy: canary
guardrails:
  - metric: errors
    on_fail: {on_errors}
  - metric: counter
    counter: no_address
  - metric: recall
    positive: 1
    after: 60s
"""


def plan(on_errors: str = "rollback") -> Plan:
    return parse_plan(PLAN.format(on_errors=on_errors))


def table(rows: int, **bad: Any) -> list[dict[str, Any]]:
    """A tenth of the requests go to the candidate; every second row is of class 1 and stable is always right."""
    found = []
    for number in range(rows):
        arm = "candidate" if number % 10 == 0 else "stable"
        label = number // 10 % 2
        row = {"time": f"{number}", "arm": arm, "error": 0, "prediction": label, "label": label}
        found.append(
            row | ({name: value(number) for name, value in bad.items()} if arm == "candidate" else {})
        )
    return found


def test_every_request_is_in_one_stratum_of_its_arm() -> None:
    """Counts of all strata sum to the table, in order of time, whatever the order of its rows."""
    rows = table(1000, error=lambda number: number % 20 == 0, latency=lambda _: "0.2")
    strata = strata_of(rows_of(reversed(rows), plan()), plan())
    requests = [one for one in strata if not one.labels]

    assert sum(one.candidate.requests for one in requests) == 100
    assert sum(one.stable.requests for one in requests) == 900
    assert sum(one.candidate.errors for one in requests) == 50
    assert sum(sum(one.candidate.latency.values()) for one in requests) == 100
    assert [one.sequence for one in strata] == list(range(1, len(strata) + 1))
    assert all(early.closed_at <= late.closed_at for early, late in pairwise(strata))


def test_errors_of_the_candidate_roll_back_and_the_request_is_named() -> None:
    """A candidate that fails every second request is rolled back after a few of its requests."""
    strata = strata_of(rows_of(table(1000, error=lambda number: number % 20 == 0), plan()), plan())
    found = course(plan(), Baseline(), strata, release=0, recorded=plan())

    assert found.rolled_back
    assert found.turns[-1].guardrail == "errors"
    assert found.candidate_requests <= 30


def test_labels_count_once_they_are_mature() -> None:
    """No label counts before its prediction is as old as the plan says; a missed class then rolls back on recall."""
    rows = rows_of(table(2000, prediction=lambda _: 0), plan("alert"))
    strata = strata_of(rows, plan("alert"))
    found = course(plan("alert"), Baseline(), strata, release=0, recorded=plan("alert"))
    first = next(one for one in strata if one.labels)

    assert first.closed_at >= 60.0
    assert found.rolled_back
    assert found.turns[-1].guardrail == "recall"
    assert found.turns[-1].labelled_rows is not None


def test_labels_counted_for_another_metric_decide_nothing() -> None:
    """Rows that were counted for recall say nothing of an accuracy of the same name: it is named and not judged."""
    rows = rows_of(table(2000, prediction=lambda _: 0), plan("alert"))
    recorded = plan("alert")
    other = msgspec.structs.replace(
        recorded,
        guardrails=tuple(
            msgspec.structs.replace(one, metric=Metric.PRECISION) if one.metric is Metric.RECALL else one
            for one in recorded.guardrails
        ),
    )
    found = course(other, Baseline(), strata_of(rows, recorded), release=0, recorded=recorded)

    assert "recall" in found.not_replayed
    assert "recall" not in {one.guardrail for one in (*found.findings, *found.turns)}
    assert not found.rolled_back


def test_many_rows_of_stable_alone_take_no_longer_each() -> None:
    """What stable answered before the candidate's first request is in the stratum of that request."""
    rows = [{"arm": "stable"}] * 20_000 + [{"arm": "candidate"}] * 2
    strata = strata_of(rows_of(rows, plan()), plan())

    assert [one.stable.requests for one in strata] == [20_000, 0]


def test_a_counter_is_a_column_of_its_name() -> None:
    """Rows that say nothing of it did not report it."""
    strata = strata_of(rows_of(table(500, no_address=lambda number: int(number % 20 == 0)), plan()), plan())
    counted = [one.candidate.counters["no_address"] for one in strata if not one.labels]

    assert (sum(one.total for one in counted), sum(one.bad for one in counted)) == (50, 25)
    assert all(not one.stable.counters for one in strata)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"arm": "shadow"}, "arm"),
        ({}, "arm"),
        ({"arm": "stable", "error": "maybe"}, "error"),
        ({"arm": "stable", "time": "noon"}, "time"),
        ({"arm": "stable", "latency": "-1"}, "latency"),
        ({"arm": "stable", "latency": "inf"}, "latency"),
        ({"arm": "stable", "time": "5"}, "time"),
        ({"arm": "stable", "label_time": "1700000000000"}, "label_time"),
        ({"arm": "stable", "latency": "1e308"}, "latency"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(row: dict[str, Any], named: str) -> None:
    """The row's number and its column."""
    with pytest.raises(LastgoodError, match=r"Row 2 ") as caught:
        rows_of([{"arm": "stable"}, row], plan())

    assert caught.value.code is Code.INVALID
    assert named in caught.value.message
