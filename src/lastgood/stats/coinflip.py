"""Is arm 1 worse than arm 0? For so little traffic that a stratum would hold one trial, or none of an arm.

Hypothesis
    The odds of a bad trial in arm 1 are at most ``odds_margin`` times those in arm 0, at every trial. Rates may drift.
Guarantee
    When the hypothesis holds, each trial's arm is drawn by a coin with ``share`` for arm 1, and trials are
    independent, the chance that :func:`reached` is ever true is at most ``alpha`` (Ville's inequality). It needs
    ``share`` to be exact: with a split by key, by hand or by load use :mod:`lastgood.stats.score`.
Formula
    Before a batch expert ``j`` bets on ``q0 = (bad + 1/2)/(n + 50)`` from arm 0's past and on ``q1`` with
    ``odds_margin * r_j`` times its odds. Let ``(p1, p0)`` be the nearest pair whose odds are ``odds_margin`` apart: the one with
    ``share p1 + (1 - share) p0 = share q1 + (1 - share) q0``. Each trial multiplies the expert's money by
    ``q_arm(y)/p_arm(y)``. Pairs with a smaller odds ratio form a convex set when the margin is at least 1, so the
    mean of the factor is at most 1 for each of them. For a margin of 1 it is ``q_arm(y)`` over the mixture of both.
Source
    Turner, Ly and Gruenwald, Generic E-variables for exact sequential k-sample tests (2024).

Unlike SCORE it learns from a bad trial of arm 0 that had no companion in arm 1, so nothing is lost on small batches.
"""

import math
from typing import Final

import msgspec

from lastgood.stats.money import CASH, hand_out, log, log_sum
from lastgood.stats.projection import log_ratio
from lastgood.stats.score import RATIOS

PAST_BAD: Final = 0.5
PAST_TRIALS: Final = 50.0
"""The past that arm 0's rate starts with: trials come one by one, and the first few should not mean much."""


class CoinFlip(msgspec.Struct, frozen=True, kw_only=True):
    """The state: plain numbers that survive JSON bit for bit. ``trials`` and ``bad`` are arm 0's past."""

    alpha: float
    share: float
    odds_margin: float
    log_money: tuple[float, ...]
    cash: float
    trials: int = 0
    bad: int = 0
    strata: int = 0
    stopped: bool = False


def initial(alpha: float, share: float, odds_margin: float = 1.0, *, cash: float = CASH) -> CoinFlip:
    """Return the state before any data.

    ``alpha`` and ``share`` between 0 and 1, ``odds_margin`` at least 1, ``cash`` from 0 to below 1. Raises ValueError
    otherwise.
    """
    if not (0.0 < alpha < 1.0 and 0.0 < share < 1.0 and 1.0 <= odds_margin < math.inf and 0.0 <= cash < 1.0):
        raise ValueError(
            f"impossible settings: alpha {alpha}, share {share}, margin {odds_margin}, cash {cash}"
        )
    money = (math.log((1.0 - cash) / len(RATIOS)),) * len(RATIOS)
    return CoinFlip(alpha=alpha, share=share, odds_margin=odds_margin, log_money=money, cash=cash)


def update(state: CoinFlip, n1: int, bad1: int, n0: int, bad0: int) -> CoinFlip:
    """Return the state after one batch of trials, of any size; once reached it stays as it is.

    An empty batch changes nothing. Raises ValueError for wrong counts.
    """
    if not (0 <= bad1 <= n1 and 0 <= bad0 <= n0):
        raise ValueError(f"impossible counts: {bad1} of {n1} and {bad0} of {n0}")
    if state.stopped or n1 + n0 == 0:
        return state
    money, cash = hand_out(state.log_money, (1.0 / len(RATIOS),) * len(RATIOS), state.cash, state.strata)
    counts = (n1, bad1, n0, bad0)
    money = tuple(own + _grown(state, ratio, counts) for own, ratio in zip(money, RATIOS, strict=True))
    state = msgspec.structs.replace(
        state,
        log_money=money,
        cash=cash,
        trials=state.trials + n0,
        bad=state.bad + bad0,
        strata=state.strata + 1,
    )
    return msgspec.structs.replace(state, stopped=log_e(state) >= -math.log(state.alpha))


def log_e(state: CoinFlip) -> float:
    """Return the natural logarithm of the evidence against the hypothesis; 0 before any data."""
    return log_sum((log(state.cash), *state.log_money))


def reached(state: CoinFlip) -> bool:
    """Return whether the evidence has ever been enough to reject the hypothesis at ``alpha``."""
    return state.stopped


def nearest(q1: float, q0: float, share: float, odds_margin: float) -> tuple[float, float]:
    """Return the rates ``(p1, p0)``, odds ``odds_margin`` apart, with the same share-weighted mean as ``(q1, q0)``.

    All of them lie between 0 and 1; ``odds_margin`` is at least 1. The mean rises with ``p0``, so halving finds it.
    """
    wanted = share * q1 + (1.0 - share) * q0
    low, high = 0.0, 1.0
    while True:
        p0 = 0.5 * (low + high)
        p1 = odds_margin * p0 / (1.0 + (odds_margin - 1.0) * p0)
        if not low < p0 < high:
            return p1, p0
        if share * p1 + (1.0 - share) * p0 > wanted:
            high = p0
        else:
            low = p0


def _grown(state: CoinFlip, ratio: float, counts: tuple[int, int, int, int]) -> float:
    """Return the logarithm of an expert's growth in a batch."""
    n1, bad1, n0, bad0 = counts
    q0 = (state.bad + PAST_BAD) / (state.trials + PAST_TRIALS)
    odds = state.odds_margin * ratio * q0 / (1.0 - q0)
    q1 = odds / (1.0 + odds)
    p1, p0 = nearest(q1, q0, state.share, state.odds_margin)
    return log_ratio(n1, bad1, q1, p1) + log_ratio(n0, bad0, q0, p0)
