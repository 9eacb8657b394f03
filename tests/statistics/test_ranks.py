"""Rank betting on histograms: exact means, false alarms, and how soon slower values are found."""

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom

from lastgood.stats import ranks, shapes

Values = npt.NDArray[np.float64]
RANKED = {0: 600, 10: 250, 20: 100, 30: 45, 40: 4, 50: 1}


def mean_growth(
    law1: tuple[float, ...], law0: tuple[float, ...], n1: int, n0: int
) -> npt.NDArray[np.float64]:
    """Return each expert's mean growth over all outcomes of ``n1`` and ``n0`` values in three buckets."""
    buckets = (0, 25, 60)
    mean = np.zeros(len(shapes.PRIOR))
    for drawn in itertools.product(range(3), repeat=n1 + n0):
        chance = math.prod(law1[i] for i in drawn[:n1]) * math.prod(law0[i] for i in drawn[n1:])
        values1, values0 = (Counter(buckets[i] for i in part) for part in (drawn[:n1], drawn[n1:]))
        mean += chance * np.exp(ranks.log_growth(RANKED, values1, values0))
    return mean


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (3, 2)])
def test_the_mean_growth_is_at_most_one_for_equal_and_faster_arms(shape: tuple[int, int]) -> None:
    """Enumerated over all outcomes: whatever the common law, and with less mass at slow values, at most 1."""
    for law in ((0.6, 0.3, 0.1), (0.98, 0.0, 0.02), (0.1, 0.1, 0.8)):
        faster = (law[0] + 0.5 * law[2], law[1], 0.5 * law[2])
        assert (mean_growth(law, law, *shape) <= 1.0 + 1e-12).all()
        assert (mean_growth(faster, law, *shape) <= 1.0 + 1e-12).all()


def test_slower_values_make_the_experts_grow() -> None:
    """With more mass at slow values the mean growth of every expert is above 1."""
    assert (mean_growth((0.2, 0.3, 0.5), (0.7, 0.2, 0.1), 2, 3) > 1.0).all()


def test_every_shape_rises_with_the_rank_and_all_money_is_on_one() -> None:
    """A faster arm is punished by no shape: none falls with the rank. Slower parts have mean 1, the prior sum 1."""
    masses = np.diff(np.array([0.0, *shapes.EDGES, 1.0]))
    slower = shapes.DENSITIES[: len(shapes.SLOWER_PARTS)]

    assert (np.diff(shapes.DENSITIES, axis=1) >= 0.0).all()
    assert (shapes.DENSITIES > 0.0).all()
    assert slower @ masses == pytest.approx(np.ones(len(slower)))
    assert math.fsum(shapes.PRIOR) == pytest.approx(1.0)
    assert len(shapes.PRIOR) == len(shapes.DENSITIES)


def histogram(values: Values) -> dict[int, int]:
    return dict(Counter(np.floor(np.log2(values) * 16).astype(int).tolist()))


def stops(
    seed: int, streams: int, strata: int, change: Callable[[Values], Values], *, drift: float = 0.0
) -> list[int]:
    """Return after how many candidate requests, at 10 % split, each stream that stopped has stopped."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(streams):
        state = ranks.initial(0.05, histogram(chance.lognormal(9.0, 0.6, 1000)))
        for number in range(strata):
            middle = 9.0 + drift * number
            values1, values0 = chance.lognormal(middle, 0.6, 10), chance.lognormal(middle, 0.6, 90)
            state = ranks.update(state, histogram(change(values1)), histogram(values0))
            if ranks.reached(state):
                found.append(10 * (number + 1))
                break
    return found


@pytest.mark.parametrize("drift", [0.0, 0.02])
def test_equal_arms_raise_no_more_alarms_than_promised(drift: float) -> None:
    """A/A, steady and with latencies that grow in both arms: false alarms stay within alpha."""
    found = stops(1, 120, 80, lambda values: values, drift=drift)

    assert len(found) <= binom.ppf(0.999, 120, 0.05)


def test_a_faster_candidate_is_never_punished() -> None:
    """A candidate that takes 0.8 times as long raises no alarm."""
    assert stops(2, 60, 60, lambda values: 0.8 * values) == []


def test_slower_candidates_are_found_soon() -> None:
    """1.2 times as slow is found within 160 candidate requests on average, twice as slow within 20."""
    for factor, bound in ((1.2, 160), (2.0, 20)):
        found = stops(3, 60, 200, lambda values, factor=factor: factor * values)
        assert len(found) == 60
        assert np.mean(found) <= bound


def test_without_a_past_the_first_values_only_fill_it() -> None:
    """Nothing is bet before a thousand values are known, and an empty arm is no evidence."""
    state = ranks.initial(0.05)
    for _ in range(10):
        state = ranks.update(state, {200: 9}, {100: 90})
        assert ranks.log_e(state) == pytest.approx(0.0, abs=1e-12)
    known = ranks.initial(0.05, RANKED)

    assert ranks.log_e(ranks.update(known, {}, {100: 90})) == pytest.approx(0.0, abs=1e-12)
    assert ranks.log_e(ranks.update(known, {200: 9}, {})) == pytest.approx(0.0, abs=1e-12)
    assert not ranks.reached(state)


def test_a_state_survives_json_and_counts_of_a_billion() -> None:
    """JSON gives the same state back after every stratum, and large counts give finite evidence."""
    state = ranks.initial(1e-6, RANKED)
    for scale in (1, 10**9):
        state = ranks.update(state, {0: 6 * scale, 30: scale}, {0: 60 * scale, 30: 9 * scale, -4: scale})
        plain = json.loads(json.dumps(msgspec.to_builtins(state, str_keys=True)))
        assert msgspec.convert(plain, ranks.Ranks, str_keys=True) == state
        assert math.isfinite(ranks.log_e(state))


def test_impossible_settings_and_counts_are_refused() -> None:
    """A test that would promise nothing cannot be begun, and negative counts raise."""
    with pytest.raises(ValueError, match="impossible settings"):
        ranks.initial(0.0)
    with pytest.raises(ValueError, match="impossible counts"):
        ranks.update(ranks.initial(0.05), {1: -1}, {1: 2})
