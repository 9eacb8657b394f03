"""A tally: what a worker counts of one version in one role, as plain numbers while requests run."""

from math import log2
from typing import Final

from lastgood.domain.deployment import Role
from lastgood.domain.traffic import BUCKETS_PER_OCTAVE, MAX_COUNTERS, ArmCounts, Counter
from lastgood.gateway.firsts import INVALID, TIMEOUTS, FirstBad
from lastgood.gateway.order import Order
from lastgood.gateway.reflex import Cusum
from lastgood.wire.frames import Counts

BUCKETS: Final = 40 * BUCKETS_PER_OCTAVE  # up to 2**40 microseconds, twelve days
_LAST: Final = BUCKETS - 1


class Tally:
    """Counts of one version in one role, within one stage of a release or (``release`` None) outside any.

    ``unmeasured`` are requests without a latency: the host was not there, or was asked no more.
    ``outside`` is the tally of the same version and role outside any release: itself if this is that one.
    ``arm`` is the one that it counts for within a release: a version that is watched after its promotion serves as
    stable and counts as the candidate. ``counters`` are total and bad of the version's own. Only for an arm beside
    another are there ``firsts`` and an ``order``, which both share, and only for a candidate a ``reflex``, which compares it
    with stable outside the release, ``beside`` it. ``who`` it is and where it counts (``staged_as``) stand together for
    the prediction log, and so do the ``columns`` that its requests are told apart by. ``waiting`` requests are over, ``waiting_bad`` of them failed; they are
    not in the counts until their turn comes.
    """

    __slots__ = (
        "arm",
        "beside",
        "columns",
        "counters",
        "deployment",
        "errors",
        "fallbacks",
        "firsts",
        "invalid",
        "keyed",
        "latency",
        "model",
        "order",
        "outside",
        "reflex",
        "release",
        "role",
        "stage",
        "staged_as",
        "timeouts",
        "unmeasured",
        "version",
        "waiting",
        "waiting_bad",
        "who",
    )

    def __init__(self, deployment: str, model: str, version: int, role: Role) -> None:
        self.deployment = deployment
        self.model = model
        self.version = version
        self.role = role
        self.who = (deployment, model, version, role.value)
        self.staged_as: tuple[int, int, str] | None = None
        self.arm = role
        self.release: int | None = None
        self.stage = 0
        self.columns: tuple[str, ...] = ()
        self.outside = self
        self.latency = [0] * BUCKETS
        self.unmeasured = 0
        self.errors = 0
        self.timeouts = 0
        self.invalid = 0
        self.keyed = 0
        self.counters: dict[str, tuple[int, int]] = {}
        self.fallbacks: dict[str, int] = {}
        self.firsts: FirstBad | None = None
        self.reflex: Cusum | None = None
        self.beside: Tally | None = None
        self.order: Order | None = None
        self.waiting = 0
        self.waiting_bad = 0

    def add(
        self, bucket: int | None, bad: tuple[str, ...], key: int | None = None, counts: Counts | None = None
    ) -> None:
        """Count one request.

        ``bucket`` is its latency's, None when its version was never really asked; ``bad`` are the metrics by which it
        was, ``key`` is the mark of its key, and ``counts`` are the version's own.
        """
        if bucket is None:
            self.unmeasured += 1
        else:
            self.latency[bucket] += 1
        if bad:
            if INVALID in bad:
                self.invalid += 1
            else:
                self.errors += 1
                self.timeouts += TIMEOUTS in bad
        counted = [one for one in counts.bad if self.count(*one)] if counts is not None else ()
        if key is not None:
            self.keyed += 1
            if self.firsts is not None:
                self.firsts.count(key, bad, counted)

    def count(self, counter: str, bad: bool) -> bool:
        """Count one request of a counter of the version's own; False if that is one too many to be kept."""
        before = self.counters.get(counter)
        if before is None:
            if len(self.counters) >= MAX_COUNTERS:
                return False
            before = (0, 0)
        self.counters[counter] = (before[0] + 1, before[1] + bad)
        return True

    def fell_back(self, reason: str) -> None:
        """Count one request of this version that another one answered."""
        self.fallbacks[reason] = self.fallbacks.get(reason, 0) + 1

    def unreported(self) -> "Tally":
        """Return one like it that no report shows: questions about a model are not its traffic."""
        return Tally(self.deployment, "", self.version, self.role)

    def add_to(self, counts: ArmCounts) -> None:
        """Add this tally to ``counts``."""
        counts.requests += self.unmeasured
        counts.errors += self.errors
        counts.timeouts += self.timeouts
        counts.invalid += self.invalid
        counts.keyed += self.keyed
        for name, (total, bad) in self.counters.items():
            counter = counts.counters.setdefault(name, Counter())
            counter.total += total
            counter.bad += bad
        for bucket, number in enumerate(self.latency):
            if number:
                counts.requests += number
                counts.latency[bucket] = counts.latency.get(bucket, 0) + number

    def fold_into_outside(self) -> None:
        """Move what was counted in a stage that nobody reads any more to the totals of the version."""
        outside = self.outside
        outside.latency = [left + right for left, right in zip(outside.latency, self.latency, strict=True)]
        outside.unmeasured += self.unmeasured
        outside.errors += self.errors
        outside.timeouts += self.timeouts
        outside.invalid += self.invalid
        outside.keyed += self.keyed
        for name, (total, bad) in self.counters.items():
            before = outside.counters.get(name, (0, 0))
            outside.counters[name] = (before[0] + total, before[1] + bad)
        for reason, number in self.fallbacks.items():
            outside.fallbacks[reason] = outside.fallbacks.get(reason, 0) + number


def bucket_of(nanoseconds: int) -> int:
    """Return the latency bucket of :data:`lastgood.domain.traffic.BUCKETS_PER_OCTAVE` per doubling."""
    if nanoseconds <= 1000:
        return 0
    return min(int(log2(nanoseconds * 0.001) * BUCKETS_PER_OCTAVE), _LAST)
