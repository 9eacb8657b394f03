"""Betting on bounded means: exact means, false alarms, and how soon a lower mean is found."""

import itertools
import json
import math
from collections import Counter

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom

from lastgood.stats import means

CENTRES = (np.arange(means.BINS) + 0.5) / means.BINS
DRAWN = (0, 20, 63)


def counts(bins: tuple[int, ...]) -> npt.NDArray[np.float64]:
    found = np.zeros(means.BINS)
    for number in bins:
        found[number] += 1
    return found


def mean_growth(
    law1: tuple[float, ...],
    law0: tuple[float, ...],
    shape: tuple[int, int],
    delta: float,
    past: tuple[int, ...],
) -> npt.NDArray[np.float64]:
    """Return each expert's mean growth over all outcomes of the two arms' scores in three bins."""
    mean = np.zeros(len(means.BETS))
    for drawn in itertools.product(range(3), repeat=sum(shape)):
        first, second = drawn[: shape[0]], drawn[shape[0] :]
        chance = math.prod(law1[i] for i in first) * math.prod(law0[i] for i in second)
        arms = (counts(tuple(DRAWN[i] for i in part)) for part in (first, second))
        mean += chance * np.exp(means.log_growth(counts(past), *arms, delta))
    return mean


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (3, 2)])
@pytest.mark.parametrize("past", [(3, 30, 31, 60), (0, 0, 0, 0, 1), (62, 63, 63)])
def test_the_mean_growth_is_at_most_one_all_over_the_null(
    shape: tuple[int, int], past: tuple[int, ...]
) -> None:
    """Enumerated over all outcomes, for laws of equal mean and other shape, better ones, and at the margin."""
    value = CENTRES[list(DRAWN)]
    two_ended = (1.0 - (value[1] - value[0]) / (value[2] - value[0]), 0.0)
    two_ended = (two_ended[0], 0.0, 1.0 - two_ended[0])
    middle, low, mixed = (0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.3, 0.4, 0.3)
    for law1, law0 in ((two_ended, middle), (middle, two_ended), (mixed, mixed), (middle, low)):
        assert (mean_growth(law1, law0, shape, 0.0, past) <= 1.0 + 1e-12).all()
    delta = 0.2
    below = (0.3 + delta / (value[2] - value[0]), 0.4, 0.3 - delta / (value[2] - value[0]))
    assert (mean_growth(below, mixed, shape, delta, past) <= 1.0 + 1e-12).all()


def stops(seed: int, streams: int, strata: int, shift: float, *, delta: float = 0.0) -> list[int]:
    """Return after how many candidate requests, at 10 % split, each stream that stopped has stopped."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(streams):
        state = means.initial(0.05, delta)
        for number in range(1, strata + 1):
            arms = (
                Counter(map(means.bin_of, np.clip(chance.beta(2, 3, size) - lower, 0, 1).tolist()))
                for size, lower in ((10, shift), (90, 0.0))
            )
            state = means.update(state, *arms)
            if means.reached(state):
                found.append(10 * number)
                break
    return found


def test_equal_means_raise_no_more_alarms_than_promised() -> None:
    """A/A, and a mean lower by half the margin: false alarms stay within alpha."""
    assert len(stops(1, 120, 80, 0.0)) <= binom.ppf(0.999, 120, 0.05)
    assert len(stops(2, 120, 80, 0.02, delta=0.04)) <= binom.ppf(0.999, 120, 0.05)


def test_a_lower_mean_is_found_soon() -> None:
    """A mean of 0.3 instead of 0.4 is always found, within 150 candidate requests on average."""
    found = stops(3, 80, 150, 0.1)

    assert len(found) == 80
    assert np.mean(found) <= 150


def test_without_scores_or_spread_there_is_no_evidence() -> None:
    """Nothing is bet before 50 scores, without a second arm, or while all scores are the same."""
    state = means.initial(0.05)
    for stratum in (({9: 10}, {9: 30}), ({9: 10}, {9: 90}), ({3: 10}, {9: 90}), ({}, {4: 90}), ({4: 9}, {})):
        state = means.update(state, *stratum)
        assert means.log_e(state) == pytest.approx(0.0, abs=1e-12)
    assert sum(state.past) == 339


def test_a_state_survives_json_and_counts_of_a_billion() -> None:
    """JSON gives the same state back after every stratum, and large counts give finite evidence."""
    state = means.initial(1e-6, 0.01)
    for scale in (1, 10**9, 1):
        state = means.update(state, {9: 6 * scale, 30: scale}, {9: 50 * scale, 60: scale})
        plain = json.loads(json.dumps(msgspec.to_builtins(state)))
        assert msgspec.convert(plain, means.Means) == state
        assert math.isfinite(means.log_e(state))


def test_impossible_settings_scores_and_counts_are_refused() -> None:
    """A test that would promise nothing cannot be begun; NaN is no score; wrong counts raise."""
    with pytest.raises(ValueError, match="impossible settings"):
        means.initial(1.0)
    for score in (math.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            means.bin_of(score)
    for wrong in ({64: 1}, {-1: 1}, {3: -1}):
        with pytest.raises(ValueError, match="impossible counts"):
            means.update(means.initial(0.05), wrong, {1: 2})
