"""Arithmetic on what gateways count, and whether it can be true."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from lastgood.domain.plan import Metric
from lastgood.domain.traffic import MAX_COUNTERS, ArmCounts, Counter, Firsts
from lastgood.stats import quantiles

ABSURD: Final = 10**12
"""No gateway worker lives to count so many."""

_FIELDS: Final = {
    Metric.ERRORS.value: "errors",
    Metric.TIMEOUTS.value: "timeouts",
    Metric.INVALID_OUTPUT.value: "invalid",
}

_HASHES: Final = 2**32

COUNTER: Final = "counter:"
"""What the name of a counter of the version's own follows in :attr:`ArmCounts.firsts`."""


class Used(msgspec.Struct, frozen=True, gc=False):
    """Counts that strata hold already. ``listed`` is how many keys of each metric were listed in place of them."""

    counts: ArmCounts
    listed: dict[str, int]


NOTHING: Final = Used(ArmCounts(), {})
_NO_COUNTER: Final = Counter()


def added(counts: Iterable[ArmCounts]) -> ArmCounts:
    """Return the sum, a new value. Keys are put in order, so that it does not matter who listed them."""
    parts = tuple(counts)
    return ArmCounts(
        requests=sum([part.requests for part in parts]),
        errors=sum([part.errors for part in parts]),
        timeouts=sum([part.timeouts for part in parts]),
        invalid=sum([part.invalid for part in parts]),
        latency=quantiles.merged([part.latency for part in parts]),
        keyed=sum([part.keyed for part in parts]),
        counters=_counters([part.counters for part in parts]),
        firsts={
            name: _together([part.firsts[name] for part in parts if name in part.firsts])
            for name in sorted({name for part in parts for name in part.firsts})
        },
    )


def without_firsts(counts: ArmCounts) -> ArmCounts:
    """Return the counts without anything that tells one key from another."""
    return counts if not counts.firsts else msgspec.structs.replace(counts, firsts={})


def used(counts: ArmCounts) -> Used:
    """Return the counts as used up, a copy. Of lists of keys, which only grow, the length is enough."""
    kept = msgspec.structs.replace(
        counts,
        latency=dict(counts.latency),
        counters={name: Counter(total=one.total, bad=one.bad) for name, one in counts.counters.items()},
        firsts={name: msgspec.structs.replace(first, keys=[]) for name, first in counts.firsts.items()},
    )
    return Used(kept, {name: len(first.keys) for name, first in counts.firsts.items()})


def gained(after: ArmCounts, before: ArmCounts) -> ArmCounts:
    """Return what a cumulative count has gained since ``before``; raises ValueError when any part shrank."""
    return gained_since(after, used(before))


def gained_since(after: ArmCounts, before: Used) -> ArmCounts:
    """Return what a cumulative count has gained since ``before`` was used; raises ValueError when any part shrank."""
    was = before.counts
    return ArmCounts(
        requests=_grown("requests", after.requests, was.requests),
        errors=_grown("errors", after.errors, was.errors),
        timeouts=_grown("timeouts", after.timeouts, was.timeouts),
        invalid=_grown("invalid", after.invalid, was.invalid),
        latency=quantiles.difference(after.latency, was.latency),
        keyed=_grown("keyed", after.keyed, was.keyed),
        counters=_gained_counters(after.counters, was.counters),
        firsts=_gained_firsts(after.firsts, was.firsts, before.listed) if after.firsts or was.firsts else {},
    )


def _gained_counters(after: Mapping[str, Counter], was: Mapping[str, Counter]) -> dict[str, Counter]:
    gains = {}
    for name in sorted(after.keys() | was.keys()):
        now, then = after.get(name, _NO_COUNTER), was.get(name, _NO_COUNTER)
        total, bad = _grown(name, now.total, then.total), _grown(name, now.bad, then.bad)
        if total or bad:
            gains[name] = Counter(total=total, bad=bad)
    return gains


def _gained_firsts(
    after: Mapping[str, Firsts], was: Mapping[str, Firsts], listed_before: Mapping[str, int]
) -> dict[str, Firsts]:
    firsts = {}
    for name in sorted({*after, *was}):
        first, earlier = after.get(name, Firsts()), was.get(name, Firsts())
        listed = listed_before.get(name, 0)
        _grown(f"the list of keys of {name}", len(first.keys), listed)
        gain = Firsts(
            bad=_grown(f"first {name}", first.bad, earlier.bad),
            repeats=_grown(f"repeats of {name}", first.repeats, earlier.repeats),
            keys=first.keys[listed:],
            unlisted=_grown(f"unlisted keys of {name}", first.unlisted, earlier.unlisted),
        )
        if gain != Firsts():
            firsts[name] = gain
    return firsts


