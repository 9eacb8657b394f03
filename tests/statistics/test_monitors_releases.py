"""Whole releases through strata and guardrails: what is promised of false rollbacks, promotions, and how soon."""

from collections.abc import Callable

import numpy as np
import pytest
from gateways import Run, most

from lastgood.domain.plan import (
    Guardrail,
    LatencyTest,
    Margin,
    MarginKind,
    Metric,
    Plan,
    PromoteWhen,
)
from lastgood.domain.traffic import Baseline

ALPHA = 0.05
SAME = Margin(value=1.0)
ERRORS = Guardrail(name="errors", metric=Metric.ERRORS, share=1.0, margin=SAME)
PROVEN = Plan(
    guardrails=(Guardrail(name="errors", metric=Metric.ERRORS, share=1.0),),
    false_rollback_rate=ALPHA,
    promote_when=PromoteWhen.PROVEN,
    false_promotion_rate=ALPHA,
)
Rates = Callable[[int], tuple[float, float]]


def latency_guardrail(test: LatencyTest, margin: float = 1.0) -> Guardrail:
    return Guardrail(
        name="latency",
        metric=Metric.LATENCY,
        latency_test=test,
        objective=0.02,
        share=1.0,
        margin=Margin(value=margin),
    )


def errors(
    seed: int, looks: int, rates: Rates, plan: Plan, *, split: Callable[[int], float] = lambda _: 0.1
) -> Run:
    """Return a release with a look after every 100 requests; two workers share them; the stage grows with the split."""
    chance = np.random.default_rng(seed)
    run = Run(plan, Baseline(), workers=2)
    for look in range(looks):
        (p1, p0), weight = rates(look), split(look)
        n1 = int(chance.binomial(100, weight))
        for candidate, requests, rate in ((True, n1, p1), (False, 100 - n1, p0)):
            first = int(chance.integers(0, requests + 1))
            for worker, part in zip(run.workers, (first, requests - first), strict=True):
                bad = int(chance.binomial(part, rate))
                worker.answered(int(100 * weight), candidate=candidate, requests=part, errors=bad)
        run.look(6.0 * look)
    return run


def false_rollbacks(
    plan: Plan,
    looks: int,
    rates: Rates,
    *,
    releases: int = 100,
    split: Callable[[int], float] = lambda _: 0.1,
) -> int:
    return sum(errors(seed, looks, rates, plan, split=split).rolled_back() for seed in range(releases))


def daily(look: int) -> tuple[float, float]:
    rate = 0.03 + 0.025 * np.sin(2.0 * np.pi * look / 60.0)
    return rate, rate


def outage(look: int) -> tuple[float, float]:
    return (0.5, 0.5) if 20 <= look < 30 else (0.01, 0.01)


def drift(look: int) -> tuple[float, float]:
    rate = 0.01 + 0.03 * look / 90.0
    return rate, rate


def ramp(look: int) -> float:
    return (0.05, 0.25, 0.5)[min(2, look // 30)]


ALONE = Plan(guardrails=(ERRORS,), false_rollback_rate=ALPHA)


@pytest.mark.parametrize("rates", [daily, outage], ids=["daily cycle", "shared outage"])
def test_what_happens_to_both_arms_is_not_blamed_on_the_candidate(rates: Rates) -> None:
    """A/A with a daily cycle, and with an outage of both arms: false rollbacks stay within alpha."""
    assert false_rollbacks(ALONE, 45, rates) <= most(40, ALPHA)


def test_stages_of_a_ramp_spend_one_alpha() -> None:
    """A/A with rates that drift while the candidate's weight grows over three stages: within alpha."""
    assert false_rollbacks(ALONE, 90, drift, split=ramp) <= most(40, ALPHA)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.001, 0.01, 0.05, 0.2])
def test_no_change_over_a_long_time(rate: float) -> None:
    """A/A over 200 looks and 300 releases: false rollbacks stay within alpha."""
    assert false_rollbacks(ALONE, 200, lambda _: (rate, rate), releases=300) <= most(300, ALPHA)


def test_five_percent_of_errors_are_found_about_as_soon_as_the_method_promises() -> None:
    """1 % to 5 % at a 10 % split, odds margin 1.2, alpha 5 %: always, after 90 to 170 candidate requests on average."""
    guardrail = Guardrail(name="errors", metric=Metric.ERRORS, share=1.0)
    plan = Plan(guardrails=(guardrail,), false_rollback_rate=ALPHA)
    found = [errors(seed, 100, lambda _: (0.05, 0.01), plan).requests_until_failed() for seed in range(30)]

    assert None not in found
    assert 90.0 <= np.mean([stop for stop in found if stop is not None]) <= 170.0


def at_odds(rate: float, odds: float) -> float:
    worse = odds * rate / (1.0 - rate)
    return worse / (1.0 + worse)


