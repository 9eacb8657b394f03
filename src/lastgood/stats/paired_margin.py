"""Is arm 1's rate more than ``delta`` above arm 0's, where both met the same trials? Looked at for ever.

Hypothesis
    Each pair, given those before, is bad in arm 1 alone at most ``delta`` more often than in arm 0 alone: ``p1 <= p0 + delta``.
    Rates may drift, and so may how often the arms agree.
Guarantee
    When the hypothesis holds the chance that :func:`reached` is ever true is at most ``alpha`` (Ville's inequality).
Formula
    A pair's score ``d`` is 1 when arm 1 alone was bad, -1 when arm 0 alone was, else 0. Expert ``j`` multiplies its money by
    ``1 + s_j (d - delta)``, with mean at most 1, ``s_j = S_j/(1 + delta)`` for the stakes ``S``.
Source
    Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting (2024).

With ``delta`` as 0 this asks what :mod:`lastgood.stats.paired` asks at even odds, a little less sharply. With the arms
swapped and ``delta`` below 0 it is the proof of non-inferiority.
"""

import math
from typing import Final

import msgspec

from lastgood.stats.money import CASH, hand_out, log, log_sum

STAKES: Final = (0.02, 0.06, 0.15, 0.35, 0.65, 0.9)
"""The parts of an expert's money that it puts on each pair."""


class PairedMargin(msgspec.Struct, frozen=True, kw_only=True):
    """The state: plain numbers that survive JSON bit for bit."""

    alpha: float
    delta: float
    log_money: tuple[float, ...]
    cash: float
    batches: int = 0
    stopped: bool = False


def initial(alpha: float, delta: float = 0.0, *, cash: float = CASH) -> PairedMargin:
    """Return the state before any data.

    ``alpha`` between 0 and 1, ``delta`` above -1 and below 1, ``cash`` from 0 to below 1. To show that arm 1 is less than
    ``m`` worse, start with ``delta = -m`` and swap the arms: the hypothesis is then ``p0 <= p1 - m``. Raises ValueError otherwise.
    """
    if not (0.0 < alpha < 1.0 and -1.0 < delta < 1.0 and 0.0 <= cash < 1.0):
        raise ValueError(f"impossible settings: alpha {alpha}, delta {delta}, cash {cash}")
    money = (math.log((1.0 - cash) / len(STAKES)),) * len(STAKES)
    return PairedMargin(alpha=alpha, delta=delta, log_money=money, cash=cash)


def update(state: PairedMargin, pairs: int, only1: int, only0: int) -> PairedMargin:
    """Return the state after a batch of ``pairs``: in ``only1`` just arm 1 was bad, in ``only0`` just arm 0.

    Once reached it stays as it is. An empty batch changes nothing. Raises ValueError for wrong counts.
    """
    if not (only1 >= 0 and only0 >= 0 and only1 + only0 <= pairs):
        raise ValueError(f"impossible counts: {only1} and {only0} of {pairs} pairs")
    if state.stopped or pairs == 0:
        return state
    money, cash = hand_out(state.log_money, (1.0 / len(STAKES),) * len(STAKES), state.cash, state.batches)
    alike = pairs - only1 - only0
    grown = []
    for own, stake in zip(money, STAKES, strict=True):
        part = stake / (1.0 + state.delta)
        won, lost, drift = (math.log1p(part * (score - state.delta)) for score in (1.0, -1.0, 0.0))
        grown.append(own + only1 * won + only0 * lost + alike * drift)
    state = msgspec.structs.replace(state, log_money=tuple(grown), cash=cash, batches=state.batches + 1)
    return msgspec.structs.replace(state, stopped=log_e(state) >= -math.log(state.alpha))


def log_e(state: PairedMargin) -> float:
    """Return the natural logarithm of the evidence against the hypothesis; 0 before any data."""
    return log_sum((log(state.cash), *state.log_money))


def reached(state: PairedMargin) -> bool:
    """Return whether the evidence has ever been enough to reject the hypothesis at ``alpha``."""
    return state.stopped
