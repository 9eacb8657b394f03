"""How soon a plan's comparisons would notice a candidate that is worse: its own tests over invented traffic. Pure.

Traffic walks the plan's steps at an even pace: a step ends when its time is over and the candidate has had its samples. A
shadow step gives both arms the requests that are copied, taken as independent too (pairs of labels tell more than that); a standing one does not end.
Requests are independent (units ``requests``), both arms' rates stand still, and the evidence is looked at after every hundred
requests, later after every hundredth part of all so far.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec
import numpy as np

from lastgood.analysis import comparisons, parts
from lastgood.analysis.budget import alphas
from lastgood.analysis.drift_foresight import drops as distances
from lastgood.analysis.drift_foresight import notices_outputs
from lastgood.analysis.kpi_state import split_part
from lastgood.analysis.slices import whole_part
from lastgood.analysis.trials import Trials
from lastgood.domain.plan import KPIS, Guardrail, LatencyTest, Metric, Plan, Step, StepKind
from lastgood.domain.route import FULL_WEIGHT
from lastgood.domain.traffic import BUCKETS_PER_OCTAVE, ArmCounts, Baseline, Stratum
from lastgood.stats import means

DROPS: Final = (0.01, 0.02, 0.05, 0.10)
"""How much worse the candidate is: points of a rate, or of the range of a mean."""

SLOWDOWNS: Final = (1.1, 1.25, 1.5, 2.0)
"""How many times as long the candidate takes, for a comparison of whole distributions or quantiles."""

RUNS: Final = 40
_CANDIDATE_MAX: Final = 20_000  # requests after which a run is given up
_AT_ONCE: Final = 100
_SPREAD: Final = 0.2  # standard deviation of the scores of a mean, in parts of its range
_OCTAVES: Final = 0.72  # standard deviation of the usual latencies: p99 is 3.2 times the median
_MEDIAN_US: Final = 100_000.0

Chance = np.random.Generator


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """How soon one drop is noticed.

    ``drop`` is in points (0.01 is one) or, with ``factor``, times as slow. ``requests`` is the mean number of candidate
    requests (labelled rows that count, for a KPI) until then: at least that where ``missed``, the part of the runs that were given
    up, is above 0; None where that is more than half. ``in_plan`` is the part of the runs in which it is noticed before the plan's
    last step is over.
    """

    drop: float
    factor: bool
    requests: float | None
    in_plan: float
    missed: float


class Foresight(msgspec.Struct, frozen=True, kw_only=True):
    """What one comparing guardrail would notice in all rows. ``alpha`` is how often it stops a harmless candidate, at most.

    ``rate`` is the rate of bad requests (rows) that stable is taken to have, None for means and latencies.
    """

    guardrail: str
    metric: str
    alpha: float
    rate: float | None
    notices: tuple[Notice, ...]


class _Batch(msgspec.Struct, frozen=True):
    """Requests between two looks: in all, counted of each arm, and whether the plan's steps are over by then."""

    requests: int
    candidate: int
    stable: int
    over: bool


def foresee(
    plan: Plan,
    *,
    rates: Mapping[str, float],
    per_minute: float,
    latency: Mapping[int, int],
    seed: int,
    runs: int = RUNS,
) -> tuple[Foresight, ...]:
    """Return what each comparing guardrail would notice, in the plan's order.

    ``rates`` are stable's rates of bad requests by guardrail (of wrong rows, for a KPI), ``per_minute`` its requests in
    a minute, ``latency`` its latencies (empty for usual ones). The same arguments give the same answer. Steps that give
    the candidate all traffic, or none, compare nothing.
    """
    shares = alphas(plan)
    found = []
    for index, guardrail in enumerate(plan.guardrails):
        alpha = shares.get(guardrail.name, 0.0)
        if alpha <= 0.0:
            continue
        chance = np.random.default_rng([seed, index])
        usual = latency or _usual(chance)
        rate = _rate(guardrail, rates)
        notices = [
            _notice(plan, drop, per_minute, chance, runs, _run(plan, guardrail, alpha, rate, usual, drop))
            for drop in _drops(guardrail)
        ]
        found.append(
            Foresight(
                guardrail=guardrail.name,
                metric=guardrail.metric.value,
                alpha=alpha,
                rate=rate,
                notices=tuple(notices),
            )
        )
    return tuple(found)


