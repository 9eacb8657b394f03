"""The detectors of the watch behind four words: which there is for a margin, what it makes of a minute, and whether it is enough.

The states are tagged, so that a stored one is read back as what it was.
"""

import msgspec

from lastgood.analysis.trials import Trials
from lastgood.domain.kpi import Pairs
from lastgood.domain.plan import Margin, MarginKind
from lastgood.stats import detector, detector_margin, detector_pairs
from lastgood.stats.hypergeometric import MAX_TRIALS


class ChangeByOdds(msgspec.Struct, frozen=True, tag="change_odds", gc=False):
    """Has the promoted version become worse than the one before, by odds; or, with a reference, than it was."""

    state: detector.Detector


class ChangeByDifference(msgspec.Struct, frozen=True, tag="change_difference", gc=False):
    """Has the promoted version become worse than the one before, by a difference of rates."""

    state: detector_margin.MarginDetector


class ChangeInPairs(msgspec.Struct, frozen=True, tag="change_pairs", gc=False):
    """Has the promoted version become worse than the one before on the very same requests."""

    state: detector_pairs.PairsDetector


Change = ChangeByOdds | ChangeByDifference


def change(margin: Margin, run_length: float) -> Change:
    """Return the detector of two arms for a margin, before any data; ``run_length`` in minutes."""
    if margin.kind is MarginKind.ODDS:
        return ChangeByOdds(detector.initial(run_length, margin.value))
    return ChangeByDifference(detector_margin.initial(run_length, margin.value))


def change_in_pairs(margin: Margin, run_length: float) -> ChangeInPairs:
    """Return the detector on pairs for a margin, before any data; ``run_length`` in minutes."""
    if margin.kind is MarginKind.ODDS:
        return ChangeInPairs(detector_pairs.initial(run_length, margin.value))
    return ChangeInPairs(detector_pairs.initial_by_difference(run_length, margin.value))


def with_minute(one: Change, trials: Trials) -> Change:
    """Return a detector after one more minute; one with more trials than any bet is computed for says nothing."""
    if trials.n1 + trials.n0 > MAX_TRIALS:
        return one
    counts = msgspec.structs.astuple(trials)
    if isinstance(one, ChangeByOdds):
        return ChangeByOdds(detector.update(one.state, *counts))
    return ChangeByDifference(detector_margin.update(one.state, *counts))


def with_pairs(one: ChangeInPairs, pairs: Pairs) -> ChangeInPairs:
    """Return the detector on pairs after one more minute."""
    return ChangeInPairs(detector_pairs.update(one.state, pairs.pairs, pairs.only1, pairs.only0))


def reached(one: Change | ChangeInPairs) -> bool:
    """Return whether the alarm was raised."""
    return one.state.stopped


def log_e(one: Change | ChangeInPairs) -> float:
    """Return the natural logarithm of what the alarm looks at; it grows with time on its own."""
    match one:
        case ChangeByOdds(state):
            return detector.log_e(state)
        case ChangeByDifference(state):
            return detector_margin.log_e(state)
        case ChangeInPairs(state):
            return detector_pairs.log_e(state)
