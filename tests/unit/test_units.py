"""Which units a release counts, by what stable did before it."""

import numpy as np
import pytest

from lastgood.analysis.units import MIN_PAIRS, choose, dispersion
from lastgood.domain.plan import UnitsChoice
from lastgood.domain.traffic import ArmCounts, TrafficMinute, Units


def minutes(bad: list[int], *, requests: int = 1000, keyed: int = 0) -> list[TrafficMinute]:
    return [
        TrafficMinute(
            deployment="churn",
            version=3,
            minute=100 + number,
            counts=ArmCounts(requests=requests, errors=count, keyed=keyed, latency={200: requests}),
        )
        for number, count in enumerate(bad)
    ]


def independent(seed: int, rate: float = 0.01, number: int = 600) -> list[int]:
    drawn: list[int] = np.random.default_rng(seed).binomial(1000, rate, number).tolist()
    return drawn


def test_independent_requests_have_a_dispersion_of_one() -> None:
    """Ten hours of independent failures: close to 1, and requests are the units."""
    for seed in range(5):
        assert dispersion(minutes(independent(seed))) == pytest.approx(1.0, abs=0.3)
    baseline = choose(minutes(independent(1)), UnitsChoice.AUTO)

    assert baseline.units is Units.REQUESTS
    assert (baseline.minutes, baseline.requests, baseline.keyed) == (600, 600_000, 0)
    assert baseline.latency == {200: 600_000}


def test_a_daily_cycle_is_no_burst() -> None:
    """A rate that moves slowly between 1 and 9 % has a dispersion near 1."""
    chance = np.random.default_rng(2)
    rates = 0.05 + 0.04 * np.sin(2.0 * np.pi * np.arange(1440) / 1440.0)

    varied = dispersion(minutes(chance.binomial(1000, rates).tolist()))
    assert varied == pytest.approx(1.0, abs=0.25)


def test_bursts_make_hosts_the_units() -> None:
    """100 failures in one minute of each half hour: far over 1.5, so host-minutes, though keys are there."""
    bad = [count + 100 * (number % 30 == 7) for number, count in enumerate(independent(3))]
    baseline = choose(minutes(bad, keyed=1000), UnitsChoice.AUTO)

    assert baseline.units is Units.HOSTS
    assert baseline.dispersion is not None
    assert baseline.dispersion > 5.0
    assert "bursts" in baseline.why


@pytest.mark.parametrize(("keyed", "units"), [(100, Units.KEYS), (99, Units.REQUESTS)])
def test_keys_on_a_tenth_of_the_requests_make_them_the_units(keyed: int, units: Units) -> None:
    """At 10 % of the requests keys are the units, below they are not."""
    assert choose(minutes(independent(4), keyed=keyed), UnitsChoice.AUTO).units is units


@pytest.mark.parametrize("choice", [UnitsChoice.REQUESTS, UnitsChoice.KEYS, UnitsChoice.HOSTS])
def test_the_plan_may_choose(choice: UnitsChoice) -> None:
    """What the plan names is taken, with or without history, and what was seen is recorded all the same."""
    bad = [200 * (number % 2) for number in range(60)]

    assert choose(minutes(bad), choice).units.value == choice.value
    assert choose((), choice).units.value == choice.value
    assert choose(minutes(bad), choice).dispersion is not None


def test_too_little_history_says_nothing_of_bursts() -> None:
    """Without traffic, without failures, with gaps or too few pairs of minutes, the dispersion is unknown."""
    few = minutes([200 * (number % 2) for number in range(MIN_PAIRS)])
    gaps = [one for one in minutes([5] * 200) if one.minute % 2]

    for history in ([], minutes([0] * 500), minutes([1000] * 500), few, gaps):
        assert dispersion(history) is None
    assert choose((), UnitsChoice.AUTO).units is Units.REQUESTS
    assert dispersion([*few, *minutes([7] * (MIN_PAIRS + 1))]) is not None
