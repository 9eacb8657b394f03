"""What a worker counts: plain numbers while requests run, rendered only when a report is due.

A request that a version answered adds one to one bucket of one :class:`Tally` and nothing else. The number
of requests is the sum of the buckets and of those without a latency. Those of a release's stage with two arms count in
the order in which they were sent (:mod:`~lastgood.gateway.order`), all others when they end.
"""

from collections.abc import Iterable
from math import log2
from typing import Final

from lastgood.domain.deployment import Role
from lastgood.domain.traffic import BUCKETS_PER_OCTAVE, MAX_COUNTERS, ArmCounts, Counter, StageCounts
from lastgood.gateway.firsts import INVALID, TIMEOUTS, FirstBad, Seen
from lastgood.gateway.order import Order
from lastgood.gateway.reflex import Cusum, Reflexes
from lastgood.wire.frames import Counts
from lastgood.wire.reports import VersionTotals, WorkerReport

BUCKETS: Final = 40 * BUCKETS_PER_OCTAVE  # up to 2**40 microseconds, twelve days
STAGES_KEPT: Final = 64
KEYS_KEPT: Final = 8
"""Releases that are over and still list the keys of their bad requests, for a reader that was away."""
_LAST: Final = BUCKETS - 1


class Tally:
    """Counts of one version in one role, within one stage of a release or (``release`` None) outside any.

    ``unmeasured`` are requests without a latency: the host was not there, or was asked no more.
    ``outside`` is the tally of the same version and role outside any release: itself if this is that one.
    ``arm`` is the one that it counts for within a release: a version that is watched after its promotion serves as
    stable and counts as the candidate. ``counters`` are total and bad of the version's own. Only for an arm beside
    another are there ``firsts`` and an ``order``, which both share, and only for a candidate a ``reflex``, which compares it
    with stable outside the release, ``beside`` it. ``who`` it is and where it counts (``staged_as``) stand together for
    the prediction log. ``waiting`` requests are over, ``waiting_bad`` of them failed; they are
    not in the counts until their turn comes.
    """

    __slots__ = (
        "arm",
        "beside",
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


class Telemetry:
    """All tallies of one worker's life, and the counts that belong to no version."""

    def __init__(self, *, slot: int, pid: int, epoch: int) -> None:
        self._slot = slot
        self._pid = pid
        self._epoch = epoch
        self._sequence = 0
        self._outside: dict[tuple[str, str, int, Role], Tally] = {}
        self._staged: dict[tuple[int, int, Role], Tally] = {}
        self._seen: dict[tuple[int, Role], Seen] = {}
        self.reflexes = Reflexes()
        self.bad_requests = 0
        self.unanswered = 0
        self.page_errors = 0

    def outside(self, deployment: str, model: str, version: int, role: Role) -> Tally:
        """Return the tally of a version in a role outside any release."""
        key = (deployment, model, version, role)
        tally = self._outside.get(key)
        if tally is None:
            tally = self._outside[key] = Tally(deployment, model, version, role)
        return tally

    def staged(self, outside: Tally, release: int, stage: int) -> Tally:
        """Return the tally of the same version and role within one stage of a release."""
        tally = self._staged.get((release, stage, outside.role))
        if tally is None:
            tally = self._begun(outside, release, stage, outside.role)
            tally.firsts = FirstBad(self._seen.setdefault((release, outside.role), {}))
            other = Role.STABLE if outside.role is Role.CANDIDATE else Role.CANDIDATE
            beside = self._staged.get((release, stage, other))
            tally.order = Order() if beside is None or beside.order is None else beside.order
        return tally

    def watched(self, outside: Tally, release: int, stage: int) -> Tally:
        """Return the tally of the stable version as the candidate that it was, in the stage after the last step's.

        Nothing serves beside it, so nobody is assigned by key and no first bad requests are told apart.
        """
        tally = self._staged.get((release, stage, Role.CANDIDATE))
        return self._begun(outside, release, stage, Role.CANDIDATE) if tally is None else tally

    def _begun(self, outside: Tally, release: int, stage: int, arm: Role) -> Tally:
        tally = Tally(outside.deployment, outside.model, outside.version, outside.role)
        tally.release, tally.stage, tally.arm, tally.outside = release, stage, arm, outside
        tally.staged_as = (release, stage, arm.value)
        self._staged[release, stage, arm] = tally
        return tally

    def failures(self, outside: Tally | None) -> tuple[int, int]:
        """Return the failures and the requests of a version in a role so far, within releases and outside.

        Those that are over and still wait for their turn are among them.
        """
        if outside is None:
            return 0, 0
        tallies = [outside, *(tally for tally in self._staged.values() if tally.outside is outside)]
        bad = sum(tally.errors + tally.invalid + tally.waiting_bad for tally in tallies)
        return bad, sum(tally.unmeasured + sum(tally.latency) + tally.waiting for tally in tallies)

    def forget_others(self, releases: frozenset[int]) -> None:
        """Keep what only releases under way need of ``releases``, and the newest stages of the others.

        Older stages become part of the totals.
        """
        self.reflexes.keep(releases)
        for part in [part for part in self._seen if part[0] not in releases]:
            del self._seen[part]
        over = [key for key in self._staged if key[0] not in releases]
        for release in list(dict.fromkeys(key[0] for key in over))[:-KEYS_KEPT]:
            for key in over:
                if key[0] == release:
                    self._staged[key].firsts = None
        for key in over[: max(len(self._staged) - 2 * STAGES_KEPT, 0)]:
            self._staged.pop(key).fold_into_outside()

    def report(self, *, written_at: float, in_flight: int) -> WorkerReport:
        """Return everything counted so far; ``sequence`` grows by one each time."""
        self._sequence += 1
        return WorkerReport(
            slot=self._slot,
            pid=self._pid,
            epoch=self._epoch,
            sequence=self._sequence,
            written_at=written_at,
            stages=_stages(self._staged.values()),
            totals=_totals((*self._outside.values(), *self._staged.values())),
            bad_requests=self.bad_requests,
            unanswered=self.unanswered,
            in_flight=in_flight,
            page_errors=self.page_errors,
            reflexes=self.reflexes.tripped(),
        )


def _stages(tallies: Iterable[Tally]) -> list[StageCounts]:
    found: dict[tuple[int, int], StageCounts] = {}
    for tally in tallies:
        key = (tally.release or 0, tally.stage)
        if key not in found:
            found[key] = StageCounts(
                release=key[0], stage=key[1], candidate=ArmCounts(latency={}), stable=ArmCounts(latency={})
            )
        arm = found[key].candidate if tally.arm is Role.CANDIDATE else found[key].stable
        tally.add_to(arm)
        if tally.firsts is not None:
            arm.firsts = tally.firsts.copies()
    return list(found.values())


def _totals(tallies: Iterable[Tally]) -> list[VersionTotals]:
    found: dict[tuple[str, str, int, Role], VersionTotals] = {}
    for tally in tallies:
        key = (tally.deployment, tally.model, tally.version, tally.role)
        if key not in found:
            found[key] = VersionTotals(
                deployment=tally.deployment,
                model=tally.model,
                version=tally.version,
                role=tally.role.value,
                counts=ArmCounts(latency={}),
                fallbacks={},
            )
        tally.add_to(found[key].counts)
        for reason, number in tally.fallbacks.items():
            found[key].fallbacks[reason] = found[key].fallbacks.get(reason, 0) + number
    return list(found.values())
