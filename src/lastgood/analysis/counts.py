"""Arithmetic on what gateways count, and whether it can be true."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from lastgood.domain.plan import Metric
from lastgood.domain.traffic import MAX_COUNTERS, ArmCounts, Counter, Firsts
from lastgood.stats import quantiles

_PLAIN: Final = ("requests", "errors", "timeouts", "invalid", "keyed")

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


class Used(msgspec.Struct, frozen=True):
    """Counts that strata hold already. ``listed`` is how many keys of each metric were listed in place of them."""

    counts: ArmCounts
    listed: dict[str, int]


NOTHING: Final = Used(ArmCounts(), {})


def added(counts: Iterable[ArmCounts]) -> ArmCounts:
    """Return the sum, a new value. Keys are put in order, so that it does not matter who listed them."""
    parts = tuple(counts)
    return ArmCounts(
        requests=sum(part.requests for part in parts),
        errors=sum(part.errors for part in parts),
        timeouts=sum(part.timeouts for part in parts),
        invalid=sum(part.invalid for part in parts),
        latency=quantiles.merged(part.latency for part in parts),
        keyed=sum(part.keyed for part in parts),
        counters={
            name: Counter(
                total=sum(part.counters[name].total for part in parts if name in part.counters),
                bad=sum(part.counters[name].bad for part in parts if name in part.counters),
            )
            for name in sorted({name for part in parts for name in part.counters})
        },
        firsts={
            name: _together([part.firsts[name] for part in parts if name in part.firsts])
            for name in sorted({name for part in parts for name in part.firsts})
        },
    )


def without_firsts(counts: ArmCounts) -> ArmCounts:
    """Return the counts without anything that tells one key from another."""
    return msgspec.structs.replace(counts, firsts={})


def used(counts: ArmCounts) -> Used:
    """Return the counts as used up. Of lists of keys, which only grow, the length is enough."""
    firsts = {name: msgspec.structs.replace(first, keys=[]) for name, first in counts.firsts.items()}
    listed = {name: len(first.keys) for name, first in counts.firsts.items()}
    return Used(msgspec.structs.replace(counts, firsts=firsts), listed)


def gained(after: ArmCounts, before: ArmCounts) -> ArmCounts:
    """Return what a cumulative count has gained since ``before``; raises ValueError when any part shrank."""
    return gained_since(after, used(before))


def gained_since(after: ArmCounts, before: Used) -> ArmCounts:
    """Return what a cumulative count has gained since ``before`` was used; raises ValueError when any part shrank."""
    was = before.counts
    parts = {field: _grown(field, getattr(after, field), getattr(was, field)) for field in _PLAIN}
    counters, firsts = {}, {}
    for name in sorted({*after.counters, *was.counters}):
        now, then = after.counters.get(name, Counter()), was.counters.get(name, Counter())
        counter = Counter(total=_grown(name, now.total, then.total), bad=_grown(name, now.bad, then.bad))
        if counter != Counter():
            counters[name] = counter
    for name in sorted({*after.firsts, *was.firsts}):
        first, earlier = after.firsts.get(name, Firsts()), was.firsts.get(name, Firsts())
        listed = before.listed.get(name, 0)
        _grown(f"the list of keys of {name}", len(first.keys), listed)
        gain = Firsts(
            bad=_grown(f"first {name}", first.bad, earlier.bad),
            repeats=_grown(f"repeats of {name}", first.repeats, earlier.repeats),
            keys=first.keys[listed:],
            unlisted=_grown(f"unlisted keys of {name}", first.unlisted, earlier.unlisted),
        )
        if gain != Firsts():
            firsts[name] = gain
    latency = quantiles.difference(after.latency, was.latency)
    return ArmCounts(**parts, latency=latency, counters=counters, firsts=firsts)


def bad_of(counts: ArmCounts, metric: str) -> int:
    """Return how many requests were bad in the sense of a metric, named as in :attr:`ArmCounts.firsts`."""
    if metric.startswith(COUNTER):
        return counts.counters.get(metric.removeprefix(COUNTER), Counter()).bad
    bad: int = getattr(counts, _FIELDS[metric])
    return bad


def requests_of(counts: ArmCounts, metric: str) -> int:
    """Return how many requests a metric was measured on: all, or those that reported the counter."""
    if metric.startswith(COUNTER):
        return counts.counters.get(metric.removeprefix(COUNTER), Counter()).total
    return counts.requests


def contradicts(counts: ArmCounts) -> bool:
    """Return whether these counts cannot be true."""
    return contradiction(counts) is not None


def contradiction(counts: ArmCounts) -> str | None:
    """Return why these counts cannot be true, None when they can.

    Each request counts once, with its outcome; nothing is negative, absurdly large, or no whole number.
    """
    numbers = [*_numbers(counts)]
    if set(map(type, numbers)) - {int}:
        return "a count is no whole number"
    if min(numbers) < 0 or max(numbers) > ABSURD:
        return f"a count cannot be {min(numbers) if min(numbers) < 0 else max(numbers)}"
    if counts.errors + counts.invalid > counts.requests or counts.timeouts > counts.errors:
        return "more failures than requests"
    if counts.keyed > counts.requests or quantiles.total(counts.latency) > counts.requests:
        return "more keys or latencies than requests"
    if len(counts.counters) > MAX_COUNTERS:
        return f"more than {MAX_COUNTERS} counters"
    if any(not one.bad <= one.total <= counts.requests for one in counts.counters.values()):
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


def _numbers(counts: ArmCounts) -> Iterator[int]:
    """Yield every count."""
    yield from (counts.requests, counts.errors, counts.timeouts, counts.invalid, counts.keyed)
    yield from counts.latency.values()
    for counter in counts.counters.values():
        yield from (counter.total, counter.bad)
    for first in counts.firsts.values():
        yield from (first.bad, first.repeats, first.unlisted, *first.keys)


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
