"""Is arm 1 slower than arm 0? Betting on ranks of histograms, looked at after every batch, for ever.

Hypothesis
    In every stratum arm 1's values are stochastically no larger than arm 0's. Nothing is assumed of the tail, and
    both arms may drift together.
Guarantee
    When the hypothesis holds and the values of a stratum are independent, the chance that :func:`reached` is
    ever true is at most ``alpha`` (Ville's inequality). A faster arm 1 is never punished.
Formula
    The pooled past gives each bucket a mid-rank, and so one of 21 classes ``g``. Expert ``j`` bets that arm 1 has
    the non-decreasing density ratio ``F_j(g)`` to arm 0; with ``w`` arm 1's part of the stratum, each of its values
    multiplies the expert's money by ``F_j(g) / (w F_j(g) + 1 - w)``, each of arm 0's by ``1 / (w F_j(g) + 1 - w)``. The
    weighted mean of both expectations is 1 for equal arms and less for a faster arm 1; by the inequality of
    arithmetic and geometric means the product over the stratum has a mean of at most 1. The experts bet on shifts, on slower
    parts of all sizes and on groups that grow (:mod:`lastgood.stats.shapes`).
Boost
    With ``draws`` above 0, close to the bound, the growth is held against that of so many tables drawn by lot with the
    stratum's own margins, and what would go past the bound is given to the others (:mod:`lastgood.stats.boosting`).
    The table that was observed is exchangeable with the drawn ones when both arms are alike, so the guarantee is
    then for arms that are alike. The lot is seeded with the stratum's name: a replay draws the same tables.
Sources
    Turner, Ly and Gruenwald, Generic E-variables for exact sequential k-sample tests (2024); Fischer and Ramdas,
    SPRT without overshoot (2024).
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from lastgood.stats.boosting import log_boost
from lastgood.stats.money import CASH, hand_out, log, log_sum
from lastgood.stats.quantiles import merged, total
from lastgood.stats.shapes import DENSITIES, EDGES, PRIOR

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MIN_PAST: Final = 1000
"""Values the past must hold before anyone bets: ranks of fewer say too little."""

RERANK: Final = 10
"""Strata after which the ranks are taken again, from a past that has grown."""

BOOST_FROM: Final = 4.0
"""Tables are drawn when the evidence is less than ``exp(4)`` times from its bound: before, boosting gains nothing."""

MOST_DRAWN: Final = 10**6
"""A stratum of more values than this is not boosted."""


class Ranks(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state: plain numbers and two histograms.

    ``past`` is every value so far, ``ranked`` the past at the time when the ranks were last taken. ``draws`` is how
    many tables a boost draws, ``log_boost`` the logarithm of the product of the boosts.
    """

    alpha: float
    log_money: tuple[float, ...]
    cash: float
    past: dict[int, int] = {}
    ranked: dict[int, int] = {}
    strata: int = 0
    stopped: bool = False
    draws: int = 0
    log_boost: float = 0.0


def initial(
    alpha: float, past: Mapping[int, int] | None = None, *, cash: float = CASH, draws: int = 0
) -> Ranks:
    """Return the state before any evidence; ``alpha`` between 0 and 1, ``cash`` from 0 to below 1.

    ``past`` is a histogram of earlier values, which only set ranks. Without at least :data:`MIN_PAST` of them the
    first strata only fill the past. ``draws`` is 0 for no boost; 200 are plenty. Raises ValueError for other
    settings.
    """
    if not (0.0 < alpha < 1.0 and 0.0 <= cash < 1.0 and draws >= 0):
        raise ValueError(f"impossible settings: alpha {alpha}, cash {cash}, draws {draws}")
    known = merged((past or {},))
    money = tuple(math.log((1.0 - cash) * part) for part in PRIOR)
    return Ranks(alpha=alpha, log_money=money, cash=cash, past=known, ranked=known, draws=draws)


def update(
    state: Ranks, values1: Mapping[int, int], values0: Mapping[int, int], *, stratum: str = ""
) -> Ranks:
    """Return the state after one stratum, a histogram of each arm; once reached it stays as it is.

    ``stratum`` is its name, different for every stratum and every process of evidence, and seeds the boost; without
    a name the number of strata so far does. An empty stratum changes nothing. Raises ValueError for negative counts.
    """
    if min(values1.values(), default=0) < 0 or min(values0.values(), default=0) < 0:
        raise ValueError("impossible counts: a histogram's counts must not be negative")
    n1, n0 = total(values1), total(values0)
    if state.stopped or not (n1 or n0):
        return state
    ranked = state.past if state.strata % RERANK == 0 else state.ranked
    money, cash = hand_out(state.log_money, PRIOR, state.cash, state.strata)
    boost = state.log_boost
    if n1 and n0 and total(ranked) >= MIN_PAST:
        table = _classes(tuple(ranked.items())).table(values1, values0)
        growth = table.log_growth()
        boost += _boost(state, (log(cash), *money), table, stratum)
        money = tuple([own + gain for own, gain in zip(money, growth.tolist(), strict=True)])
    return msgspec.structs.replace(
        state,
        log_boost=boost,
        log_money=money,
        cash=cash,
        past=merged((state.past, values1, values0)),
        ranked=ranked,
        strata=state.strata + 1,
        stopped=log_sum((log(cash), *money)) + boost >= -math.log(state.alpha),
    )


def log_e(state: Ranks) -> float:
    """Return the natural logarithm of the evidence against the hypothesis; 0 before any data.

    Boosted evidence belongs to its ``alpha``: it must not be averaged with other evidence nor held against another
    bound.
    """
    return log_sum((log(state.cash), *state.log_money)) + state.log_boost


