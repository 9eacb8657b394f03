"""SCORE does what it promises: exact vectors, exact means by enumeration, and its accuracy at large counts."""

import json
import math
import random
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom, nchypergeom_fisher

from lastgood.stats import score
from lastgood.stats.hypergeometric import FewLaws, laws, laws_by_ratio

VECTORS = json.loads((Path(__file__).parent / "score_vectors.json").read_text())

COUNTS = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 300), st.integers(0, 300)).map(
    lambda c: (max(c[0], c[1]), min(c[0], c[1]), max(c[2], c[3]), min(c[2], c[3]))
)


def run(state: score.Score, strata: list[tuple[int, int, int, int]]) -> score.Score:
    for stratum in strata:
        state = score.update(state, *stratum)
    return state


def restored(state: score.Score) -> score.Score:
    return msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(state))), score.Score)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_the_evidence_equals_the_reference_vectors(case: dict) -> None:
    """After every stratum the evidence equals the independently computed one, and so does its decision."""
    state = score.initial(case["alpha"], case["odds_margin"], cash=case["cash"])
    for stratum in case["strata"]:
        state = score.update(state, stratum["n1"], stratum["bad1"], stratum["n0"], stratum["bad0"])
        assert score.log_e(state) == pytest.approx(stratum["log_e"], abs=1e-9)
        assert score.reached(state) is stratum["reached"]


def growths(state: score.Score, n1: int, n0: int, events: int) -> dict[int, float]:
    """Return the factor by which the evidence grows for each possible table, cut at the bound."""
    found = {}
    for bad1 in range(max(0, events - n0), min(n1, events) + 1):
        after = score.update(state, n1, bad1, n0, events - bad1)
        found[bad1] = math.exp(min(score.log_e(after), score.bound(state)) - score.log_e(state))
    return found


def starts(margin: float) -> list[score.Score]:
    """States with very different fortunes: fresh, nearly there, nearly broke, and without cash."""
    fresh = score.initial(0.05, margin)
    states = [
        fresh,
        run(fresh, [(10, 2, 90, 1)]),
        run(fresh, [(10, 0, 90, 9)] * 8),
        score.initial(0.2, margin, cash=0.0),
        score.initial(1e-5, margin, ratios=(1.5, 4.0), prior=(0.3, 0.7)),
    ]
    return [state for state in states if not score.reached(state)]


@pytest.mark.parametrize("margin", [1.0, 1.2, 2.5])
def test_the_mean_growth_is_one_at_the_margin_and_less_below(margin: float) -> None:
    """Enumerated over all tables, the growth up to the bound has mean 1 at psi0 and at most 1 below it."""
    for state in starts(margin):
        for n1, n0 in ((1, 1), (1, 9), (3, 4), (8, 2), (6, 20)):
            for events in range(1, n1 + n0):
                found = growths(state, n1, n0, events)
                for part in (1.0, 0.7, 0.1):
                    law = nchypergeom_fisher(n1 + n0, n1, events, margin * part)
                    mean = sum(law.pmf(bad1) * growth for bad1, growth in found.items())
                    assert mean <= 1.0 + 1e-9
                    assert part < 1.0 or mean == pytest.approx(1.0, abs=1e-9)


def test_the_mean_over_both_arms_rates_is_at_most_one() -> None:
    """Enumerated over all outcomes of two binomial arms of equal rate, the mean growth is at most 1."""
    state = run(score.initial(0.05), [(5, 1, 15, 1)])
    for rate in (0.01, 0.2, 0.5, 0.9):
        mean = 0.0
        for bad1 in range(5):
            for bad0 in range(13):
                after = score.update(state, 4, bad1, 12, bad0)
                growth = math.exp(min(score.log_e(after), score.bound(state)) - score.log_e(state))
                mean += binom.pmf(bad1, 4, rate) * binom.pmf(bad0, 12, rate) * growth
        assert mean <= 1.0 + 1e-9


