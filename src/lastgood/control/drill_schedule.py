"""Drills by the plan: begun while nothing moves, one at a time. What was rehearsed when is in the record, so restarts lose nothing."""

import logging
from collections.abc import Callable
from typing import Final

from lastgood.control.drill import Drills
from lastgood.control.lookup import under_way
from lastgood.control.serving_plan import ServingPlans
from lastgood.control.way_back import WaysBack
from lastgood.domain.deployment import Deployment
from lastgood.domain.readiness import LinkName, Readiness
from lastgood.errors import LastgoodError
from lastgood.ports import ReleaseStore

logger = logging.getLogger(__name__)
AGAIN_SECONDS: Final = 3_600.0
"""After a rehearsal that failed, where the plan's own time is longer: what was wrong may have passed."""


class DrillSchedule:
    """Begins the drills that plans ask for. For the thread that looks at readiness."""

    def __init__(
        self,
        *,
        releases: ReleaseStore,
        drills: Drills,
        plans: ServingPlans,
        ways: WaysBack,
        now: Callable[[], float],
    ) -> None:
        self._releases = releases
        self._drills = drills
        self._plans = plans
        self._ways = ways
        self._now = now

    def due(self, deployment: Deployment) -> float | None:
        """Return when the next drill of a deployment is due, None where its plan asks for none.

        The first one is due at once: when what serves, and so the way back, is another one than was rehearsed.
        """
        plan = self._plans.of(deployment)
        if plan is None or plan.drill is None or deployment.stable is None:
            return None
        last, every = self._drills.last(deployment.name), plan.drill.every
        entry = next(iter(self._releases.history(deployment.name, limit=1)), None)
        since = 0.0 if entry is None else entry.since
        if last is None or not since <= last.at <= self._now():
            return min(since, self._now())  # the clock may have been set back
        return last.at + (every if last.ok else min(every, AGAIN_SECONDS))

    def look(self, deployment: Deployment, found: Readiness) -> None:
        """Begin the drill of a deployment if it is due, and nothing moves. ``found`` is its readiness now.

        A way back that is known to be broken is not rehearsed: that is told by itself.
        """
        due = self.due(deployment)
        if due is None or due > self._now() or found.version is None:
            return
        broken = [link for link in found.broken if link.name is not LinkName.DRILL]
        if broken or self._drills.busy() or self._moves(deployment):
            return
        try:
            self._drills.start(deployment.name)
        except LastgoodError as error:  # a rollback was first
            logger.info("the drill of %s waits: %s", deployment.name, error.message)

    def _moves(self, deployment: Deployment) -> bool:
        """Whether a release is under way here, or on the data that the drill would stage."""
        snapshot = self._ways.of(deployment).snapshot
        source = None if snapshot is None else snapshot.source
        return any(
            one.deployment == deployment.name
            or (one.plan.data is not None and one.plan.data.source == source)
            for one in under_way(self._releases)
        )


def told(due: float | None, now: float) -> str:
    """Say when the next rehearsal comes, after what is said of the last one; empty where none is planned."""
    if due is None:
        return ""
    return f"; the next one in {ago(due - now)}" if due > now else "; the next one is due"


def ago(seconds: float) -> str:
    """Return a time in the largest unit of which there are at least two."""
    for unit, size in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} seconds"
