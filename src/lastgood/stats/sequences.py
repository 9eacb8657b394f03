"""Intervals that hold at every look at once: for a rate, a difference of rates, and a quantile. For pictures and words.

Hypothesis
    The truth is any value: an interval holds those that the data has not refuted.
Guarantee
    With a chance of at least ``confidence`` the interval holds the truth at every look, from the first to the last,
    so anyone may look at any time. (For one fixed look: :mod:`lastgood.stats.rates`.) For a rate and a difference
    trials are independent and may drift: the truth at a look is the average of the chances behind the trials so
    far. For a quantile values are independent and of one law.
Formula
    At rate ``p`` the product of ``exp(s y) / (1 - p + p exp(s))`` over trials ``y`` has mean 1 for every tilt ``s``. As
    ``log(1 - p + p exp(s))`` is concave in ``p``, the product is smaller still with the average rate in place of each
    trial's own. ``E(p)`` is its mean over the tilts ``+-2**4, +-2**3 ... +-2**-13``, and the interval is ``{p: E(p) < 1/alpha}``,
    ``alpha = 1 - confidence`` (Ville's inequality). Two arms: the pairs with ``E(p1) E(p0) < 1/alpha``, and the differences ``p1 - p0``
    among them. A quantile: the values that have neither too few values up to them (negative tilts at rate ``q``)
    nor too many below them (positive tilts).
Sources
    Howard, Ramdas, McAuliffe and Sekhon, Time-uniform, nonparametric, nonasymptotic confidence sequences (2021);
    Howard and Ramdas, Sequential estimation of quantiles (2022).

A difference compares the averages over all trials of each arm: it shows an effect when the split between the arms
has stayed the same. With a split that changes while rates drift, decide by strata, as the tests do.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from lastgood.stats.quantiles import total

Floats = npt.NDArray[np.float64]

TILTS: Final[Floats] = np.exp2(np.arange(4.0, -14.0, -1.0))
"""Sizes of the tilts: spaced by 2, so that one within a factor of 1.5 of the best is always among them."""

ROUNDS: Final = 40
"""Rounds of halving, and of narrowing a minimum."""

GOLDEN: Final = 0.5 * (math.sqrt(5.0) - 1.0)


def rate(events: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval for the average rate behind ``events`` of ``trials``, both sums of all looks so far.

    Guarantee: with a chance of at least ``confidence`` (between 0 and 1) it holds that average at every look. Without
    trials it is 0 to 1. Raises ValueError for impossible settings.
    """
    _check(events, trials, confidence)
    if trials == 0:
        return 0.0, 1.0
    return _within(events, trials, -math.log1p(-confidence))


def difference(
    events1: int, trials1: int, events0: int, trials0: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval for arm 1's average rate less arm 0's, from sums of all looks so far; within -1 to 1.

    Guarantee: with a chance of at least ``confidence`` (between 0 and 1) it holds that difference at every look.
    Raises ValueError for impossible settings.
    """
    low1, high1 = rate(events1, trials1, confidence)
    low0, high0 = rate(events0, trials0, confidence)
    if trials1 == 0 or trials0 == 0:
        return low1 - high0, high1 - low0
    bound = -math.log1p(-confidence)
    # The most that arm 0 may spend of the bound is what arm 1 leaves of it at its own least.
    spare = bound - _least(lambda p: _log_e(events1, trials1, p), low1, high1)
    first, last = _within(events0, trials0, spare)

    def inside(gap: float) -> bool:
        def both(p: float) -> float:
            return _log_e(events1, trials1, min(1.0, max(0.0, p + gap))) + _log_e(events0, trials0, p)

        left, right = max(first, -gap), min(last, 1.0 - gap)
        return left <= right and _least(both, left, right, bound) < bound

    middle = events1 / trials1 - events0 / trials0
    return _edge(inside, middle, -1.0), _edge(inside, middle, 1.0)


def quantile(
    histogram: Mapping[int, int], q: float, per_octave: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval for the ``q`` quantile of the law behind a log2 histogram of all values so far.

    Guarantee: with a chance of at least ``confidence`` (both between 0 and 1) it holds, at every look, any value with
    no more than the part ``q`` of the law below it and no less up to it. Its ends are edges of buckets; 0 and
    infinity where there are too few values to tell. Raises ValueError for impossible settings.
    """
    if not (0.0 < q < 1.0 and 0.0 < confidence < 1.0) or min(histogram.values(), default=0) < 0:
        raise ValueError(f"impossible settings: quantile {q}, confidence {confidence}, or negative counts")
    count = total(histogram)
    bound = -math.log1p(-confidence) + math.log(2.0)  # half of alpha to each side

    def too_few(upto: int) -> bool:
        return _mean(-TILTS, upto, count, q) >= bound

    def too_many(below: int) -> bool:
        return _mean(TILTS, below, count, q) >= bound

    low, high, upto, searching = 0.0, math.inf, 0, too_few(0)
    for bucket in sorted(bucket for bucket, held in histogram.items() if held):
        upto += histogram[bucket]
        if searching and not too_few(upto):
            low, searching = math.exp2(bucket / per_octave), False
        if too_many(upto):
            high = math.exp2((bucket + 1) / per_octave)
            break
    return low, high


def _check(events: int, trials: int, confidence: float) -> None:
    if not 0 <= events <= trials:
        raise ValueError(f"impossible counts: {events} of {trials}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"impossible settings: the confidence lies between 0 and 1, not {confidence}")


def _mean(tilts: Floats, events: int, trials: int, p: float) -> float:
    """Return the logarithm of the mean, over tilts, of the evidence against ``p``."""
    logs = tilts * events - trials * np.log1p(p * np.expm1(tilts))
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))


_BOTH_SIDES: Final = np.concatenate((TILTS, -TILTS))


def _log_e(events: int, trials: int, p: float) -> float:
    """Return the logarithm of the evidence against an average rate of ``p``; convex, at most 0 at the observed."""
    return _mean(_BOTH_SIDES, events, trials, p)


def _within(events: int, trials: int, bound: float) -> tuple[float, float]:
    """Return the ends of the rates with evidence below ``bound``."""
    middle = events / trials

    def inside(p: float) -> bool:
        return _log_e(events, trials, p) < bound

    return _edge(inside, middle, 0.0), _edge(inside, middle, 1.0)


def _edge(inside: Callable[[float], bool], middle: float, end: float) -> float:
    """Return where, between ``middle`` and ``end``, the inside ends: its outer side, never short of it."""
    if inside(end):
        return end
    near, far = middle, end
    for _ in range(ROUNDS):
        half = 0.5 * (near + far)
        near, far = (half, far) if inside(half) else (near, half)
    return far


def _least(function: Callable[[float], float], left: float, right: float, enough: float = -math.inf) -> float:
    """Return the least value of a convex function from ``left`` to ``right``, or the first one below ``enough``.

    By golden sections.
    """
    inner, outer = right - GOLDEN * (right - left), left + GOLDEN * (right - left)
    at_inner, at_outer = function(inner), function(outer)
    for _ in range(ROUNDS):
        if min(at_inner, at_outer) < enough:
            break
        if at_inner <= at_outer:
            right, outer, at_outer = outer, inner, at_inner
            inner = right - GOLDEN * (right - left)
            at_inner = function(inner)
        else:
            left, inner, at_inner = inner, outer, at_outer
            outer = left + GOLDEN * (right - left)
            at_outer = function(outer)
    return min(at_inner, at_outer)
