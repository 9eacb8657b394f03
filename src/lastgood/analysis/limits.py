"""How often a hard limit would have stopped a harmless candidate, by stable's own recorded traffic.

A limit (``max``) is outside the promise of ``false_rollback_rate``: it knows nothing of chance. Here stable's minutes
are replayed as if a candidate exactly like stable had been released into them: from many start minutes, the
plan's steps are walked, each request goes to the candidate with the step's weight, and after every minute the
limit is judged as a release would judge it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from lastgood.analysis.counts import bad_of, requests_of
from lastgood.analysis.trials import name_of
from lastgood.domain.plan import KPIS, Guardrail, Metric, Plan, Step, StepKind
from lastgood.domain.route import FULL_WEIGHT
from lastgood.domain.traffic import BUCKETS_PER_OCTAVE, ArmCounts, TrafficMinute

RUNS: Final = 1000
_ROWS: Final = 2_000_000  # runs times planned minutes: bounds what a plan of weeks costs
_FEWEST_RUNS: Final = 100
_LONGEST: Final = 14 * 24 * 60  # minutes that a run may wait for samples
_MINUTE: Final = 60.0

Counts = NDArray[np.int64]


class LimitAlarms(msgspec.Struct, frozen=True, kw_only=True):
    """How often one guardrail's ``maximum`` fired on harmless candidates.

    ``fired`` of ``runs`` replays, ``rate`` their quotient, None without a replay. ``minutes`` are the recorded
    minutes in which it was measured; ``unjudged`` runs ended (at the plan's deadline) before the candidate had
    ``min_samples`` measurements, so the limit was never looked at.
    """

    guardrail: str
    metric: str
    maximum: float
    quantile: float | None
    rate: float | None
    fired: int
    runs: int
    unjudged: int
    minutes: int


class _Way(msgspec.Struct, frozen=True):
    """The plan's steps as a walk: of each stretch its weight or rate (0 to 1), its whole minutes, its sample minimum."""

    weight: NDArray[np.float64]
    minutes: Counts
    samples: Counts


def false_alarms(
    plan: Plan, minutes: Sequence[TrafficMinute], *, seed: int, runs: int = RUNS
) -> tuple[LimitAlarms, ...]:
    """Return how often each hard limit of the plan would have fired, in the plan's order.

    ``minutes`` are what one version answered as stable; minutes without a record between the first and the last had
    no requests. They follow each other in a ring: a release that begins late goes on with the first. A step
    lasts whole minutes, at least one; waits for a person take no time, but for a standing shadow, which lasts the deadline. A run ends when the limit fires, when the steps
    are over and ``min_samples`` is reached, or at the plan's deadline, after two weeks at the latest. Each limit is replayed by itself with chance of its
    own from ``seed``: the same arguments give the same answer. ``runs`` is lowered for plans that take long.
    """
    deadline = min(int(plan.deadline // _MINUTE), _LONGEST)
    way = _way(plan, deadline)
    found = []
    for index, guardrail in enumerate(plan.guardrails):
        if guardrail.maximum is None or guardrail.metric in KPIS:
            continue  # of labels no minutes are kept
        ring = _ring(guardrail, minutes)
        chance = np.random.default_rng([seed, index])
        many = min(runs, max(_FEWEST_RUNS, _ROWS // max(1, int(way.minutes.sum()))))
        fired = judged = replayed = 0
        if len(way.weight) and ring[:, :2].sum():
            replayed = many
            fired, judged = _replay(guardrail, ring, way, deadline, (many, chance))
        found.append(
            LimitAlarms(
                guardrail=guardrail.name,
                metric=guardrail.metric.value,
                maximum=guardrail.maximum,
                quantile=guardrail.quantile if guardrail.metric is Metric.LATENCY else None,
                rate=fired / replayed if replayed else None,
                fired=fired,
                runs=replayed,
                unjudged=replayed - judged,
                minutes=int(np.count_nonzero(ring[:, :2].sum(axis=1))),
            )
        )
    return tuple(found)


def over(guardrail: Guardrail, measured: Counts, bad: Counts) -> NDArray[np.bool_]:
    """Return whether the limit is broken: of each run's ``measured`` requests ``bad`` were over it.

    For a rate ``bad`` went wrong; for a latency they took longer than the limit, and it is broken when the quantile's
    own request is among them. False below ``min_samples``, and without requests.
    """
    maximum = math.inf if guardrail.maximum is None else guardrail.maximum
    if guardrail.metric is Metric.LATENCY:
        rank = np.maximum(1, np.ceil(guardrail.quantile * measured * (1.0 - 1e-12)))
        broken = measured - bad < rank
    else:
        broken = bad / np.maximum(measured, 1) > maximum
    fires: NDArray[np.bool_] = broken & (measured >= max(1, guardrail.min_samples))
    return fires


def measured_and_bad(guardrail: Guardrail, counts: ArmCounts) -> tuple[int, int]:
    """Return how many requests a limit looks at, and how many of them were over it or went wrong."""
    if guardrail.metric is Metric.LATENCY:
        return _slow(counts.latency, math.inf if guardrail.maximum is None else guardrail.maximum)
    metric = name_of(guardrail)
    return requests_of(counts, metric), bad_of(counts, metric)


def _slow(latency: Mapping[int, int], maximum: float) -> tuple[int, int]:
    """Return how many were measured, and how many lie in buckets whose middle is above ``maximum`` seconds."""
    slow = sum(
        count
        for bucket, count in latency.items()
        if math.exp2((bucket + 0.5) / BUCKETS_PER_OCTAVE) / 1e6 > maximum
    )
    return sum(latency.values()), slow


def _way(plan: Plan, deadline: int) -> _Way:
    stretches = []
    for index, step in enumerate(plan.steps):
        weight = max(plan.weight_at(index), plan.shadow_at(index)) / FULL_WEIGHT
        timed_pause = step.kind is StepKind.PAUSE and step.duration is not None
        if step.kind in (StepKind.WEIGHT, StepKind.SHADOW) or (timed_pause and weight):
            minutes = deadline if plan.stands_at(index) else _whole_minutes(step)
            stretches.append((weight, minutes, step.samples))
    return _Way(
        np.array([weight for weight, _, _ in stretches], dtype=np.float64),
        np.array([minutes for _, minutes, _ in stretches], dtype=np.int64),
        np.array([samples for _, _, samples in stretches], dtype=np.int64),
    )


def _whole_minutes(step: Step) -> int:
    return max(1, math.ceil((step.duration or 0.0) / _MINUTE))


def _ring(guardrail: Guardrail, minutes: Sequence[TrafficMinute]) -> Counts:
    """Return a row for each minute from the first to the last: within the limit, over it, not measured."""
    if not minutes:
        return np.zeros((0, 3), dtype=np.int64)
    first = min(one.minute for one in minutes)
    rows = np.zeros((max(one.minute for one in minutes) - first + 1, 3), dtype=np.int64)
    for one in minutes:
        measured, bad = measured_and_bad(guardrail, one.counts)
        bad = min(bad, measured)
        rows[one.minute - first] += (measured - bad, bad, max(0, one.counts.requests - measured))
    return rows


def _replay(
    guardrail: Guardrail, ring: Counts, way: _Way, deadline: int, chance: tuple[int, np.random.Generator]
) -> tuple[int, int]:
    """Return in how many runs the limit fired, and in how many it was looked at; ``chance`` is how many, and by what."""
    runs, generator = chance
    at = np.arange(runs) * len(ring) // runs  # start minutes, spread evenly
    stretch, lasted, sampled, measured, bad = (np.zeros(runs, dtype=np.int64) for _ in range(5))
    fired = judged = 0
    last = len(way.weight) - 1
    for _ in range(max(1, deadline)):
        drawn = generator.binomial(ring[at], way.weight[np.minimum(stretch, last)][:, None])
        measured, bad = measured + drawn[:, 0] + drawn[:, 1], bad + drawn[:, 1]
        lasted, sampled = lasted + 1, sampled + drawn.sum(axis=1)
        broken = over(guardrail, measured, bad)
        here = np.minimum(stretch, last)
        done = (stretch <= last) & (lasted >= way.minutes[here]) & (sampled >= way.samples[here])
        stretch, lasted, sampled = stretch + done, np.where(done, 0, lasted), np.where(done, 0, sampled)
        looked = measured >= max(1, guardrail.min_samples)
        ended = broken | ((stretch > last) & looked)
        fired, judged = fired + int(broken.sum()), judged + int((ended & looked).sum())
        on = ~ended
        if not on.any():
            return fired, judged
        at, stretch, lasted, sampled = (at[on] + 1) % len(ring), stretch[on], lasted[on], sampled[on]
        measured, bad = measured[on], bad[on]
    return fired, judged + int((measured >= max(1, guardrail.min_samples)).sum())
