"""SCORE on whole streams of traffic: false alarms under no change, and how soon a regression is found.

Every test is seeded, so it gives the same answer each time; its limits are exact binomial ones.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from lastgood.stats import score

ALPHA = 0.05
Rates = Callable[[int], tuple[float, float]]  # stratum -> rates of candidate and stable
Split = Callable[[int], tuple[int, int]]  # stratum -> requests of candidate and stable


def ten_percent(_stratum: int) -> tuple[int, int]:
    return 10, 90


def stops(
    seed: int, streams: int, strata: int, rates: Rates, split: Split = ten_percent, *, margin: float = 1.0
) -> list[int | None]:
    """Return for each stream after how many candidate requests it was rolled back; None if never."""
    chance = np.random.default_rng(seed)
    found: list[int | None] = []
    for _ in range(streams):
        state, requests, stop = score.initial(ALPHA, margin), 0, None
        for stratum in range(strata):
            (p1, p0), (n1, n0) = rates(stratum), split(stratum)
            bad1, bad0 = int(chance.binomial(n1, p1)), int(chance.binomial(n0, p0))
            state = score.update(state, n1, bad1, n0, bad0)
            requests += n1
            if score.reached(state):
                stop = requests
                break
        found.append(stop)
    return found


def alarms(found: list[int | None]) -> int:
    return sum(stop is not None for stop in found)


def most(streams: int, alpha: float = ALPHA) -> int:
    """The number of alarms that a test with exactly this false-alarm rate exceeds once in a thousand."""
    return int(binom.ppf(0.999, streams, alpha))


@pytest.mark.parametrize("rate", [0.01, 0.05])
def test_no_change_is_rolled_back_no_more_often_than_promised(rate: float) -> None:
    """A/A at 10 % split, looked at after every 100 requests: false rollbacks stay within alpha."""
    found = stops(1, 250, 100, lambda _: (rate, rate))

    assert alarms(found) <= most(250)


def test_a_drifting_rate_with_a_growing_split_is_not_blamed_on_the_candidate() -> None:
    """Rates that triple while the candidate's weight grows from 5 to 50 %: false rollbacks stay within alpha."""

    def drift(stratum: int) -> tuple[float, float]:
        rate = 0.01 + 0.02 * stratum / 90
        return rate, rate

    def ramp(stratum: int) -> tuple[int, int]:
        return ((5, 95), (25, 75), (50, 50))[stratum // 30]

    assert alarms(stops(2, 200, 90, drift, ramp)) <= most(200)


def test_an_outage_of_both_arms_is_not_blamed_on_the_candidate() -> None:
    """Ten strata in which half of all requests fail in both arms: false rollbacks stay within alpha."""
    found = stops(3, 200, 60, lambda stratum: (0.5, 0.5) if 20 <= stratum < 30 else (0.01, 0.01))

    assert alarms(found) <= most(200)


def test_a_regression_within_the_margin_is_tolerated() -> None:
    """At an odds ratio of exactly the margin, rollbacks stay within alpha."""
    odds = 1.2 * 0.05 / 0.95
    found = stops(4, 200, 100, lambda _: (odds / (1 + odds), 0.05), margin=1.2)

    assert alarms(found) <= most(200)


def test_one_to_five_percent_is_found_soon() -> None:
    """1 % to 5 % is always found, on average within 170 candidate requests, nine in ten within 320."""
    found = stops(5, 200, 300, lambda _: (0.05, 0.01))
    requests = [stop for stop in found if stop is not None]

    assert alarms(found) == 200
    assert np.mean(requests) <= 170
    assert np.quantile(requests, 0.9) <= 320


def test_a_crash_is_found_at_once() -> None:
    """A candidate that fails half its requests is found within 30 candidate requests on average."""
    found = stops(6, 200, 50, lambda _: (0.5, 0.01))

    assert alarms(found) == 200
    assert np.mean([stop for stop in found if stop is not None]) <= 30


def test_a_late_regression_is_found_without_winning_back_what_was_lost() -> None:
    """After 100 good strata, 1 % to 5 % is found within 400 candidate requests on average."""
    found = stops(7, 60, 400, lambda stratum: (0.05 if stratum >= 100 else 0.01, 0.01))
    late = [stop - 1000 for stop in found if stop is not None and stop > 1000]

    assert len(late) >= 55
    assert np.mean(late) <= 400


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.001, 0.01, 0.05, 0.2])
def test_no_change_over_a_long_time_with_many_streams(rate: float) -> None:
    """A/A over 400 looks and 500 streams: false rollbacks stay within alpha."""
    found = stops(8, 500, 400, lambda _: (rate, rate))

    assert alarms(found) <= most(500)


@pytest.mark.slow
def test_a_doubled_rate_is_found() -> None:
    """1 % to 2 % is found within 1 400 candidate requests on average (1.6 times what any test must spend)."""
    found = stops(9, 150, 1500, lambda _: (0.02, 0.01))

    assert alarms(found) == 150
    assert np.mean([stop for stop in found if stop is not None]) <= 1400
