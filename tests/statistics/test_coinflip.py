"""The coin-flip form of the ratio test: exact means, false alarms, and how soon it decides at very low traffic."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from lastgood.stats import coinflip, score


@pytest.mark.parametrize("margin", [1.0, 1.2, 3.0])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_the_mean_factor_is_at_most_one_all_over_the_null(share: float, margin: float) -> None:
    """Summed over arm and outcome of a trial: 1 at the margin's own pair, at most 1 below the margin."""
    state = coinflip.update(coinflip.initial(0.05, share, margin), 0, 0, 200, 9)
    for ratio in (1.3, 5.0, 100.0):
        counts = ((1, 1, 0, 0), (1, 0, 0, 0), (0, 0, 1, 1), (0, 0, 1, 0))
        factors = [math.exp(coinflip._grown(state, ratio, count)) for count in counts]
        for p0 in np.linspace(0.0, 0.995, 200):
            for part in (1.0, 0.8, 0.3, 0.0):
                p1 = margin * part * p0 / (1.0 + (margin * part - 1.0) * p0)
                chances = (share * p1, share * (1 - p1), (1 - share) * p0, (1 - share) * (1 - p0))
                mean = float(np.dot(chances, factors))
                assert mean <= 1.0 + 1e-12


def test_without_a_margin_the_factor_is_the_bet_over_its_mixture() -> None:
    """The nearest pair of equal rates is the mixture of the two that are bet on."""
    p1, p0 = coinflip.nearest(0.05, 0.01, 0.1, 1.0)

    assert p1 == p0 == pytest.approx(0.1 * 0.05 + 0.9 * 0.01, rel=1e-12)


def stops(seed: int, streams: int, batches: int, rates: tuple[float, float], size: int) -> list[int]:
    """Return after how many candidate requests, arms drawn by a 10 % coin, each stream that stopped has stopped."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(streams):
        state, requests = coinflip.initial(0.05, 0.1), 0
        for _ in range(batches):
            n1 = int(chance.binomial(size, 0.1))
            bad1, bad0 = int(chance.binomial(n1, rates[0])), int(chance.binomial(size - n1, rates[1]))
            state = coinflip.update(state, n1, bad1, size - n1, bad0)
            requests += n1
            if coinflip.reached(state):
                found.append(requests)
                break
    return found


@pytest.mark.parametrize("rate", [0.01, 0.2])
def test_equal_rates_raise_no_more_alarms_than_promised(rate: float) -> None:
    """A/A in batches of eight requests: false alarms stay within alpha."""
    found = stops(1, 150, 300, (rate, rate), 8)

    assert len(found) <= binom.ppf(0.999, 150, 0.05)


def test_a_regression_is_found_soon_at_very_low_traffic() -> None:
    """1 % to 5 % in batches of eight requests is always found, within 150 candidate requests on average."""
    found = stops(2, 60, 2000, (0.05, 0.01), 8)

    assert len(found) == 60
    assert np.mean(found) <= 150


def test_bad_trials_of_arm_0_alone_are_evidence_for_arm_1() -> None:
    """Where SCORE learns nothing from a batch with one arm, the coin-flip form lowers its evidence."""
    flip, strata = coinflip.initial(0.05, 0.1), score.initial(0.05)
    for _ in range(20):
        flip, strata = coinflip.update(flip, 0, 0, 1, 1), score.update(strata, 0, 0, 1, 1)

    assert coinflip.log_e(flip) < -0.5
    assert score.log_e(strata) == pytest.approx(0.0, abs=1e-12)


def test_impossible_settings_and_counts_are_refused() -> None:
    """A margin below 1 would not be convex, a share of 0 no coin; contradictory counts raise."""
    for alpha, share, margin in ((0.0, 0.1, 1.0), (0.05, 0.0, 1.0), (0.05, 0.1, 0.9)):
        with pytest.raises(ValueError, match="impossible settings"):
            coinflip.initial(alpha, share, margin)
    with pytest.raises(ValueError, match="impossible counts"):
        coinflip.update(coinflip.initial(0.05, 0.1), 1, 2, 3, 0)
