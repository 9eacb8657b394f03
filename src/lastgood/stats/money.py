"""The money of betting experts, in logarithms, and the cash that is handed to them bit by bit.

Evidence is the sum of what experts have made of their parts of one unit of money. Money kept back as cash
and handed out over time is a mixture of later starts, so it keeps any guarantee that a single start has, and a
change that comes late meets money that was not lost on waiting for it.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

CASH: Final = 0.1
"""The part of the money kept for later starts."""

RESTART_SCALE: Final = 100
"""After ``t`` strata the part ``1/(t + 100)`` of the cash is handed out."""


def log(value: float) -> float:
    """Return the natural logarithm; -inf for 0."""
    return math.log(value) if value > 0.0 else -math.inf


def log_sum(logs: Sequence[float]) -> float:
    """Return the logarithm of the sum of the exponentials, without overflow; one of them must be finite."""
    top, exp = max(logs), math.exp
    return top + math.log(math.fsum([exp(value - top) for value in logs]))


def log_add(one: float, other: float) -> float:
    """Return the logarithm of the sum of two exponentials, without overflow; one of them must be finite."""
    if one < other:
        one, other = other, one
    return one + math.log1p(math.exp(other - one))


def hand_out(
    log_money: Sequence[float], prior: Sequence[float], cash: float, strata: int
) -> tuple[tuple[float, ...], float]:
    """Return the experts' money and the cash after the hand-out that follows ``strata`` strata.

    Each expert gets its part of the ``prior``; the sum of money and cash stays the same.
    """
    part = cash / (strata + RESTART_SCALE)
    if part <= 0.0:
        return tuple(log_money), cash
    log_part = math.log(part)
    pairs = zip(log_money, _logs(tuple(prior)), strict=True)
    return tuple([log_add(own, log_share + log_part) for own, log_share in pairs]), cash - part


@lru_cache(maxsize=64)
def _logs(parts: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(map(math.log, parts))
