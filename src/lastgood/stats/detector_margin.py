"""Has arm 1's rate come to lie more than ``delta`` above arm 0's? Too early only once in a known long while.

Hypothesis
    In every period ``p1 <= p0 + delta``. Rates may drift from period to period, and so may the split.
Guarantee
    While the hypothesis holds and the trials of a period are independent, the mean number of periods until
    :func:`reached` is true is at least ``run_length`` (periods with trials of both arms; others are not counted).
Formula
    e-Shiryaev-Roberts as in :mod:`lastgood.stats.detector`, with the bets of :mod:`lastgood.stats.margin`: before a period expert
    ``j`` bets on arm 0's past rate and on ``m_j delta`` above it, against the nearest pair of rates at the margin.
Sources
    Shin, Ramdas and Rinaldo, E-detectors (2023); Turner, Ly and Gruenwald, Generic E-variables for exact
    sequential k-sample tests (2024).
"""

import math

import msgspec

from lastgood.stats.detector import after_period
from lastgood.stats.margin import MULTIPLES, PAST_BAD, PAST_TRIALS
from lastgood.stats.money import log_sum
from lastgood.stats.projection import log_factor


class MarginDetector(msgspec.Struct, frozen=True, kw_only=True):
    """The state: plain numbers that survive JSON bit for bit. ``trials`` and ``bad`` are arm 0's past.

    ``log_money`` is ``log(R_j + pi_j)``: what each expert has for the next period.
    """

    run_length: float
    delta: float
    log_money: tuple[float, ...]
    trials: int = 0
    bad: int = 0
    periods: int = 0
    stopped: bool = False


def initial(run_length: float, delta: float) -> MarginDetector:
    """Return the state before any data; ``run_length`` above 1, in periods, ``delta`` between 0 and 1.

    Raises ValueError otherwise.
    """
    if not (1.0 < run_length < math.inf and 0.0 < delta < 1.0):
        raise ValueError(f"impossible settings: run length {run_length}, delta {delta}")
    money = (-math.log(len(MULTIPLES)),) * len(MULTIPLES)
    return MarginDetector(run_length=run_length, delta=delta, log_money=money)


def update(state: MarginDetector, n1: int, bad1: int, n0: int, bad0: int) -> MarginDetector:
    """Return the state after one period; after the alarm it stays as it is.

    A period without trials of one arm brings no bet; that of arm 0 becomes part of the past. Raises ValueError for
    wrong counts.
    """
    if not (0 <= bad1 <= n1 and 0 <= bad0 <= n0):
        raise ValueError(f"impossible counts: {bad1} of {n1} and {bad0} of {n0}")
    if state.stopped or n1 + n0 == 0:
        return state
    past = {"trials": state.trials + n0, "bad": state.bad + bad0}
    if not (n1 and n0):
        return msgspec.structs.replace(state, **past)
    q0 = (state.bad + PAST_BAD) / (state.trials + PAST_TRIALS)
    gains = [_gain((n1, bad1, n0, bad0), q0, multiple, state.delta) for multiple in MULTIPLES]
    money, stopped = after_period(state.log_money, gains, state.run_length)
    return msgspec.structs.replace(state, log_money=money, periods=state.periods + 1, stopped=stopped, **past)


def log_e(state: MarginDetector) -> float:
    """Return the natural logarithm of the experts' money for the next period; 0 before any data.

    It is no e-value: it grows with time on its own.
    """
    return log_sum(state.log_money)


def reached(state: MarginDetector) -> bool:
    """Return whether the alarm was raised; while the hypothesis holds, after ``run_length`` periods on average."""
    return state.stopped


def _gain(counts: tuple[int, int, int, int], q0: float, multiple: float, delta: float) -> float:
    """Return the logarithm of an expert's growth; 0, no bet, where its rate would be none."""
    q1 = q0 + multiple * delta
    return log_factor(counts, (q1, q0), delta) if q1 < 1.0 else 0.0
