"""Is arm 1's mean lower than arm 0's by more than ``delta``? Betting on scores from 0 to 1, looked at for ever.

Hypothesis
    In every stratum arm 1's mean is at least arm 0's less ``delta``. Scores lie between 0 and 1; their shapes are
    free, and both arms may drift together.
Guarantee
    When the hypothesis holds and the scores of a stratum are independent, the chance that :func:`reached` is
    ever true is at most ``alpha`` (Ville's inequality).
Formula
    With ``m`` and ``s`` the pooled past's mean and standard deviation, ``w`` arm 1's part of the stratum, and
    ``g(y) = d (m - y)/s`` for an expert that bets ``d``, each score of arm 1 multiplies its money by ``1 + (1 - w) g - c``, each
    of arm 0 by ``1 - w g - c``, ``c = w (1 - w) (d/s) delta``. The weighted mean of both expectations is
    ``1 + w (1 - w) (d/s) (mean0 - mean1 - delta)``, at most 1; by the inequality of arithmetic and geometric means
    so is that of the product. ``d`` is kept so small that no factor falls below 0.1.
Sources
    Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting (2024); Turner, Ly and
    Gruenwald, Generic E-variables for exact sequential k-sample tests (2024).

Scores come as histograms of :data:`BINS` equal bins and count as their bin's centre, so the means are those of
the centres: within 1/128 of the scores' own. A value without an upper limit is clipped at one fixed beforehand.
"""

import math
from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from lastgood.stats.money import CASH, hand_out, log, log_sum

Floats = npt.NDArray[np.float64]

BINS: Final = 64
BETS: Final = (0.05, 0.12, 0.3, 0.7)
"""What the experts bet, in standard deviations of the past."""

LARGEST_LOSS: Final = 0.9
"""The most of its money that an expert may lose on one score."""

MIN_PAST: Final = 50
"""Scores the past must hold before anyone bets."""


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """The state: plain numbers. ``past`` counts every score so far by bin."""

    alpha: float
    delta: float
    log_money: tuple[float, ...]
    cash: float
    past: tuple[int, ...] = (0,) * BINS
    strata: int = 0
    stopped: bool = False


def initial(alpha: float, delta: float = 0.0, *, cash: float = CASH) -> Means:
    """Return the state before any data.

    ``alpha`` between 0 and 1, ``delta`` and ``cash`` from 0 to below 1. Raises ValueError otherwise.
    """
    if not (0.0 < alpha < 1.0 and 0.0 <= delta < 1.0 and 0.0 <= cash < 1.0):
        raise ValueError(f"impossible settings: alpha {alpha}, delta {delta}, cash {cash}")
    money = (math.log((1.0 - cash) / len(BETS)),) * len(BETS)
    return Means(alpha=alpha, delta=delta, log_money=money, cash=cash)


def bin_of(score: float) -> int:
    """Return the bin of a score from 0 to 1; raises ValueError for any other value, NaN included."""
    if not 0.0 <= score <= 1.0:
        raise ValueError(f"a score lies between 0 and 1, not {score}")
    return min(BINS - 1, int(score * BINS))


def update(state: Means, scores1: Mapping[int, int], scores0: Mapping[int, int]) -> Means:
    """Return the state after one stratum, counts by bin of each arm; once reached it stays as it is.

    An empty stratum changes nothing. Raises ValueError for negative counts and unknown bins.
    """
    counts1, counts0 = _counts(scores1), _counts(scores0)
    if state.stopped or not (counts1.any() or counts0.any()):
        return state
    money, cash = hand_out(state.log_money, (1.0 / len(BETS),) * len(BETS), state.cash, state.strata)
    past = np.array(state.past, dtype=np.float64)
    if past.sum() >= MIN_PAST and counts1.sum() and counts0.sum():
        growth = log_growth(past, counts1, counts0, state.delta)
        money = tuple(own + float(gain) for own, gain in zip(money, growth, strict=True))
    state = msgspec.structs.replace(
        state,
        log_money=money,
        cash=cash,
        past=tuple(
            known + scores1.get(number, 0) + scores0.get(number, 0) for number, known in enumerate(state.past)
        ),
        strata=state.strata + 1,
    )
    return msgspec.structs.replace(state, stopped=log_e(state) >= -math.log(state.alpha))


def log_e(state: Means) -> float:
    """Return the natural logarithm of the evidence against the hypothesis; 0 before any data."""
    return log_sum((log(state.cash), *state.log_money))


def reached(state: Means) -> bool:
    """Return whether the evidence has ever been enough to reject the hypothesis at ``alpha``."""
    return state.stopped


def log_growth(past: Floats, counts1: Floats, counts0: Floats, delta: float) -> Floats:
    """Return the logarithm of each expert's growth in a stratum; 0, no bet, when the past has no spread.

    All three are counts by bin, none of them empty.
    """
    centres = (np.arange(BINS) + 0.5) / BINS
    mean = float(past @ centres / past.sum())
    spread = math.sqrt(float(past @ (centres - mean) ** 2 / past.sum()))
    if spread < 1e-6:  # equal scores: what is left is rounding
        return np.zeros(len(BETS))
    most = LARGEST_LOSS / (max(mean, 1.0 - mean) + delta)
    bets = np.minimum(np.array(BETS) / spread, most)[:, None]
    weight = float(counts1.sum() / (counts1.sum() + counts0.sum()))
    margin = weight * (1.0 - weight) * bets * delta
    gains = bets * (mean - centres)
    growth: Floats = np.log1p((1.0 - weight) * gains - margin) @ counts1
    growth += np.log1p(-weight * gains - margin) @ counts0
    return growth


def _counts(scores: Mapping[int, int]) -> Floats:
    counts = np.zeros(BINS)
    for number, count in scores.items():
        if not 0 <= number < BINS or count < 0:
            raise ValueError(f"impossible counts: {count} scores in bin {number}")
        counts[number] = count
    return counts
