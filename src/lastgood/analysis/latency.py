"""Latencies as histograms: which requests are slower than an objective, or than a quantile of both arms' past."""

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from lastgood.analysis.trials import Trials
from lastgood.domain.plan import Margin, MarginKind
from lastgood.domain.traffic import BUCKETS_PER_OCTAVE
from lastgood.stats import quantiles
from lastgood.stats.ranks import MIN_PAST, RERANK

PROOF_QUANTILES: Final = (0.5, 0.9, 0.98)
"""Where the candidate must be shown not to be slower, when the plan names no quantiles."""


class Past(msgspec.Struct, frozen=True, gc=False):
    """Both arms' latencies so far, and those of the time when the quantiles were last taken from them.

    ``values`` begins with stable's before the release; ``strata`` are those with any latency.
    """

    values: dict[int, int]
    ranked: dict[int, int]
    strata: int = 0


def objective_bucket(objective: float) -> int:
    """Return the first bucket that is wholly slower than an objective in seconds, above 0."""
    return math.ceil(round(math.log2(objective * 1e6) * BUCKETS_PER_OCTAVE, 6))


def lower_edge(bucket: int) -> float:
    """Return the least latency of a bucket, in seconds."""
    return math.exp2(bucket / BUCKETS_PER_OCTAVE) / 1e6


def past_bucket(ranked: Mapping[int, int], q: float) -> int:
    """Return the first bucket that is wholly slower than the ``q`` quantile of a histogram that is not empty."""
    return quantiles.bucket_of(quantiles.quantile(ranked, q, BUCKETS_PER_OCTAVE), BUCKETS_PER_OCTAVE) + 1


def slower(candidate: Mapping[int, int], stable: Mapping[int, int], bucket: int) -> Trials:
    """Return every measured request as a trial, bad when it is in ``bucket`` or a slower one."""
    return Trials(
        quantiles.total(candidate),
        sum(count for own, count in candidate.items() if own >= bucket),
        quantiles.total(stable),
        sum(count for own, count in stable.items() if own >= bucket),
    )


def shift_of(margin: Margin) -> int:
    """Return how many buckets quicker the candidate's latencies are taken to be, so that the margin is tolerated.

    A margin on a distribution is a factor of time, rounded up to whole buckets (4.4 %).
    """
    if margin.kind is not MarginKind.ODDS:
        return 0
    return math.ceil(round(math.log2(margin.value) * BUCKETS_PER_OCTAVE, 6))


def shifted(histogram: Mapping[int, int], shift: int) -> dict[int, int]:
    """Return the histogram with every latency ``shift`` buckets quicker."""
    return {bucket - shift: count for bucket, count in histogram.items()}


def about_to_use(past: Past) -> Past:
    """Return the past as it is before one more stratum: every 10 strata the quantiles are taken anew."""
    if past.strata % RERANK:
        return past
    return msgspec.structs.replace(past, ranked=past.values)


def known(past: Past) -> bool:
    """Return whether the past says enough for a bet: 1 000 latencies at least."""
    return quantiles.total(past.ranked) >= MIN_PAST


def after(past: Past, candidate: Mapping[int, int], stable: Mapping[int, int]) -> Past:
    """Return the past with one more stratum."""
    if not (candidate or stable):
        return past
    values = quantiles.merged((past.values, candidate, stable))
    return msgspec.structs.replace(past, values=values, strata=past.strata + 1)
