"""Whole watches through strata and guardrails: false alarms of all guardrails together, and how soon a change is found."""

import math

import numpy as np
import pytest

from lastgood.analysis.fold import fold
from lastgood.analysis.judge import judge
from lastgood.domain.change import Evidence
from lastgood.domain.kpi import Kpi, KpiCounts, Labels, Pairs
from lastgood.domain.plan import Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.traffic import ArmCounts, Baseline, Stratum
from lastgood.domain.verdict import Verdict

PROMISED = 60.0
PLAN = parse_plan(
    "steps: [{weight: 20%, for: 1s}]\n"
    "guardrails: [{metric: errors}, {metric: timeouts, margin: 1pp}, {metric: invalid_output},\n"
    "  {metric: latency, objective: 100ms}, {metric: recall, positive: 1}]\n"
    "watch: 1d\nwatch_run_length: 1h"
)
QUICK, SLOW = 264, 320


def arm(chance: np.random.Generator, requests: int, bad: float) -> ArmCounts:
    """Return what one arm counted in which each kind of fault is as likely."""
    errors = int(chance.binomial(requests, bad))
    slow = int(chance.binomial(requests, bad))
    latency = {QUICK: requests - slow, SLOW: slow}
    invalid = int(chance.binomial(requests - errors, bad))
    return ArmCounts(
        requests=requests,
        errors=errors,
        timeouts=int(chance.binomial(errors, 0.5)),
        invalid=invalid,
        latency={bucket: count for bucket, count in latency.items() if count},
    )


def labels(chance: np.random.Generator, rate: float) -> Labels:
    """Return eight labelled pairs of two versions that agree on most."""
    only1, only0, both, _ = chance.multinomial(8, (0.3 * rate, 0.3 * rate, 0.7 * rate, 1.0 - 1.3 * rate))
    own = KpiCounts(rows=8, trials=8, bad=int(only1 + both))
    other = KpiCounts(rows=8, trials=8, bad=int(only0 + both))
    pairs = Pairs(pairs=8, only1=int(only1), only0=int(only0), both=int(both))
    return Labels(kpis={"recall": Kpi(candidate=own, stable=other, pairs=pairs)})


def first_rollback(seed: int, used: Plan, minutes: int, worse: float = 1.0) -> int | None:
    """Return the minute in which any guardrail asks for a rollback; a daily cycle of 200 minutes hits both versions."""
    chance = np.random.default_rng(seed)
    evidence, sequence = Evidence(release=1), 0
    for minute in range(minutes):
        hard = 1.0 + 0.8 * math.sin(2.0 * math.pi * (minute + 40 * seed) / 200.0)
        arms = {
            "candidate": arm(chance, 30, 0.02 * hard * worse),
            "stable": arm(chance, 30, 0.02 * hard),
        }
        empty = {"candidate": ArmCounts(), "stable": ArmCounts(), "labels": labels(chance, 0.1 * hard)}
        for given in (arms, empty):
            sequence += 1
            stratum = Stratum(
                release=1, sequence=sequence, stage=used.pair_stage, closed_at=60.0 * minute, **given
            )
            evidence = fold(used, Baseline(), evidence, (stratum,))
        found = judge(used, Baseline(), evidence, misses=0, told=False)
        if any(one.verdict is Verdict.FAILED and not one.world for one in found):
            return minute
    return None


@pytest.mark.slow
def test_all_guardrails_together_keep_the_run_length() -> None:
    """Five guardrails, five detectors, an hour promised: no two versions that are alike are told apart sooner on average."""
    found = [first_rollback(seed, PLAN, 240) for seed in range(24)]
    assert np.mean([240 if one is None else one + 1 for one in found]) >= PROMISED


@pytest.mark.slow
def test_a_version_that_fails_much_more_is_found_within_minutes() -> None:
    """Ten times the faults: each of a dozen watches goes back within a quarter of an hour."""
    found = [first_rollback(seed, PLAN, 30, worse=10.0) for seed in range(12)]
    assert all(one is not None and one <= 15 for one in found)
