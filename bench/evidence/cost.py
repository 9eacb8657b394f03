"""What judging costs: microseconds for each stratum and kind of test, and a thousand releases in one second."""

import time
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from sources import streams
from tables import table

from lastgood.analysis.fold import fold
from lastgood.analysis.judge import judge
from lastgood.domain.change import Evidence
from lastgood.domain.plan import Guardrail, LatencyTest, Metric, Plan, Step, StepKind
from lastgood.domain.traffic import ArmCounts, Baseline, Counter, Stratum
from lastgood.stats import coinflip, margin, means, noninferiority, paired, ranks, score, shift

RELEASES = 1000
BEFORE = 30
COUNTERS = 5
STRATA = 300


def measure() -> tuple[list[str], bool]:
    """Return the tables, and whether a thousand releases fit into half of the second."""
    text, part = _thousand_releases()
    return [_each_test(), text], part <= 0.5


def _each_test() -> str:
    """Return microseconds for one stratum of 100 requests, one in ten the candidate's, tests far from decided."""
    chance = np.random.default_rng(1)
    good = streams.alike("1 %", 0.01).draw(chance, 1, STRATA / 10)[0].tolist()
    often = streams.alike("20 %", 0.2).draw(chance, 1, STRATA / 10)[0].tolist()
    law = streams.law(streams.base)
    past = next(streams.sparse(chance.multinomial(1000, law)[None]))
    slow = list(zip(*map(streams.sparse, streams.histograms(chance, law, law, STRATA / 10)), strict=True))
    scores = [tuple(_tally(chance, count, 64) for count in (10, 90)) for _ in range(STRATA)]
    bins = [
        tuple(chance.multinomial(count, [1 / 16] * 16).tolist() for count in (10, 90)) for _ in range(STRATA)
    ]
    pairs = [(int(chance.binomial(100, 0.01)), int(chance.binomial(100, 0.01))) for _ in range(STRATA)]
    tiny = 1e-12  # an alpha so small that nothing stops before the end
    rows = [
        ("errors and the like, 1 % bad: odds", score.initial(tiny, 1.2), score.update, good),
        ("the same, 20 % bad", score.initial(tiny, 1.2), score.update, often),
        ("the same, 1 % bad: points", margin.initial(tiny, 0.005), margin.update, good),
        ("coin flip", coinflip.initial(tiny, 0.1, 1.2), coinflip.update, good),
        ("proof by odds", noninferiority.initial_by_odds(tiny, 2.0), noninferiority.update_by_odds, good),
        ("proof by points", noninferiority.initial(tiny, 0.005), noninferiority.update, good),
        ("latency by ranks", ranks.initial(tiny, past), ranks.update, slow),
        ("bounded mean", means.initial(tiny), means.update, scores),
        ("shift, 16 bins", shift.initial(tiny, 0.05), shift.update, bins),
        ("paired", paired.initial(tiny, 1.2), paired.update, pairs),
    ]
    cells = [[name, f"{_microseconds(start, update, strata):.0f}"] for name, start, update, strata in rows]
    cells.append(["latency by ranks, boosted (only near the bound)", f"{_boosted(past, slow):.0f}"])
    return table(["test", "µs a stratum"], cells)


def _microseconds(start: Any, update: Callable[..., Any], strata: Sequence[Sequence[Any]]) -> float:
    """Return the best of three passes over the strata."""
    best = np.inf
    for _ in range(3):
        state, begun = start, time.process_time()
        for stratum in strata:
            state = update(state, *stratum)
        best = min(best, (time.process_time() - begun) / len(strata))
        if state.stopped:
            raise SystemExit("a test has stopped: its cost was not measured")
    return float(best * 1e6)


def _boosted(past: dict[int, int], strata: Sequence[Sequence[Any]]) -> float:
    """Return microseconds of a stratum for which tables are drawn: the bound is near from the beginning."""
    state = ranks.initial(0.05, past, draws=200)
    begun = time.process_time()
    for number, stratum in enumerate(strata[:100]):
        ranks.update(state, *stratum, stratum=str(number))
    return (time.process_time() - begun) / 100 * 1e6