def reached(state: Ranks) -> bool:
    """Return whether the evidence has ever been enough to reject the hypothesis at ``alpha``."""
    return state.stopped


def log_growth(ranked: Mapping[int, int], values1: Mapping[int, int], values0: Mapping[int, int]) -> Floats:
    """Return the logarithm of each expert's growth in a stratum, with ranks from ``ranked``.

    Neither arm nor ``ranked`` may be empty.
    """
    return _classes(tuple(ranked.items())).table(values1, values0).log_growth()


class _Table(NamedTuple):
    """A stratum by class: how many of each arm's values fall into each. ``scales`` give the density ratios mean 1."""

    scales: Floats
    counts1: Floats
    counts0: Floats

    def log_growth(self, drawn: Floats | None = None) -> Floats:
        """Return the logarithm of each expert's growth; with ``drawn``, a row for each table of arm 1 drawn."""
        pooled = self.counts1 + self.counts0
        weight = self.counts1.sum() / pooled.sum()
        # The product over all values of w F + 1 - w, and arm 1's scales, which are the same for every table drawn.
        lost = np.log(weight * DENSITIES * self.scales[:, None] + (1.0 - weight)) @ pooled
        lost -= self.counts1.sum() * np.log(self.scales)
        growth: Floats = (self.counts1 if drawn is None else drawn) @ _LOG_DENSITIES - lost
        return growth


def _boost(state: Ranks, log_held: tuple[float, ...], table: _Table, name: str) -> float:
    """Return the logarithm of this stratum's boost; 0 when none is wanted or the bound is far.

    ``log_held`` are the cash and the experts' money after the hand-out, ``name`` the stratum's.
    """
    if not state.draws:
        return 0.0
    before = log_sum(log_held) + state.log_boost
    needed = -math.log(state.alpha) - before
    pooled = table.counts1 + table.counts0
    if not 0.0 < needed < BOOST_FROM or pooled.sum() > MOST_DRAWN:
        return 0.0
    digest = blake2b((name or str(state.strata)).encode(), digest_size=32).digest()
    chance, size = np.random.RandomState(np.frombuffer(digest, dtype="<u4")), int(table.counts1.sum())
    tables = np.vstack((table.counts1, _drawn(pooled.astype(np.int64), size, chance, state.draws)))
    growth = table.log_growth(tables)
    money = np.column_stack((np.full(len(tables), log_held[0]), growth + np.array(log_held[1:])))
    grown = np.logaddexp.reduce(money, axis=1) + state.log_boost - before
    return log_boost(np.full(len(tables), -math.log(len(tables))), grown, needed)


def _drawn(pooled: Ints, size: int, chance: np.random.RandomState, draws: int) -> Floats:
    """Return tables drawn without replacement: how many of arm 1's ``size`` values fall into each class.

    RandomState is the generator whose numbers never change between versions of numpy, so replays agree.
    """
    tables = np.zeros((draws, len(pooled)))
    left = np.full(draws, size, dtype=np.int64)
    others = int(pooled.sum())
    for number, count in enumerate(pooled.tolist()):
        others -= count
        some = left > 0
        if count and some.any():
            got = chance.hypergeometric(count, others, left[some]) if others else left[some]
            tables[some, number] = got
            left[some] -= got
    return tables


class _Classes:
    """The classes of mid-ranks that a histogram, not empty, gives to buckets.

    ``scales`` are what each expert's density ratios are to be multiplied with for a mean of 1 over the histogram; nobody
    may write into them.
    """

    def __init__(self, ranked: Sequence[tuple[int, int]]) -> None:
        pairs = sorted(ranked)
        counts = np.array([count for _, count in pairs], dtype=np.float64)
        self._buckets = [bucket for bucket, _ in pairs]
        self._below = np.concatenate(([0.0], counts.cumsum()))
        classes = self._of(0.5 * (self._below[:-1] + self._below[1:]))
        self._known = dict(zip(self._buckets, classes.tolist(), strict=True))
        masses = np.bincount(classes, weights=counts, minlength=len(EDGES) + 1) / self._below[-1]
        self.scales: Floats = 1.0 / (DENSITIES @ masses)

    def table(self, values1: Mapping[int, int], values0: Mapping[int, int]) -> _Table:
        """Return how many of each arm's values fall into each class."""
        return _Table(self.scales, self._counts(values1), self._counts(values0))

    def _counts(self, values: Mapping[int, int]) -> Floats:
        sums, known = [0.0] * (len(EDGES) + 1), self._known
        for bucket, count in values.items():
            sums[known[bucket] if bucket in known else self._between(bucket)] += count
        return np.array(sums)

    def _between(self, bucket: int) -> int:
        """Return the class of a bucket that the histogram has not."""
        place = bisect_left(self._buckets, bucket)
        return int(self._of(self._below[place : place + 1])[0])

    def _of(self, middle: Floats) -> Ints:
        """Return the classes of mid-ranks, which are given times the number of all values ranked."""
        classes: Ints = _EDGES.searchsorted(middle / self._below[-1], "right")
        return classes


@lru_cache(maxsize=4096)
def _classes(ranked: tuple[tuple[int, int], ...]) -> _Classes:
    """Return the classes of a histogram's items. They are taken for each of many strata, of each of many streams."""
    return _Classes(ranked)


_EDGES: Final = np.array(EDGES)

_LOG_DENSITIES: Final = np.log(DENSITIES).T
