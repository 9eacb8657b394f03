"""Releases judged by SCORE on whole streams, in which each request goes to the candidate by lot.

What is asserted is the promise within Monte-Carlo error: false rollbacks at most alpha and three standard errors; mean
candidate requests, less three standard errors, at most the stated multiple of what any valid test must spend.
"""

import numpy as np
import pytest
from streams import (
    ALIKE,
    ALPHA,
    UNEQUAL,
    WORSE,
    Scenario,
    alike,
    least_ratio,
    limit,
    limit_over,
    most_alarms,
    stops,
)

from lastgood.stats import margin, score

GOOD = (*ALIKE, UNEQUAL)
FEW_EVENTS = {"errors 0 → 1 %", "crash 1 → 50 %"}
"""Where one or two bad requests decide, no test comes as near to the limit: half of one event is lost on average."""

each_good = pytest.mark.parametrize("scenario", GOOD, ids=lambda scenario: scenario.name)
each_worse = pytest.mark.parametrize("scenario", WORSE, ids=lambda scenario: scenario.name)


def false_rollbacks(scenario: Scenario, seed: int, streams: int, minutes: float) -> float:
    """Return the share of streams of a good release that are rolled back; all its hours pass in ``minutes``."""
    counts = scenario.draw(np.random.default_rng(seed), streams, minutes, pace=200.0 / minutes)
    return float(np.isfinite(stops(counts, score.initial(ALPHA), score.update)).mean())


def times_the_limit(scenario: Scenario, seed: int, requests: int) -> tuple[float, float]:
    """Return the share of streams that ended, and how many times the limit they took, less three standard errors.

    As many streams as make so many candidate ``requests`` at the limit, from 80 to 2 000.
    """
    least = limit(float(scenario.candidate), float(scenario.stable))  # type: ignore[arg-type]
    streams = min(2000, max(80, int(requests / least)))
    minutes = max(2.0, 10.0 * least / 100.0)
    counts = scenario.draw(np.random.default_rng(seed), streams, minutes)
    found = stops(counts, score.initial(ALPHA), score.update)
    return float(np.isfinite(found).mean()), least_ratio(found, least, 100.0 * minutes)


@each_good
def test_a_good_release_is_rolled_back_no_more_often_than_promised(scenario: Scenario) -> None:
    """A/A at four rates, in a daily cycle, shared outages, drift with ramp, unequal denominators."""
    assert false_rollbacks(scenario, 21, 100, 12.0) <= most_alarms(100)


@pytest.mark.slow
@each_good
def test_a_good_release_is_rolled_back_no_more_often_in_many_long_streams(scenario: Scenario) -> None:
    """The same over 2 000 looks each: three hours and twenty minutes at a thousand requests a minute."""
    assert false_rollbacks(scenario, 22, 200, 200.0) <= most_alarms(200)


def most_ratio(scenario: Scenario) -> float:
    return 2.2 if scenario.name in FEW_EVENTS else 1.4


@each_worse
def test_a_worse_release_is_found_close_to_the_limit(scenario: Scenario) -> None:
    """Every stream ends, at most 1.4 times the limit on average, 2.2 times where one or two events decide."""
    ended, ratio = times_the_limit(scenario, 23, 60_000)

    assert ended == 1.0
    assert ratio <= most_ratio(scenario)


@pytest.mark.slow
@each_worse
def test_a_worse_release_is_found_close_to_the_limit_in_many_streams(scenario: Scenario) -> None:
    """The same with up to two thousand streams each, of which hardly one takes longer than ten times the limit."""
    ended, ratio = times_the_limit(scenario, 28, 1_000_000)

    assert ended >= 0.999
    assert ratio <= most_ratio(scenario)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.01, 0.05, 0.25, 0.5])
def test_the_split_hardly_matters(share: float) -> None:
    """1 % to 5 % at splits from 1 to 50 %: at most 1.5 times the limit of that split."""
    scenario = Scenario("split", 0.05, 0.01, share=share)
    least = limit(0.05, 0.01, share=share)
    minutes = 12.0 * least / share / 1000
    found = stops(scenario.draw(np.random.default_rng(24), 400, minutes), score.initial(ALPHA), score.update)

    assert np.isfinite(found).all()
    assert least_ratio(found, least, minutes * 1000 * share) <= 1.5


def test_the_odds_margin_is_tolerated_and_costs_little_on_a_large_regression() -> None:
    """At odds 1.2 times stable's, rollbacks stay within alpha; 1 % to 5 % still takes at most 1.8 times the limit."""
    edge = Scenario("edge", 1.2 * 0.05 / (0.95 + 1.2 * 0.05), 0.05)
    start = score.initial(ALPHA, 1.2)
    found = stops(edge.draw(np.random.default_rng(25), 100, 15.0), start, score.update)
    worse = Scenario("worse", 0.05, 0.01).draw(np.random.default_rng(26), 400, 20.0)
    soon = stops(worse, start, score.update)

    assert float(np.isfinite(found).mean()) <= most_alarms(100)
    assert np.isfinite(soon).all()
    assert least_ratio(soon, limit(0.05, 0.01), 2000.0) <= 1.8


@pytest.mark.parametrize("scenario", [*ALIKE[4:], alike("0.1 %", 0.001)], ids=lambda one: one.name)
def test_an_absolute_margin_is_kept_whatever_both_arms_do(scenario: Scenario) -> None:
    """With a margin of half a point, cycles, outages and ramps that both arms share cause no more than alpha."""
    counts = scenario.draw(np.random.default_rng(27), 60, 20.0, pace=10.0)
    found = stops(counts, margin.initial(ALPHA, 0.005), margin.update)

    assert float(np.isfinite(found).mean()) <= most_alarms(60)


@pytest.mark.parametrize(("p0", "p1", "delta"), [(0.3, 0.4, 0.02), (0.1, 0.14, 0.01), (0.01, 0.05, 0.005)])
def test_a_rate_over_an_absolute_margin_is_found_at_any_base_rate(p0: float, p1: float, delta: float) -> None:
    """At 1, 10 and 30 % of bad requests: nearly every stream ends, with at most 1.7 times what any test must spend."""
    least = limit_over(p1, p0, delta)
    counts = Scenario("over", p1, p0).draw(np.random.default_rng(29), 60, 6 * least / 100)
    found = stops(counts, margin.initial(ALPHA, delta), margin.update)

    assert float(np.isfinite(found).mean()) >= 0.97
    assert least_ratio(found, least, 6 * least) <= 1.7
