"""Pairs and the watch over whole streams of labels: false decisions, how soon, and what pairs save."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from lastgood.analysis import kpi_pairs, kpi_state, kpi_watch
from lastgood.analysis.kpi_state import LabelRecord
from lastgood.analysis.trials import Trials
from lastgood.domain.kpi import Kpi, KpiCounts, Labels, Pairs
from lastgood.domain.plan import Margin, MarginKind, Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.stats import score

ALPHA = 0.05
ODDS = Margin(value=1.2)
POINTS = Margin(kind=MarginKind.ABSOLUTE, value=0.02)
Shares = Callable[[int], tuple[float, float, float]]
"""At a look, the parts of pairs in which only the candidate, only stable, and both are wrong."""


def shadow_plan(text: str, rate: str = "5%") -> Plan:
    return parse_plan(
        "steps: [{shadow: 10%, for: 1h}, {weight: 50%, for: 1h}]\n"
        f"guardrails: [{text}]\nfalse_rollback_rate: {rate}\nwatch: 30d\nwatch_run_length: 1d"
    )


def pairs_at(chance: np.random.Generator, size: int, shares: tuple[float, float, float]) -> Pairs:
    only1, only0, both, _right = chance.multinomial(size, (*shares, 1.0 - sum(shares))).tolist()
    return Pairs(pairs=size, only1=only1, only0=only0, both=both)


def paired_stops(seed: int, margin: Margin, shares: Shares, *, streams: int, looks: int) -> list[int]:
    """Return after how many labelled pairs each stream that stopped has stopped, at twenty a look."""
    chance, found = np.random.default_rng(seed), []
    for _ in range(streams):
        test = kpi_pairs.worse(margin, ALPHA)
        for look in range(1, looks + 1):
            test = kpi_pairs.with_pairs(test, pairs_at(chance, 20, shares(look)))
            if kpi_pairs.reached(test):
                found.append(20 * look)
                break
    return found


def split_stops(seed: int, rates: tuple[float, float], *, streams: int, looks: int, odds: float) -> list[int]:
    """Return after how many labelled rows, of both arms, the test of split traffic stopped: half to each arm."""
    chance, found = np.random.default_rng(seed), []
    for _ in range(streams):
        state = score.initial(ALPHA, odds)
        for look in range(1, looks + 1):
            bad1, bad0 = (int(chance.binomial(10, rate)) for rate in rates)
            state = score.update(state, 10, bad1, 10, bad0)
            if score.reached(state):
                found.append(20 * look)
                break
    return found


def day(look: int) -> float:
    """Return how hard the rows of this hour are for both."""
    return 1.0 + 0.8 * math.sin(look / 5.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("margin", "shares"),
    [
        (ODDS, lambda look: (0.036 * day(look), 0.03 * day(look), 0.05)),
        (ODDS, lambda look: (0.006 * day(look), 0.005 * day(look), 0.1 * day(look))),
        (POINTS, lambda look: (0.02 + 0.03 * day(look), 0.03 * day(look), 0.05)),
        (Margin(value=1.0), lambda look: (0.04 * day(look), 0.04 * day(look), 0.05)),
    ],
)
def test_a_candidate_at_the_margin_fails_no_more_often_than_promised(margin: Margin, shares: Shares) -> None:
    """With a daily cycle that hits both answers, over 100 looks: at most alpha, but for chance."""
    found = paired_stops(1, margin, shares, streams=300, looks=100)
    assert len(found) <= binom.ppf(0.999, 300, ALPHA)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shares", "rates"),
    [
        ("recall .95 to .85, 84.5 % right in both", (0.105, 0.005, 0.045), (0.15, 0.05)),
        ("recall .90 to .85, 84 % right in both", (0.06, 0.01, 0.09), (0.15, 0.10)),
        ("accuracy .92 to .90, 89 % right in both", (0.03, 0.01, 0.07), (0.10, 0.08)),
    ],
)
def test_pairs_need_at_most_half_the_labels(
    name: str, shares: tuple[float, float, float], rates: tuple[float, float]
) -> None:
    """Labelled rows in total, both arms: each pair is one labelled row that judges both versions."""
    assert math.isclose(shares[0] + shares[2], rates[0])
    assert math.isclose(shares[1] + shares[2], rates[1])
    pairs = paired_stops(2, ODDS, lambda _: shares, streams=60, looks=400)
    split = split_stops(3, rates, streams=30, looks=3000, odds=1.2)
    assert len(pairs) == 60, name
    mean = sum(split + [60_000] * (30 - len(split))) / 30
    assert np.mean(pairs) <= 0.5 * mean


@pytest.mark.slow
@pytest.mark.parametrize(
    ("margin", "shares"),
    [
        (Margin(value=2.0), (0.06, 0.03, 0.05)),
        (Margin(kind=MarginKind.ABSOLUTE, value=0.02), (0.05, 0.03, 0.05)),
    ],
)
def test_a_candidate_at_the_proof_margin_is_seldom_proven(
    margin: Margin, shares: tuple[float, float, float]
) -> None:
    """Worse by just the margin: shown not to be with a chance of at most alpha; an equal one is shown within 3 000 pairs."""
    chance, proven = np.random.default_rng(5), 0
    for _ in range(300):
        test = kpi_pairs.not_worse(margin, ALPHA)
        for _look in range(100):
            test = kpi_pairs.with_pairs(test, kpi_pairs.swapped(pairs_at(chance, 20, shares)))
        proven += kpi_pairs.reached(test)
    assert proven <= binom.ppf(0.999, 300, ALPHA)
    equal = kpi_pairs.not_worse(margin, ALPHA)
    for _look in range(150):
        equal = kpi_pairs.with_pairs(equal, kpi_pairs.swapped(pairs_at(chance, 20, (0.03, 0.03, 0.05))))
    assert kpi_pairs.reached(equal)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 5, 20])
def test_a_release_with_many_guardrails_keeps_its_rate(count: int) -> None:
    """Delayed labels, a daily cycle in both arms, sticky users in the split: pairs and split together, at most the rate."""
    text = ", ".join(
        f"{{metric: recall, positive: c{number}, margin: 1.0, name: r{number}}}" for number in range(count)
    )
    used, failed = shadow_plan(text), 0
    names = [one.name for one in used.guardrails if one.kpi is not None]
    runs = 60 if count == 20 else 120
    for seed in range(runs):
        failed += _release(np.random.default_rng(seed), used, names)
    assert failed <= binom.ppf(0.999, runs, ALPHA)


def _release(chance: np.random.Generator, used: Plan, names: list[str]) -> bool:
    """Run a good release of 60 looks: labels of the shadow step come for all of it, those of the split in its second half."""
    record = LabelRecord()
    for look in range(60):
        kpis: dict[int, dict[str, Kpi]] = {0: {}, 1: {}}
        for number, name in enumerate(names):
            hard = 0.04 * day(look + number)
            pairs = pairs_at(chance, int(chance.poisson(6)), (hard, hard, 0.03))
            both = KpiCounts(rows=pairs.pairs, trials=pairs.pairs, bad=pairs.only1 + pairs.both)
            kpis[0][name] = Kpi(candidate=both, stable=both, pairs=pairs)
            if look >= 30:
                # Users stay on one arm and have rates of their own; each counts up to the first wrong row.
                arms = [_users(chance, int(chance.binomial(6, 0.5)), hard + 0.03) for _ in range(2)]
                kpis[1][name] = Kpi(candidate=arms[0], stable=arms[1])
        for stage, found in kpis.items():
            if found:
                record = kpi_state.with_labels(used, record, Labels(kpis=found), stage, 60.0 * look)
    return any(kpi_state.reached(record.states[name]) for name in names)


def _users(chance: np.random.Generator, users: int, rate: float) -> KpiCounts:
    """Return rows of so many new users, whose own rates differ, each up to the first wrong one (at most ten)."""
    rows = bad = 0
    for own in chance.beta(1.0, 1.0 / rate - 1.0, users):
        wrong = np.flatnonzero(chance.random(10) < own)
        rows += int(wrong[0]) + 1 if wrong.size else 10
        bad += bool(wrong.size)
    return KpiCounts(rows=rows, trials=rows, bad=bad)


@pytest.mark.slow
def test_answers_that_agree_make_two_sample_tests_careful() -> None:
    """Precision counts both answers of a pair as two arms: equal versions that mostly agree fail no more often than alpha."""
    failed = 0
    for seed in range(200):
        chance, state = np.random.default_rng(seed), score.initial(ALPHA, 1.0)
        for look in range(80):
            hard = 0.15 * day(look)
            pairs = pairs_at(chance, 15, (0.2 * hard, 0.2 * hard, 0.8 * hard))
            own, other = (int(n) for n in chance.binomial(2, 0.5, 2))  # rows that one arm alone predicted so
            bad1, bad0 = chance.binomial(own, hard), chance.binomial(other, hard)
            state = score.update(
                state,
                15 + own,
                pairs.only1 + pairs.both + int(bad1),
                15 + other,
                pairs.only0 + pairs.both + int(bad0),
            )
        failed += score.reached(state)
    assert failed <= binom.ppf(0.999, 200, ALPHA)


def watch_of(text: str = "{metric: recall, positive: 1}") -> tuple[Plan, kpi_watch.KpiWatch]:
    used = shadow_plan(text)
    return used, kpi_watch.initial(used.guardrails[-1], 120.0)


def alarms(seed: int, minutes: int, rates: Callable[[int], float]) -> tuple[int | None, int | None]:
    """Return in which minute the watch found a change against the version before, and against the steps.

    Both versions are equally wrong in thirty rows a minute, of which six are pairs.
    """
    chance = np.random.default_rng(seed)
    used, watch = watch_of()
    steps = Trials(n1=2000, bad1=int(chance.binomial(2000, 0.1)))
    against = was = None
    for minute in range(minutes):
        rate = rates(minute)
        rows = KpiCounts(trials=30, bad=int(chance.binomial(30, rate)))
        pairs = pairs_at(chance, 6, (0.3 * rate, 0.3 * rate, 0.7 * rate))
        own = KpiCounts(trials=6, bad=pairs.only1 + pairs.both)
        other = KpiCounts(trials=6, bad=pairs.only0 + pairs.both)
        for kpi, paired in (
            (Kpi(candidate=rows), False),
            (Kpi(candidate=own, stable=other, pairs=pairs), True),
        ):
            watch = kpi_watch.after(watch, used.guardrails[-1], kpi, steps, paired=paired, at=60.0 * minute)
        against = minute if against is None and kpi_watch.is_worse(watch) else against
        was = minute if was is None and kpi_watch.is_worse_than_it_was(watch) else was
    return against, was


@pytest.mark.slow
def test_the_watch_keeps_its_run_length_whatever_the_hour() -> None:
    """Against the version before with a daily cycle, and against the steps without one: at least the promised 120 minutes."""
    cycle = [alarms(seed, 600, lambda minute: 0.1 * day(minute // 20))[0] for seed in range(40)]
    level = [alarms(seed, 600, lambda _: 0.1)[1] for seed in range(40)]
    for found in (cycle, level):
        assert np.mean([600 if one is None else one for one in found]) >= 120.0


@pytest.mark.slow
def test_a_change_of_the_world_is_found_and_blames_nobody() -> None:
    """Wrong rows of both versions grow from 10 to 25 %: found within 30 minutes, and the versions are told apart in none."""
    found = [alarms(seed, 60, lambda _: 0.25) for seed in range(40)]
    assert all(was is not None and was <= 30 for _, was in found)
    assert sum(against is not None for against, _ in found) <= binom.ppf(0.999, 40, 60.0 / 120.0)
