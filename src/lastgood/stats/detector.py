"""Has something become worse, at any time? Alarms that come too early only once in a known long while.

Hypothesis
    Against a second arm: in every period the odds of a bad trial in arm 1 are at most ``odds_margin`` times those in
    arm 0, whatever both do. Against a reference: in every period the rate is at most the reference.
Guarantee
    While the hypothesis holds and the trials of a period are independent, the mean number of periods until
    :func:`reached` is true is at least ``run_length`` (periods with trials; empty ones are not counted). This is not a
    chance of ever being wrong: an alarm comes some day, one in ``run_length`` periods at most.
Formula
    e-Shiryaev-Roberts: each period brings fresh money, ``R_j = (R_j + pi_j) g_j``, where ``g_j`` is the growth of expert ``j``'s bet,
    of mean at most 1. ``sum_j R_j`` less the number of periods cannot grow on average, hence the guarantee for an alarm
    at ``sum_j R_j >= run_length``. Against a second arm ``g_j = r_j**bad1 / Z_j`` as in :mod:`lastgood.stats.score`; against a
    reference ``p`` it is ``(q_j/p)**bad ((1-q_j)/(1-p))**(n-bad)``, ``q_j`` with ``r_j`` times the odds of ``p``.
Sources
    Shin, Ramdas and Rinaldo, E-detectors (2023); Turner, Ly and Gruenwald, Generic E-variables for exact
    sequential k-sample tests (2024).

Prefer the second arm: a daily cycle or an outage that hits everything breaks the hypothesis of a fixed reference.
The same by a difference of rates: :mod:`lastgood.stats.detector_margin`; on pairs: :mod:`lastgood.stats.detector_pairs`.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from lastgood.stats.hypergeometric import MAX_TRIALS, laws
from lastgood.stats.money import log_sum
from lastgood.stats.projection import log_ratio
from lastgood.stats.score import RATIOS


class Detector(msgspec.Struct, frozen=True, kw_only=True):
    """The state: plain numbers that survive JSON bit for bit.

    ``log_money`` is ``log(R_j + pi_j)``: what each expert has for the next period. ``reference`` is None with a second arm.
    """

    run_length: float
    odds_margin: float
    reference: float | None
    log_money: tuple[float, ...]
    periods: int = 0
    stopped: bool = False


def initial(run_length: float, odds_margin: float = 1.0) -> Detector:
    """Return the state against a second arm before any data.

    ``run_length`` above 1, in periods: with a period of a minute 43 200 is thirty days. ``odds_margin`` above 0.
    Raises ValueError otherwise.
    """
    if not (1.0 < run_length < math.inf and 0.0 < odds_margin < math.inf):
        raise ValueError(f"impossible settings: run length {run_length}, odds margin {odds_margin}")
    money = (-math.log(len(RATIOS)),) * len(RATIOS)
    return Detector(run_length=run_length, odds_margin=odds_margin, reference=None, log_money=money)


def initial_against(run_length: float, reference: float) -> Detector:
    """Return the state against a reference rate, between 0 and 1, that has its allowance in it (say 1.2 times).

    The reference may change from one period to the next, by what was known before it. Raises ValueError for other
    settings.
    """
    if not 0.0 < reference < 1.0:
        raise ValueError(f"impossible settings: reference {reference}")
    return msgspec.structs.replace(initial(run_length), reference=reference)


def update(state: Detector, n1: int, bad1: int, n0: int = 0, bad0: int = 0) -> Detector:
    """Return the state after one period; after the alarm it stays as it is, and watching anew starts anew.

    Against a reference arm 0 has no trials. A period without trials, or without those of one of two arms, changes
    nothing. Raises ValueError for wrong counts.
    """
    if not (0 <= bad1 <= n1 and 0 <= bad0 <= n0 and n1 + n0 <= MAX_TRIALS):
        raise ValueError(f"impossible counts: {bad1} of {n1} and {bad0} of {n0}")
    if state.reference is not None and n0:
        raise ValueError("impossible counts: against a reference there is no second arm")
    if state.stopped or n1 == 0 or (state.reference is None and n0 == 0):
        return state
    if state.reference is None:
        gains = _against_arm(state.odds_margin, n1, bad1, n0, bad0)
    else:
        gains = _against_reference(state.reference, n1, bad1)
    money, stopped = after_period(state.log_money, gains, state.run_length)
    return msgspec.structs.replace(state, log_money=money, periods=state.periods + 1, stopped=stopped)


def after_period(
    log_money: Sequence[float], gains: Sequence[float], run_length: float
) -> tuple[tuple[float, ...], bool]:
    """Return the logarithm of each expert's money for the next period, and whether the alarm is raised.

    ``gains`` are the logarithms of what the period multiplied each one's money by; all get the same fresh money.
    """
    grown = [own + gain for own, gain in zip(log_money, gains, strict=True)]
    fresh = -math.log(len(grown))
    return tuple(log_sum((own, fresh)) for own in grown), log_sum(grown) >= math.log(run_length)


def log_e(state: Detector) -> float:
    """Return the natural logarithm of the experts' money for the next period; 0 before any data.

    The alarm comes when it reaches about ``log(run_length + 1)``. It is no e-value: it grows with time on its own.
    """
    return log_sum(state.log_money)


def reached(state: Detector) -> bool:
    """Return whether the alarm was raised; while the hypothesis holds, after ``run_length`` periods on average."""
    return state.stopped


def _against_arm(odds_margin: float, n1: int, bad1: int, n0: int, bad0: int) -> list[float]:
    """Return the logarithm of each expert's growth, given the stratum's margins."""
    if not 0 < bad1 + bad0 < n1 + n0:
        return [0.0] * len(RATIOS)
    log_ratios = np.log(np.array([1.0, *RATIOS]))
    table = laws(n1, n0, bad1 + bad0, log_ratios + math.log(odds_margin))
    gains = (bad1 - table.origin) * log_ratios[1:] - (table.log_totals[1:] - table.log_totals[0])
    return [float(gain) for gain in gains]


def _against_reference(reference: float, n: int, bad: int) -> list[float]:
    """Return the logarithm of each expert's growth over the reference rate."""
    odds = [ratio * reference / (1.0 - reference) for ratio in RATIOS]
    return [log_ratio(n, bad, bet / (1.0 + bet), reference) for bet in odds]
