"""News of readiness: that a deployment has lost its way back while nothing moves, and that it has it again.

A release under way tells that itself, by being held. What was told last is in the record, so a restart tells nothing twice.
"""

import logging
from typing import Final

import msgspec

from lastgood.control.execute import AUTOMATIC, Executor
from lastgood.control.serving_plan import ServingPlans
from lastgood.domain.deployment import Deployment
from lastgood.domain.event import EventDraft
from lastgood.domain.readiness import Link, LinkName, Readiness
from lastgood.domain.release import Phase
from lastgood.ports import Journal, ReleaseStore

logger = logging.getLogger(__name__)
LOST: Final = "lastgood.readiness.lost"
REGAINED: Final = "lastgood.readiness.regained"
LOOKS: Final = 3
"""In a row, before it is told: a host that starts again takes a moment."""

_TELLS_ITSELF: Final = frozenset(Phase) - {Phase.PENDING, Phase.VALIDATING}


class _Seen(msgspec.Struct):
    """What was told last (the name of the lost link, empty for none), and what so many looks in a row have found."""

    told: str
    found: str = ""
    looks: int = 0


class ReadinessNews:
    """Tells of it, once. For the thread that looks at readiness."""

    def __init__(
        self, *, releases: ReleaseStore, journal: Journal, executor: Executor, plans: ServingPlans
    ) -> None:
        self._releases = releases
        self._journal = journal
        self._executor = executor
        self._plans = plans
        self._seen: dict[str, _Seen] = {}

    def look(self, deployment: Deployment, found: Readiness) -> None:
        """Take one look's result in, and tell what it makes certain.

        A deployment that never had a way back has lost none. A failed drill is told by itself.
        """
        if found.version is None or self._told_by_release(deployment):
            return
        lost = next(
            (one for one in found.broken if not one.accepted and one.name is not LinkName.DRILL), None
        )
        name = "" if lost is None else lost.name.value
        seen = self._seen.setdefault(deployment.name, _Seen(self._last_told(deployment.name)))
        seen.looks = seen.looks + 1 if name == seen.found else 1
        seen.found = name
        if seen.looks >= LOOKS and name != seen.told:
            self._tell(deployment, found, lost)
            seen.told = name

    def _told_by_release(self, deployment: Deployment) -> bool:
        release = None if deployment.release is None else self._releases.release(deployment.release)
        return release is not None and release.phase in _TELLS_ITSELF

    def _last_told(self, name: str) -> str:
        lost, regained = self._journal.last(LOST, name), self._journal.last(REGAINED, name)
        if lost is None or (regained is not None and regained.sequence > lost.sequence):
            return ""
        return str(lost.data.get("link", ""))

    def _tell(self, deployment: Deployment, found: Readiness, lost: Link | None) -> None:
        name = deployment.name
        if lost is None:
            kind, data = REGAINED, {"cause": f"{name} can go back again", "next": "Nothing is to be done."}
        else:
            kind = LOST
            after = lost.next or f"See: lastgood verify {name}"
            data = {
                "link": lost.name.value,
                "cause": f"{name} cannot go back ({lost.name.value}): {lost.sentence}",
                "next": f"{after.rstrip('.')}. A rollback would be tried all the same.",
            }
        event = EventDraft(
            type=kind,
            at=self._executor.now(),
            actor=AUTOMATIC,
            model=deployment.model,
            deployment=name,
            version=found.version,
            data={**data, "label": found.label},
        )
        logger.warning("%s", data["cause"])
        self._journal.append(event, self._executor.channels_of(self._plans.of(deployment)))
        self._executor.on_commit()
