"""What gateways count: per release and stage, two arms; the strata made from them; and what stable did before."""

from enum import StrEnum
from typing import Final

import msgspec

from lastgood.domain.agreement import AgreementCounts
from lastgood.domain.custom import Measurement
from lastgood.domain.drift import DriftCounts
from lastgood.domain.kpi import Labels

BUCKETS_PER_OCTAVE: Final = 16
"""Latency buckets are log2-spaced: bucket ``b`` holds latencies from 2**(b/16) to 2**((b+1)/16) microseconds."""

MAX_KEYS: Final = 4096
"""A gateway worker lists at most this many keys by hash, for each arm of a stage and each metric."""

MAX_COUNTERS: Final = 16
"""Counters of its own that a version may report."""


class Counter(msgspec.Struct, kw_only=True, gc=False):
    """One counter that the version itself reports: ``total`` requests that reported it, ``bad`` among them."""

    total: int = 0
    bad: int = 0


class Firsts(msgspec.Struct, kw_only=True, gc=False):
    """Bad requests by key, of one metric: what is needed to count only the first one of each key in a release.

    ``bad`` are the bad requests that came with a key, ``repeats`` the requests, good or bad, of keys whose first
    bad one was earlier in the release (as far as this worker knows), ``keys`` 32-bit hashes of the keys whose first
    bad one is among these counts, ``unlisted`` those first ones that found no room in the list (:data:`MAX_KEYS`).
    """

    bad: int = 0
    repeats: int = 0
    keys: list[int] = []
    unlisted: int = 0


class ArmCounts(msgspec.Struct, kw_only=True, gc=False):
    """Counts of one arm. Each request counts once, for the arm it was first assigned to.

    ``errors`` are requests the arm's version failed (raised, timed out, host gone, refused a frame);
    ``timeouts`` are those among them that ran out of time; ``invalid`` are answers with NaN, infinity or
    the wrong shape, which are not counted as errors. ``latency`` maps bucket to count. ``keyed`` requests
    came with a key. ``counters`` are the version's own, by name. ``firsts`` are by metric: ``errors``, ``timeouts``,
    ``invalid_output``, or ``counter:`` and the counter's name.
    """

    requests: int = 0
    errors: int = 0
    timeouts: int = 0
    invalid: int = 0
    latency: dict[int, int] = {}
    keyed: int = 0
    counters: dict[str, Counter] = {}
    firsts: dict[str, Firsts] = {}


class StageCounts(msgspec.Struct, kw_only=True, gc=False):
    """Cumulative counts of one stage of one release, both arms, as one gateway worker saw them."""

    release: int
    stage: int
    candidate: ArmCounts
    stable: ArmCounts


class Stratum(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All gateways' counts of one closed interval of one stage: the unit of evidence.

    One that holds ``labels``, ``drift``, ``custom`` or ``agreement`` holds nothing else: they come later than the requests that
    they are about.
    """

    release: int
    sequence: int
    stage: int
    closed_at: float
    candidate: ArmCounts
    stable: ArmCounts
    labels: Labels | msgspec.UnsetType = (
        msgspec.UNSET
    )  # left out of the JSON of all others, and so of their digest
    drift: DriftCounts | msgspec.UnsetType = msgspec.UNSET  # likewise
    custom: Measurement | msgspec.UnsetType = msgspec.UNSET  # likewise
    agreement: AgreementCounts | msgspec.UnsetType = msgspec.UNSET  # likewise


class Units(StrEnum):
    """What counts as one trial of a bad/total guardrail."""

    REQUESTS = "requests"  # each request
    KEYS = "keys"  # each request, but of a key nothing after its first bad one
    HOSTS = "hosts"  # each host once an interval: more bad ones than usual, or not


class TrafficMinute(msgspec.Struct, frozen=True, kw_only=True):
    """What one version answered as stable of ``deployment`` in one minute (epoch seconds // 60)."""

    deployment: str
    version: int
    minute: int
    counts: ArmCounts


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What stable did before a release, as far as the release's evidence depends on it. Fixed when it begins.

    ``why`` says in one sentence why these ``units``. ``minutes`` and ``requests`` are how much was looked at,
    ``keyed`` how many of the requests had a key, ``dispersion`` the variance of stable's bad requests in a minute
    over what independent requests would give (None when there were too few to tell). ``latency`` is stable's recent
    histogram: it sets ranks and is never evidence.
    """

    units: Units = Units.REQUESTS
    why: str = "nothing is known of stable's traffic before the release"
    minutes: int = 0
    requests: int = 0
    keyed: int = 0
    dispersion: float | None = None
    latency: dict[int, int] = {}
