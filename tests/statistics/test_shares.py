"""The sample-ratio check: exact mean under the meant shares, false alarms, and how soon a wrong split is found."""

import math

import numpy as np
import pytest
from scipy.stats import binom, multinomial

from lastgood.stats import shares

MEANT = (0.1, 0.6, 0.3)


def tables(size: int) -> list[tuple[int, int, int]]:
    return [(a, b, size - a - b) for a in range(size + 1) for b in range(size + 1 - a)]


@pytest.mark.parametrize("before", [(0, 0, 0), (9, 2, 1), (0, 500, 7)])
def test_the_mean_growth_is_exactly_one_under_the_meant_shares(before: tuple[int, int, int]) -> None:
    """Enumerated over all tables of a batch, after any past, the evidence grows by 1 on average."""
    state = shares.update(shares.initial(1e-300, MEANT), before)
    mean = sum(
        multinomial.pmf(table, 6, MEANT)
        * math.exp(shares.log_e(shares.update(state, table)) - shares.log_e(state))
        for table in tables(6)
    )

    assert mean == pytest.approx(1.0, abs=1e-9)


def stops(seed: int, streams: int, batches: int, share: float) -> list[int]:
    """Return after how many units of a split meant to be 10 % each stream that stopped has stopped."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(streams):
        state = shares.initial(0.05, (0.1, 0.9))
        for number in range(1, batches + 1):
            first = int(chance.binomial(100, share))
            state = shares.update(state, (first, 100 - first))
            if shares.reached(state):
                found.append(100 * number)
                break
    return found


def test_a_right_split_raises_no_more_alarms_than_promised() -> None:
    """Looked at after every 100 units, alarms on a right split stay within alpha."""
    assert len(stops(1, 400, 200, 0.1)) <= binom.ppf(0.999, 400, 0.05)


def test_a_wrong_split_is_found_soon() -> None:
    """12 % instead of 10 % is always found, within 4 000 units on average; 50 % within 200."""
    for share, most in ((0.12, 4000), (0.5, 200)):
        found = stops(2, 100, 400, share)
        assert len(found) == 100
        assert np.mean(found) <= most


def test_a_changed_split_keeps_the_evidence() -> None:
    """After a step of the split the evidence goes on from where it was, and later units are held to the new shares."""
    state = shares.update(shares.initial(0.001, (0.1, 0.9)), (30, 170))
    stepped = shares.with_shares(state, (0.5, 0.5))

    assert shares.log_e(stepped) == shares.log_e(state) > 0.0
    assert shares.log_e(shares.update(stepped, (100, 100))) < shares.log_e(stepped)
    assert shares.log_e(shares.update(stepped, (20, 180))) > shares.log_e(stepped) + 20.0


def test_impossible_settings_and_counts_are_refused() -> None:
    """Shares that are no shares, another number of groups and negative counts raise."""
    for alpha, meant in ((0.0, (0.5, 0.5)), (0.05, (1.0,)), (0.05, (0.0, 1.0)), (0.05, (0.4, 0.5))):
        with pytest.raises(ValueError, match=r"impossible settings|shares must be"):
            shares.initial(alpha, meant)
    state = shares.initial(0.05, (0.5, 0.5))
    with pytest.raises(ValueError, match="3 shares for 2 groups"):
        shares.with_shares(state, (0.2, 0.3, 0.5))
    for counts in ((1, 2, 3), (-1, 2)):
        with pytest.raises(ValueError, match="impossible counts"):
            shares.update(state, counts)
