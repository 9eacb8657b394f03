"""Is arm 1 worse than arm 0 where both met the same trials? A test on the pairs in which they differ.

Hypothesis
    Of the pairs in which just one arm was bad, it was arm 1 at odds of at most ``odds_margin`` (to 1), in every pair
    given those before. How often the arms differ, and how often both are bad, may drift freely.
Guarantee
    When the hypothesis holds and pairs are independent, the chance that :func:`reached` is ever true is at most
    ``alpha``, however often and whenever anyone looks (Ville's inequality).
Formula
    Of ``D`` pairs that differ, the number ``x`` with arm 1 bad has the law ``h = Binomial(D, psi0/(1 + psi0))`` at the margin ``psi0``.
    Expert ``j`` bets on odds ``r_j`` times the margin: its money grows by ``r_j**x ((1 + psi0)/(1 + psi0 r_j))**D``. The growth rises
    with ``x``, so its mean is at most 1 for smaller odds as well; it is boosted (:mod:`lastgood.stats.boosting`). A pair
    is a stratum of SCORE with one trial in each arm: this is the same test with all pairs of a batch at once.
Sources
    McNemar, Sampling error of the difference between correlated proportions (1947), for the condition; Turner and
    Gruenwald, on stratified count data (2023); Fischer and Ramdas, SPRT without overshoot (2024).

Pairs in which both were good or both bad say nothing about which is worse, and cost nothing. A margin as a
difference of rates: :mod:`lastgood.stats.paired_margin`. Boosted evidence belongs to its ``alpha``: it must not be
averaged with other evidence nor held against another bound.
"""

import math
from typing import Final

import msgspec
import numpy as np

from lastgood.stats.boosting import Floats, log_boost
from lastgood.stats.money import CASH, hand_out, log, log_sum
from lastgood.stats.score import RATIOS

MOST_BOOSTED: Final = 4096
"""A batch with more pairs that differ is not boosted: it decides anyway."""


class Paired(msgspec.Struct, frozen=True, kw_only=True):
    """The state: plain numbers that survive JSON bit for bit; ``log_boost`` is that of the boosts' product."""

    alpha: float
    odds_margin: float
    log_money: tuple[float, ...]
    cash: float
    log_boost: float = 0.0
    batches: int = 0
    stopped: bool = False


def initial(alpha: float, odds_margin: float = 1.0, *, cash: float = CASH) -> Paired:
    """Return the state before any data; ``alpha`` between 0 and 1, ``odds_margin`` above 0, ``cash`` from 0 to below 1.

    Raises ValueError otherwise.
    """
    if not (0.0 < alpha < 1.0 and 0.0 < odds_margin < math.inf and 0.0 <= cash < 1.0):
        raise ValueError(f"impossible settings: alpha {alpha}, odds margin {odds_margin}, cash {cash}")
    money = (math.log((1.0 - cash) / len(RATIOS)),) * len(RATIOS)
    return Paired(alpha=alpha, odds_margin=odds_margin, log_money=money, cash=cash)


def update(state: Paired, only1: int, only0: int) -> Paired:
    """Return the state after a batch of pairs: in ``only1`` just arm 1 was bad, in ``only0`` just arm 0.

    Once reached it stays as it is. A batch without pairs that differ changes nothing. Raises ValueError for
    negative counts.
    """
    if only1 < 0 or only0 < 0:
        raise ValueError(f"impossible counts: {only1} and {only0} pairs")
    if state.stopped or only1 + only0 == 0:
        return state
    money, cash = hand_out(state.log_money, (1.0 / len(RATIOS),) * len(RATIOS), state.cash, state.batches)
    state = msgspec.structs.replace(state, log_money=money, cash=cash, batches=state.batches + 1)
    boost = state.log_boost + _boost(state, only1 + only0)
    gains = _growth(state.odds_margin, np.array([float(only1)]), only1 + only0)[:, 0]
    grown = tuple(own + float(gain) for own, gain in zip(state.log_money, gains, strict=True))
    state = msgspec.structs.replace(state, log_money=grown, log_boost=boost)
    return msgspec.structs.replace(state, stopped=log_e(state) >= -math.log(state.alpha))


def log_e(state: Paired) -> float:
    """Return the natural logarithm of the evidence against the hypothesis; 0 before any data."""
    return log_sum((log(state.cash), *state.log_money)) + state.log_boost


def reached(state: Paired) -> bool:
    """Return whether the evidence has ever been enough to reject the hypothesis at ``alpha``."""
    return state.stopped


def _growth(odds_margin: float, only1: Floats, pairs: int) -> Floats:
    """Return the logarithm of each expert's growth (a row) for each number of pairs with arm 1 bad (a column)."""
    ratios = np.array(RATIOS)[:, None]
    share = odds_margin / (1.0 + odds_margin)
    growth: Floats = np.log(ratios) * only1 - pairs * np.log1p(share * (ratios - 1.0))
    return growth


def _boost(state: Paired, pairs: int) -> float:
    """Return the logarithm of the boost of a batch with so many pairs that differ."""
    if pairs > MOST_BOOSTED:
        return 0.0
    only1 = np.arange(pairs + 1, dtype=np.float64)
    steps = np.log((pairs - only1[:-1]) / (only1[:-1] + 1.0)) + math.log(state.odds_margin)
    chances = np.concatenate(([0.0], np.cumsum(steps))) - pairs * math.log1p(state.odds_margin)
    own = np.array(state.log_money)[:, None] + _growth(state.odds_margin, only1, pairs)
    money = np.logaddexp(log(state.cash), np.logaddexp.reduce(own, axis=0)) + state.log_boost
    return max(0.0, log_boost(chances, money - log_e(state), -math.log(state.alpha) - log_e(state)))
