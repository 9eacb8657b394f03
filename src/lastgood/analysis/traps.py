"""Traps in a plan that a person would fall into later: limits that one request breaks, samples that never come."""

import math
from collections.abc import Sequence

import msgspec

from lastgood.analysis import sentences
from lastgood.analysis.budget import watch_minutes
from lastgood.domain.plan import (
    DRIFTS,
    KPIS,
    Guardrail,
    Metric,
    OnFail,
    Plan,
    StepKind,
    Strategy,
    UnitsChoice,
)
from lastgood.domain.route import FULL_WEIGHT
from lastgood.domain.traffic import TrafficMinute


class Trap(msgspec.Struct, frozen=True, kw_only=True):
    """One trap: the guardrail that it lies in (None for the steps), what would happen, and what to do."""

    guardrail: str | None
    sentence: str
    next: str


def traps(plan: Plan, minutes: Sequence[TrafficMinute]) -> tuple[Trap, ...]:
    """Return the traps of a plan: those that it shows by itself, then those that stable's ``minutes`` show."""
    found = [trap for one in plan.guardrails if (trap := _one_request(one)) is not None]
    found = [*only_health(plan), *_unmeasured(plan), *_twice(plan), *_uncopied(plan), *found]
    per_minute = _per_minute(minutes)
    return tuple(found) if per_minute is None else (*found, *_too_slow(plan, per_minute))


def only_health(plan: Plan) -> list[Trap]:
    """Return a trap when nothing but health can stop a release: all else only alerts or is on a dry run."""
    others = [one for one in plan.guardrails if one.metric is not Metric.HEALTH]
    if any(_stops(plan, one) for one in others):
        return []
    does = "every other guardrail only alerts or is on a dry run" if others else "there is no other guardrail"
    sentence = f"Nothing but health can stop a release by this plan: {does}."
    return [Trap(guardrail=None, sentence=sentence, next="Give one an 'on_fail' of rollback or hold.")]


def _unmeasured(plan: Plan) -> list[Trap]:
    """Return a trap when a candidate gets all traffic at once and no limit can take it back from there.

    Comparisons need somebody beside it: the version before, where that answers copies in the watch.
    """
    limits = [
        one
        for one in plan.guardrails
        if (one.maximum is not None or one.custom is not None) and not one.dry_run
    ]
    if plan.strategy is not Strategy.ALL_AT_ONCE:
        return []
    if not plan.watch:
        sentence = "With all_at_once and 'watch: 0s' the candidate is not judged once it has traffic, not even its health."
        return [Trap(guardrail=None, sentence=sentence, next="Give a 'watch' such as 10m, or use canary.")]
    beside = watch_minutes(plan) if plan.watch_shadow else {}
    compared = [one for one in plan.guardrails if one.name in beside and not one.dry_run]
    if any(one.on_fail is OnFail.ROLLBACK for one in (*limits, *compared)):
        return []
    sentence = (
        "With all_at_once nothing is measured before all traffic is on the candidate, and only health goes back after "
        "that: " + ("every 'max' only tells then." if limits else "no guardrail has a 'max'.")
    )
    then = "Give a guardrail a 'max' and 'on_fail: rollback', or use canary."
    return [Trap(guardrail=None, sentence=sentence, next=then)]


def _twice(plan: Plan) -> list[Trap]:
    """Return a trap when requests are copied before any traffic: nobody can see from outside what a model does besides."""
    if not plan.shadows:
        return []
    sentence = "Shadow steps ask the candidate what stable was asked: whatever a model does besides answering happens twice."
    then = "Leave them out for a model that writes, sends or bills."
    return [Trap(guardrail=None, sentence=sentence, next=then)]


def _uncopied(plan: Plan) -> list[Trap]:
    """Return a trap for guardrails on agreement in a plan that copies nothing."""
    if plan.shadows or (plan.watch and plan.watch_shadow):
        return []
    sentence = "no request is copied by this plan, so it measures nothing."
    then = "Add a shadow step, or a 'watch' with 'watch_shadow'."
    return [
        Trap(guardrail=one.name, sentence=f"{one.name}: {sentence}", next=then)
        for one in plan.guardrails
        if one.metric is Metric.AGREEMENT
    ]