def test_the_boost_is_paid_back_only_by_outcomes_past_the_bound() -> None:
    """Near the bound the boost is above 1; far from it, where no outcome could reach it, it is exactly 1."""
    near = run(score.initial(0.05), [(10, 2, 90, 1)])
    far = score.initial(1e-9)

    assert score.update(near, 10, 0, 90, 2).log_boost > near.log_boost
    assert score.update(far, 10, 0, 90, 2).log_boost == 0.0


@given(st.lists(COUNTS, max_size=12), st.sampled_from([0.01, 0.05]), st.sampled_from([1.0, 1.2]))
@settings(max_examples=60, deadline=None)
def test_a_state_survives_json_bit_for_bit(strata: list, alpha: float, margin: float) -> None:
    """A state written to JSON after every stratum ends exactly where one kept in memory ends."""
    kept = stored = score.initial(alpha, margin)
    for stratum in strata:
        kept = score.update(kept, *stratum)
        stored = restored(score.update(stored, *stratum))
        assert stored == kept
        assert math.isfinite(score.log_e(kept))


def test_once_reached_stays_reached() -> None:
    """A state that has reached its bound says so after any stratum, also when its evidence is far below."""
    poor = msgspec.structs.replace(run(score.initial(0.05), [(50, 0, 50, 9)] * 20), stopped=True)

    after = score.update(poor, 50, 0, 50, 9)
    assert score.log_e(after) < 0.0
    assert score.reached(after)


def test_no_bad_trial_in_any_stratum_is_no_evidence() -> None:
    """Strata without a bad trial, with nothing but bad trials, or with one arm empty, leave the evidence at 1."""
    state = run(score.initial(0.05), [(10, 0, 90, 0), (10, 10, 90, 90), (0, 0, 50, 3), (9, 4, 0, 0)])
    assert score.log_e(state) == pytest.approx(0.0, abs=1e-12)
    assert state.strata == 4


@pytest.mark.parametrize("counts", [(-1, 0, 5, 0), (3, 4, 5, 0), (3, 0, 5, 6), (10**10, 0, 1, 0)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int, int]) -> None:
    """Counts that contradict each other, or are beyond the limit, raise instead of becoming evidence."""
    with pytest.raises(ValueError, match="impossible counts"):
        score.update(score.initial(0.05), *counts)


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"odds_margin": 0.0},
        {"cash": 1.0},
        {"ratios": (1.0, 2.0)},
        {"ratios": ()},
        {"prior": (0.5, 0.5)},
    ],
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    """A test that would promise nothing cannot be begun."""
    with pytest.raises(ValueError, match="must"):
        score.initial(**({"alpha": 0.05} | wrong))


@pytest.mark.parametrize(("n1", "n0", "events"), [(40, 60, 30), (7, 2, 6), (300, 2700, 50)])
def test_the_laws_are_fishers(n1: int, n0: int, events: int) -> None:
    """Probabilities and tails equal those of an independent implementation."""
    psi = np.array([1.0, 1.7, 20.0])
    table = laws(n1, n0, events, np.log(psi))
    support = np.arange(table.low, table.high + 1)
    for row, odds in zip(table.log_p, psi, strict=True):
        expected = nchypergeom_fisher(n1 + n0, n1, events, odds).pmf(support)
        assert np.allclose(np.exp(row), expected, rtol=1e-7, atol=1e-12)
    null = hypergeom(n1 + n0, n1, events)
    middle = (table.low + table.high) // 2
    assert table.at_least(middle) == pytest.approx(null.sf(middle - 1), rel=1e-9)
    assert table.below(middle)[0] == pytest.approx(null.cdf(middle - 1), rel=1e-9)


@pytest.mark.parametrize("margin", [1e-3, 1.2, 40.0])
@pytest.mark.parametrize(
    ("n1", "n0", "events"), [(10, 90, 3), (40, 60, 47), (1, 10**9, 1), (10**9, 1, 40), (7, 2, 6)]
)
def test_few_points_give_the_same_laws_as_arrays(n1: int, n0: int, events: int, margin: float) -> None:
    """Plain floats over a small support give the norms and tails that arrays give."""
    ratios = (1.3, 5.0, 100.0)
    few = laws_by_ratio(n1, n0, events, margin, ratios)
    arrays = laws(n1, n0, events, math.log(margin) + np.log(np.array([1.0, *ratios])))
    assert isinstance(few, FewLaws)
    assert (few.low, few.high, few.origin) == (arrays.low, arrays.high, arrays.origin)
    assert few.log_norms() == pytest.approx(arrays.log_norms(), abs=1e-12)
    for x in range(few.low, few.high + 2):
        assert few.below(x) == pytest.approx(list(arrays.below(x)), rel=1e-12)
        assert few.at_least(x) == pytest.approx(arrays.at_least(x), rel=1e-12)


