"""Rolling back by hand, and waiting until it is a fact."""

import time

import msgspec

from lastgood.control.data_views import DataView, data_view
from lastgood.control.execute import Executor
from lastgood.control.live_data import LiveData
from lastgood.control.lookup import deployment_named, under_way
from lastgood.control.moves import restores_data, roll_back
from lastgood.control.observe import Observer
from lastgood.control.past_data import check_still_kept, way_back_of_data
from lastgood.control.registry import Registry
from lastgood.control.serving_plan import ServingPlans
from lastgood.control.settling import Settling
from lastgood.data_ports import KeptStore
from lastgood.domain.deployment import Deployment
from lastgood.domain.release import Kind, Phase, Release
from lastgood.errors import Code, LastgoodError
from lastgood.ports import ReleaseStore

_TRIES = 50
_WITHOUT_TRAFFIC = (Phase.PENDING, Phase.VALIDATING)


class RollbackResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a rollback did. Times are milliseconds from the request's arrival.

    ``published_ms`` is when the new route was in force; ``verified_ms`` when every gateway had
    acknowledged it and nothing of the version left was in flight. ``changed`` is False when the version
    asked for was served already. ``data`` is the live data that went back with it, or stayed; None where there is none.
    """

    deployment: str
    changed: bool
    version: int
    label: str | None
    left: int | None = None
    left_label: str | None = None
    release: int | None = None
    failed: bool = False
    gateways: int = 0
    published_ms: float = 0.0
    verified_ms: float = 0.0
    data: DataView | None = None


class Rollback:
    """The command that pre-empts every other. It needs no metric, no label, no plan."""

    def __init__(
        self,
        *,
        releases: ReleaseStore,
        registry: Registry,
        executor: Executor,
        observer: Observer,
        live: LiveData,
        kept: KeptStore,
    ) -> None:
        self._releases = releases
        self._registry = registry
        self._executor = executor
        self._observer = observer
        self._live = live
        self._kept = kept
        self._plans = ServingPlans(releases)
        self.settling = Settling(releases=releases, executor=executor, observer=observer)

    def to_version(
        self,
        name: str,
        *,
        version: str | None = None,
        reason: str = "",
        keep: bool = False,
        actor: str,
        aborting: bool = False,
    ) -> RollbackResult:
        """Leave what is being released, or else what is stable, for ``version`` (None: the last good one).

        Returns only when that has been observed.

        :raises LastgoodError: ``not_found``, ``refused`` (no good version; the target failed or never
            served), ``stuck`` when it did not take effect before its deadline.
        """
        began = time.perf_counter()
        for _ in range(_TRIES):
            deployment = deployment_named(self._releases, name)
            goal = self._goal(deployment, version)
            self._check_goal(deployment, goal)  # before anything moves
            if self.settling.end_restore(deployment, actor):
                continue
            try:
                release = self._begin(deployment, goal, reason, keep, actor, aborting)
            except LastgoodError as error:
                if error.code is not Code.CONFLICT:
                    raise
                continue  # a rollback pre-empts: read again and go on
            if release is None:
                return self._unchanged(deployment)
            published = (time.perf_counter() - began) * 1000
            release = self.settling.settle(release)
            verified = (time.perf_counter() - began) * 1000
            if goal is not None and deployment_named(self._releases, name).stable != goal:
                continue  # the release is rolled back; now leave stable for the version asked for
            return self._result(release, published, verified)
        raise LastgoodError(
            Code.CONFLICT, f"{name} changed faster than the rollback could act.", "Run the command again."
        )

    def _begin(
        self,
        deployment: Deployment,
        goal: int | None,
        reason: str,
        keep: bool,
        actor: str,
        aborting: bool,
    ) -> Release | None:
        """Start the way back, or join the one under way; None when there is nothing to leave."""
        release = None if deployment.release is None else self._releases.release(deployment.release)
        if release is not None and release.kind is Kind.RESTORE:
            raise LastgoodError(Code.CONFLICT, f"Release {release.id} has just begun.", "Try again.")
        if release is not None and release.returning and release.phase is not Phase.STUCK:
            return release
        if release is None:
            if goal is not None and goal == deployment.stable:
                return None
            release = self._rollback_of(deployment, actor, goal)
        seen = self._observer.situation(deployment, release, target=goal, measure=False)
        verb = "aborted" if aborting else "rolled back"
        cause = f"{verb} by {actor}: {reason}" if reason else f"{verb} by {actor}"
        move = roll_back(
            release, deployment, seen, cause=cause, blame=not keep, aborting=aborting, target=goal
        )
        if move is None:
            raise self._no_way_back(deployment)
        if not restores_data(release):
            if release.id == 0 or not (
                release.phase in _WITHOUT_TRAFFIC or release.shadows
            ):  # else the target serves all the time
                self._check_fits(deployment, move.changes["target"])
        elif release.id == 0:
            with self._live.turn:
                check_still_kept(self._kept, release)
                self._check_data_free(release)
                return self._executor.apply(deployment, release, move, actor=actor)[1]
        return self._executor.apply(deployment, release, move, actor=actor)[1]

    def _check_data_free(self, release: Release) -> None:
        """Refuse to bring data back that a release of another deployment is at work on."""
        source = None if release.plan.data is None else release.plan.data.source
        for other in under_way(self._releases):
            if other.plan.data is not None and other.plan.data.source == source:
                raise LastgoodError(
                    Code.REFUSED,
                    f"Release {other.id} of {other.deployment} is at work on the data source {source!r}, which this "
                    "rollback brings back. Nothing was changed.",
                    f"End that one first: lastgood rollback {other.deployment}",
                )

    def _check_fits(self, deployment: Deployment, target: int | None) -> None:
        """Refuse a version that could not read the live data of today, which stays as it is."""
        if target is None:
            return
        version = self._executor.version(deployment.model, target)
        found = self._live.misfits(version)
        if found:
            raise LastgoodError(
                Code.REFUSED,
                f"{version.display} does not fit the live data, and this rollback does not bring that back: "
                f"{'; '.join(found)}. Nothing was changed.",
                "Bring the data back first, or release a version that fits it.",
            )

    def _rollback_of(self, deployment: Deployment, actor: str, goal: int | None) -> Release:
        if deployment.stable is None:
            raise LastgoodError(
                Code.REFUSED,
                f"{deployment.name} serves nothing yet, so there is nothing to roll back.",
                f"Release a first version: lastgood release {deployment.model} --version 1",
            )
        now = self._executor.now()
        plan, data = way_back_of_data(self._releases, self._kept, deployment, goal)
        serving = self._plans.of(deployment)
        if serving is not None:
            plan = msgspec.structs.replace(
                plan, notify=serving.notify, rollback_deadline=serving.rollback_deadline
            )
        return Release(
            id=0,
            deployment=deployment.name,
            model=deployment.model,
            kind=Kind.ROLLBACK,
            version=deployment.stable,
            previous=deployment.stable,
            plan=plan,
            data=data,
            created_at=now,
            created_by=actor,
            phase_since=now,
        )

    def _goal(self, deployment: Deployment, reference: str | None) -> int | None:
        return None if reference is None else self._registry.resolve(deployment.model, reference).number

    def _check_goal(self, deployment: Deployment, goal: int | None) -> None:
        """Refuse a version asked for by name that nobody can go back to."""
        if goal is None or goal == deployment.stable:
            return
        version = self._executor.version(deployment.model, goal)
        if not self._releases.served(deployment.name, goal):
            raise LastgoodError(
                Code.REFUSED,
                f"{version.display} was never stable in {deployment.name}, so nothing can be rolled back to it.",
                f"Release it: lastgood release {deployment.model} --version {goal}",
            )
        failure = self._registry.failures([version]).get(version.digest)
        if failure is not None and failure.lifted_by is None:
            entry = self._releases.last_good(deployment.name, besides=deployment.stable)
            last = (
                "none" if entry is None else self._executor.version(deployment.model, entry.version).display
            )
            raise LastgoodError(
                Code.REFUSED,
                f"{version.display} is tagged failed itself (release {failure.release} of {failure.deployment}: "
                f"{failure.cause}).",
                f"The last good version is {last}; or release {version.display} again with --override.",
            )

    def _no_way_back(self, deployment: Deployment) -> LastgoodError:
        history = self._releases.history(deployment.name, limit=10)
        tried = [entry for entry in history if entry.version != deployment.stable]
        why = (
            "every version that was stable before is tagged failed: "
            + ", ".join(
                self._executor.version(deployment.model, number).display
                for number in dict.fromkeys(one.version for one in tried)
            )
            if tried
            else "no other version was ever stable here"
        )
        return LastgoodError(
            Code.REFUSED,
            f"{deployment.name} has no good version to go back to: {why}. Serving is unchanged.",
            "Release a repaired version.",
        )

    def _unchanged(self, deployment: Deployment) -> RollbackResult:
        number = deployment.stable or 0
        version = self._executor.version(deployment.model, number)
        return RollbackResult(deployment=deployment.name, changed=False, version=number, label=version.label)

    def _result(self, release: Release, published: float, verified: float) -> RollbackResult:
        serving = deployment_named(self._releases, release.deployment).stable
        left = self._executor.version(release.model, release.version)
        label = None if serving is None else self._executor.version(release.model, serving).label
        return RollbackResult(
            deployment=release.deployment,
            changed=True,
            version=serving or 0,
            label=label,
            left=left.number,
            left_label=left.label,
            release=release.id,
            failed=release.blame,
            gateways=len(self._executor.workers()),
            published_ms=round(published, 3),
            verified_ms=round(verified, 3),
            data=data_view(release),
        )
