"""Change detection: its run length is kept, exactly in the mean and by simulation, and changes are found soon."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from lastgood.stats import detector

MONTH = 43_200.0


def level(state: detector.Detector) -> float:
    """Return ``sum R``: the money without what is fresh for the next period."""
    return math.exp(detector.log_e(state)) - 1.0


@pytest.mark.parametrize("rate", [0.01, 0.3])
@pytest.mark.parametrize("before", [(), ((5, 1, 15, 1),), ((5, 0, 15, 3),) * 3])
def test_the_level_gains_at_most_one_a_period(rate: float, before: tuple) -> None:
    """Enumerated over all outcomes: equal arms, and one arm at its reference, gain 1 on average, fewer bad less."""
    two = detector.initial(1e9)
    one = detector.initial_against(1e9, rate)
    for n1, bad1, n0, bad0 in before:
        two, one = detector.update(two, n1, bad1, n0, bad0), detector.update(one, n1, bad1)
    pairs = [(bad1, bad0) for bad1 in range(5) for bad0 in range(8)]
    for part in (1.0, 0.5):
        chance = [binom.pmf(bad1, 4, part * rate) * binom.pmf(bad0, 7, rate) for bad1, bad0 in pairs]
        after = [level(detector.update(two, 4, bad1, 7, bad0)) for bad1, bad0 in pairs]
        assert np.dot(chance, after) <= level(two) + 1.0 + 1e-9
        alone = [binom.pmf(bad, 6, part * rate) * level(detector.update(one, 6, bad)) for bad in range(7)]
        assert sum(alone) <= level(one) + 1.0 + 1e-9


def runs(
    seed: int, streams: int, rates: Callable[[int], tuple[float, float]], start: detector.Detector, most: int
) -> list[int]:
    """Return in which minute of 1 000 requests, 5 % of them on the hold-back, each stream raised its alarm."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(streams):
        state = start
        for minute in range(1, most + 1):
            rate1, rate0 = rates(minute)
            bad1, bad0 = int(chance.binomial(950, rate1)), int(chance.binomial(50, rate0))
            counts = (950, bad1, 50, bad0) if start.reference is None else (950, bad1)
            state = detector.update(state, *counts)
            if detector.reached(state):
                found.append(minute)
                break
    return found


def test_a_change_is_found_soon_against_a_hold_back() -> None:
    """With a run length of thirty days, 1 % to 5 % is found within 12 minutes on average."""
    found = runs(1, 60, lambda _: (0.05, 0.01), detector.initial(MONTH), 200)

    assert len(found) == 60
    assert np.mean(found) <= 12


def test_a_change_is_found_at_once_against_a_reference() -> None:
    """With a run length of thirty days and an allowance of 1.2, 1 % to 2 % is found within 8 minutes on average."""
    found = runs(2, 60, lambda _: (0.02, 0.01), detector.initial_against(MONTH, 0.012), 200)

    assert len(found) == 60
    assert np.mean(found) <= 8


def test_the_run_length_is_kept() -> None:
    """With a promise of 60 periods and no change the mean run is at least that, for both forms."""
    for start in (detector.initial(60.0), detector.initial_against(60.0, 0.01)):
        found = runs(3, 40, lambda _: (0.01, 0.01), start, 600)
        lengths = [*found, *[600] * (40 - len(found))]
        assert np.mean(lengths) >= 60.0


@pytest.mark.slow
def test_a_daily_cycle_raises_few_alarms_against_a_hold_back() -> None:
    """Rates that swing between 0.5 % and 3.5 % in both arms: at most one day in thirty has an alarm, but for chance."""

    def cycle(minute: int) -> tuple[float, float]:
        rate = 0.02 + 0.015 * math.sin(2.0 * math.pi * minute / 1440.0)
        return rate, rate

    found = runs(4, 40, cycle, detector.initial(MONTH), 1440)
    assert len(found) <= binom.ppf(0.999, 40, 1440.0 / MONTH)


def test_an_alarm_stays_and_late_changes_are_not_made_to_wait() -> None:
    """After 300 good periods a change is found as soon as after none, and the alarm does not end by itself."""
    early = runs(5, 30, lambda _: (0.05, 0.01), detector.initial(MONTH), 400)
    late = runs(5, 30, lambda minute: (0.05 if minute > 300 else 0.01, 0.01), detector.initial(MONTH), 700)

    assert len(late) == 30
    assert np.mean(late) - 300.0 <= 1.5 * np.mean(early)
    state = detector.initial_against(10.0, 0.01)
    for counts in ((100, 90), (100, 0), (100, 0)):
        state = detector.update(state, *counts)
        assert detector.reached(state)


def test_impossible_settings_and_counts_are_refused() -> None:
    """A run length of 1, a reference of 0, a second arm beside a reference and wrong counts raise."""
    for start in (lambda: detector.initial(1.0), lambda: detector.initial_against(9.0, 0.0)):
        with pytest.raises(ValueError, match="impossible settings"):
            start()
    for state, counts in (
        (detector.initial(9.0), (1, 2, 3, 0)),
        (detector.initial_against(9.0, 0.1), (1, 0, 3, 0)),
    ):
        with pytest.raises(ValueError, match="impossible counts"):
            detector.update(state, *counts)
