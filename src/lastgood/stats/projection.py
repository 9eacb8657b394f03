"""The pair of rates on the line ``p1 = p0 + delta`` that is nearest to a pair that a bet is made on.

Of two arms, arm 1 has the part ``w`` of a stratum's trials. For a bet on the rates ``(q1, q0)`` against a convex
set of pairs with the line as its edge, let ``(p1, p0)`` minimise ``w KL(q1||p1) + (1-w) KL(q0||p0)`` over the set. Then
a trial's factor ``q(y)/p(y)`` has a weighted mean of at most 1 for every pair of the set, because moving from the
minimum towards any other pair cannot lower the divergence; and by the inequality of arithmetic and geometric
means so has the product over the stratum's trials. (Turner, Ly and Gruenwald 2024: reverse information
projection on a convex null.)
"""

import math
from typing import Final

MOST_STEPS: Final = 200
"""More than halving alone would ever take to reach neighbouring numbers that matter."""

LEAST_STEP: Final = 4e-16
"""A step of this part of the rate, or less, is lost in rounding."""


def nearest(q1: float, q0: float, delta: float, weight: float) -> tuple[float, float]:
    """Return the nearest pair on the line.

    ``q1``, ``q0`` and ``weight`` lie between 0 and 1, ``delta`` is at least 0 and less than 1. The derivative of the
    divergence rises from minus to plus infinity along the line. Newton's steps find its zero to the last bits;
    one that would leave where the zero must lie is replaced by halving.
    """
    low, high = 0.0, 1.0 - delta
    p = weight * (q1 - delta) + (1.0 - weight) * q0
    for _ in range(MOST_STEPS):
        if not low < p < high or p + delta >= 1.0:
            p = 0.5 * (low + high)
            if not low < p < high or p + delta >= 1.0:
                break
        slope, curve = _slope(q1, q0, p, delta, weight)
        if slope > 0.0:
            high = p
        else:
            low = p
        step = slope / curve
        p -= step
        if abs(step) <= LEAST_STEP * p:
            break
    return min(p + delta, math.nextafter(1.0, 0.0)), p


def log_factor(counts: tuple[int, int, int, int], bet: tuple[float, float], delta: float) -> float:
    """Return the logarithm of the factor of a stratum ``(n1, bad1, n0, bad0)`` for a bet on rates ``(q1, q0)``.

    Both arms must have trials.
    """
    n1, bad1, n0, bad0 = counts
    p1, p0 = nearest(*bet, delta, n1 / (n1 + n0))
    return log_ratio(n1, bad1, bet[0], p1) + log_ratio(n0, bad0, bet[1], p0)


def _slope(q1: float, q0: float, p: float, delta: float, weight: float) -> tuple[float, float]:
    """Return the first and second derivative of the weighted divergence in ``p``; the second is above 0."""
    p1 = p + delta
    spread1, spread0 = p1 * (1.0 - p1), p * (1.0 - p)
    slope = weight * (p1 - q1) / spread1 + (1.0 - weight) * (p - q0) / spread0
    curve = weight * (p1 * p1 - 2.0 * p1 * q1 + q1) / (spread1 * spread1)
    return slope, curve + (1.0 - weight) * (p * p - 2.0 * p * q0 + q0) / (spread0 * spread0)


def log_ratio(n: int, bad: int, q: float, p: float) -> float:
    """Return the logarithm of the likelihood ratio of rate ``q`` to ``p``, both between 0 and 1, at ``bad`` of ``n``."""
    return bad * math.log(q / p) + (n - bad) * (math.log1p(-q) - math.log1p(-p))
