"""Promotion by proof on whole streams: a good candidate is shown to be good close to the limit, a bad one hardly ever."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from streams import (
    ALPHA,
    Scenario,
    by_odds,
    by_points,
    least_ratio,
    limit_of_proof,
    most_alarms,
    stops,
)

from lastgood.stats import noninferiority

POINTS = {
    "1 % and half a point": (0.01, 0.005),
    "1 % and a point": (0.01, 0.01),
    "0.1 % and half a point": (0.001, 0.005),
    "8 % and two points": (0.08, 0.02),
    "30 % and five points": (0.3, 0.05),
}
Case = tuple[float, Callable[[float], float], Any, Callable[..., Any]]


def case(name: str) -> Case:
    """Return stable's rate, what is worse, and the test."""
    if name == "1 % and twice the odds":
        odds = noninferiority.initial_by_odds(ALPHA, 2.0)
        return 0.01, by_odds(2.0), odds, noninferiority.update_by_odds
    rate, delta = POINTS[name]
    return rate, by_points(delta), noninferiority.initial(ALPHA, delta), noninferiority.update


EVERY = [*POINTS, "1 % and twice the odds"]


def good(name: str, seed: int, streams: int) -> tuple[float, float]:
    """Return the share of good candidates shown to be good within six limits, and how many limits that took."""
    rate, worse, start, update = case(name)
    least = limit_of_proof(rate, worse)
    counts = Scenario(name, rate, rate).draw(np.random.default_rng(seed), streams, 6 * least / 100)
    found = stops(counts, start, update)
    return float(np.isfinite(found).mean()), least_ratio(found, least, 6 * least)


@pytest.mark.parametrize("name", EVERY)
def test_a_good_candidate_is_proven_close_to_the_limit(name: str) -> None:
    """Nearly all are proven, with at most 1.15 times what any valid test must spend."""
    shown, ratio = good(name, 31, 200)

    assert shown >= 0.97
    assert ratio <= 1.15


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_a_good_candidate_is_proven_close_to_the_limit_in_many_streams(name: str) -> None:
    """The same with two thousand streams, so that the error of the measurement is a few per cent."""
    shown, ratio = good(name, 32, 2000)

    assert shown >= 0.97
    assert ratio <= 1.15


@pytest.mark.parametrize("name", EVERY)
def test_a_candidate_exactly_at_the_margin_is_promoted_no_more_often_than_promised(name: str) -> None:
    """Worse by just the margin: false promotions stay within alpha, however often anyone looks."""
    rate, worse, start, update = case(name)
    counts = Scenario(name, worse(rate), rate).draw(np.random.default_rng(33), 200, 30.0)

    assert float(np.isfinite(stops(counts, start, update)).mean()) <= most_alarms(200)


def test_drift_with_a_ramp_proves_nothing_that_is_not_so() -> None:
    """Worse by the margin at every moment while rates fall and the candidate's share grows: within alpha."""
    rates = lambda at: 0.04 - 0.03 * np.minimum(at, 30) / 30  # noqa: E731 - one curve for both arms
    share = lambda at: np.where(at < 10, 0.02, np.where(at < 20, 0.1, 0.5))  # noqa: E731 - likewise
    falling = Scenario("falling", lambda at: rates(at) + 0.01, rates, share=share)
    counts = falling.draw(np.random.default_rng(34), 200, 30.0)
    found = stops(counts, noninferiority.initial(ALPHA, 0.01), noninferiority.update)

    assert float(np.isfinite(found).mean()) <= most_alarms(200)
