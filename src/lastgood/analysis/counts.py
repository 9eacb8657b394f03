"""Arithmetic on what gateways count."""

from collections.abc import Iterable

from lastgood.domain.traffic import ArmCounts
from lastgood.stats import quantiles


def added(counts: Iterable[ArmCounts]) -> ArmCounts:
    """Return the sum, a new value."""
    parts = tuple(counts)
    return ArmCounts(
        requests=sum(part.requests for part in parts),
        errors=sum(part.errors for part in parts),
        timeouts=sum(part.timeouts for part in parts),
        invalid=sum(part.invalid for part in parts),
        latency=quantiles.merged(part.latency for part in parts),
    )


def gained(after: ArmCounts, before: ArmCounts) -> ArmCounts:
    """Return what a cumulative count has gained since ``before``; raises ValueError when any part shrank."""
    parts = {
        field: getattr(after, field) - getattr(before, field)
        for field in ("requests", "errors", "timeouts", "invalid")
    }
    for field, count in parts.items():
        if count < 0:
            raise ValueError(f"{field} shrank by {-count}")
    return ArmCounts(**parts, latency=quantiles.difference(after.latency, before.latency))


def contradicts(counts: ArmCounts) -> bool:
    """Return whether more went wrong than was asked: each request counts once, with its outcome."""
    return counts.errors + counts.invalid > counts.requests or counts.timeouts > counts.errors
