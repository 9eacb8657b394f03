"""The watch of metrics that need no labels: the promoted version beside the one before, minute by minute.

What is judged how
    =================================== =========================================================================
    guardrail                           has it become worse than the version before on copies of its requests?
    =================================== =========================================================================
    errors, timeouts, invalid output,   a detector by odds or by difference, as the margin says
    counter
    latency, objective                  the same on "slower than it"
    latency, quantiles or distribution  the same on "slower than q of the past", each of the plan's quantiles, else of the
                                        four default ones, with as many times the run length
    =================================== =========================================================================
    With ``hosts`` as units every detector counts host-minutes. What a minute counts is known when it is over.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from lastgood.analysis import changes, hostunits, latency
from lastgood.analysis.budget import watch_minutes
from lastgood.analysis.changes import Change
from lastgood.analysis.counts import added, without_firsts
from lastgood.analysis.hostunits import HostMinutes
from lastgood.analysis.latency import Past
from lastgood.analysis.trials import Trials, name_of
from lastgood.domain.plan import DEFAULT_QUANTILES, KPIS, Guardrail, LatencyTest, Margin, Metric, Plan
from lastgood.domain.traffic import ArmCounts, Baseline, Stratum, Units

_MINUTE: Final = 60.0
_SAME: Final = Margin(value=1.0)


class WatchPart(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One stream of trials and its detector.

    ``open`` are the trials of the minute that is not over, ``trials`` sums all of them; ``bucket``, ``quantile``, ``shift`` and
    ``hosts`` are as in :class:`lastgood.analysis.parts.Part`.
    """

    name: str
    change: Change
    bucket: int | None = None
    quantile: float | None = None
    shift: int = 0
    open: Trials = Trials()
    trials: Trials = Trials()
    hosts: HostMinutes | None = None