@pytest.mark.parametrize(
    ("counts", "margin", "ratio"),
    [((10, 10**10 - 10, 40), 1e-30, 100.0), ((40, 60, 40), 1e300, 100.0), ((40, 60, 30), 1.0, 1e300)],
)
def test_a_law_that_plain_floats_cannot_hold_is_left_to_arrays(
    counts: tuple[int, int, int], margin: float, ratio: float
) -> None:
    """Margins and ratios so extreme that weights overflow or vanish give finite norms all the same."""
    table = laws_by_ratio(*counts, margin, (ratio,))
    assert not isinstance(table, FewLaws)
    assert math.isfinite(table.log_norms()[0])


@pytest.mark.parametrize(("n1", "n0", "events"), [(20_000, 30_000, 11_000), (5_000, 10**6, 9_000)])
def test_a_window_loses_nothing_against_the_whole_support(n1: int, n0: int, events: int) -> None:
    """Totals and probabilities from windows equal those from the whole support."""
    log_odds = np.log(np.array([1.2, 1.5, 6.0, 120.0]))
    whole, window = (laws(n1, n0, events, log_odds, whole=size) for size in (10**6, 10))
    assert window.log_p.shape[1] < whole.log_p.shape[1]
    whole_totals, window_totals = (t.log_totals - t.log_totals[0] for t in (whole, window))
    shift = (window.origin - whole.origin) * (log_odds - log_odds[0])
    assert np.allclose(window_totals + shift, whole_totals, rtol=0, atol=1e-6)
    x = window.origin + window.log_p.shape[1] // 2
    assert np.allclose(window.below(x), whole.below(x), rtol=1e-8, atol=1e-14)
    assert window.at_least(x) == pytest.approx(whole.at_least(x), rel=1e-8)


@pytest.mark.parametrize(
    ("counts", "worse"),
    [
        ((10**6, 500_000, 9 * 10**6, 500_000), True),
        ((10**9, 5 * 10**6, 9 * 10**9, 45 * 10**6), False),
        ((10**9, 10**9, 9 * 10**9, 0), True),
        ((10**9, 0, 10**9, 10**9), False),
        ((10**9, 1, 10**9, 0), False),
        ((1, 1, 10**9, 10**6), False),
    ],
)
def test_counts_of_a_billion_stay_finite_and_right(counts: tuple[int, int, int, int], worse: bool) -> None:
    """Absurdly large counts give a finite number and the plain answer."""
    state = score.update(score.initial(0.01, 1.2), *counts)
    assert math.isfinite(score.log_e(state))
    assert score.reached(state) is worse


def test_the_work_for_a_stratum_is_bounded_by_its_spread() -> None:
    """A stratum with a million bad trials keeps tables of thousands of points, not of a million."""
    table = laws(10**6, 9 * 10**6, 10**6, np.log(np.array([1.0, 100.0])))
    assert table.log_p.shape[1] < 20_000
    assert table.high - table.low == 10**6


def test_the_arms_may_be_swapped_to_ask_the_other_question() -> None:
    """With arms swapped and a margin of 1/2, evidence grows that the candidate is not twice as bad."""
    state = score.initial(0.05, 1 / 2, ratios=(1.4, 2.0, 2.7), prior=(0.25, 0.5, 0.25))
    chance = random.Random(3)
    for _ in range(400):
        bad = [sum(chance.random() < 0.05 for _ in range(n)) for n in (90, 10)]
        state = score.update(state, 90, bad[0], 10, bad[1])
    assert score.reached(state)
