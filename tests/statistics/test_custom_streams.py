"""Counts from outside: how often a harmless candidate fails, however the hours are and whoever does not answer."""

import numpy as np
import pytest

from lastgood.analysis import custom_state
from lastgood.analysis.custom_state import CustomState
from lastgood.domain.custom import Counts, Measurement, Tally
from lastgood.domain.plan_file import parse_plan

pytestmark = pytest.mark.slow
STREAMS = 400
PLAN = parse_plan(
    "false_rollback_rate: 5%\nsteps: [{weight: 5%}, {weight: 25%}, {weight: 50%}]\n"
    "guardrails: [{metric: custom, name: x, source: {python: x}, compare: counts, margin: 1.0, min_bad: 1}]"
)
SHARES = (0.05, 0.25, 0.5)


def stream(seed: int, odds: float) -> bool:
    """Return whether 60 measurements, 20 of each step, fail a candidate whose odds are so many times stable's.

    Rates swing from 0.5 % to 10 % for both at once, so do volumes; every tenth measurement says nothing.
    """
    chance = np.random.default_rng([seed, 7])
    sums, record = np.zeros(4, dtype=int), dict[str, CustomState]()
    for number in range(60):
        share = SHARES[number // 20]
        rate = 0.005 + 0.095 * (0.5 + 0.5 * np.sin(number / 5.0 + seed))
        worse = odds * rate / (1.0 - rate + odds * rate)
        volume = int(chance.poisson(20 + 400 * chance.random()))
        own = int(chance.binomial(volume, share))
        sums += (own, chance.binomial(own, worse), volume - own, chance.binomial(volume - own, rate))
        n1, bad1, n0, bad0 = map(int, sums)
        reading = None if chance.random() < 0.1 else Counts(Tally(bad1, n1), Tally(bad0, n0))
        measurement = Measurement(guardrail="x", number=number + 1, at=60.0 * number, reading=reading)
        record = custom_state.with_measurement(PLAN, record, measurement, stage=number // 20)
    return custom_state.reached(record["x"])


def test_a_harmless_candidate_fails_no_more_often_than_the_plan_says() -> None:
    """At most 5 % of streams in which both arms are alike; 33 of 400 have a chance of under 1 in 250 at exactly that."""
    assert sum(stream(seed, 1.0) for seed in range(STREAMS)) <= 32


def test_a_worse_one_is_found() -> None:
    """Two and a half times the odds are found in nearly every stream."""
    assert sum(stream(seed, 2.5) for seed in range(100)) >= 90
