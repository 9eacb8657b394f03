"""The law of one arm's share of the bad events, given how many both arms have together.

Two arms with ``n1`` and ``n0`` trials have ``events`` bad ones together. When the odds of a bad trial in arm 1
are ``psi`` times those in arm 0, the number in arm 1 has Fisher's noncentral hypergeometric law
``p(x) ~ C(n1, x) C(n0, events - x) psi**x``, whatever the common rate. (Fisher 1935; Harkness 1965.)
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MAX_TRIALS: Final = 10**10
"""Most trials of both arms together; memory and time of :func:`laws` grow with the square root of it."""

WHOLE_SUPPORT: Final = 4096
"""A support of at most this many points is kept whole; a wider one within the window below."""

FEW: Final = 48
"""A support of at most this many points is summed in plain floats, which for so few is quicker than arrays."""

_LEAST: Final = 1e-290  # below it floats begin to lose digits

WINDOW_SDS: Final = 12.0
WINDOW_POINTS: Final = 60
"""A window reaches 12 standard deviations and 60 points to both sides of the mode: what lies outside has
less than 1e-30 of the mass, in the nearly normal case by the first number, in the nearly Poisson case by
the second."""


class Laws(NamedTuple):
    """Laws of the same margins, one row for each odds ratio.

    Row ``j`` holds the logarithms of the probabilities of ``starts[j]``, ``starts[j] + 1`` and so on; -inf past
    the support. ``log_totals[j]`` is the log of ``sum_x g(x)/g(origin) * psi_j**(x - origin)`` with
    ``g(x) = C(n1, x) C(n0, events - x)``. ``low`` and ``high`` bound the support, both included.
    """

    low: int
    high: int
    origin: int
    starts: tuple[int, ...]
    log_p: Floats
    log_totals: Floats

    def log_norms(self) -> list[float]:
        """Return for each law but the first the log of the mean of ``(psi_j/psi_0)**(x - origin)`` under the first."""
        norms: list[float] = (self.log_totals[1:] - self.log_totals[0]).tolist()
        return norms

    def below(self, x: int) -> Floats:
        """Return for each law the probability of less than ``x``."""
        p = np.exp(self.log_p)
        return np.array([row[: max(0, x - start)].sum() for row, start in zip(p, self.starts, strict=True)])

    def at_least(self, x: int) -> float:
        """Return the first law's probability of ``x`` or more; never too small, also outside its window."""
        p = np.exp(self.log_p[0])
        past = p[-1] * len(p) if self.starts[0] + len(p) <= self.high else 0.0
        return float(p[max(0, x - self.starts[0]) :].sum() + past)


class FewLaws(NamedTuple):
    """The same as :class:`Laws` over a support of few points, in plain floats.

    ``weights`` are ``g(x)/g(low) * psi_0**(x - low)``, one for each point of the support; ``ratios[j]`` is
    ``psi_j/psi_0``, the first one 1, and ``totals[j]`` the sum of ``weights * ratios[j]**(x - low)``.
    """

    low: int
    high: int
    origin: int
    weights: tuple[float, ...]
    ratios: tuple[float, ...]
    totals: tuple[float, ...]

    def log_norms(self) -> list[float]:
        """Return for each law but the first the log of the mean of ``ratio**(x - origin)`` under the first."""
        whole = self.totals[0]
        return [math.log(total / whole) for total in self.totals[1:]]

    def below(self, x: int) -> list[float]:
        """Return for each law the probability of less than ``x``."""
        parts = _tilted(self.weights[: max(0, x - self.low)], self.ratios)
        return [part / total for part, total in zip(parts, self.totals, strict=True)]

    def at_least(self, x: int) -> float:
        """Return the first law's probability of ``x`` or more."""
        return math.fsum(self.weights[max(0, x - self.low) :]) / self.totals[0]


def laws_by_ratio(n1: int, n0: int, events: int, odds: float, ratios: Sequence[float]) -> Laws | FewLaws:
    """Return the law for the odds ratio ``odds``, then those for ``odds`` times each of the ``ratios``.

    The cheapest way to them; arguments otherwise as for :func:`laws`.
    """
    low, high = max(0, events - n0), min(n1, events)
    if high - low < FEW:
        weight, weights = 1.0, [1.0]
        for x in range(low, high):
            weight *= odds * (n1 - x) * (events - x) / ((x + 1) * (n0 - events + x + 1))
            weights.append(weight)
        every = (1.0, *ratios)
        totals = _tilted(weights, every)
        # Weights rise to the mode, then fall: when the last one and the sums are plain numbers, all are.
        if weight > _LEAST and max(totals) < math.inf:
            return FewLaws(low, high, low, tuple(weights), every, totals)
    return laws(n1, n0, events, math.log(odds) + _logs((1.0, *ratios)))


def _tilted(weights: Sequence[float], ratios: Sequence[float]) -> tuple[float, ...]:
    """Return for each ratio the sum of ``weights[k] * ratio**k``."""
    sums = []
    falling = weights[::-1]
    for ratio in ratios:
        total = 0.0
        for weight in falling:
            total = total * ratio + weight
        sums.append(total)
    return tuple(sums)