def _stops(plan: Plan, guardrail: Guardrail) -> bool:
    keyed = plan.units is UnitsChoice.KEYS and guardrail.metric in (Metric.LATENCY, Metric.PREDICTION_DRIFT)
    alerts = guardrail.on_fail is OnFail.ALERT or (keyed and guardrail.maximum is None)
    return not alerts and not guardrail.dry_run


def _one_request(guardrail: Guardrail) -> Trap | None:
    """Return a trap when a single request among the fewest that are looked at breaks the limit."""
    limit, fewest = guardrail.maximum, guardrail.min_samples
    if limit is None or guardrail.metric in KPIS:
        return None
    name, many = guardrail.name, sentences.plural(fewest, "request", "requests")
    if guardrail.metric is Metric.LATENCY:
        needed = math.floor(1.0 / (1.0 - guardrail.quantile) * (1.0 - 1e-12)) + 1
        if fewest >= needed:
            return None
        part = f"p{100.0 * guardrail.quantile:g}"
        sentence = f"{name}: of {many}, {part} is the slowest one, so one slow request breaks 'max'."
        return Trap(guardrail=name, sentence=sentence, next=f"Raise min_samples to {needed} or more.")
    if limit <= 0.0:
        return Trap(
            guardrail=name,
            sentence=f"{name}: with a 'max' of 0 % the first bad request breaks it, however many are good.",
            next="Give a 'max' above 0 %, or leave it out: the comparison with stable needs none.",
        )
    if 1.0 / fewest <= limit:
        return None
    sentence = f"{name}: 1 bad request of {many} is already over 'max' ({sentences.percent(limit)})."
    needed = math.ceil(1.0 / limit * (1.0 - 1e-12))
    return Trap(guardrail=name, sentence=sentence, next=f"Raise min_samples to {needed} or more.")


def _per_minute(minutes: Sequence[TrafficMinute]) -> float | None:
    """Return stable's mean requests a minute, minutes without any included; None when none are recorded."""
    requests = sum(one.counts.requests for one in minutes)
    if not requests:
        return None
    return requests / (max(one.minute for one in minutes) - min(one.minute for one in minutes) + 1)


def _too_slow(plan: Plan, per_minute: float) -> list[Trap]:
    """Return the sample minimums that this many requests a minute would not reach before the deadline."""
    found, spent, answered, share = [], 0.0, 0.0, 0.0
    for index, step in enumerate(plan.steps):
        if plan.stands_at(index):  # as long as a person likes, and the deadline begins anew
            spent, answered = 0.0, math.inf
            continue
        share = max(plan.weight_at(index), plan.shadow_at(index)) / FULL_WEIGHT
        wait = step.duration or 0.0
        if step.kind in (StepKind.WEIGHT, StepKind.SHADOW):
            wait = max(wait, 60.0 * step.samples / (per_minute * share))
        if spent + wait > plan.deadline and step.samples:
            sentence = (
                f"Step {index + 1} waits for {sentences.plural(step.samples, 'request', 'requests')} at "
                f"{sentences.percent(share)} of {per_minute:.3g} requests a minute: with what is before it that takes "
                f"{_long(spent + wait)}, and the deadline comes after {_long(plan.deadline)}."
            )
            found.append(Trap(guardrail=None, sentence=sentence, next=_LESS))
            return found
        spent, answered = spent + wait, answered + wait / 60.0 * per_minute * share
    answered += max(0.0, plan.deadline - spent) / 60.0 * per_minute * share
    for one in plan.guardrails:
        requests = one.metric not in (
            Metric.HEALTH,
            Metric.CUSTOM,
            Metric.AGREEMENT,
            *KPIS,
            *DRIFTS,
        )  # a request may have many rows
        if requests and share and one.min_samples > answered:
            sentence = (
                f"{one.name}: min_samples is {sentences.count(one.min_samples)}, and with {per_minute:.3g} requests a minute "
                f"the candidate answers about {sentences.count(round(answered))} before the deadline."
            )
            found.append(Trap(guardrail=one.name, sentence=sentence, next=_LESS))
    return found


_LESS = "Ask for fewer, give the candidate more weight, or set a later 'deadline'."


def _long(seconds: float) -> str:
    """Return a time in the largest unit that suits it: 90 minutes, 3.5 hours, 12 days."""
    for unit, size in (("days", 86_400.0), ("hours", 3_600.0)):
        if seconds >= 2.0 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 60.0:.3g} minutes"
