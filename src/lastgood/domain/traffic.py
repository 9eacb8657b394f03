"""What gateways count: per release and stage, two arms; and the strata made from them."""

import msgspec

BUCKETS_PER_OCTAVE = 16
"""Latency buckets are log2-spaced: bucket ``b`` holds latencies from 2**(b/16) to 2**((b+1)/16) microseconds."""


class ArmCounts(msgspec.Struct, kw_only=True):
    """Counts of one arm. Each request counts once, for the arm it was first assigned to.

    ``errors`` are requests the arm's version failed (raised, timed out, host gone, refused a frame);
    ``timeouts`` are those among them that ran out of time; ``invalid`` are answers with NaN, infinity or
    the wrong shape, which are not counted as errors. ``latency`` maps bucket to count.
    """

    requests: int = 0
    errors: int = 0
    timeouts: int = 0
    invalid: int = 0
    latency: dict[int, int] = {}


class StageCounts(msgspec.Struct, kw_only=True):
    """Cumulative counts of one stage of one release, both arms, as one gateway worker saw them."""

    release: int
    stage: int
    candidate: ArmCounts
    stable: ArmCounts


class Stratum(msgspec.Struct, frozen=True, kw_only=True):
    """All gateways' counts of one closed interval of one stage: the unit of evidence."""

    release: int
    sequence: int
    stage: int
    closed_at: float
    candidate: ArmCounts
    stable: ArmCounts