@lru_cache(maxsize=64)
def _logs(ratios: tuple[float, ...]) -> Floats:
    """Return the logarithms; nobody may write into them."""
    logs = np.array([math.log(ratio) for ratio in ratios])
    logs.flags.writeable = False
    return logs


def laws(n1: int, n0: int, events: int, log_odds: Floats, *, whole: int = WHOLE_SUPPORT) -> Laws:
    """Return the laws of the events in arm 1 for each of the logarithms of odds ratios.

    ``n1`` and ``n0`` at least 1, ``events`` from 0 to ``n1 + n0``, which is at most :data:`MAX_TRIALS`. Supports of
    more than ``whole`` points are cut to a window around each law's mode.
    """
    low, high = max(0, events - n0), min(n1, events)
    starts, width = _windows(n1, n0, events, log_odds, whole)
    x = np.array(starts[:1] if len(set(starts)) == 1 else starts)[:, None]
    x = x + np.arange(width - 1, dtype=np.float64)
    with np.errstate(divide="ignore"):
        up = np.maximum(n1 - x, 0.0) * np.maximum(events - x, 0.0)
        steps = np.log(up / ((x + 1.0) * (n0 - events + x + 1.0)))
    log_p = np.zeros((len(starts), width))
    np.cumsum(steps + log_odds[:, None], axis=1, out=log_p[:, 1:])
    peaks = log_p.max(axis=1)
    sums = peaks + np.log(np.exp(log_p - peaks[:, None]).sum(axis=1))
    origin = starts[0]
    shifts = [_log_ways(n1, n0, events, origin, start) for start in starts]
    log_totals = sums + np.array(shifts) + (np.array(starts) - origin) * log_odds
    return Laws(low, high, origin, starts, log_p - sums[:, None], log_totals)


def _windows(n1: int, n0: int, events: int, log_odds: Floats, whole: int) -> tuple[tuple[int, ...], int]:
    """Return where each law's row starts, and how many points every row has."""
    low, high = max(0, events - n0), min(n1, events)
    if high - low < whole:
        return (low,) * len(log_odds), high - low + 1
    modes, reach = [], 0
    for value in log_odds:
        mode = min(high, max(low, _mode(n1, n0, events, math.exp(value))))
        cells = (mode, n1 - mode, events - mode, n0 - events + mode)
        sd = 1.0 / math.sqrt(sum(1.0 / (cell + 1.0) for cell in cells))
        modes.append(mode)
        reach = max(reach, math.ceil(WINDOW_SDS * sd) + WINDOW_POINTS)
    width = min(2 * reach + 1, high - low + 1)
    return tuple(min(max(low, mode - reach), high - width + 1) for mode in modes), width


def _mode(n1: int, n0: int, events: int, odds: float) -> int:
    """Return the law's most probable value: where the ratio of neighbours falls below 1."""
    b = odds * (n1 + events + 2.0) + n0 - events
    c = odds * (n1 + 1.0) * (events + 1.0)
    return int(2.0 * c / (b + math.sqrt(max(0.0, b * b - 4.0 * (odds - 1.0) * c))))


def _log_ways(n1: int, n0: int, events: int, origin: int, x: int) -> float:
    """Return ``log g(x) - log g(origin)``.

    Differences of lgamma lose all digits at counts of a billion; Loader's saddle-point form (2000) keeps them.
    """
    if x == origin:
        return 0.0
    p = events / (n1 + n0)
    here = _log_binomial(x, n1, p) + _log_binomial(events - x, n0, p)
    return here - _log_binomial(origin, n1, p) - _log_binomial(events - origin, n0, p)


def _log_binomial(x: int, n: int, p: float) -> float:
    """Return the log of the binomial probability of ``x`` in ``n`` trials at rate ``p``, 0 < p < 1."""
    if x == 0:
        return n * math.log1p(-p)
    if x == n:
        return n * math.log(p)
    rest = _stirling_rest(n) - _stirling_rest(x) - _stirling_rest(n - x)
    deviance = _deviance(x, n * p) + _deviance(n - x, n * (1.0 - p))
    return rest - deviance - 0.5 * (math.log(2.0 * math.pi * x) + math.log1p(-x / n))


def _stirling_rest(n: int) -> float:
    """Return ``log n!`` less Stirling's formula."""
    if n < 16:
        return math.lgamma(n + 1.0) - (n + 0.5) * math.log(n) + n - 0.5 * math.log(2.0 * math.pi)
    square = float(n) * n
    return (1 / 12 - (1 / 360 - (1 / 1260 - 1 / 1680 / square) / square) / square) / n


def _deviance(x: int, mean: float) -> float:
    """Return ``x log(x/mean) + mean - x`` without cancellation near ``x = mean``."""
    if abs(x - mean) >= 0.1 * (x + mean):
        return x * math.log(x / mean) + mean - x
    v = (x - mean) / (x + mean)
    total = (x - mean) * v
    term, odd = 2.0 * x * v, 1
    while True:
        term *= v * v
        odd += 2
        following = total + term / odd
        if following == total:
            return total
        total = following
