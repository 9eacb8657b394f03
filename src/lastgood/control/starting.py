"""Starting a release: every check that can be made before anything moves, then its first row and event."""

import msgspec

from lastgood.control import preflight
from lastgood.control.execute import Executor
from lastgood.control.history import baseline_of, told_of
from lastgood.control.live_data import LiveData
from lastgood.control.lookup import under_way
from lastgood.control.readiness import ReadinessWatch
from lastgood.control.registry import Registry
from lastgood.domain.change import Change
from lastgood.domain.deployment import Deployment
from lastgood.domain.event import EventDraft
from lastgood.domain.plan import Plan, Strategy
from lastgood.domain.plan_built_in import built_in
from lastgood.domain.release import Override, Release
from lastgood.domain.version import Version, check_name
from lastgood.errors import Code, LastgoodError
from lastgood.ports import Blobs, ReleaseStore, TrafficStore
from lastgood.settings import Settings

_TRIES = 20


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A request to release ``version`` (number or label) of ``model`` to ``deployment``."""

    model: str
    version: str
    deployment: str | None = None
    plan: Plan | None = None
    override: str | None = None
    actor: str = ""


class Starting:
    """Starts releases."""

    def __init__(
        self,
        *,
        releases: ReleaseStore,
        traffic: TrafficStore,
        registry: Registry,
        blobs: Blobs,
        executor: Executor,
        settings: Settings,
        live: LiveData,
        readiness: ReadinessWatch,
    ) -> None:
        self._releases = releases
        self._traffic = traffic
        self._registry = registry
        self._blobs = blobs
        self._executor = executor
        self._settings = settings
        self._live = live
        self._readiness = readiness

    def start(self, order: Order) -> Release:
        """Start a release, after every check that can be made before anything moves.

        :raises LastgoodError: ``not_found``, ``conflict`` (another release is under way), ``refused`` (failed
            bytes, no way back, artifact not intact) or ``untrusted``.
        """
        version = self._registry.resolve(order.model, order.version)
        name = check_name(order.deployment or order.model, "deployment")
        for _ in range(_TRIES):
            change = self._start_of(order, version, name)
            try:
                return self._begin(change, order.plan)
            except LastgoodError as error:
                if error.code is not Code.CONFLICT:
                    raise
                lost = error
        raise lost  # somebody was always first

    def _begin(self, change: Change, plan: Plan | None) -> Release:
        """Write the start. Of two that want the same data at one moment, the second one finds the first."""
        if plan is None or plan.data is None:
            return self._executor.commit(change)[1]
        with self._live.turn:
            self._check_data(plan, change.deployment)
            return self._executor.commit(change)[1]

    def _check_data(self, plan: Plan, deployment: Deployment) -> None:
        if plan.data is not None:
            known = self._live.desk.names()
            preflight.check_data(plan.data, deployment, under_way(self._releases), known)

    def _start_of(self, order: Order, version: Version, name: str) -> Change:
        """Return the change that starts a release of ``version``, once nothing stands in its way."""
        found = self._releases.deployment(name)
        deployment = found or Deployment(name=name, model=version.model)
        preflight.check_free(deployment, version)
        failure = self._registry.failures([version]).get(version.digest)
        preflight.check_not_failed(version, failure, order.override)
        preflight.check_trusted(version, self._settings)
        preflight.check_takes_the_same(self._stable(deployment), version)
        preflight.check_plan_trusted(release_plan := order.plan or built_in(Strategy.CANARY), self._settings)
        preflight.check_labels(release_plan, self._settings)
        preflight.check_metrics(release_plan, self._settings)
        preflight.check_sketches(release_plan, self._settings)
        preflight.check_reference(release_plan, version)
        preflight.check_slices(release_plan, version)
        self._check_data(release_plan, deployment)
        preflight.check_fits(release_plan, version, self._live.misfits)
        self._readiness.check_start(deployment, release_plan.data)
        preflight.check_artifact(version, self._blobs)
        release = self._draft(order, release_plan, deployment, version, overridden=failure is not None)
        baseline = baseline_of(self._traffic, deployment, release_plan, release.created_at)
        release = msgspec.structs.replace(release, baseline=baseline)
        revision = 0 if found is None else found.revision + 1
        return Change(
            deployment=msgspec.structs.replace(deployment, revision=revision, release=0),
            release=release,
            events=(self._requested(release, version),),
            notify=self._executor.channels(release),
        )

    def _stable(self, deployment: Deployment) -> Version | None:
        if deployment.stable is None:
            return None
        return self._executor.version(deployment.model, deployment.stable)

    def _draft(
        self, order: Order, plan: Plan, deployment: Deployment, version: Version, *, overridden: bool
    ) -> Release:
        now = self._executor.now()
        override = None
        if overridden and order.override:
            override = Override(by=order.actor, reason=order.override)
        return Release(
            id=0,
            deployment=deployment.name,
            model=version.model,
            version=version.number,
            previous=deployment.stable,
            plan=plan,
            created_at=now,
            created_by=order.actor,
            phase_since=now,
            cause=f"requested by {order.actor}",
            override=override,
        )

    def _requested(self, release: Release, version: Version) -> EventDraft:
        return EventDraft(
            type="lastgood.release.requested",
            at=release.created_at,
            actor=release.created_by,
            model=release.model,
            deployment=release.deployment,
            version=release.version,
            data={
                "to": release.phase.value,
                "label": version.label,
                "digest": version.digest,
                "cause": release.cause,
                "plan": msgspec.to_builtins(release.plan),
                "override": None if release.override is None else msgspec.to_builtins(release.override),
                "baseline": told_of(release.baseline),
            },
        )
