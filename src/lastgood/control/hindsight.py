"""Looking back at one release: its verdicts computed again, another plan over its traffic, and all that is to be told of it."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Final

from lastgood.analysis.course import Course, course
from lastgood.analysis.traces import Traces, traces
from lastgood.control.observe import Observer
from lastgood.control.recompute import Recomputed, recompute
from lastgood.control.release_report import ReleaseReport, moment_of, what_is_left
from lastgood.control.views import Views
from lastgood.domain.event import AuditEvent
from lastgood.domain.plan import OnRollback, Plan
from lastgood.domain.release import Kind, Release
from lastgood.errors import Code, LastgoodError
from lastgood.ports import Journal, ReleaseStore

_PAGE: Final = 500


class Hindsight:
    """Answers from what a release left: its strata, its evidence and its events. Reading only."""

    def __init__(
        self,
        *,
        releases: ReleaseStore,
        journal: Journal,
        observer: Observer,
        views: Views,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._releases = releases
        self._journal = journal
        self._observer = observer
        self._views = views
        self._now = now

    def recompute(self, identifier: int) -> Recomputed:
        """Compute the evidence and the verdicts of a release again from its strata, and compare.

        :raises LastgoodError: ``not_found``, or ``corrupt`` naming the first thing that differs.
        """
        release = self._found(identifier)
        events = list(self._all_events(release.deployment))  # first: what they rest on is stored by then
        stored, strata = self._observer.stored(release)
        return recompute(release, stored, strata, events)

    def replay(self, identifier: int, plan: Plan) -> Course:
        """Say what another plan would have done with the recorded traffic of a release.

        :raises LastgoodError: ``not_found``, or ``refused`` for a rollback, which compares nothing.
        """
        release = self._found(identifier)
        if release.kind is not Kind.RELEASE:
            raise LastgoodError(
                Code.REFUSED,
                f"Release {identifier} is a {release.kind.value}: it had no traffic of two versions to replay.",
                "Name a release; see 'lastgood history'.",
            )
        _, strata = self._observer.stored(release)
        return course(plan, release.baseline, strata, release=identifier, recorded=release.plan)

    def report(self, identifier: int) -> ReleaseReport:
        """Return all that is to be told of a release as it is now.

        :raises LastgoodError: ``not_found``.
        """
        release = self._found(identifier)
        view = self._views.release(identifier, intervals=True)
        own = [one for one in self._all_events(release.deployment) if one.release == identifier]
        return ReleaseReport(
            release=view,
            timeline=[moment_of(event) for event in own],
            traces=self._traces(release),
            follow_up=list(what_is_left(view, with_data=_restores(release.plan))),
            made_at=self._now(),
        )

    def _traces(self, release: Release) -> Traces:
        stored, strata = self._observer.stored(release)
        kept = itertools.takewhile(lambda one: one.sequence <= stored.sequence, strata)
        return traces(release.plan, release.baseline, release.id, kept, count=stored.sequence)

    def _all_events(self, deployment: str) -> Iterator[AuditEvent]:
        after = 0
        while page := self._journal.events(after=after, limit=_PAGE, deployment=deployment):
            yield from page
            after = page[-1].sequence

    def _found(self, identifier: int) -> Release:
        release = self._releases.release(identifier)
        if release is None:
            raise LastgoodError(
                Code.NOT_FOUND, f"There is no release {identifier}.", "See 'lastgood history'."
            )
        return release


def _restores(plan: Plan) -> bool:
    return plan.data is not None and plan.data.on_rollback is OnRollback.RESTORE