@pytest.mark.parametrize(
    "rates",
    [(at_odds(0.05, 2.0), 0.05), (0.0199, 0.0099)],
    ids=["twice the odds, over one point", "twice the odds and one point"],
)
def test_a_candidate_at_the_margin_is_promoted_no_more_often_than_promised(
    rates: tuple[float, float],
) -> None:
    """A candidate that is worse by exactly the proof margins is shown not to be in at most alpha of the releases."""
    runs = [errors(seed, 40, lambda _: rates, PROVEN, split=lambda _: 0.5) for seed in range(50)]

    assert sum(bool(run.judged()[0].proven) for run in runs) <= most(50, ALPHA)


@pytest.mark.slow
@pytest.mark.parametrize("rates", [(at_odds(0.05, 2.0), 0.05), (0.0199, 0.0099)])
def test_false_promotions_over_a_long_time(rates: tuple[float, float]) -> None:
    """The same in 300 releases of 150 looks."""
    runs = [errors(seed, 150, lambda _: rates, PROVEN, split=lambda _: 0.5) for seed in range(300)]

    assert sum(bool(run.judged()[0].proven) for run in runs) <= most(300, ALPHA)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05])
def test_a_good_candidate_is_proven(rate: float) -> None:
    """A/A at half the traffic, also where nothing ever fails: shown not to be worse in nearly every release."""
    runs = [errors(seed, 100, lambda _: (rate, rate), PROVEN, split=lambda _: 0.5) for seed in range(10)]

    assert sum(bool(run.judged()[0].proven) for run in runs) >= 9


def histogram(chance: np.random.Generator, requests: int, factor: float = 1.0) -> dict[int, int]:
    """Return latencies of a log-normal law with a median of 10 ms, times a factor."""
    micros = factor * 10_000.0 * np.exp(chance.normal(0.0, 0.5, requests))
    buckets, counts = np.unique(np.floor(16.0 * np.log2(micros)).astype(int), return_counts=True)
    return dict(zip(buckets.tolist(), counts.tolist(), strict=True))


def latencies(seed: int, looks: int, guardrail: Guardrail, factor: float = 1.0) -> Run:
    chance = np.random.default_rng(seed)
    plan = Plan(guardrails=(guardrail,), false_rollback_rate=ALPHA)
    run = Run(plan, Baseline(latency=histogram(chance, 5000)))
    for look in range(looks):
        n1 = int(chance.binomial(100, 0.1))
        for candidate, requests, own in ((True, n1, factor), (False, 100 - n1, 1.0)):
            values = histogram(chance, requests, own)
            run.workers[0].answered(0, candidate=candidate, requests=requests, latency=values)
        run.look(6.0 * look)
    return run


COMPARING = [LatencyTest.OBJECTIVE, LatencyTest.QUANTILES, LatencyTest.DISTRIBUTION]


@pytest.mark.parametrize("test", COMPARING)
def test_equal_latencies_roll_back_no_more_often_than_promised(test: LatencyTest) -> None:
    """A/A by objective, quantiles and distribution: false rollbacks stay within alpha."""
    guardrail = latency_guardrail(test)

    assert sum(latencies(seed, 25, guardrail).rolled_back() for seed in range(30)) <= most(30, ALPHA)


@pytest.mark.slow
@pytest.mark.parametrize("test", COMPARING)
def test_equal_latencies_over_a_long_time(test: LatencyTest) -> None:
    """The same over 80 looks and 300 releases."""
    guardrail = latency_guardrail(test)

    assert sum(latencies(seed, 80, guardrail).rolled_back() for seed in range(300)) <= most(300, ALPHA)


@pytest.mark.parametrize(("test", "requests"), [*zip(COMPARING, (40.0, 30.0, 20.0), strict=True)])
def test_twice_the_latency_is_found(test: LatencyTest, requests: float) -> None:
    """All requests twice as slow, a margin of 1.2: found in every release, within few candidate requests."""
    guardrail = latency_guardrail(test, 1.2)
    found = [latencies(seed, 30, guardrail, 2.0).requests_until_failed() for seed in range(20)]

    assert None not in found
    assert np.mean([stop for stop in found if stop is not None]) <= requests


def test_a_latency_within_the_margin_of_a_distribution_is_tolerated() -> None:
    """1.15 times as slow with a margin of 1.2 on the distribution: rolled back in at most alpha of the releases."""
    guardrail = latency_guardrail(LatencyTest.DISTRIBUTION, 1.2)

    assert sum(latencies(seed, 30, guardrail, 1.15).rolled_back() for seed in range(30)) <= most(30, ALPHA)


def test_an_absolute_margin_tolerates_what_lies_within_it() -> None:
    """1 % to 1.4 % with a margin of half a point: within alpha; 1 % to 5 %: found."""
    margin = Margin(MarginKind.ABSOLUTE, 0.005)
    guardrail = Guardrail(name="errors", metric=Metric.ERRORS, share=1.0, margin=margin)
    plan = Plan(guardrails=(guardrail,), false_rollback_rate=ALPHA)

    assert false_rollbacks(plan, 60, lambda _: (0.014, 0.01)) <= most(40, ALPHA)
    assert false_rollbacks(plan, 60, lambda _: (0.05, 0.01), releases=10) == 10
