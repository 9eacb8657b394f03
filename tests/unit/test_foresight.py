"""What a plan would notice: sooner where it is worse, never where nothing is compared, and always the same answer."""

import pytest

from lastgood.analysis.foresight import Foresight, foresee
from lastgood.domain.plan_file import parse_plan

PLAN = """\
strategy: canary
steps:
  - weight: 20%
    for: 5m
    samples: 200
guardrails:
  - metric: errors
    margin: 1.0
  - metric: latency
    compare: distribution
    margin: 1.0
  - metric: mean
    range: [0, 10]
    margin: 0.1
"""
ERRORS = PLAN.partition("  - metric: latency")[0]


def foreseen(text: str = PLAN, **rates: float) -> dict[str, Foresight]:
    found = foresee(parse_plan(text), rates=rates, per_minute=1000.0, latency={}, seed=1, runs=3)
    return {one.guardrail: one for one in found}


@pytest.fixture(scope="module")
def usual() -> dict[str, Foresight]:
    return foreseen()


def test_what_is_worse_is_noticed_sooner(usual: dict[str, Foresight]) -> None:
    """The larger the drop, the fewer candidate requests, for rates, latencies and means alike."""
    for one in usual.values():
        needed = [float("inf") if notice.requests is None else notice.requests for notice in one.notices]
        assert needed == sorted(needed, reverse=True), one
        assert needed[-1] < 200


def test_the_false_alarms_are_the_parts_of_the_plans_rate(usual: dict[str, Foresight]) -> None:
    """Together they are the plan's false_rollback_rate."""
    assert sum(one.alpha for one in usual.values()) == pytest.approx(0.01)


def test_the_same_question_has_the_same_answer(usual: dict[str, Foresight]) -> None:
    """Chance is seeded, for each guardrail by itself."""
    assert foreseen(ERRORS)["errors"].notices == foreseen(ERRORS)["errors"].notices
    assert usual["errors"].notices[-1].requests


def test_a_higher_rate_of_stable_hides_more() -> None:
    """Five points more are harder to see beside 30 % than beside 1 %."""
    few, many = foreseen(ERRORS, errors=0.01)["errors"], foreseen(ERRORS, errors=0.3)["errors"]

    assert few.rate == 0.01
    assert (few.notices[2].requests or 0) * 2 < (many.notices[2].requests or float("inf"))


def test_steps_without_two_versions_notice_nothing() -> None:
    """All traffic at once leaves nothing to compare with."""
    text = ERRORS.replace("20%", "100%").replace("strategy: canary", "strategy: blue_green")
    found = foreseen(text)["errors"]

    assert {(one.requests, one.in_plan, one.missed) for one in found.notices} == {(None, 0.0, 1.0)}
