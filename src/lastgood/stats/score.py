"""SCORE: is arm 1 worse than arm 0? A test that may be looked at after every batch, for ever.

Hypothesis
    In every stratum the odds of a bad trial in arm 1 are at most ``odds_margin`` times those in arm 0. Rates may
    drift from stratum to stratum, and so may the split between the arms.
Guarantee
    When the hypothesis holds and the trials of a stratum are independent, the chance that :func:`reached` is
    ever true is at most ``alpha``, however often and whenever anyone looks (Ville's inequality).
Formula
    Given a stratum's margins, the bad trials of arm 1 have the law ``h(x) ~ C(n1, x) C(n0, K - x) psi0**x``. Expert
    ``j`` bets that the odds ratio is ``r_j`` times the margin and multiplies its money by ``r_j**x / Z_j``,
    ``Z_j = sum_x h(x) r_j**x``. The evidence is all experts' money and the ``cash`` not yet handed out, of which each
    stratum hands out a part, so that a change that comes late meets fresh money. Before each stratum the
    growth ``f`` is boosted by the largest ``b`` with ``sum_x h(x) min(b f(x), T) = 1``, ``T`` the growth that would
    reach ``1/alpha``: nothing is wasted on going past the bound. ``f`` rises with ``x``, so its mean is at most 1
    for smaller odds ratios as well.
Sources
    Turner, Ly and Gruenwald, Generic E-variables for exact sequential k-sample tests (2024); Turner and
    Gruenwald, on stratified count data (2023); Fischer and Ramdas, SPRT without overshoot (2024).

Boosted evidence belongs to its ``alpha``: it must not be averaged with other evidence nor held against
another bound.
"""

import math
import operator
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from lastgood.stats.hypergeometric import MAX_TRIALS, FewLaws, Laws, laws_by_ratio
from lastgood.stats.money import CASH, hand_out, log, log_sum

RATIOS: Final = (1.3, 1.8, 2.8, 5.0, 12.0, 100.0)
"""The experts' odds ratios, as multiples of the margin."""


