"""Releases on traffic that comes in clumps, judged through strata and guardrails: sticky callers, bursts in a host.

A/A throughout: both arms run the same version, so every rollback is a false one. Counting requests breaks the promise
on such traffic; the units chosen from stable's history keep it.
"""

import numpy as np
import pytest
from gateways import Run, most

from lastgood.domain.plan import Guardrail, Margin, Metric, Plan
from lastgood.domain.traffic import Baseline, Units

ALPHA = 0.05
PLAN = Plan(
    guardrails=(Guardrail(name="errors", metric=Metric.ERRORS, share=1.0, margin=Margin(value=1.0)),),
    false_rollback_rate=ALPHA,
)


def sticky(seed: int, users: int, looks: int, *, worse: float = 1.0) -> dict[Units, Run]:
    """Return a release in both units: each of the users keeps its arm, its worker at most times, and its own rate."""
    chance = np.random.default_rng(seed)
    runs = {units: Run(PLAN, Baseline(units=units), workers=2) for units in (Units.REQUESTS, Units.KEYS)}
    rates = chance.beta(0.2, 6.0, users)
    own = chance.random(users) < 0.1
    rates[own] = np.minimum(1.0, worse * rates[own])
    for look in range(looks):
        who = chance.integers(0, users, 100)
        bad = chance.random(100) < rates[who]
        elsewhere = chance.random(100) < 0.1
        for slot in range(2):
            for candidate in (True, False):
                here = ((who % 2 == slot) ^ elsewhere) & (own[who] == candidate)
                keys, failed = who[here].tolist(), bad[here].tolist()
                for run in runs.values():
                    run.workers[slot].answered_keys(0, candidate=candidate, keys=keys, bad=failed)
        for run in runs.values():
            run.look(6.0 * look)
    return runs


def false_rollbacks_of_sticky_users(users: int, releases: int, looks: int) -> dict[Units, int]:
    found = {Units.REQUESTS: 0, Units.KEYS: 0}
    for seed in range(releases):
        for units, run in sticky(seed, users, looks).items():
            found[units] += run.rolled_back()
    return found


def test_users_who_fail_again_and_again_do_not_roll_back_a_good_candidate() -> None:
    """300 users with rates of their own: within alpha when keys are the units, far over it when requests are."""
    found = false_rollbacks_of_sticky_users(300, 60, 120)

    assert found[Units.KEYS] <= most(60, ALPHA)
    assert found[Units.REQUESTS] > most(60, ALPHA)


@pytest.mark.slow
@pytest.mark.parametrize("users", [300, 2000])
def test_sticky_users_over_a_long_time(users: int) -> None:
    """300 and 2 000 users, 20 000 requests: first failures of each key keep alpha, requests do not."""
    found = false_rollbacks_of_sticky_users(users, 300, 200)

    assert found[Units.KEYS] <= most(300, ALPHA)
    assert found[Units.REQUESTS] > most(300, ALPHA)


def test_a_worse_candidate_is_found_among_sticky_users() -> None:
    """With users' rates five times as high on the candidate, keys as units find it in most of the releases."""
    found = [sticky(seed, 2000, 100, worse=5.0)[Units.KEYS].rolled_back() for seed in range(10)]

    assert sum(found) >= 9


def bursts(seed: int, units: Units, minutes: int, *, worse: float = 0.01) -> Run:
    """Return a release in which each host fails half its requests for 12 s, once in half an hour by itself."""
    chance = np.random.default_rng(seed)
    run = Run(PLAN, Baseline(units=units))
    starts = {candidate: [start * 60.0 for start in _starts(chance, minutes)] for candidate in (True, False)}
    for tick in range(minutes * 5):
        now = 12.0 * tick
        for candidate, requests, rate in ((True, 20, worse), (False, 180, 0.01)):
            overlap = sum(max(0.0, 12.0 - abs(now - start)) for start in starts[candidate]) / 12.0
            errors = chance.binomial(requests, max(rate, min(0.5, rate + 0.49 * overlap)))
            run.workers[0].answered(0, candidate=candidate, requests=requests, errors=int(errors))
        run.look(now)
    return run


def _starts(chance: np.random.Generator, minutes: int) -> list[float]:
    return [float(half + chance.random() * 30.0) for half in range(0, minutes, 30)]


def test_bursts_inside_a_host_do_not_roll_back_a_good_candidate() -> None:
    """Two hours with bursts: within alpha when host-minutes are the units, far over it when requests are."""
    found = {
        units: sum(bursts(seed, units, 120).rolled_back() for seed in range(25))
        for units in (Units.HOSTS, Units.REQUESTS)
    }

    assert found[Units.HOSTS] <= most(25, ALPHA)
    assert found[Units.REQUESTS] > most(25, ALPHA)


@pytest.mark.slow
def test_bursts_over_a_long_time() -> None:
    """Two hundred minutes, 300 releases: host-minutes keep alpha, requests do not."""
    found = {
        units: sum(bursts(seed, units, 200).rolled_back() for seed in range(300))
        for units in (Units.HOSTS, Units.REQUESTS)
    }

    assert found[Units.HOSTS] <= most(300, ALPHA)
    assert found[Units.REQUESTS] > most(300, ALPHA)


def test_a_worse_candidate_is_found_among_bursts() -> None:
    """With 30 % errors at all times, and with nothing but errors, host-minutes roll back within half an hour."""
    for rate in (0.3, 1.0):
        assert all(bursts(seed, Units.HOSTS, 30, worse=rate).rolled_back() for seed in range(5))
