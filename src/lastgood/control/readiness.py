"""Readiness of every deployment, looked at in the background: whether it can go back right now.

A thread of its own looks every few seconds. Whoever decides reads the last result and never waits for a look.
"""

import logging
import threading
from typing import Final

from lastgood.control.chore import Chore
from lastgood.control.drill import Drills
from lastgood.control.drill_schedule import DrillSchedule, ago, told
from lastgood.control.execute import Executor
from lastgood.control.lookup import deployment_named
from lastgood.control.readiness_news import ReadinessNews
from lastgood.control.way_back import WayBack, WaysBack
from lastgood.control.way_back_links import Prover
from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import DataPlan
from lastgood.domain.readiness import Link, LinkName, LinkState, Readiness, Standing
from lastgood.domain.release import Release
from lastgood.errors import Code, LastgoodError
from lastgood.ports import ReleaseStore

logger = logging.getLogger(__name__)
LOOK_SECONDS: Final = 5.0
STALE_SECONDS: Final = 60.0
"""After which a result says nothing any more: the thread that looks hangs, or the clock was set."""

FRESH_SECONDS: Final = 40.0
"""What a snapshot may take to be read while somebody waits for the answer."""

_GOOD_LOOKS: Final = 2  # in a row, before a release that was held for its readiness goes on


