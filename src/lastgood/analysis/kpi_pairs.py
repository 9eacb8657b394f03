"""Pairs behind the same words as other comparisons: whether the candidate is worse on the very same rows.

An odds margin speaks of the pairs in which just one of both is wrong: a margin of 1.2 lets the candidate be the one
six times for every five of stable's. Rows that both get wrong excuse nothing, so where versions agree much it is stricter than
the same odds between two arms. A margin in points is the same difference of rates in both.

Only accuracy and recall are judged so. Of precision, F1 and an error (``mae``) both answers count as if two arms had given
them, by the tests for two arms: answers to one request are right or wrong together more often than not, so the arms
differ by chance less than those tests allow for, and what they promise holds all the more.
"""

import math

import msgspec

from lastgood.domain.kpi import Pairs
from lastgood.domain.plan import Margin, MarginKind
from lastgood.stats import paired, paired_margin


class PairsByOdds(msgspec.Struct, frozen=True, tag="pairs_odds"):
    """Is the candidate the wrong one too often, of the pairs that differ."""

    state: paired.Paired


class PairsByDifference(msgspec.Struct, frozen=True, tag="pairs_difference"):
    """Is the candidate wrong more often by a difference of rates, over all pairs."""

    state: paired_margin.PairedMargin


WorseInPairs = PairsByOdds | PairsByDifference


def worse(margin: Margin, alpha: float) -> WorseInPairs:
    """Return the test of whether the candidate is worse by more than ``margin``, before any pair."""
    if margin.kind is MarginKind.ODDS:
        return PairsByOdds(paired.initial(alpha, margin.value))
    return PairsByDifference(paired_margin.initial(alpha, margin.value))


def not_worse(margin: Margin, alpha: float) -> WorseInPairs:
    """Return the test of whether the candidate is shown to be less than ``margin`` worse, before any pair.

    It is the same question with the arms swapped: is stable the wrong one so often that the candidate cannot be that much
    worse? It takes :func:`swapped` pairs. Odds below the margin of the pairs that differ are odds below it between the arms, as
    right and wrong answers to one row go together.
    """
    if margin.kind is MarginKind.ODDS:
        return PairsByOdds(paired.initial(alpha, 1.0 / margin.value))
    return PairsByDifference(paired_margin.initial(alpha, -margin.value))


def swapped(pairs: Pairs) -> Pairs:
    """Return the pairs with the arms swapped."""
    return msgspec.structs.replace(pairs, only1=pairs.only0, only0=pairs.only1)


def with_pairs(test: WorseInPairs, pairs: Pairs) -> WorseInPairs:
    """Return a test after more pairs. Once reached it keeps the evidence it had."""
    if isinstance(test, PairsByOdds):
        return PairsByOdds(paired.update(test.state, pairs.only1, pairs.only0))
    return PairsByDifference(paired_margin.update(test.state, pairs.pairs, pairs.only1, pairs.only0))


def log_e(test: WorseInPairs) -> float:
    """Return the natural logarithm of a test's evidence; 0 before any pair."""
    if isinstance(test, PairsByOdds):
        return paired.log_e(test.state)
    return paired_margin.log_e(test.state)


def log_bound(test: WorseInPairs) -> float:
    """Return the natural logarithm of the evidence that is enough."""
    return -math.log(test.state.alpha)


def reached(test: WorseInPairs) -> bool:
    """Return whether a test has ever been enough."""
    return test.state.stopped