_Run = Callable[[Chance], Callable[[_Batch, Chance], bool]]


def _notice(plan: Plan, drop: float, per_minute: float, chance: Chance, runs: int, begin: _Run) -> Notice:
    spent: list[int] = []
    noticed = in_plan = 0
    for _ in range(runs):
        look, requests = begin(chance), 0
        for batch in _walk(plan, per_minute, chance):
            requests += batch.candidate
            if look(batch, chance):
                noticed += 1
                in_plan += not batch.over
                break
        spent.append(requests)
    missed = 1.0 - noticed / runs
    return Notice(
        drop=drop,
        factor=drop > 1.0,
        requests=None if missed > 0.5 else float(np.mean(spent)),
        in_plan=in_plan / runs,
        missed=missed,
    )


def _walk(plan: Plan, per_minute: float, chance: Chance) -> Iterator[_Batch]:
    """Yield what comes between two looks; after the last step that compares, at its weight until the run is given up."""
    total = given = 0
    last: Step | None = None
    for step in plan.steps:
        if not divides(step):
            continue
        last = step
        here = answered = 0
        lasts = math.inf if step.duration is None else step.duration / 60.0 * per_minute
        while here < lasts or answered < step.samples:
            batch = _drawn(total, last, chance, over=False)
            total += batch.requests
            here += batch.requests
            answered += batch.candidate
            given += batch.candidate
            yield batch
            if given >= _CANDIDATE_MAX:
                return
    while last is not None and given < _CANDIDATE_MAX:
        batch = _drawn(total, last, chance, over=True)
        total += batch.requests
        given += batch.candidate
        yield batch


def divides(step: Step) -> bool:
    """Whether both arms answer requests in this step: it divides them, or copies some."""
    return step.kind is StepKind.SHADOW or (step.kind is StepKind.WEIGHT and 0 < step.weight < FULL_WEIGHT)


