"""Tests with an absolute margin, and of non-inferiority: exact means, false decisions, and how soon they decide."""

import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from lastgood.stats import margin, noninferiority, score
from lastgood.stats.projection import log_factor, nearest

DELTA = 0.05


def kl(q: float, p: float) -> float:
    return q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))


@pytest.mark.parametrize("q0", [1e-10, 1e-6, 0.01, 0.3, 0.9])
@pytest.mark.parametrize("q1", [1e-4, 0.08, 0.5, 0.99])
@pytest.mark.parametrize("weight", [0.05, 0.5, 0.9])
def test_the_nearest_pair_is_the_minimum(q1: float, q0: float, weight: float) -> None:
    """No pair on the line has a smaller divergence than the one found."""

    def divergence(p: float) -> float:
        return weight * kl(q1, p + DELTA) + (1 - weight) * kl(q0, p)

    p1, p0 = nearest(q1, q0, DELTA, weight)
    best = minimize_scalar(divergence, bounds=(1e-12, 1 - DELTA - 1e-12), method="bounded")

    assert p1 == pytest.approx(p0 + DELTA)
    assert divergence(p0) <= best.fun + 1e-9


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (5, 5), (7, 2)])
@pytest.mark.parametrize(("bet", "worse"), [((0.2, 0.02), True), ((0.5, 0.3), True), ((0.1, 0.1), False)])
def test_the_mean_factor_is_at_most_one_all_over_the_null(
    shape: tuple[int, int], bet: tuple[float, float], worse: bool
) -> None:
    """Enumerated over all outcomes, for pairs of rates on a grid of the null, edge included."""
    n1, n0 = shape
    factors = np.array(
        [
            [math.exp(log_factor((n1, bad1, n0, bad0), bet, DELTA)) for bad0 in range(n0 + 1)]
            for bad1 in range(n1 + 1)
        ]
    )
    grid = np.linspace(0.0, 1.0, 41)
    chances1 = [binom.pmf(np.arange(n1 + 1), n1, rate) for rate in grid]
    chances0 = [binom.pmf(np.arange(n0 + 1), n0, rate) for rate in grid]
    for p1, chance1 in zip(grid, chances1, strict=True):
        for p0, chance0 in zip(grid, chances0, strict=True):
            excess = p1 - p0 - DELTA
            if excess <= 1e-12 if worse else excess >= -1e-12:
                assert chance1 @ factors @ chance0 <= 1.0 + 1e-9


Update = Callable[..., Any]


def stops(
    seed: int, streams: int, strata: int, p1: float, p0: float, start: Any, update: Update
) -> list[int]:
    """Return after how many candidate requests, at 10 % split, each stream that stopped has stopped."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(streams):
        state = start
        for number in range(1, strata + 1):
            state = update(state, 10, int(chance.binomial(10, p1)), 90, int(chance.binomial(90, p0)))
            if state.stopped:
                found.append(10 * number)
                break
    return found


def most(streams: int) -> int:
    return int(binom.ppf(0.999, streams, 0.05))


@pytest.mark.parametrize("p0", [0.001, 0.05])
def test_a_difference_of_exactly_the_margin_is_tolerated(p0: float) -> None:
    """At the edge of the null, false alarms stay within alpha."""
    found = stops(1, 200, 100, p0 + 0.01, p0, margin.initial(0.05, 0.01), margin.update)

    assert len(found) <= most(200)


def test_a_difference_beyond_the_margin_is_found() -> None:
    """0.1 % to 3 % with a margin of half a point is always found, within 400 candidate requests on average."""
    found = stops(2, 100, 400, 0.03, 0.001, margin.initial(0.05, 0.005), margin.update)

    assert len(found) == 100
    assert np.mean(found) <= 400


def test_a_candidate_at_the_margin_is_not_shown_to_be_good() -> None:
    """At the edge, by difference and by odds, false promotions stay within alpha."""
    by_difference = noninferiority.initial(0.05, 0.01)
    by_odds = noninferiority.initial_by_odds(0.05, 2.0)
    odds = 2.0 * 0.05 / 0.95

    found = stops(3, 200, 150, 0.02, 0.01, by_difference, noninferiority.update)
    assert len(found) <= most(200)
    found = stops(4, 200, 80, odds / (1 + odds), 0.05, by_odds, noninferiority.update_by_odds)
    assert len(found) <= most(200)


def test_a_good_candidate_is_shown_to_be_good() -> None:
    """At 1 % in both arms: less than a point worse, and less than twice the odds, within 1 600 requests."""
    by_difference = noninferiority.initial(0.05, 0.01)
    by_odds = noninferiority.initial_by_odds(0.05, 2.0)

    found = stops(5, 60, 600, 0.01, 0.01, by_difference, noninferiority.update)
    assert len(found) == 60
    assert np.mean(found) <= 1600
    found = stops(6, 60, 600, 0.01, 0.01, by_odds, noninferiority.update_by_odds)
    assert len(found) >= 58
    assert np.mean(found) <= 1600


def test_no_data_shows_nothing() -> None:
    """Strata with an empty arm leave both tests at even."""
    worse, good = margin.initial(0.05, 0.01), noninferiority.initial(0.05, 0.01)
    for stratum in ((0, 0, 90, 3), (10, 1, 0, 0)):
        worse, good = margin.update(worse, *stratum), noninferiority.update(good, *stratum)

    assert margin.log_e(worse) == pytest.approx(0.0, abs=1e-12)
    assert good.log_e == 0.0


def test_states_survive_json_and_counts_of_a_billion() -> None:
    """Large counts give finite evidence, and JSON gives the same state back."""
    strata = [(10, 1, 90, 0), (10**9, 10**7, 9 * 10**9, 9 * 10**7), (10, 10, 90, 90), (1, 0, 10**9, 10**9)]
    worse, good = margin.initial(0.05, 0.01), noninferiority.initial(0.05, 0.01)
    for stratum in strata:
        worse, good = margin.update(worse, *stratum), noninferiority.update(good, *stratum)
        for state in (worse, good):
            plain = json.loads(json.dumps(msgspec.to_builtins(state)))
            assert msgspec.convert(plain, type(state)) == state
        assert math.isfinite(margin.log_e(worse))
        assert math.isfinite(good.log_e)


def test_impossible_settings_and_counts_are_refused() -> None:
    """A test that would promise nothing cannot be begun, and contradictory counts raise."""
    for start in (margin.initial, noninferiority.initial):
        for alpha, delta in ((0.0, 0.1), (0.05, 0.0), (0.05, 1.0)):
            with pytest.raises(ValueError, match="impossible settings"):
                start(alpha, delta)
    for state, update in (
        (margin.initial(0.05, 0.1), margin.update),
        (noninferiority.initial(0.05, 0.1), noninferiority.update),
        (score.initial(0.05), noninferiority.update_by_odds),
    ):
        with pytest.raises(ValueError, match="impossible counts"):
            update(state, 1, 2, 3, 0)
    with pytest.raises(ValueError, match="above 1"):
        noninferiority.initial_by_odds(0.05, 1.0)


def test_bets_on_a_difference_learn_a_common_rate_of_any_size_in_one_stratum() -> None:
    """Where a third of all is bad in both arms, a first stratum costs less than a factor of three, in both directions."""
    worse, good = margin.initial(0.05, 0.02), noninferiority.initial(0.05, 0.02)
    strata = [(10, 3, 90, 27), (10, 4, 90, 36)]

    assert margin.log_e(margin.update(worse, *strata[0])) > -math.log(3.0)
    assert all(abs(noninferiority.update(good, *stratum).log_e) < 0.1 for stratum in strata)
