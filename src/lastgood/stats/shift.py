"""Does arm 1's distribution differ from arm 0's by more than ``delta``? Looked at after every batch, for ever.

Hypothesis
    In every stratum the total variation between the arms' distributions is at most ``delta``: no set of outcomes is
    more than ``delta`` likelier in arm 1. Equality is not asked for, because with enough data it is always rejected.
Guarantee
    When the hypothesis holds and the values of a stratum are independent, the chance that :func:`reached` is
    ever true is at most ``alpha`` (Ville's inequality).
Formula
    Values fall into ordered bins. Five sets of bins are watched: the upper and lower half, the upper and lower
    quarter, and the bins where arm 1 has been over-represented so far. For each set "in the set" is a bad trial of the
    test with an absolute margin (:mod:`lastgood.stats.margin`). The evidence is the mean of the five, which is again
    evidence, and is never less than the best of them at ``alpha/5``.
Source
    Turner, Ly and Gruenwald, Generic E-variables for exact sequential k-sample tests (2024), for each set; Shekhar
    and Ramdas, Nonparametric two-sample testing by betting (2021), for a set chosen from the past.

Classes without an order may be numbered in any way: the last of the sets finds them.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from lastgood.stats import margin
from lastgood.stats.margin import Margin
from lastgood.stats.money import log_sum
from lastgood.stats.quantiles import total

SETS: Final = 5
"""How many sets of bins are watched; the last of them is chosen from the past."""


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """The state: plain numbers that survive JSON bit for bit. ``past1`` and ``past0`` count by bin."""

    alpha: float
    tests: tuple[Margin, ...]
    past1: tuple[int, ...]
    past0: tuple[int, ...]
    stopped: bool = False


def initial(alpha: float, delta: float, bins: int = 16) -> Shift:
    """Return the state before any data; ``alpha`` and ``delta`` between 0 and 1, ``bins`` at least 2.

    Raises ValueError otherwise.
    """
    if bins < 2:
        raise ValueError(f"a distribution needs at least 2 bins, not {bins}")
    tests = (margin.initial(alpha / SETS, delta),) * SETS
    return Shift(alpha=alpha, tests=tests, past1=(0,) * bins, past0=(0,) * bins)


def update(state: Shift, counts1: Sequence[int], counts0: Sequence[int]) -> Shift:
    """Return the state after one stratum, each arm's counts by bin; once reached it stays as it is.

    An empty stratum changes nothing. Raises ValueError for negative counts or another number of bins.
    """
    for counts in (counts1, counts0):
        if len(counts) != len(state.past1) or min(counts) < 0:
            raise ValueError(f"impossible counts: {list(counts)} in {len(state.past1)} bins")
    n1, n0 = sum(counts1), sum(counts0)
    if state.stopped or n1 + n0 == 0:
        return state
    tests = []
    for test, chosen in zip(state.tests, _sets(state), strict=True):
        known = msgspec.structs.replace(
            test, trials=sum(state.past0), bad=sum(state.past0[number] for number in chosen)
        )
        bad1, bad0 = (sum(counts[number] for number in chosen) for counts in (counts1, counts0))
        bets = n1 if chosen else 0  # nothing can be won on a set without bins
        tests.append(margin.update(known, bets, bad1, n0, bad0))
    state = msgspec.structs.replace(
        state,
        tests=tuple(tests),
        past1=tuple(known + new for known, new in zip(state.past1, counts1, strict=True)),
        past0=tuple(known + new for known, new in zip(state.past0, counts0, strict=True)),
    )
    return msgspec.structs.replace(state, stopped=log_e(state) >= -math.log(state.alpha))


def log_e(state: Shift) -> float:
    """Return the natural logarithm of the evidence against the hypothesis; 0 before any data."""
    return log_sum([margin.log_e(test) for test in state.tests]) - math.log(SETS)


def reached(state: Shift) -> bool:
    """Return whether the evidence has ever been enough to reject the hypothesis at ``alpha``."""
    return state.stopped


def edges(histogram: Mapping[int, int], bins: int = 16) -> tuple[int, ...]:
    """Return the last bucket of each bin but the last, so that bins hold about equal parts of ``histogram``.

    Take it from before the comparison and keep it: edges chosen from compared values would void the guarantee.
    Where one bucket holds two bins' parts or more, what lies below it has a bin of its own, and some bins stay empty.
    Raises ValueError for an empty histogram.
    """
    count = total(histogram)
    if count < 1 or bins < 2:
        raise ValueError(f"no edges for {bins} bins from {count} values")
    found: list[int] = []
    below = 0
    for bucket in sorted(histogram):
        below += histogram[bucket]
        first = len(found)
        while len(found) < bins - 1 and below * bins >= (len(found) + 1) * count:
            found.append(bucket)
        if len(found) >= first + 2:
            found[first] = bucket - 1
    return tuple(found)


def binned(histogram: Mapping[int, int], cuts: Sequence[int]) -> tuple[int, ...]:
    """Return the histogram's counts by bin, for the edges ``cuts``, which must not fall: ``len(cuts) + 1`` counts."""
    counts = [0] * (len(cuts) + 1)
    for bucket, count in histogram.items():
        counts[bisect_left(cuts, bucket)] += count
    return tuple(counts)


def _sets(state: Shift) -> tuple[tuple[int, ...], ...]:
    """Return the bins of each set. Shares are compared by whole numbers, so that no rounding decides."""
    bins = len(state.past1)
    half, quarter = bins // 2, max(1, bins // 4)
    all1, all0 = sum(state.past1), sum(state.past0)
    over = tuple(
        number
        for number, (one, other) in enumerate(zip(state.past1, state.past0, strict=True))
        if one * all0 > other * all1
    )
    every = tuple(range(bins))
    return every[bins - half :], every[:half], every[bins - quarter :], every[:quarter], over
