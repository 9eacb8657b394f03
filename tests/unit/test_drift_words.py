"""Drift guardrails of a plan in words, and what they would notice."""

import pytest

from lastgood.analysis.drift_foresight import foresee_inputs
from lastgood.analysis.foresight import foresee
from lastgood.analysis.traps import only_health, traps
from lastgood.cli.drift_words import drift_foreseen
from lastgood.cli.plan_words import in_words
from lastgood.domain.plan_file import parse_plan

PLAN = """
steps: [{weight: 20%, for: 30m}]
guardrails:
  - {metric: drift, on_fail: hold, features: [tenure]}
  - {metric: prediction_drift, on_fail: rollback, output: score, distance: 20%}
"""


def test_a_plan_says_what_drift_does() -> None:
    """What moves, how far, what follows, and how often that is wrong."""
    text = "\n".join(map(str, in_words(parse_plan(PLAN))))
    assert (
        "drift: hold when any set of values of one of tenure is shown to be over 10 points likelier" in text
    )
    assert "A false alarm comes once in 30 days on average, at most." in text
    assert "its output score is shown to be over 20 points likelier than with stable" in text
    assert "Where keys are the units it only alerts." in text
    assert "A harmless candidate is rolled back by chance in at most 1 % of releases." in text


def test_further_away_is_noticed_sooner() -> None:
    """Of inputs in rows and minutes, of outputs in candidate rows; the same seed gives the same answer."""
    plan = parse_plan(PLAN)
    inputs = foresee_inputs(plan, per_minute=200.0, seed=1)
    assert inputs == foresee_inputs(plan, per_minute=200.0, seed=1)
    rows = [one.rows for one in inputs]
    assert [one.distance for one in inputs] == [0.15, 0.2, 0.3]
    assert None not in rows
    assert rows == sorted(rows, key=lambda one: -(one or 0.0))
    assert "is 15.0 % from training is noticed after" in drift_foreseen(inputs)[0]
    outputs = foresee(plan, rates={}, per_minute=1000.0, latency={}, seed=1, runs=4)[-1]
    assert (outputs.guardrail, outputs.rate) == ("prediction_drift", None)
    assert [one.drop for one in outputs.notices] == [0.3, 0.4]
    assert all(one.requests is not None for one in outputs.notices)


def test_nothing_is_promised_that_takes_too_long() -> None:
    """Two rows a minute do not show 15 % in ten hours, and that is said."""
    plan = parse_plan("steps: [{weight: 20%, for: 30m}]\nguardrails: [{metric: drift}]")
    slow = foresee_inputs(plan, per_minute=1.0, seed=1, runs=3)[0]
    assert slow.rows is None
    assert drift_foreseen((slow,)) == [
        "drift: a feature that is 15.0 % from training is noticed after more than ten hours."
    ]


@pytest.mark.parametrize(("on_fail", "stops"), [("alert", False), ("hold", True)])
def test_a_plan_that_only_alerts_of_drift_stops_nothing(on_fail: str, stops: bool) -> None:
    """And that is told, once; with hold it does stop something."""
    plan = parse_plan(
        f"steps: [{{weight: 20%, for: 30m}}]\nguardrails: [{{metric: drift, on_fail: {on_fail}}}]"
    )
    assert bool(only_health(plan)) is not stops
    assert len(traps(plan, ())) == (0 if stops else 1)
