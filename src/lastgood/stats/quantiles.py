"""Histograms with log2-spaced buckets: quantiles, sums and differences.

With ``per_octave`` buckets in each octave, bucket ``b`` holds values from ``2**(b/per_octave)`` up to, not including,
``2**((b+1)/per_octave)``. Any bucket number may occur, negative ones for values below 1. Histograms are mappings
of bucket to count; they merge by addition, so the quantiles of many workers are those of one.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate


def bucket_of(value: float, per_octave: int) -> int:
    """Return the bucket of a positive value."""
    return math.floor(math.log2(value) * per_octave)


def relative_error(per_octave: int) -> float:
    """Return how far :func:`quantile` may be off, relative to the true value: 0.022 with 16 buckets an octave."""
    return math.exp2(0.5 / per_octave) - 1.0


def total(histogram: Mapping[int, int]) -> int:
    """Return how many values the histogram holds."""
    return sum(histogram.values())


def quantile(histogram: Mapping[int, int], q: float, per_octave: int) -> float:
    """Return the smallest value that at least the part ``q`` of all values do not exceed (0 < q <= 1).

    The answer is the geometric middle of that value's bucket, so it is off by at most :func:`relative_error`.
    Raises ValueError for an empty histogram or another ``q``: an unknown quantile is not 0.
    """
    buckets = sorted(histogram)
    counts = [histogram[bucket] for bucket in buckets]
    if sum(counts) < 1:
        raise ValueError("an empty histogram has no quantile")
    if not 0.0 < q <= 1.0:
        raise ValueError(f"a quantile's part lies above 0 and is at most 1, not {q}")
    if min(counts) < 0:
        raise ValueError("a histogram's counts must not be negative")
    up_to = list(accumulate(counts))
    rank = max(1, math.ceil(q * up_to[-1] * (1.0 - 1e-12)))  # 0.07 * 100 is 7, not 7.000000000000001
    return math.exp2((buckets[bisect_left(up_to, rank)] + 0.5) / per_octave)


def merged(histograms: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Return the sum of the histograms, without empty buckets, in order of the buckets."""
    sums: dict[int, int] = {}
    for histogram in histograms:
        if not sums:
            sums = dict(histogram)
            continue
        for bucket, count in histogram.items():
            sums[bucket] = sums.get(bucket, 0) + count
    if all(sums.values()) and list(sums) == sorted(sums):
        return sums  # as nearly always: a long past, sorted before, and few new values
    return {bucket: sums[bucket] for bucket in sorted(sums) if sums[bucket]}


def difference(after: Mapping[int, int], before: Mapping[int, int]) -> dict[int, int]:
    """Return what a cumulative histogram has gained since ``before``.

    Raises ValueError when a bucket shrank: such counts are not cumulative.
    """
    known = before.get
    gained = {bucket: more for bucket, count in after.items() if (more := count - known(bucket, 0))}
    if not before.keys() <= after.keys():
        gained |= {bucket: -count for bucket, count in before.items() if count and bucket not in after}
    if gained and min(gained.values()) < 0:
        raise ValueError("a bucket of a cumulative histogram shrank")
    return {bucket: gained[bucket] for bucket in sorted(gained)}