def _drawn(total: int, step: Step, chance: Chance, *, over: bool) -> _Batch:
    size = max(_AT_ONCE, total // 100)
    copies = step.kind is StepKind.SHADOW
    candidate = int(chance.binomial(size, (step.rate if copies else step.weight) / FULL_WEIGHT))
    return _Batch(size, candidate, candidate if copies else size - candidate, over)


def _run(
    plan: Plan, guardrail: Guardrail, alpha: float, rate: float | None, usual: Mapping[int, int], drop: float
) -> _Run:
    """Return what begins a run: a look that takes a batch and says whether the guardrail has failed."""
    if rate is not None:
        split = alpha * whole_part(guardrail) * split_part(plan, guardrail)
        return lambda _: _by_rate(guardrail, split, rate, drop)
    if guardrail.metric is Metric.PREDICTION_DRIFT:
        return lambda _: _by_distance(guardrail, alpha, drop)
    if guardrail.metric in KPIS:
        return lambda _: _by_mean(guardrail, alpha * whole_part(guardrail), drop)
    return lambda _: _by_latency(plan, guardrail, alpha, usual, drop)


def _by_rate(
    guardrail: Guardrail, alpha: float, rate: float, drop: float
) -> Callable[[_Batch, Chance], bool]:
    test, bad, worse = comparisons.worse(guardrail.margin, alpha), 0, min(1.0, rate + drop)

    def look(batch: _Batch, chance: Chance) -> bool:
        nonlocal test, bad
        own = int(chance.binomial(batch.candidate, worse))
        bad += own
        test = comparisons.with_worse(
            test, Trials(batch.candidate, own, batch.stable, int(chance.binomial(batch.stable, rate)))
        )
        return comparisons.reached(test) and bad >= guardrail.min_bad

    return look


def _by_mean(guardrail: Guardrail, alpha: float, drop: float) -> Callable[[_Batch, Chance], bool]:
    state = means.initial(alpha, guardrail.margin.value)

    def look(batch: _Batch, chance: Chance) -> bool:
        nonlocal state
        lower = _scores(chance, batch.candidate, 0.5 - drop)
        state = means.update(state, lower, _scores(chance, batch.stable, 0.5))
        return means.reached(state)

    return look


def _by_distance(guardrail: Guardrail, alpha: float, away: float) -> Callable[[_Batch, Chance], bool]:
    notices = notices_outputs(guardrail, alpha, away)
    return lambda batch, chance: notices(batch.candidate, batch.stable, chance)


def _by_latency(
    plan: Plan, guardrail: Guardrail, alpha: float, usual: Mapping[int, int], slower: float
) -> Callable[[_Batch, Chance], bool]:
    comparison = parts.initial(plan, Baseline(latency=dict(usual)), guardrail, alpha)
    buckets, weights = np.array(list(usual)), np.array(list(usual.values())) / sum(usual.values())
    shift, looks = round(math.log2(slower) * BUCKETS_PER_OCTAVE), 0

    def counts(number: int, chance: Chance, later: int) -> ArmCounts:
        drawn = chance.multinomial(number, weights)
        histogram = {
            int(bucket) + later: int(count) for bucket, count in zip(buckets, drawn, strict=True) if count
        }
        return ArmCounts(requests=number, latency=histogram)

    def look(batch: _Batch, chance: Chance) -> bool:
        nonlocal comparison, looks
        looks += 1
        stratum = Stratum(
            release=0,
            sequence=looks,
            stage=0,
            closed_at=float(looks),
            candidate=counts(batch.candidate, chance, shift),
            stable=counts(batch.stable, chance, 0),
        )
        comparison = parts.with_latencies(comparison, guardrail, stratum)
        return any(part.test is not None and comparisons.reached(part.test) for part in comparison.parts)

    return look


def _scores(chance: Chance, number: int, mean: float) -> dict[int, int]:
    drawn = np.clip(chance.normal(mean, _SPREAD, number), 0.0, 1.0)
    bins, counts = np.unique([means.bin_of(float(one)) for one in drawn], return_counts=True)
    return {int(one): int(count) for one, count in zip(bins, counts, strict=True)}


def _usual(chance: Chance) -> dict[int, int]:
    octaves = math.log2(_MEDIAN_US) + chance.normal(0.0, _OCTAVES, 20_000)
    bins, counts = np.unique(np.floor(octaves * BUCKETS_PER_OCTAVE).astype(int), return_counts=True)
    return {int(one): int(count) for one, count in zip(bins, counts, strict=True)}


def _drops(guardrail: Guardrail) -> tuple[float, ...]:
    if guardrail.metric is Metric.PREDICTION_DRIFT:
        return distances(guardrail)
    whole = guardrail.latency_test in (LatencyTest.DISTRIBUTION, LatencyTest.QUANTILES)
    return SLOWDOWNS if guardrail.metric is Metric.LATENCY and whole else DROPS


def _rate(guardrail: Guardrail, rates: Mapping[str, float]) -> float | None:
    """Return stable's rate of what is bad: as given, else 10 % of labelled rows and 1 % of requests."""
    if guardrail.metric in (Metric.MEAN, Metric.MAE, Metric.PREDICTION_DRIFT):
        return None
    if guardrail.metric is Metric.LATENCY and guardrail.latency_test is not LatencyTest.OBJECTIVE:
        return None
    return rates.get(guardrail.name, 0.10 if guardrail.metric in KPIS else 0.01)
