"""Is arm 1's rate more than ``delta`` above arm 0's? Looked at after every batch, for ever.

Hypothesis
    In every stratum ``p1 <= p0 + delta``. Rates may drift from stratum to stratum, and so may the split.
Guarantee
    When the hypothesis holds and the trials of a stratum are independent, the chance that :func:`reached` is
    ever true is at most ``alpha`` (Ville's inequality).
Formula
    Before a stratum expert ``j`` bets on ``q0 = (bad + 1/2)/(n + 5)`` from arm 0's past and ``q1 = q0 + m_j delta``, against the
    nearest pair of rates on the line ``p1 = p0 + delta`` (:mod:`lastgood.stats.projection`); its money grows by
    the likelihood ratio. Part of the money is kept as cash for later starts.
Source
    Turner, Ly and Gruenwald, Generic E-variables for exact sequential k-sample tests (2024).

An odds ratio (:mod:`lastgood.stats.score`) suits rates of any size; this suits a difference that matters for
itself, such as half a percentage point. "Worse by both" is rejected when both tests have reached their bounds.
"""

import math
from typing import Final

import msgspec

from lastgood.stats.money import CASH, hand_out, log, log_sum
from lastgood.stats.projection import log_factor

MULTIPLES: Final = (1.5, 2.5, 5.0, 12.0, 40.0)
"""What the experts bet the difference to be, in multiples of the margin."""

PAST_BAD: Final = 0.5
PAST_TRIALS: Final = 5.0
"""What is added to arm 0's past, so that a bet is never on exactly 0; so little that one stratum outweighs it."""


class Margin(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state: plain numbers that survive JSON bit for bit. ``trials`` and ``bad`` are arm 0's past."""

    alpha: float
    delta: float
    log_money: tuple[float, ...]
    cash: float
    trials: int = 0
    bad: int = 0
    strata: int = 0
    stopped: bool = False


def initial(alpha: float, delta: float, *, cash: float = CASH) -> Margin:
    """Return the state before any data; ``alpha`` and ``delta`` between 0 and 1, ``cash`` from 0 to below 1.

    Raises ValueError otherwise.
    """
    if not (0.0 < alpha < 1.0 and 0.0 < delta < 1.0 and 0.0 <= cash < 1.0):
        raise ValueError(f"impossible settings: alpha {alpha}, delta {delta}, cash {cash}")
    part = (1.0 - cash) / len(MULTIPLES)
    return Margin(alpha=alpha, delta=delta, log_money=(math.log(part),) * len(MULTIPLES), cash=cash)


def update(state: Margin, n1: int, bad1: int, n0: int, bad0: int) -> Margin:
    """Return the state after one stratum; once reached it stays as it is.

    An empty stratum changes nothing. Raises ValueError for wrong counts.
    """
    if not (0 <= bad1 <= n1 and 0 <= bad0 <= n0):
        raise ValueError(f"impossible counts: {bad1} of {n1} and {bad0} of {n0}")
    if state.stopped or n1 + n0 == 0:
        return state
    prior = (1.0 / len(MULTIPLES),) * len(MULTIPLES)
    money, cash = hand_out(state.log_money, prior, state.cash, state.strata)
    if n1 and n0:
        counts = (n1, bad1, n0, bad0)
        money = tuple(
            own + _grown(state, multiple, counts) for own, multiple in zip(money, MULTIPLES, strict=True)
        )
    state = msgspec.structs.replace(
        state,
        log_money=money,
        cash=cash,
        trials=state.trials + n0,
        bad=state.bad + bad0,
        strata=state.strata + 1,
    )
    return msgspec.structs.replace(state, stopped=log_e(state) >= -math.log(state.alpha))


def log_e(state: Margin) -> float:
    """Return the natural logarithm of the evidence against the hypothesis; 0 before any data."""
    return log_sum((log(state.cash), *state.log_money))


def reached(state: Margin) -> bool:
    """Return whether the evidence has ever been enough to reject the hypothesis at ``alpha``."""
    return state.stopped


def _grown(state: Margin, multiple: float, counts: tuple[int, int, int, int]) -> float:
    """Return the logarithm of an expert's growth; 0, no bet, where its rate would be none."""
    q0 = (state.bad + PAST_BAD) / (state.trials + PAST_TRIALS)
    q1 = q0 + multiple * state.delta
    return log_factor(counts, (q1, q0), state.delta) if q1 < 1.0 else 0.0
