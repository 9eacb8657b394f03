"""Change detection on pairs and by a difference: what a period gains on average, run lengths, and how soon."""

import math

import numpy as np
import pytest
from scipy.stats import binom, multinomial

from lastgood.stats import detector_margin, detector_pairs

MONTH = 43_200.0


def level(log_e: float) -> float:
    """Return ``sum R``: the money without what is fresh for the next period."""
    return math.exp(log_e) - 1.0


@pytest.mark.parametrize("before", [(), ((9, 3, 1),), ((9, 0, 2),) * 3])
def test_pairs_that_differ_gain_at_most_one_a_period_on_average(before: tuple) -> None:
    """Enumerated over all outcomes, by odds at the margin and below it, and by a difference at it and below."""
    by_odds = detector_pairs.initial(1e9, 1.2)
    by_difference = detector_pairs.initial_by_difference(1e9, 0.02)
    for counts in before:
        by_odds = detector_pairs.update(by_odds, *counts)
        by_difference = detector_pairs.update(by_difference, *counts)
    outcomes = [(only1, only0) for only1 in range(7) for only0 in range(7 - only1)]
    for only0 in (0.02, 0.2):
        for state, only1 in (
            (by_odds, 1.2 * only0),
            (by_odds, 0.5 * only0),
            (by_difference, only0 + 0.02),
            (by_difference, only0),
        ):
            shares = [only1, only0, 1.0 - only1 - only0]
            chance = [multinomial.pmf([*one, 6 - sum(one)], 6, shares) for one in outcomes]
            after = [level(detector_pairs.log_e(detector_pairs.update(state, 6, *one))) for one in outcomes]
            assert np.dot(chance, after) <= level(detector_pairs.log_e(state)) + 1.0 + 1e-9


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_rates_at_the_difference_gain_at_most_one_a_period_on_average(rate: float) -> None:
    """Enumerated over all outcomes of two arms, at the margin and below it, with and without a past."""
    for before in ((), ((5, 0, 15, 3),) * 3):
        state = detector_margin.initial(1e9, 0.05)
        for counts in before:
            state = detector_margin.update(state, *counts)
        outcomes = [(bad1, bad0) for bad1 in range(5) for bad0 in range(8)]
        after = [
            level(detector_margin.log_e(detector_margin.update(state, 4, bad1, 7, bad0)))
            for bad1, bad0 in outcomes
        ]
        for above in (0.05, 0.0):
            chance = [binom.pmf(bad1, 4, rate + above) * binom.pmf(bad0, 7, rate) for bad1, bad0 in outcomes]
            assert np.dot(chance, after) <= level(detector_margin.log_e(state)) + 1.0 + 1e-9


def pair_runs(
    seed: int, streams: int, shares: tuple[float, float], start: detector_pairs.PairsDetector, most: int
) -> list[int]:
    """Return in which minute of forty labelled pairs each stream raised its alarm."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(streams):
        state = start
        for minute in range(1, most + 1):
            only1, only0, _alike = chance.multinomial(40, (*shares, 1.0 - sum(shares))).tolist()
            state = detector_pairs.update(state, 40, only1, only0)
            if state.stopped:
                found.append(minute)
                break
    return found


def test_the_run_length_on_pairs_is_kept() -> None:
    """With a promise of 60 periods and arms that differ at the margin, the mean run is at least that."""
    for start, shares in (
        (detector_pairs.initial(60.0, 1.2), (0.036, 0.03)),
        (detector_pairs.initial_by_difference(60.0, 0.01), (0.04, 0.03)),
    ):
        found = pair_runs(3, 40, shares, start, 600)
        lengths = [*found, *[600] * (40 - len(found))]
        assert np.mean(lengths) >= 60.0


@pytest.mark.slow
def test_the_run_length_by_a_difference_of_rates_is_kept() -> None:
    """With a promise of 60 periods, a daily cycle in both arms and a difference at the margin, the mean run is that."""
    chance = np.random.default_rng(7)
    lengths = []
    for _ in range(60):
        state = detector_margin.initial(60.0, 0.01)
        for minute in range(1, 601):
            rate = 0.04 + 0.03 * math.sin(minute / 40.0)
            state = detector_margin.update(
                state, 500, int(chance.binomial(500, rate + 0.01)), 50, int(chance.binomial(50, rate))
            )
            if state.stopped:
                break
        lengths.append(minute)
    assert np.mean(lengths) >= 60.0


def test_a_change_is_found_soon() -> None:
    """With a run length of thirty days: recall .95 to .85 beside a version that stays, within 12 minutes of 40 pairs."""
    for start in (detector_pairs.initial(MONTH, 1.2), detector_pairs.initial_by_difference(MONTH, 0.02)):
        found = pair_runs(5, 30, (0.11, 0.01), start, 200)
        assert len(found) == 30
        assert np.mean(found) <= 12


def test_impossible_settings_and_counts_are_refused() -> None:
    """A run length of 1, a margin of 0 or a difference of 1 cannot be begun; contradictory counts raise."""
    for start in (
        lambda: detector_pairs.initial(1.0),
        lambda: detector_pairs.initial(9.0, 0.0),
        lambda: detector_pairs.initial_by_difference(9.0, 1.0),
        lambda: detector_margin.initial(9.0, 0.0),
    ):
        with pytest.raises(ValueError, match="impossible settings"):
            start()
    with pytest.raises(ValueError, match="impossible counts"):
        detector_pairs.update(detector_pairs.initial(9.0), 3, 2, 2)
    with pytest.raises(ValueError, match="impossible counts"):
        detector_margin.update(detector_margin.initial(9.0, 0.1), 1, 2, 3, 0)
