"""Every kind of test behind four words: which there is for a margin, what it makes of trials, and whether it is enough.

The states are tagged, so that a stored one is read back as what it was.
"""

import math

import msgspec

from lastgood.analysis.trials import Trials
from lastgood.domain.plan import Margin, MarginKind
from lastgood.stats import margin as by_difference
from lastgood.stats import noninferiority, ranks, score
from lastgood.stats.hypergeometric import MAX_TRIALS


class ByOdds(msgspec.Struct, frozen=True, tag="odds", gc=False):
    """Is the candidate worse by odds."""

    state: score.Score


class ByDifference(msgspec.Struct, frozen=True, tag="difference", gc=False):
    """Is the candidate worse by a difference of rates."""

    state: by_difference.Margin


class ByRanks(msgspec.Struct, frozen=True, tag="ranks", gc=False):
    """Is the candidate slower, over the whole distribution."""

    state: ranks.Ranks


class ProofByOdds(msgspec.Struct, frozen=True, tag="proof_odds", gc=False):
    """Is the candidate shown to be less than an odds ratio worse."""

    state: score.Score


class ProofByDifference(msgspec.Struct, frozen=True, tag="proof_difference", gc=False):
    """Is the candidate shown to be less than a difference of rates worse."""

    state: noninferiority.NonInferiority


Worse = ByOdds | ByDifference
Proof = ProofByOdds | ProofByDifference
Test = Worse | ByRanks


def worse(margin: Margin, alpha: float) -> Worse:
    """Return the test of whether the candidate is worse by more than ``margin``, before any data."""
    if margin.kind is MarginKind.ODDS:
        return ByOdds(score.initial(alpha, margin.value))
    return ByDifference(by_difference.initial(alpha, margin.value))


def not_worse(margin: Margin, alpha: float) -> Proof:
    """Return the test of whether the candidate is shown to be less than ``margin`` worse, before any data."""
    if margin.kind is MarginKind.ODDS:
        return ProofByOdds(noninferiority.initial_by_odds(alpha, margin.value))
    return ProofByDifference(noninferiority.initial(alpha, margin.value))


def with_worse(test: Worse, trials: Trials) -> Worse:
    """Return a test after one more stratum of trials. Once reached it keeps the evidence it had."""
    if _is_no_bet(test, trials):
        return test
    if isinstance(test, ByOdds):
        return ByOdds(score.update(test.state, *msgspec.structs.astuple(trials)))
    return ByDifference(by_difference.update(test.state, *msgspec.structs.astuple(trials)))


def with_proof(proof: Proof, trials: Trials) -> Proof:
    """Return a proof after one more stratum of trials. Once reached it keeps the evidence it had."""
    if _is_no_bet(proof, trials):
        return proof
    if isinstance(proof, ProofByOdds):
        return ProofByOdds(noninferiority.update_by_odds(proof.state, *msgspec.structs.astuple(trials)))
    return ProofByDifference(noninferiority.update(proof.state, *msgspec.structs.astuple(trials)))


def _is_no_bet(test: Test | Proof, trials: Trials) -> bool:
    """Return whether a test stays as it is.

    More trials at once than the law is computed for (10**10) are no bet: their number is no outcome.
    """
    return reached(test) or too_large(trials)


def too_large(trials: Trials) -> bool:
    """Return whether these are more trials at once than any bet is computed for."""
    return trials.n1 + trials.n0 > MAX_TRIALS


def reached(test: Test | Proof) -> bool:
    """Return whether a test has ever been enough."""
    return test.state.stopped


def log_e(test: Test | Proof) -> float:
    """Return the natural logarithm of a test's evidence; 0 before any data."""
    match test:
        case ByOdds(state) | ProofByOdds(state):
            return score.log_e(state)
        case ByDifference(state):
            return by_difference.log_e(state)
        case ByRanks(state):
            return ranks.log_e(state)
        case ProofByDifference(state):
            return state.log_e


def log_bound(test: Test | Proof) -> float:
    """Return the natural logarithm of the evidence that is enough."""
    return -math.log(test.state.alpha)
