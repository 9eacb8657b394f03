"""Has arm 1 become worse than arm 0 where both met the same trials? Too early only once in a known long while.

Hypothesis
    In every period, by odds: of the pairs in which just one arm was bad, it was arm 1 at odds of at most ``odds_margin`` (to
    1). By a difference: a pair is bad in arm 1 alone at most ``delta`` more often than in arm 0 alone.
Guarantee
    While the hypothesis holds and pairs are independent, the mean number of periods until :func:`reached` is true is at
    least ``run_length`` (periods with pairs; empty ones are not counted).
Formula
    e-Shiryaev-Roberts as in :mod:`lastgood.stats.detector`. By odds expert ``j``'s money grows by
    ``r_j**x ((1 + psi0)/(1 + psi0 r_j))**D`` where arm 1 is the bad one in ``x`` of ``D`` pairs that differ
    (:mod:`lastgood.stats.paired`); by a difference by ``1 + s_j (d - delta)`` a pair, ``d`` its score of 1, -1 or 0
    (:mod:`lastgood.stats.paired_margin`). Both have a mean of at most 1.
Sources
    Shin, Ramdas and Rinaldo, E-detectors (2023); McNemar (1947) for the condition; Waudby-Smith and Ramdas (2024)
    for the difference.

Whatever hits both answers of a pair, a daily cycle or a hard hour, cancels: it is no change of one arm against the other.
"""

import math

import msgspec

from lastgood.stats.detector import after_period
from lastgood.stats.money import log_sum
from lastgood.stats.paired_margin import STAKES
from lastgood.stats.score import RATIOS


class PairsDetector(msgspec.Struct, frozen=True, kw_only=True):
    """The state: plain numbers that survive JSON bit for bit. One of ``odds_margin`` and ``delta`` is None.

    ``log_money`` is ``log(R_j + pi_j)``: what each expert has for the next period.
    """

    run_length: float
    odds_margin: float | None
    delta: float | None
    log_money: tuple[float, ...]
    periods: int = 0
    stopped: bool = False


def initial(run_length: float, odds_margin: float = 1.0) -> PairsDetector:
    """Return the state by odds before any data; ``run_length`` above 1, in periods, ``odds_margin`` above 0.

    Raises ValueError otherwise.
    """
    if not (1.0 < run_length < math.inf and 0.0 < odds_margin < math.inf):
        raise ValueError(f"impossible settings: run length {run_length}, odds margin {odds_margin}")
    money = (-math.log(len(RATIOS)),) * len(RATIOS)
    return PairsDetector(run_length=run_length, odds_margin=odds_margin, delta=None, log_money=money)


def initial_by_difference(run_length: float, delta: float) -> PairsDetector:
    """Return the state by a difference before any data; ``run_length`` above 1, in periods, ``delta`` from 0 to below 1.

    Raises ValueError otherwise.
    """
    if not (1.0 < run_length < math.inf and 0.0 <= delta < 1.0):
        raise ValueError(f"impossible settings: run length {run_length}, delta {delta}")
    money = (-math.log(len(STAKES)),) * len(STAKES)
    return PairsDetector(run_length=run_length, odds_margin=None, delta=delta, log_money=money)


def update(state: PairsDetector, pairs: int, only1: int, only0: int) -> PairsDetector:
    """Return the state after a period of ``pairs``: in ``only1`` just arm 1 was bad, in ``only0`` just arm 0.

    After the alarm it stays as it is. A period without pairs changes nothing. Raises ValueError for wrong counts.
    """
    if not (only1 >= 0 and only0 >= 0 and only1 + only0 <= pairs):
        raise ValueError(f"impossible counts: {only1} and {only0} of {pairs} pairs")
    if state.stopped or pairs == 0:
        return state
    gains = (
        _by_odds(state.odds_margin, only1, only0)
        if state.odds_margin is not None
        else _by_difference(state.delta or 0.0, pairs, only1, only0)
    )
    money, stopped = after_period(state.log_money, gains, state.run_length)
    return msgspec.structs.replace(state, log_money=money, periods=state.periods + 1, stopped=stopped)


def log_e(state: PairsDetector) -> float:
    """Return the natural logarithm of the experts' money for the next period; 0 before any data.

    It is no e-value: it grows with time on its own.
    """
    return log_sum(state.log_money)


def reached(state: PairsDetector) -> bool:
    """Return whether the alarm was raised; while the hypothesis holds, after ``run_length`` periods on average."""
    return state.stopped


def _by_odds(odds_margin: float, only1: int, only0: int) -> list[float]:
    """Return the logarithm of each expert's growth, given how many pairs differ."""
    share = odds_margin / (1.0 + odds_margin)
    return [only1 * math.log(ratio) - (only1 + only0) * math.log1p(share * (ratio - 1.0)) for ratio in RATIOS]


def _by_difference(delta: float, pairs: int, only1: int, only0: int) -> list[float]:
    """Return the logarithm of each expert's growth."""
    gains = []
    for stake in STAKES:
        part = stake / (1.0 + delta)
        won, lost, drift = (math.log1p(part * (score - delta)) for score in (1.0, -1.0, 0.0))
        gains.append(only1 * won + only0 * lost + (pairs - only1 - only0) * drift)
    return gains
