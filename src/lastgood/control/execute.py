"""Carrying a move out: one transaction that says what is intended, then the effect, which may be repeated.

The store holds the intent (phase, stable version, route generation); the page and the hosts are made to
agree with it. Each effect is idempotent, so a crash between the two costs nothing: whoever starts next
publishes what the store says. A rollback is settled by a later move, when it has been observed.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from lastgood.control.keeping import kept_by
from lastgood.control.moves import Move
from lastgood.control.record import event_of, failure_of, lifted_by
from lastgood.control.routes import host_spec, needed_versions, route_for, without_candidate
from lastgood.control.standby import Standbys
from lastgood.domain.change import Change
from lastgood.domain.channel import Channel, check_channel
from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import Plan
from lastgood.domain.release import Event, Kind, Release
from lastgood.domain.route import Route, RouteTable
from lastgood.domain.version import Version
from lastgood.errors import Code, LastgoodError
from lastgood.ports import Blobs, Fleet, ReleaseStore, Router, VersionStore
from lastgood.settings import Settings
from lastgood.wire.fleet import Desired, HostSpec
from lastgood.wire.page import WorkerAck

logger = logging.getLogger(__name__)

AUTOMATIC = "lastgood"
"""The actor of everything that no person asked for."""


class Executor:
    """The one place that changes a deployment and makes gateways and hosts follow."""

    def __init__(
        self,
        *,
        versions: VersionStore,
        releases: ReleaseStore,
        blobs: Blobs,
        router: Router,
        fleet: Fleet,
        settings: Settings,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._versions = versions
        self._releases = releases
        self._blobs = blobs
        self._router = router
        self._fleet = fleet
        self._settings = settings
        self.now = now
        self._known: dict[tuple[str, int], Version] = {}
        self._routes: dict[str, Route] = {}
        self._followed: dict[str, int] = {}
        self._base = 0
        self._wanted: dict[str, list[tuple[str, int]]] = {}
        self._specs: dict[tuple[str, int], HostSpec] = {}
        self._lock = threading.Lock()
        self._channels = tuple(
            check_channel(webhook=one.webhook, command=one.command, secret=one.secret)
            for one in settings.notify
        )
        self.on_commit: Callable[[], None] = lambda: None
        self.sealed: Callable[[Release], Mapping[str, Any]] = lambda _: {}
        self.standbys = Standbys()

    def version(self, model: str, number: int) -> Version:
        """Return a version; immutable, so remembered for good."""
        known = self._known.get((model, number))
        if known is None:
            known = self._versions.version(model, number)
            if known is None:
                raise LastgoodError(
                    Code.NOT_FOUND, f"{model} has no version {number}.", f"See 'lastgood versions {model}'."
                )
            self._known[model, number] = known
        return known

    def apply(
        self, deployment: Deployment, release: Release, move: Move, *, actor: str = AUTOMATIC
    ) -> tuple[Deployment, Release]:
        """Write the move and make it effective; return both as stored.

        A release whose id is 0 is begun by it: release and first move are one transaction.

        :raises LastgoodError: ``conflict`` when somebody changed either since it was read.
        """
        now = self.now()
        changes = {**move.changes, "cause": move.cause}
        if move.event in (Event.ROLL_BACK, Event.ABORT):
            changes["returned_by"] = actor
        after = (
            release.with_changes(**changes)
            if move.event is None
            else release.after(move.event, now, **changes)
        )
        if release.id == 0:
            after = msgspec.structs.replace(after, revision=0)
        stable = deployment.stable if move.stable is None else move.stable
        changed = msgspec.structs.replace(
            deployment,
            revision=deployment.revision + 1,
            stable=stable,
            release=None if after.terminal else after.id,
        )
        version = self.version(after.model, after.version)
        change = Change(
            deployment=changed,
            release=after,
            new_route=move.publish,
            became_stable=stable != deployment.stable,
            failure=failure_of(after, version, now),
            lifted=lifted_by(after, version),
            events=(
                event_of(
                    release, after, move, version, now=now, actor=actor, evidence=self._seal(after, move)
                ),
            ),
            notify=self.channels(release),
            kept=kept_by(release, after, now),
        )
        return self.commit(change)

    def _seal(self, after: Release, move: Move) -> Mapping[str, Any]:
        """Return what an event that ends a release, or decides that it may end well, seals of its evidence."""
        ends = after.terminal or move.event is Event.PROMOTE
        return self.sealed(after) if ends and after.id and after.kind is Kind.RELEASE else {}

    def commit(self, change: Change) -> tuple[Deployment, Release]:
        """Write a change and make gateways and hosts follow it."""
        with self._lock:  # so that a table never carries a generation whose route it does not hold
            deployment, release = self._releases.commit(change)
            if release is None:
                raise TypeError("a change of a release needs the release")
            self._follow(deployment, release)
            if change.new_route:
                self._publish()
            self._want_hosts()
        self.on_commit()
        return deployment, release

    def resume(self) -> None:
        """Make gateways and hosts follow the store, whatever the page holds: for the start of a controller.

        The page may be ahead of the store (which was restored from a backup) or its payload may be lost (in a
        power cut), so a table is always published, under a generation above both. A deployment that cannot
        be read keeps the route it had, without its candidate.
        """
        with self._lock:
            self._base = self._above_the_page()
            for route in self._last_routes():
                self._routes.setdefault(route.deployment, route)
            self._reconcile()

    def reconcile(self) -> None:
        """Make gateways and hosts follow the store again wherever they do not: for every turn of the controller.

        The live data may have changed, too: a standby that does not fit it any more leaves its route, and one that does
        again comes back.
        """
        with self._lock:
            if outdated := self.standbys.outdated():
                self._followed = {name: at for name, at in self._followed.items() if name not in outdated}
                self._base = self._above_the_page()
            if self._router.generation() > self._generation():
                logger.warning("the route page was ahead of the store; it is published anew")
                self._base = self._above_the_page()
            self._reconcile()

    def withdraw(self, name: str) -> None:
        """Take the candidate of a deployment that cannot be controlled out of its route, and whoever answers copies."""
        with self._lock:
            route = self._routes.get(name)
            if route is not None and not (route.candidate is None and route.shadow is None):
                self._routes[name] = without_candidate(route)
                self._base = self._above_the_page()
                self._publish()

    def follow_again(self, name: str) -> None:
        """Make the route of a deployment that was withdrawn say what the store says: it can be controlled again."""
        with self._lock:
            self._followed.pop(name, None)
            self._base = self._above_the_page()
            self._reconcile()

    def splits(self, name: str) -> bool:
        """Whether the route of ``name`` has a candidate now."""
        route = self._routes.get(name)
        return route is not None and route.candidate is not None

    def copied(self, name: str) -> int:
        """Return the rate, in basis points, at which the route of ``name`` has requests copied now."""
        route = self._routes.get(name)
        return 0 if route is None or route.shadow is None else route.shadow.rate

    def _reconcile(self) -> None:
        for deployment in self._releases.deployments():
            if self._followed.get(deployment.name) == deployment.revision:
                continue
            try:
                release = None if deployment.release is None else self._releases.release(deployment.release)
                self._follow(deployment, release)
            except LastgoodError as error:
                logger.error("the route of %s stays as it was: %s", deployment.name, error)  # noqa: TRY400
        self._publish()
        self._want_hosts()

    def _last_routes(self) -> list[Route]:
        table = self._router.table()
        if table is None:
            logger.warning("the route page cannot be read; it is published anew")
            return []
        return [without_candidate(route) for route in table.routes]

    def _above_the_page(self) -> int:
        return self._releases.raise_generation(self._router.generation() + 1)

    def _generation(self) -> int:
        return max(self._base, *(route.generation for route in self._routes.values()), 0)

    def _publish(self) -> None:
        generation = self._generation()
        if generation <= self._router.generation():
            return
        routes = tuple(self._routes[name] for name in sorted(self._routes))
        if not self._router.publish(RouteTable(generation=generation, routes=routes)):
            raise LastgoodError(
                Code.CONFLICT,
                f"The route page refused generation {generation}: another process publishes there.",
                "Look for a second server on this home.",
            )

    def _want_hosts(self) -> None:
        wanted = sorted({pair for pairs in self._wanted.values() for pair in pairs})
        specs = [spec for model, number in wanted if (spec := self._spec(model, number)) is not None]
        self._fleet.want(Desired(hosts=tuple(specs)))

    def _spec(self, model: str, number: int) -> HostSpec | None:
        """Return the host's spec, None where the artifact is gone: a lost artifact must not stop a rollback."""
        known = self._specs.get((model, number))
        if known is None:
            version = self.version(model, number)
            try:
                artifact = self._blobs.path(version.digest)
            except LastgoodError as error:
                logger.warning("%s version %s cannot be hosted: %s", model, number, error)
                return None
            known = self._specs[model, number] = host_spec(version, artifact, self._settings)
        return known

    def channels(self, release: Release) -> tuple[Channel, ...]:
        """Return where news of this release goes: the settings' channels and the plan's."""
        return self.channels_of(release.plan)

    def channels_of(self, plan: Plan | None) -> tuple[Channel, ...]:
        """Return where news goes that no release under way tells: the settings' channels and those of ``plan``."""
        return (*self._channels, *(() if plan is None else plan.notify))

    def workers(self) -> list[WorkerAck]:
        """Return the gateway workers that live, with what each obeys."""
        return self._router.workers()

    def slots(self) -> set[int]:
        """Return the slots in which a gateway worker lives."""
        return {worker.slot for worker in self.workers()}

    def behind(self, generation: int, workers: list[WorkerAck] | None = None) -> list[int]:
        """Return the slots of gateway workers, those that live now unless given, that do not yet obey ``generation``.

        What a worker acknowledged before this process published its first table was another's, and counts for
        nothing.
        """
        needed = max(generation, self._base)
        return [
            worker.slot
            for worker in (self.workers() if workers is None else workers)
            if worker.generation < needed or worker.in_flight > 0
        ]

    def _follow(self, deployment: Deployment, release: Release | None) -> None:
        entry = self._releases.last_good(deployment.name, besides=deployment.stable)
        last_good = None if entry is None else entry.version

        def find(number: int) -> Version:
            return self.version(deployment.model, number)

        standby = self.standbys.choose(deployment.name, None if last_good is None else find(last_good))
        self._routes[deployment.name] = route_for(deployment, release, standby, find, self._settings.run)
        self._followed[deployment.name] = deployment.revision
        numbers = needed_versions(deployment, release, last_good)
        self._wanted[deployment.name] = [(deployment.model, number) for number in numbers]
