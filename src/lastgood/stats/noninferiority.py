"""Is arm 1 shown to be less than a margin worse than arm 0? The proof to ask for before arm 1 takes over.

Hypothesis
    Arm 1 is worse by the margin or more in every stratum: ``p1 >= p0 + delta``, or odds at least ``odds_margin`` times
    arm 0's.
Guarantee
    When the hypothesis holds and the trials of a stratum are independent, the chance that the test is ever
    reached is at most ``alpha`` (Ville's inequality). Several metrics that must all be shown need no splitting of
    ``alpha``: a harmful arm has at least one whose hypothesis holds.
Formula
    By a difference: one bet on both arms having the pooled rate of the past, against the nearest pair on the
    line ``p1 = p0 + delta`` (:mod:`lastgood.stats.projection`). By odds: SCORE with the arms swapped and the margin
    inverted, with experts at an arm 1 that is better, equal and a little worse.
Source
    Turner, Ly and Gruenwald, Generic E-variables for exact sequential k-sample tests (2024).
"""

import math
from typing import Final

import msgspec

from lastgood.stats import score
from lastgood.stats.projection import log_factor
from lastgood.stats.score import Score

PAST_BAD: Final = 0.5
PAST_TRIALS: Final = 1.0
"""The past that the pooled rate starts with: next to nothing, and even, where a bet on equal arms says least."""


class NonInferiority(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state by a difference; plain numbers. ``trials`` and ``bad`` are both arms' past together."""

    alpha: float
    delta: float
    log_e: float = 0.0
    trials: int = 0
    bad: int = 0
    stopped: bool = False


def initial(alpha: float, delta: float) -> NonInferiority:
    """Return the state before any data, both settings between 0 and 1. Raises ValueError otherwise."""
    if not (0.0 < alpha < 1.0 and 0.0 < delta < 1.0):
        raise ValueError(f"impossible settings: alpha {alpha}, delta {delta}")
    return NonInferiority(alpha=alpha, delta=delta)


def update(state: NonInferiority, n1: int, bad1: int, n0: int, bad0: int) -> NonInferiority:
    """Return the state after one stratum; once reached it stays as it is.

    An empty stratum changes nothing. Raises ValueError for wrong counts.
    """
    if not (0 <= bad1 <= n1 and 0 <= bad0 <= n0):
        raise ValueError(f"impossible counts: {bad1} of {n1} and {bad0} of {n0}")
    if state.stopped or n1 + n0 == 0:
        return state
    rate = (state.bad + PAST_BAD) / (state.trials + PAST_TRIALS)
    log_e = state.log_e
    if n1 and n0:
        log_e += log_factor((n1, bad1, n0, bad0), (rate, rate), state.delta)
    return msgspec.structs.replace(
        state,
        log_e=log_e,
        trials=state.trials + n1 + n0,
        bad=state.bad + bad1 + bad0,
        stopped=log_e >= -math.log(state.alpha),
    )


def reached(state: NonInferiority) -> bool:
    """Return whether arm 1 has ever been shown to be less than ``delta`` worse."""
    return state.stopped


def initial_by_odds(alpha: float, odds_margin: float) -> Score:
    """Return the state of the test by odds; ``odds_margin`` above 1. Raises ValueError otherwise."""
    if not 1.0 < odds_margin < math.inf:
        raise ValueError(f"the odds margin must be above 1, not {odds_margin}")
    ratios = (odds_margin**0.57, odds_margin, odds_margin**1.7)
    return score.initial(alpha, 1.0 / odds_margin, cash=0.0, ratios=ratios, prior=(0.25, 0.5, 0.25))


def update_by_odds(state: Score, n1: int, bad1: int, n0: int, bad0: int) -> Score:
    """Return the state by odds after one stratum; ask :func:`lastgood.stats.score.reached` of it."""
    return score.update(state, n0, bad0, n1, bad1)
