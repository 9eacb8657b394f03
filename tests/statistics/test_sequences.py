"""Intervals that hold at every look: coverage of all looks together, their width, and what they say without data."""

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from lastgood.stats import rates, sequences

LOOKS = sorted({round(1.6**power) for power in range(20)})  # 1 to 7 556 trials
COUNTS = st.tuples(st.integers(0, 300), st.integers(0, 300)).map(lambda pair: (min(pair), max(pair)))


def misses(
    seed: int, streams: int, rate_at: Callable[[np.ndarray], np.ndarray], looks: list[int], confidence: float
) -> int:
    """Return how many streams had a look at which the interval missed the average rate so far."""
    chance = np.random.default_rng(seed)
    chances = rate_at(np.arange(looks[-1]))
    truths = np.cumsum(chances) / np.arange(1, looks[-1] + 1)
    missed = 0
    for _ in range(streams):
        events = np.cumsum(chance.random(looks[-1]) < chances)
        intervals = [sequences.rate(int(events[n - 1]), n, confidence) for n in looks]
        missed += any(
            not low <= truths[n - 1] <= high for n, (low, high) in zip(looks, intervals, strict=True)
        )
    return missed


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_a_rates_interval_holds_at_all_looks_together(rate: float) -> None:
    """Over twenty looks the chance of a single miss stays within alpha, for a rate that stays."""
    missed = misses(1, 60, lambda trial: np.full(len(trial), rate), LOOKS, 0.8)

    assert missed <= binom.ppf(0.999, 60, 0.2)


def test_a_rates_interval_follows_the_average_of_a_drifting_rate() -> None:
    """With a rate that swings between 0 and 0.4 the average so far is missed no more often than promised."""
    missed = misses(2, 60, lambda trial: 0.2 + 0.2 * np.sin(trial / 300.0), LOOKS, 0.8)

    assert missed <= binom.ppf(0.999, 60, 0.2)


@pytest.mark.parametrize("rate", [0.002, 0.05, 0.5])
def test_the_evidence_against_the_truth_stays_low_at_every_single_trial(rate: float) -> None:
    """Looked at after each of 3 000 trials in 400 streams, the truth is refuted no more often than promised."""
    chance = np.random.default_rng(3)
    numbers = np.arange(1, 3001)[:, None]
    missed = 0
    for _ in range(400):
        events = np.cumsum(chance.random(3000) < rate)[:, None]
        tilts = sequences._BOTH_SIDES
        logs = tilts * events - numbers * np.log1p(rate * np.expm1(tilts))
        missed += float(np.exp(logs).mean(axis=1).max()) >= 1.0 / 0.05

    assert missed <= binom.ppf(0.999, 400, 0.05)


@pytest.mark.parametrize("trials", [1, 7, 12])
def test_the_evidence_has_mean_one_at_the_true_rate(trials: int) -> None:
    """Enumerated over all numbers of events, the evidence against the truth is 1 on average; drift makes it less."""
    for p in (0.01, 0.4, 0.97):
        mean = sum(
            binom.pmf(k, trials, p) * math.exp(sequences._log_e(k, trials, p)) for k in range(trials + 1)
        )
        assert mean == pytest.approx(1.0, rel=1e-9)
    uneven = 0.0
    for k1 in range(5):
        for k0 in range(5):
            chance = binom.pmf(k1, 4, 0.1) * binom.pmf(k0, 4, 0.5)
            uneven += chance * math.exp(sequences._log_e(k1 + k0, 8, 0.3))
    assert uneven <= 1.0


@given(COUNTS, st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=60, deadline=None)
def test_a_rates_interval_holds_what_was_seen_and_mirrors(counts: tuple[int, int], confidence: float) -> None:
    """It holds the observed rate, lies within 0 and 1, and is the mirror image for the trials without the event."""
    events, trials = counts
    low, high = sequences.rate(events, trials, confidence)
    mirrored = sequences.rate(trials - events, trials, confidence)

    assert 0.0 <= low <= high <= 1.0
    assert trials == 0 or low <= events / trials <= high
    assert mirrored == pytest.approx((1.0 - high, 1.0 - low), abs=1e-9)


@pytest.mark.parametrize(("events", "trials"), [(31, 608), (54, 5432), (500, 1000), (10**7, 10**9)])
def test_the_price_of_looking_at_any_time_is_known(events: int, trials: int) -> None:
    """The interval encloses the one for a single look, and is less than twice as wide."""
    low, high = sequences.rate(events, trials)
    inner_low, inner_high = rates.wilson(events, trials)

    assert low < inner_low < inner_high < high
    assert high - low < 2.0 * (inner_high - inner_low)


