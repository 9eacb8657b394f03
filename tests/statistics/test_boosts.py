"""Boosting: exact means of the boosted growth, and rank betting with tables drawn by lot."""

import math
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from lastgood.stats import ranks
from lastgood.stats.boosting import log_boost

Values = npt.NDArray[np.float64]
OUTCOMES = st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(-30.0, 30.0)), min_size=1, max_size=30)


@given(OUTCOMES, st.floats(0.01, 20.0))
def test_the_boosted_growth_has_mean_one(outcomes: list[tuple[float, float]], needed: float) -> None:
    """Over any outcomes the growth, boosted and cut at the bound, has mean 1; less only when all would be cut."""
    weights, growth = (np.array(column) for column in zip(*outcomes, strict=True))
    chances = weights / weights.sum()

    log_b = log_boost(np.log(chances), growth, needed)
    mean = float(chances @ np.exp(np.minimum(growth + log_b, needed)))
    assert mean == pytest.approx(1.0, rel=1e-9)


def test_drawn_tables_keep_the_margins_and_the_means() -> None:
    """Each table has arm 1's size, no class exceeds what both arms have, and the means are those of the law."""
    pooled = np.array([700, 0, 200, 90, 10, 0])
    tables = ranks._drawn(pooled, 100, np.random.RandomState(1), 4000)

    assert (tables.sum(axis=1) == 100).all()
    assert (tables <= pooled).all()
    spread = np.sqrt(100 * 0.9 * pooled / 1000 / 4000)
    assert (np.abs(tables.mean(axis=0) - pooled / 10) <= 4 * spread).all()
    assert (ranks._drawn(pooled, 1000, np.random.RandomState(1), 3) == pooled).all()


def histogram(values: Values) -> dict[int, int]:
    return dict(Counter(np.floor(np.log2(values) * 16).astype(int).tolist()))


def stops(seed: int, streams: int, strata: int, factor: float, draws: int) -> list[int]:
    """Return after how many candidate requests, at 10 % split, each stream that stopped has stopped."""
    chance = np.random.default_rng(seed)
    found = []
    for stream in range(streams):
        state = ranks.initial(0.05, histogram(chance.lognormal(9.0, 0.6, 1000)), draws=draws)
        for number in range(1, strata + 1):
            values1, values0 = factor * chance.lognormal(9.0, 0.6, 10), chance.lognormal(9.0, 0.6, 90)
            name = f"{stream}/{number}"
            state = ranks.update(state, histogram(values1), histogram(values0), stratum=name)
            if ranks.reached(state):
                found.append(10 * number)
                break
    return found


def test_boosted_rank_betting_finds_slower_values_sooner() -> None:
    """1.2 times as slow: every stream is found, and with fewer requests than without the boost."""
    plain, boosted = (stops(3, 60, 200, 1.2, draws) for draws in (0, 200))

    assert len(plain) == len(boosted) == 60
    assert np.mean(boosted) < np.mean(plain)


@pytest.mark.slow
def test_boosted_rank_betting_raises_no_more_alarms_than_promised() -> None:
    """A/A with tables drawn near the bound: false alarms stay within alpha."""
    found = stops(4, 300, 100, 1.0, 200)

    assert len(found) <= binom.ppf(0.999, 300, 0.05)


def test_a_replay_draws_the_same_tables_and_another_stratum_others() -> None:
    """The same state and stratum give the same evidence bit for bit; another name gives another boost."""
    past = histogram(np.random.default_rng(5).lognormal(9.0, 0.6, 2000))
    slow = sorted(past)[-12:]
    state = ranks.initial(0.05, past, draws=200)
    one, other = dict.fromkeys(slow[:3], 1), dict.fromkeys(sorted(past)[20:40], 4)
    first = ranks.update(state, one, other, stratum="a")

    assert first == ranks.update(state, one, other, stratum="a")
    assert first.log_boost != 0.0
    assert first.log_boost != ranks.update(state, one, other, stratum="b").log_boost
    assert math.isfinite(ranks.log_e(first))
