"""Distribution shift with a margin: tolerated within it, found beyond it, wherever in the bins it sits."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binom, multinomial, norm

from lastgood.stats import margin, shift

EVEN = (1 / 16,) * 16


def moved(mean: float) -> list[float]:
    """Return the shares of 16 bins, even in a normal law, when that law's mean moves."""
    cuts = norm.ppf(np.linspace(0.0, 1.0, 17))
    return list(np.diff(norm.cdf(cuts - mean)))


def stops(
    seed: int, streams: int, strata: int, law: Sequence[float], delta: float, *, base: Sequence[float] = EVEN
) -> list[int]:
    """Return after how many candidate requests, at 10 % split, each stream that stopped has stopped."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(streams):
        state = shift.initial(0.05, delta, len(law))
        for number in range(1, strata + 1):
            counts = (chance.multinomial(size, shares).tolist() for size, shares in ((10, law), (90, base)))
            state = shift.update(state, *counts)
            if shift.reached(state):
                found.append(10 * number)
                break
    return found


def test_a_shift_of_exactly_the_margin_is_tolerated() -> None:
    """At total variation 0.05, all in the upper half, alarms stay within alpha."""
    law = [(1 - 0.1) / 16] * 8 + [(1 + 0.1) / 16] * 8
    found = stops(1, 60, 150, law, 0.05)

    assert len(found) <= binom.ppf(0.999, 60, 0.05)


def test_a_shift_well_within_the_margin_is_hardly_ever_reported() -> None:
    """At total variation 0.03 with a margin of 0.05 alarms stay within a fifth of alpha."""
    assert len(stops(2, 60, 150, moved(0.075), 0.05)) <= binom.ppf(0.999, 60, 0.01)


def test_a_shift_beyond_the_margin_is_found_soon() -> None:
    """Total variation 0.22 in a moved mean is always found, within 260 candidate requests on average."""
    law = moved(0.56)
    found = stops(3, 40, 200, law, 0.05)

    assert sum(abs(share - 1 / 16) for share in law) / 2 == pytest.approx(0.22, abs=0.005)
    assert len(found) == 40
    assert np.mean(found) <= 260


def test_a_shift_that_no_fixed_set_sees_is_found_by_the_set_learnt_from_the_past() -> None:
    """Every second of the bins a half likelier: halves and quarters stay even, yet it is always found."""
    law = [0.5 / 16, 1.5 / 16] * 8
    found = stops(4, 30, 300, law, 0.05)

    assert len(found) == 30


def test_the_mean_of_the_sets_is_never_less_than_the_best_at_its_part_of_alpha() -> None:
    """The evidence is at least that of each set divided by the number of sets."""
    state = shift.update(shift.initial(0.05, 0.05, 4), (0, 0, 1, 1), (20, 20, 20, 20))
    state = shift.update(state, (0, 0, 5, 4), (20, 20, 20, 20))

    best = max(margin.log_e(test) for test in state.tests)
    assert best > 0.0
    assert best - np.log(shift.SETS) <= shift.log_e(state) <= best


LAWS = [law for law in itertools.product((0.0, 0.1, 0.25, 0.4, 0.5, 0.9), repeat=3) if sum(law) <= 1.0]


@pytest.mark.parametrize("delta", [0.1, 0.3])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize("past", [None, ((0, 1, 1, 4), (9, 9, 9, 9)), ((5, 0, 0, 1), (4, 30, 3, 3))])
def test_the_mean_factor_of_every_set_is_at_most_one_all_over_the_null(
    delta: float, shape: tuple[int, int], past: tuple[tuple[int, ...], tuple[int, ...]] | None
) -> None:
    """Enumerated over all outcomes in four bins, for all pairs of laws on a grid within the margin, edge included."""
    state = shift.initial(1e-9, delta, 4)
    state = state if past is None else shift.update(state, *past)
    outcomes = [
        [counts for counts in itertools.product(range(size + 1), repeat=4) if sum(counts) == size]
        for size in shape
    ]
    before = [margin.log_e(test) for test in state.tests]
    factors = np.array(
        [
            [
                [math.exp(margin.log_e(test) - own) for test, own in zip(after.tests, before, strict=True)]
                for after in (shift.update(state, one, other) for other in outcomes[1])
            ]
            for one in outcomes[0]
        ]
    )
    laws = np.array([(*law, 1.0 - sum(law)) for law in LAWS])
    chances = [
        np.array(
            [multinomial.pmf(outcome, size, law / law.sum()) for law in laws for outcome in found]
        ).reshape(len(laws), -1)
        for size, found in zip(shape, outcomes, strict=True)
    ]
    means = np.einsum("ai,bj,ijk->abk", chances[0], chances[1], factors)
    apart = np.abs(laws[:, None, :] - laws[None, :, :]).sum(axis=2) / 2.0

    within = apart <= delta + 1e-12
    assert within.sum() > len(laws)
    assert means[within].max() <= 1.0 + 1e-9
    assert factors.max() > 1.0, "and it is a bet"


def test_edges_part_a_histogram_into_even_bins() -> None:
    """Bins from a histogram's own edges hold its even parts, and every value falls into one bin."""
    histogram = dict.fromkeys(range(-50, 110), 3)
    cuts = shift.edges(histogram, 16)

    assert shift.binned(histogram, cuts) == (30,) * 16
    assert shift.binned({-900: 2, 900: 5}, cuts) == (2, *(0,) * 14, 5)
    lumped = {1: 90, 2: 10}
    assert sum(shift.binned(lumped, shift.edges(lumped, 4))) == 100


@pytest.mark.parametrize("histogram", [{7: 100}, {7: 90, 9: 10}, {3: 1, 7: 60, 8: 10, 12: 29}, {0: 2, 5: 1}])
def test_what_lies_beside_a_lump_falls_into_other_bins(histogram: dict[int, int]) -> None:
    """Values below a bucket that holds most are never counted with it, nor are those above it."""
    cuts = shift.edges(histogram, 16)
    lump = max(histogram, key=lambda bucket: histogram[bucket])

    places = [shift.binned({bucket: 1}, cuts).index(1) for bucket in (lump - 1, lump, lump + 1)]
    assert len(cuts) == 15
    assert list(cuts) == sorted(cuts)
    assert len(set(places)) == 3


def test_impossible_settings_and_counts_are_refused() -> None:
    """Another number of bins, negative counts and margins outside 0 to 1 raise."""
    for wrong in ((0.0, 0.1, 16), (0.05, 1.0, 16), (0.05, 0.1, 1)):
        with pytest.raises(ValueError, match=r"impossible settings|at least 2 bins"):
            shift.initial(*wrong)
    for counts in ((1, 2, 3), (1, -1)):
        with pytest.raises(ValueError, match="impossible counts"):
            shift.update(shift.initial(0.05, 0.1, 2), counts, (1, 1))
    with pytest.raises(ValueError, match="no edges"):
        shift.edges({})
