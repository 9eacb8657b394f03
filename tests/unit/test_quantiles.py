"""Histogram quantiles, sums and differences, and the interval for a rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from lastgood.stats import quantiles, rates

VALUES = st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=200)
HISTOGRAM = st.dictionaries(st.integers(-20, 600), st.integers(1, 10**9), max_size=20)


def histogram(values: list[float], per_octave: int = 16) -> dict[int, int]:
    return quantiles.merged({quantiles.bucket_of(value, per_octave): 1} for value in values)


@given(VALUES, st.sampled_from([0.01, 0.07, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_within_its_relative_error(values: list[float], q: float) -> None:
    """The answer differs from the exact quantile by at most the stated 2.2 %."""
    exact = float(np.quantile(values, q, method="inverted_cdf"))
    answer = quantiles.quantile(histogram(values), q, 16)

    assert abs(answer / exact - 1.0) <= quantiles.relative_error(16) + 1e-9
    assert quantiles.relative_error(16) < 0.022


def test_the_rank_is_exact_where_floats_are_not() -> None:
    """0.07 of a hundred values is seven values, not eight."""
    assert quantiles.quantile({0: 7, 16: 93}, 0.07, 16) < 2.0
    assert quantiles.quantile({0: 6, 16: 94}, 0.07, 16) > 2.0


@pytest.mark.parametrize(("counts", "q"), [({}, 0.5), ({3: 0}, 0.5), ({3: 1}, 0.0), ({3: 1}, 1.1)])
def test_an_unknown_quantile_is_never_a_number(counts: dict[int, int], q: float) -> None:
    """No values, or a part outside (0, 1], raises."""
    with pytest.raises(ValueError, match="quantile"):
        quantiles.quantile(counts, q, 16)


@given(HISTOGRAM, HISTOGRAM)
def test_a_difference_undoes_a_sum(before: dict[int, int], gain: dict[int, int]) -> None:
    """What a cumulative histogram has gained is what was added to it."""
    after = quantiles.merged((before, gain))

    assert quantiles.difference(after, before) == gain
    assert quantiles.total(after) == quantiles.total(before) + quantiles.total(gain)


def test_a_shrinking_histogram_is_an_error() -> None:
    """Counts that go down, or a bucket that disappears, raise."""
    with pytest.raises(ValueError, match="shrank"):
        quantiles.difference({1: 2}, {1: 3})
    with pytest.raises(ValueError, match="shrank"):
        quantiles.difference({}, {1: 3})


@pytest.mark.parametrize(("events", "trials"), [(0, 10), (1, 10), (31, 608), (54, 5432), (10, 10)])
def test_the_interval_is_wilsons(events: int, trials: int) -> None:
    """The interval equals that of an independent implementation."""
    expected = binomtest(events, trials).proportion_ci(0.95, method="wilson")

    assert rates.wilson(events, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_no_trials_say_nothing_about_a_rate() -> None:
    """Without trials the interval is everything; impossible counts raise."""
    assert rates.wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="impossible"):
        rates.wilson(2, 1)
    with pytest.raises(ValueError, match="confidence"):
        rates.wilson(1, 2, 1.0)