def _tally(chance: np.random.Generator, count: int, bins: int) -> dict[int, int]:
    return dict(Tally(chance.integers(0, bins, count).tolist()))


def ten_guardrails() -> Plan:
    """Return a plan with ten guardrails that all compare: three rates, two on latency, five counters."""
    rates = [
        Guardrail(name=metric.value, metric=metric, share=0.1)
        for metric in (Metric.ERRORS, Metric.TIMEOUTS, Metric.INVALID_OUTPUT)
    ]
    latency = [
        Guardrail(
            name="slow",
            metric=Metric.LATENCY,
            share=0.1,
            latency_test=LatencyTest.OBJECTIVE,
            objective=0.3,
        ),
        Guardrail(name="latency", metric=Metric.LATENCY, share=0.1, latency_test=LatencyTest.DISTRIBUTION),
    ]
    counters = [
        Guardrail(name=f"c{number}", metric=Metric.COUNTER, counter=f"c{number}", share=0.1)
        for number in range(COUNTERS)
    ]
    step = Step(kind=StepKind.WEIGHT, weight=1000, duration=3600.0)
    return Plan(steps=(step,), guardrails=(*rates, *latency, *counters), false_rollback_rate=0.05)


def arm(chance: np.random.Generator, requests: int, law: streams.Floats) -> ArmCounts:
    """Return what one arm has counted of so many requests, with something for each of the ten guardrails."""
    errors = int(chance.binomial(requests, 0.01))
    return ArmCounts(
        requests=requests,
        errors=errors,
        timeouts=int(chance.binomial(errors, 0.3)),
        invalid=int(chance.binomial(requests - errors, 0.002)),
        latency=next(streams.sparse(chance.multinomial(requests, law)[None])),
        counters={
            f"c{number}": Counter(total=requests, bad=int(chance.binomial(requests, 0.01 * (number + 1))))
            for number in range(COUNTERS)
        },
    )


def _stratum(chance: np.random.Generator, release: int, sequence: int, law: streams.Floats) -> Stratum:
    n1 = max(1, int(chance.binomial(100, 0.1)))
    return Stratum(
        release=release,
        sequence=sequence,
        stage=0,
        closed_at=1e9 + sequence,
        candidate=arm(chance, n1, law),
        stable=arm(chance, 100 - n1, law),
    )


def _thousand_releases() -> tuple[str, float]:
    """Return how much of a second one tick takes, for releases that have each seen thirty strata."""
    chance, law, plan = np.random.default_rng(2), streams.law(streams.base), ten_guardrails()
    baseline = Baseline(latency=next(streams.sparse(chance.multinomial(5000, law)[None])))
    grown = []
    for release in range(20):
        strata = [_stratum(chance, release, sequence, law) for sequence in range(1, BEFORE + 1)]
        grown.append(fold(plan, baseline, Evidence(release=release), strata))
    held = [
        msgspec.structs.replace(grown[release % len(grown)], release=release) for release in range(RELEASES)
    ]
    fresh = [_stratum(chance, release, BEFORE + 1, law) for release in range(RELEASES)]
    begun = time.process_time()
    folded = [
        fold(plan, baseline, evidence, [stratum]) for evidence, stratum in zip(held, fresh, strict=True)
    ]
    between = time.process_time()
    findings = [judge(plan, baseline, evidence, misses=0, told=False) for evidence in folded]
    ended = time.process_time()
    assert all(len(found) == len(plan.guardrails) for found in findings)
    folding, judging = between - begun, ended - between
    cells = [
        ["fold one stratum each", f"{folding:.2f}", f"{folding / RELEASES / 10 * 1e6:.0f}"],
        ["judge, without words as each look does", f"{judging:.2f}", f"{judging / RELEASES / 10 * 1e6:.0f}"],
        ["both: part of a 1 s tick", f"{folding + judging:.0%}", ""],
    ]
    header = ["1 000 releases with 10 guardrails each, one core", "seconds", "µs a guardrail"]
    return table(header, cells), folding + judging