class ReadinessWatch:
    """What is known of every way back. Safe from any thread; looks take turns.

    ``serving`` is whether hosts should run: true in the process that controls them. What its own looks find is told
    (:mod:`lastgood.control.readiness_news`), and is the time for drills by the plan.
    """

    def __init__(
        self,
        *,
        releases: ReleaseStore,
        executor: Executor,
        prover: Prover,
        ways: WaysBack,
        drills: Drills,
        schedule: DrillSchedule,
        news: ReadinessNews,
    ) -> None:
        self._releases = releases
        self._executor = executor
        self._prover = prover
        self._ways = ways
        self._drills = drills
        self._schedule = schedule
        self._news = news
        self._now = executor.now
        self._last: dict[str, Readiness] = {}
        self._good: dict[str, int] = {}
        self._looking = threading.RLock()
        self._chore = Chore(
            "readiness", self._again, fault="readiness could not be looked at", again=LOOK_SECONDS
        )
        self.serving = False

    def start(self) -> None:
        """Look again and again in a thread of its own."""
        self.serving = True
        self._chore.start()

    def stop(self) -> None:
        """End after the present look; one that takes long is left to end by itself."""
        self._chore.stop(2.0)

    def _again(self, _woken: bool) -> float:
        self.look()
        return LOOK_SECONDS

    def look(self) -> None:
        """Look at every deployment once. One that cannot be looked at keeps its last result, which grows old."""
        self._prover.look_again()
        for deployment in self._releases.deployments():
            if self._chore.stopping:
                return
            try:
                found = self._look_at(deployment)
                self._news.look(deployment, found)
                self._schedule.look(deployment, found)
            except Exception:
                logger.exception("the readiness of %s could not be looked at", deployment.name)

    def last(self, name: str) -> Readiness | None:
        """Return what the last look found, None before the first and when it is too old to mean anything."""
        found = self._last.get(name)
        return None if found is None or abs(self._now() - found.at) > STALE_SECONDS else found

    def current(self, name: str) -> Readiness | None:
        """Return what the last look found, None also where the way back has come to lead elsewhere since.

        :raises LastgoodError: ``not_found``.
        """
        found = self.last(name)
        if found is None:
            return None
        way = self._ways.of(deployment_named(self._releases, name))
        release = None if way.release is None else way.release.id
        return found if (found.version, found.release) == (way.goal, release) else None

    def of(self, name: str, *, fresh: bool = False) -> Readiness:
        """Return the readiness of a deployment; ``fresh`` proves every link now, and reads its snapshot again.

        :raises LastgoodError: ``not_found``, naming the known deployments.
        """
        deployment = deployment_named(self._releases, name)
        known = None if fresh else self.last(name)
        return known or self._look_at(deployment, fresh=FRESH_SECONDS if fresh else 0.0)

    def standing(self, release: Release) -> Standing:
        """Return what is known of a release's way back, from the last look at it. It waits for nothing."""
        found = self.last(release.deployment)
        if release.previous is None or found is None or found.release != release.id:
            return Standing()  # a first version has no way back, and needs none
        enough = self._good.get(release.deployment, 0) >= _GOOD_LOOKS
        return Standing(open=not found.lost and enough, lost=found.lost)

    def check_start(self, deployment: Deployment, data: DataPlan | None) -> None:
        """Refuse a release whose way back, which is the present stable version, is not open, or will have no room.

        :raises LastgoodError: ``refused``, naming the broken link; ``invalid`` for a source whose settings are wrong.
        """
        room = () if data is None else (self._prover.room_for(data),)
        way = WayBack(deployment=deployment, goal=deployment.stable)
        links: tuple[Link, ...] = ()
        if deployment.stable is not None:  # a first version goes back to nothing
            with self._looking:
                links = self._prover.prove(way, serving=True)
        _refuse(deployment.name, self._readiness(way, (*links, *room)))

    def check_onwards(self, release: Release) -> None:
        """Refuse a person's step forward while the way back is lost.

        :raises LastgoodError: ``refused``, naming the broken link.
        """
        found = self.last(release.deployment)
        if self.standing(release).lost and found is not None:
            _refuse(release.deployment, found)

    def _look_at(self, deployment: Deployment, *, fresh: float = 0.0) -> Readiness:
        with self._looking:
            way = self._ways.of(deployment)
            found = self._readiness(way, self._prover.prove(way, serving=self.serving, fresh=fresh))
            before = self._last.get(deployment.name)
            same = before is not None and before.release == found.release
            good = self._good.get(deployment.name, 0) if same else 0
            self._good[deployment.name] = 0 if found.lost else good + 1
            self._last[deployment.name] = found
        return found

    def _readiness(self, way: WayBack, links: tuple[Link, ...]) -> Readiness:
        model, name = way.deployment.model, way.deployment.name
        label = None if way.goal is None else self._executor.version(model, way.goal).label
        return Readiness(
            deployment=name,
            model=model,
            version=way.goal,
            label=label,
            release=None if way.release is None else way.release.id,
            at=self._now(),
            links=(*links, self._drilled(way)),
        )

    def _drilled(self, way: WayBack) -> Link:
        """Say when the way back was rehearsed. A rehearsal of this very way that failed breaks it."""
        name, now = way.deployment.name, self._now()
        drill, then = self._drills.last(name), f"Rehearse it: lastgood drill {name}"
        following = told(self._schedule.due(way.deployment), now)
        if drill is None:
            never = f"never rehearsed{following}"
            return Link(name=LinkName.DRILL, state=LinkState.UNKNOWN, sentence=never, next=then)
        if not drill.ok and drill.version == way.goal:
            return Link(
                name=LinkName.DRILL,
                state=LinkState.BROKEN,
                sentence=f"the last drill failed at {drill.failed.rstrip('.')}{following}",
                next=f"Mend that, then rehearse again: lastgood drill {name}",
            )
        to = drill.label or f"version {drill.version}"
        sentence = f"to {to} {ago(now - drill.at)} ago, took {drill.lasted}{following}"
        if drill.ok and drill.version == way.goal:
            return Link(name=LinkName.DRILL, state=LinkState.OK, sentence=sentence)
        return Link(name=LinkName.DRILL, state=LinkState.UNKNOWN, sentence=sentence, next=then)


def _refuse(name: str, found: Readiness) -> None:
    for link in found.broken:
        if not link.accepted:
            raise LastgoodError(
                Code.REFUSED,
                f"There is no way back ({link.name.value}): {link.sentence}.",
                link.next or f"See 'lastgood verify {name}'.",
                details={"link": link.name.value},
            )