def measured_of(counts: ArmCounts, metric: str) -> tuple[int, int]:
    """Return on how many requests a metric was measured (all, or those that reported the counter), and the bad ones.

    Metrics are named as in :attr:`ArmCounts.firsts`.
    """
    if metric.startswith(COUNTER):
        counter = counts.counters.get(metric.removeprefix(COUNTER), _NO_COUNTER)
        return counter.total, counter.bad
    return counts.requests, getattr(counts, _FIELDS[metric])


def bad_of(counts: ArmCounts, metric: str) -> int:
    """Return the second number of :func:`measured_of`."""
    return measured_of(counts, metric)[1]


def requests_of(counts: ArmCounts, metric: str) -> int:
    """Return the first number of :func:`measured_of`."""
    return measured_of(counts, metric)[0]


def contradicts(counts: ArmCounts) -> bool:
    """Return whether these counts cannot be true."""
    return contradiction(counts) is not None


def contradiction(counts: ArmCounts) -> str | None:
    """Return why these counts cannot be true, None when they can.

    Each request counts once, with its outcome; nothing is negative, absurdly large, or no whole number.
    """
    numbers = _numbers(counts)
    if set(map(type, numbers)) != {int}:
        return "a count is no whole number"
    least, most = min(numbers), max(numbers)
    if least < 0 or most > ABSURD:
        return f"a count cannot be {least if least < 0 else most}"
    if counts.errors + counts.invalid > counts.requests or counts.timeouts > counts.errors:
        return "more failures than requests"
    if counts.keyed > counts.requests or quantiles.total(counts.latency) > counts.requests:
        return "more keys or latencies than requests"
    if len(counts.counters) > MAX_COUNTERS:
        return f"more than {MAX_COUNTERS} counters"
    for one in counts.counters.values():
        if not one.bad <= one.total <= counts.requests:
            return "a counter counts more than there was"
    for metric, first in counts.firsts.items():
        if not _possible(counts, metric, first):
            return f"the first {metric} by key do not fit the requests"
    return None


def _possible(counts: ArmCounts, metric: str, first: Firsts) -> bool:
    known = metric.startswith(COUNTER) or metric in _FIELDS
    if not known or any(not 0 <= key < _HASHES for key in first.keys):
        return False
    bad, requests, fresh = (
        bad_of(counts, metric),
        requests_of(counts, metric),
        len(first.keys) + first.unlisted,
    )
    keyed = max(first.bad, first.repeats) <= counts.keyed and first.bad <= bad
    return keyed and fresh <= first.bad and bad - first.bad + fresh <= requests - first.repeats


def _numbers(counts: ArmCounts) -> list[int]:
    """Return every count."""
    numbers = [counts.requests, counts.errors, counts.timeouts, counts.invalid, counts.keyed]
    numbers += counts.latency.values()
    for counter in counts.counters.values():
        numbers += (counter.total, counter.bad)
    for first in counts.firsts.values():
        numbers += (first.bad, first.repeats, first.unlisted, *first.keys)
    return numbers


def _counters(parts: Iterable[Mapping[str, Counter]]) -> dict[str, Counter]:
    """Return the sum of counters by name, in order of the names."""
    sums: dict[str, Counter] = {}
    for counters in parts:
        for name, one in counters.items():
            so_far = sums.get(name, _NO_COUNTER)
            sums[name] = Counter(total=so_far.total + one.total, bad=so_far.bad + one.bad)
    return {name: sums[name] for name in sorted(sums)}


def _together(firsts: list[Firsts]) -> Firsts:
    return Firsts(
        bad=sum(first.bad for first in firsts),
        repeats=sum(first.repeats for first in firsts),
        keys=sorted(key for first in firsts for key in first.keys),
        unlisted=sum(first.unlisted for first in firsts),
    )


def _grown(name: str, after: int, before: int) -> int:
    if after < before:
        raise ValueError(f"{name} shrank by {before - after}")
    return after - before