class Watched(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one guardrail has seen in the watch. ``minute`` is the one that is open, epoch seconds // 60."""

    parts: tuple[WatchPart, ...]
    past: Past | None = None
    minute: int | None = None


class Watch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The watch of a release, by guardrail, and the sums of both arms in it: stable is the version before."""

    guardrails: dict[str, Watched] = {}
    candidate: ArmCounts = msgspec.field(default_factory=ArmCounts)
    stable: ArmCounts = msgspec.field(default_factory=ArmCounts)


def after(
    plan: Plan,
    baseline: Baseline,
    before: Watch,
    pasts: Mapping[str, Past],
    stratum: Stratum,
    taken: Mapping[str, Trials],
) -> Watch:
    """Return the watch after one more stratum of pairs, from which each bad/total metric takes its ``taken`` trials.

    ``pasts`` are the latencies that comparisons of the steps know, by guardrail.
    """
    found = dict(before.guardrails)
    minutes = watch_minutes(plan)
    for guardrail in plan.guardrails:
        name = guardrail.name
        if name not in minutes or guardrail.metric in KPIS:
            continue
        known = found.get(name) or initial(guardrail, baseline, pasts.get(name), minutes[name])
        if guardrail.metric is Metric.LATENCY:
            found[name] = with_latencies(known, guardrail, stratum)
        else:
            found[name] = with_rates(known, guardrail, stratum, taken[name_of(guardrail)])
    return Watch(
        guardrails=found,
        candidate=added((before.candidate, without_firsts(stratum.candidate))),
        stable=added((before.stable, without_firsts(stratum.stable))),
    )


def initial(guardrail: Guardrail, baseline: Baseline, past: Past | None, run_length: float) -> Watched:
    """Return a guardrail's watch before any pair; ``run_length`` in minutes, ``past`` the latencies of the steps."""
    hosts = HostMinutes() if baseline.units is Units.HOSTS else None
    if guardrail.metric is not Metric.LATENCY:
        change = changes.change(guardrail.margin, run_length)
        return Watched(parts=(WatchPart(name=guardrail.name, change=change, hosts=hosts),))
    if guardrail.latency_test is LatencyTest.OBJECTIVE and guardrail.objective is not None:
        change = changes.change(guardrail.margin, run_length)
        bucket = latency.objective_bucket(guardrail.objective)
        part = WatchPart(name="slower than the objective", change=change, bucket=bucket, hosts=hosts)
        return Watched(parts=(part,))
    whole = guardrail.latency_test is LatencyTest.DISTRIBUTION
    margin = _SAME if whole else guardrail.margin
    asked = DEFAULT_QUANTILES if whole else guardrail.quantiles or DEFAULT_QUANTILES
    parts = tuple(
        WatchPart(
            name=f"slower than p{100.0 * q:g}",
            change=changes.change(margin, run_length * len(asked)),
            quantile=q,
            shift=latency.shift_of(guardrail.margin) if whole else 0,
            hosts=hosts,
        )
        for q in asked
    )
    return Watched(parts=parts, past=past or Past(baseline.latency, baseline.latency))


def with_rates(watched: Watched, guardrail: Guardrail, stratum: Stratum, trials: Trials) -> Watched:
    """Return the watch of a bad/total metric after one more stratum, from which it takes ``trials``."""
    watched = _opened(watched, stratum)
    parts = tuple([_with(part, guardrail, stratum, trials) for part in watched.parts])
    return msgspec.structs.replace(watched, parts=parts)


def with_latencies(watched: Watched, guardrail: Guardrail, stratum: Stratum) -> Watched:
    """Return the watch of latencies after one more stratum."""
    watched = _opened(watched, stratum)
    candidate, stable = stratum.candidate.latency, stratum.stable.latency
    parts = []
    for part in watched.parts:
        quicker = latency.shifted(candidate, part.shift)
        trials = Trials() if part.bucket is None else latency.slower(quicker, stable, part.bucket)
        parts.append(_with(part, guardrail, stratum, trials))
    past = None if watched.past is None else latency.after(watched.past, candidate, stable)
    return msgspec.structs.replace(watched, parts=tuple(parts), past=past)


def reached(watched: Watched) -> bool:
    """Return whether any alarm was raised."""
    return any(changes.reached(part.change) for part in watched.parts)


def lead(watched: Watched) -> WatchPart:
    """Return the part that is nearest to its alarm, one that has raised it first."""
    return max(watched.parts, key=lambda part: (changes.reached(part.change), changes.nearness(part.change)))


def _opened(watched: Watched, stratum: Stratum) -> Watched:
    """Return the watch with every minute before the stratum's closed.

    Quantiles of the past are taken when a minute begins: within it the question stays the same.
    """
    minute = int(stratum.closed_at // _MINUTE)
    if watched.minute is not None and minute <= watched.minute:
        return watched
    past = watched.past
    if past is not None:
        past = msgspec.structs.replace(past, ranked=past.values)
    told = past is not None and latency.known(past)
    parts = []
    for part in watched.parts:
        bucket = part.bucket
        if past is not None and part.quantile is not None and told:
            bucket = latency.past_bucket(past.ranked, part.quantile)
        closed = part.change if part.hosts is not None else changes.with_minute(part.change, part.open)
        parts.append(msgspec.structs.replace(part, change=closed, open=Trials(), bucket=bucket))
    return Watched(parts=tuple(parts), past=past, minute=minute)


def _with(part: WatchPart, guardrail: Guardrail, stratum: Stratum, trials: Trials) -> WatchPart:
    sums = part.trials.plus(trials)
    if part.hosts is None:
        return msgspec.structs.replace(part, trials=sums, open=part.open.plus(trials))
    seed = f"{stratum.release}:{guardrail.name}:{part.name}:watch"
    hosts, closed = hostunits.add(part.hosts, int(stratum.closed_at // _MINUTE), trials, seed)
    change = part.change if closed is None else changes.with_minute(part.change, closed)
    return msgspec.structs.replace(part, trials=sums, hosts=hosts, change=change)