def test_a_differences_interval_is_the_shadow_of_both_rates_together() -> None:
    """Every pair of rates below the bound has its difference inside; at the ends there is such a pair just within."""
    counts = (6, 40, 9, 300)
    low, high = sequences.difference(*counts, 0.9)
    grid1, grid0 = np.linspace(0.0, 1.0, 401), np.linspace(0.0, 0.2, 401)
    against1 = np.array([sequences._log_e(6, 40, p) for p in grid1])
    against0 = np.array([sequences._log_e(9, 300, p) for p in grid0])
    inside = against1[:, None] + against0[None, :] < math.log(10.0)
    gaps = (grid1[:, None] - grid0[None, :])[inside]

    assert low <= gaps.min() <= low + 0.01
    assert high - 0.01 <= gaps.max() <= high


def test_a_differences_interval_is_narrower_than_two_intervals_apart() -> None:
    """31 of 608 against 54 of 5 432: it excludes 0, lies inside the union bound's, and turns around with the arms."""
    low, high = sequences.difference(31, 608, 54, 5432)
    one, other = sequences.rate(31, 608, 0.975), sequences.rate(54, 5432, 0.975)

    assert one[0] - other[1] < low < 0.041 < high < one[1] - other[0]
    assert low > 0.01
    assert sequences.difference(54, 5432, 31, 608) == pytest.approx((-high, -low), abs=1e-7)


def test_a_differences_interval_holds_at_all_looks_together() -> None:
    """At 10 % split with a true difference of 4 points, misses over five looks stay within alpha."""
    chance = np.random.default_rng(5)
    missed = 0
    for _ in range(20):
        bad = np.cumsum(chance.binomial([[40], [360]], [[0.05], [0.01]], size=(2, 5)), axis=1)
        looks = [
            sequences.difference(int(bad[0, look]), 40 * (look + 1), int(bad[1, look]), 360 * (look + 1), 0.8)
            for look in range(5)
        ]
        missed += any(not low <= 0.04 <= high for low, high in looks)

    assert missed <= binom.ppf(0.999, 20, 0.2)


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
def test_a_quantiles_interval_holds_at_all_looks_together(q: float) -> None:
    """Of a lognormal law, looked at after every fifty values, the true quantile is missed within alpha."""
    chance = np.random.default_rng(6)
    truth = math.exp(4.0 + 0.7 * {0.5: 0.0, 0.9: 1.2815515655, 0.99: 2.3263478740}[q])
    missed = 0
    for _ in range(60):
        held: Counter[int] = Counter()
        fine = True
        for _ in range(25):
            held.update(np.floor(16.0 * np.log2(chance.lognormal(4.0, 0.7, 50))).astype(int).tolist())
            low, high = sequences.quantile(held, q, 16, 0.8)
            fine = fine and low <= truth <= high
        missed += not fine
        assert held.total() == 1250
        assert q == 0.99 or high / low < 1.5

    assert missed <= binom.ppf(0.999, 60, 0.2)


def test_a_quantile_of_one_value_repeated_is_that_values_bucket() -> None:
    """Where all values are alike, enough of them pin every quantile to their bucket, and a few to none."""
    assert sequences.quantile({16: 10_000}, 0.5, 16) == (2.0, 2.0 ** (17 / 16))
    assert sequences.quantile({16: 2}, 0.5, 16) == (0.0, math.inf)
    assert sequences.quantile({16: 100}, 0.999, 16)[1] == math.inf


def test_without_data_everything_is_possible() -> None:
    """No trials leave a rate from 0 to 1, a difference from -1 to 1, a quantile from 0 to infinity."""
    assert sequences.rate(0, 0) == (0.0, 1.0)
    assert sequences.difference(0, 0, 0, 0) == (-1.0, 1.0)
    assert sequences.difference(0, 0, 0, 1000)[0] > -0.02
    assert sequences.quantile({}, 0.5, 16) == (0.0, math.inf)


def test_counts_of_a_billion_give_narrow_intervals() -> None:
    """Large counts neither overflow nor lose the answer."""
    low, high = sequences.rate(10**7, 10**9)
    assert 0.00998 < low < 0.01 < high < 0.01002
    low, high = sequences.difference(10**7, 10**9, 2 * 10**7, 10**9)
    assert -0.0101 < low < -0.01 < high < -0.0099
    low, high = sequences.quantile({16: 10**9, 17: 10**9, 18: 10**9}, 0.5, 16)
    assert (low, high) == (2.0 ** (17 / 16), 2.0 ** (18 / 16))


def test_impossible_settings_and_counts_are_refused() -> None:
    """Contradictory counts and promises that cannot be made raise."""
    for events, trials, confidence in ((2, 1, 0.95), (-1, 1, 0.95), (0, 1, 1.0), (0, 1, 0.0)):
        with pytest.raises(ValueError, match="impossible"):
            sequences.rate(events, trials, confidence)
    with pytest.raises(ValueError, match="impossible"):
        sequences.difference(0, 1, 3, 2)
    for histogram, q in (({1: 1}, 0.0), ({1: -1}, 0.5)):
        with pytest.raises(ValueError, match="impossible"):
            sequences.quantile(histogram, q, 16)