class Score(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state: about two dozen plain numbers that survive JSON bit for bit.

    ``ratios`` (each above 1) and ``prior`` (sums to 1) describe the experts; ``log_money`` is the natural
    logarithm of each expert's money, ``log_boost`` of the product of the boosts. ``stopped`` once the
    bound was reached: from there on only that counts.
    """

    alpha: float
    odds_margin: float
    ratios: tuple[float, ...]
    prior: tuple[float, ...]
    log_money: tuple[float, ...]
    cash: float
    log_boost: float = 0.0
    strata: int = 0
    stopped: bool = False


def initial(
    alpha: float,
    odds_margin: float = 1.0,
    *,
    cash: float = CASH,
    ratios: Sequence[float] = RATIOS,
    prior: Sequence[float] | None = None,
) -> Score:
    """Return the state before any data.

    ``alpha`` between 0 and 1, both excluded; ``odds_margin`` above 0; ``cash`` from 0 up to but not including 1;
    ``ratios`` above 1; ``prior`` positive with sum 1, even when not given. Raises ValueError otherwise.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
    if not 0.0 < odds_margin < math.inf:
        raise ValueError(f"the odds margin must be a positive number, not {odds_margin}")
    if not 0.0 <= cash < 1.0:
        raise ValueError(f"the cash must be at least 0 and less than 1, not {cash}")
    if not ratios or not all(1.0 < ratio < math.inf for ratio in ratios):
        raise ValueError("each expert's odds ratio must be above 1")
    parts = tuple(prior) if prior is not None else (1.0 / len(ratios),) * len(ratios)
    if len(parts) != len(ratios) or min(parts) <= 0.0 or not math.isclose(math.fsum(parts), 1.0):
        raise ValueError("the prior must hold one positive part for each expert, with sum 1")
    return Score(
        alpha=alpha,
        odds_margin=odds_margin,
        ratios=tuple(ratios),
        prior=parts,
        log_money=tuple(math.log((1.0 - cash) * part) for part in parts),
        cash=cash,
    )


def update(state: Score, n1: int, bad1: int, n0: int, bad0: int) -> Score:
    """Return the state after one stratum: ``bad1`` of ``n1`` trials in arm 1, ``bad0`` of ``n0`` in arm 0.

    Once reached it stays reached, whatever follows. The evidence may be carried on, but past the bound nothing
    is guaranteed of it: the number to show is the one that reached it. An empty stratum changes nothing. Time
    and memory grow with the square root of the counts at most. Raises ValueError for counts that are negative, contradict each other, or exceed ``MAX_TRIALS``.
    """
    if not (0 <= bad1 <= n1 and 0 <= bad0 <= n0 and n1 + n0 <= MAX_TRIALS):
        raise ValueError(f"impossible counts: {bad1} of {n1} and {bad0} of {n0}")
    if n1 + n0 == 0:
        return state
    money, cash = hand_out(state.log_money, state.prior, state.cash, state.strata)
    log_boost, events = state.log_boost, bad1 + bad0
    if n1 > 0 and n0 > 0 and 0 < events < n1 + n0:
        bets = _Bets(state, money, cash, laws_by_ratio(n1, n0, events, state.odds_margin, state.ratios))
        money, log_boost = bets.grown(bad1), log_boost + bets.log_boost(bound(state) - log_boost)
    evidence = log_sum((log(cash), *money)) + log_boost
    return msgspec.structs.replace(
        state,
        log_money=money,
        cash=cash,
        log_boost=log_boost,
        strata=state.strata + 1,
        stopped=state.stopped or evidence >= bound(state),
    )


def log_e(state: Score) -> float:
    """Return the natural logarithm of the evidence against the hypothesis; 0 before any data."""
    return log_sum((log(state.cash), *state.log_money)) + state.log_boost


def bound(state: Score) -> float:
    """Return ``log(1/alpha)``: the evidence that is enough."""
    return -math.log(state.alpha)


def reached(state: Score) -> bool:
    """Return whether the evidence has ever been enough to reject the hypothesis at ``alpha``."""
    return state.stopped


class _Bets:
    """What the experts bet in one stratum, of the money and cash they have after the hand-out."""

    def __init__(self, state: Score, money: Sequence[float], cash: float, table: Laws | FewLaws) -> None:
        self._money = money
        self._log_cash = log(cash)
        self._table = table
        self._log_ratios = _logs(state.ratios)
        self._log_norms = table.log_norms()

    def grown(self, x: int) -> tuple[float, ...]:
        """Return the experts' money if arm 1 has ``x`` bad trials: ``r_j**x / Z_j`` times what it was."""
        steps = x - self._table.origin
        experts = zip(self._money, self._log_ratios, self._log_norms, strict=True)
        return tuple([own + steps * log_ratio - log_norm for own, log_ratio, log_norm in experts])

    def log_boost(self, log_bound: float) -> float:
        """Return ``log b`` for a bound on all money and cash, before the boost.

        ``b`` starts at 1 and grows with the set of outcomes that would reach the bound, until that set stays the
        same. ``h f`` is the mixture of the experts' laws by their money, so its sums are those of the mixture.
        """
        table = self._table
        if self._log_all(table.high) <= log_bound:
            return 0.0
        logs = (self._log_cash, *self._money)
        log_before = log_sum(logs)
        log_needed = log_bound - log_before
        shares = [math.exp(own - log_before) for own in logs]
        outcomes = range(table.low, table.high + 1)
        log_b, cut = 0.0, len(outcomes)
        while True:
            following = bisect_left(outcomes, log_bound - log_b, hi=cut, key=self._log_all)
            if following == cut:
                return log_b
            cut = following
            spent = log_needed + log(table.at_least(outcomes[cut]))
            kept = math.fsum(map(operator.mul, shares, table.below(outcomes[cut])))
            if spent >= 0.0 or kept <= 0.0:
                return log_b
            log_b = max(log_b, math.log(-math.expm1(spent) / kept))

    def _log_all(self, x: int) -> float:
        """Return the logarithm of all money and cash if arm 1 has ``x`` bad trials; it rises with ``x``."""
        return log_sum((self._log_cash, *self.grown(x)))


@lru_cache(maxsize=64)
def _logs(ratios: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(map(math.log, ratios))
