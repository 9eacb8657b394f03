"""What a worker counts: plain numbers while requests run, rendered only when a report is due.

A request that a version answered adds one to one bucket of one :class:`Tally` and nothing else. The number
of requests is the sum of the buckets and of those without a latency. Those of a release's stage with two arms count in
the order in which they were sent (:mod:`~lastgood.gateway.order`), all others when they end.
"""

from collections.abc import Iterable
from typing import Final

from lastgood.domain.deployment import Role
from lastgood.domain.traffic import ArmCounts, StageCounts
from lastgood.gateway.firsts import FirstBad, Seen
from lastgood.gateway.order import Order
from lastgood.gateway.reflex import Reflexes
from lastgood.gateway.tally import Tally
from lastgood.wire.reports import VersionTotals, WorkerReport

STAGES_KEPT: Final = 64
KEYS_KEPT: Final = 8
"""Releases that are over and still list the keys of their bad requests, for a reader that was away."""


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
        self.copies_dropped = 0

    def outside(self, deployment: str, model: str, version: int, role: Role) -> Tally:
        """Return the tally of a version in a role outside any release."""
        key = (deployment, model, version, role)
        tally = self._outside.get(key)
        if tally is None:
            tally = self._outside[key] = Tally(deployment, model, version, role)
        return tally

    def staged(self, outside: Tally, release: int, stage: int, arm: Role | None = None) -> Tally:
        """Return the tally of the same version and role within one stage of a release, for ``arm`` or that of its role."""
        arm = outside.role if arm is None else arm
        tally = self._staged.get((release, stage, arm))
        if tally is None:
            tally = self._begun(outside, release, stage, arm)
            tally.firsts = FirstBad(self._seen.setdefault((release, arm), {}))
            other = Role.STABLE if arm is Role.CANDIDATE else Role.CANDIDATE
            beside = self._staged.get((release, stage, other))
            tally.order = Order() if beside is None or beside.order is None else beside.order
        return tally

    def watched(self, outside: Tally, release: int, stage: int) -> Tally:
        """Return the tally of the stable version as the candidate that it was, in the stage after the last step's.

        Nothing serves beside it, so nobody is assigned by key and no first bad requests are told apart. What has a copy is
        in a stage of its own.
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
            copies_dropped=self.copies_dropped,
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
