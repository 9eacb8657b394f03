"""The watch of metrics that need no labels: the promoted version beside the one before, minute by minute.

Errors, timeouts, invalid output and counters have a detector each, by odds or by difference as the margin says: has it become
worse than the version before on copies of its requests? With ``hosts`` as units every detector counts host-minutes. What a
minute counts is known when it is over.

Latencies have none. The version before has next to no load, so that it is quicker than it would be with all the traffic, and
a comparison would convict good versions.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from lastgood.analysis import changes, hostunits
from lastgood.analysis.budget import RATES, watch_minutes
from lastgood.analysis.changes import Change
from lastgood.analysis.counts import added, without_firsts
from lastgood.analysis.hostunits import HostMinutes
from lastgood.analysis.trials import Trials, name_of
from lastgood.domain.plan import Guardrail, Plan
from lastgood.domain.traffic import ArmCounts, Baseline, Stratum, Units

_MINUTE: Final = 60.0


class Watched(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one guardrail has seen in the watch, and its detector.

    ``open`` are the trials of ``minute``, the one that is not over (epoch seconds // 60), ``trials`` sums all of them; ``hosts`` is set
    where host-minutes are the units.
    """

    change: Change
    minute: int | None = None
    open: Trials = Trials()
    trials: Trials = Trials()
    hosts: HostMinutes | None = None


class Watch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The watch of a release, by guardrail, and the sums of both arms in it: stable is the version before."""

    guardrails: dict[str, Watched] = {}
    candidate: ArmCounts = msgspec.field(default_factory=ArmCounts)
    stable: ArmCounts = msgspec.field(default_factory=ArmCounts)


def after(
    plan: Plan, baseline: Baseline, before: Watch, stratum: Stratum, taken: Mapping[str, Trials]
) -> Watch:
    """Return the watch after one more stratum of pairs, from which each bad/total metric takes its ``taken`` trials."""
    found = dict(before.guardrails)
    minutes = watch_minutes(plan)
    for guardrail in plan.guardrails:
        name = guardrail.name
        if name in minutes and guardrail.metric in RATES:
            known = found.get(name) or initial(guardrail, baseline, minutes[name])
            found[name] = with_rates(known, guardrail, stratum, taken[name_of(guardrail)])
    return Watch(
        guardrails=found,
        candidate=added((before.candidate, without_firsts(stratum.candidate))),
        stable=added((before.stable, without_firsts(stratum.stable))),
    )


def initial(guardrail: Guardrail, baseline: Baseline, run_length: float) -> Watched:
    """Return a guardrail's watch before any pair; ``run_length`` in minutes."""
    hosts = HostMinutes() if baseline.units is Units.HOSTS else None
    return Watched(change=changes.change(guardrail.margin, run_length), hosts=hosts)


def with_rates(watched: Watched, guardrail: Guardrail, stratum: Stratum, trials: Trials) -> Watched:
    """Return the watch of a bad/total metric after one more stratum, from which it takes ``trials``."""
    minute = int(stratum.closed_at // _MINUTE)
    sums = watched.trials.plus(trials)
    if watched.hosts is not None:
        seed = f"{stratum.release}:{guardrail.name}:watch"
        hosts, closed = hostunits.add(watched.hosts, minute, trials, seed)
        change = watched.change if closed is None else changes.with_minute(watched.change, closed)
        return msgspec.structs.replace(watched, change=change, trials=sums, hosts=hosts)
    if watched.minute is None or minute > watched.minute:
        change = changes.with_minute(watched.change, watched.open)
        watched = Watched(change=change, minute=minute)
    return msgspec.structs.replace(watched, open=watched.open.plus(trials), trials=sums)


def reached(watched: Watched) -> bool:
    """Return whether the alarm was raised."""
    return changes.reached(watched.change)
