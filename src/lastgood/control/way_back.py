"""Where a rollback of a deployment would lead now, and with which data: found without changing anything."""

import msgspec

from lastgood.control.past_data import way_back_of_data
from lastgood.data_ports import KeptStore
from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import OnRollback
from lastgood.domain.release import Release
from lastgood.domain.snapshot import DataStage, Snapshot
from lastgood.ports import ReleaseStore


class WayBack(msgspec.Struct, frozen=True, kw_only=True):
    """The way back from what a deployment serves. ``goal`` is the version at its end, None where there is none.

    ``snapshot`` is the state of the data that is restored with it (None: the data stays), ``staged`` whether that lies
    beside the live data already. ``gone`` says why the data of then cannot come back, ``one_way`` why the plan lets
    nothing go back by itself; both are empty in the usual case. ``stays`` is whether the release has migrated data that
    its plan leaves as it is: then it says so, too, where the version gone back to cannot read that.
    """

    deployment: Deployment
    goal: int | None
    release: Release | None = None
    snapshot: Snapshot | None = None
    staged: bool = False
    gone: str = ""
    one_way: str = ""
    stays: bool = False


class WaysBack:
    """Finds the way back of a deployment from the store."""

    def __init__(self, releases: ReleaseStore, kept: KeptStore) -> None:
        self._releases = releases
        self._kept = kept

    def of(self, deployment: Deployment) -> WayBack:
        """Return where a rollback would lead: of the release under way, or else of the stable version by hand."""
        release = None if deployment.release is None else self._releases.release(deployment.release)
        if release is not None and not release.terminal:
            return self._looked_up(_of_release(self._releases, deployment, release))
        entry = self._releases.last_good(deployment.name, besides=deployment.stable)
        goal = None if entry is None or deployment.stable is None else entry.version
        if goal is None:
            return WayBack(deployment=deployment, goal=None)
        _, data = way_back_of_data(self._releases, self._kept, deployment, goal)
        snapshot = None if data is None else data.snapshot
        return self._looked_up(WayBack(deployment=deployment, goal=goal, snapshot=snapshot))

    def _looked_up(self, way: WayBack) -> WayBack:
        """Return the way with what is known of its snapshot: somebody may have let it go."""
        row = None if way.snapshot is None else self._kept.kept(way.snapshot.token)
        if row is None or not row.freed_by:
            return way
        gone = f"snapshot {row.token} was let go of by {row.freed_by}"
        return msgspec.structs.replace(way, snapshot=None, gone=gone)


def _of_release(releases: ReleaseStore, deployment: Deployment, release: Release) -> WayBack:
    goal = release.target
    if goal is None and deployment.stable != release.version:
        goal = deployment.stable
    elif goal is None:
        entry = releases.last_good(deployment.name, besides=deployment.stable)
        goal = None if entry is None else entry.version
    plan, data = release.plan.data, release.data
    found = WayBack(deployment=deployment, goal=goal, release=release)
    if plan is None or data is None:
        return found
    migrated = data.stage in (DataStage.MIGRATING, DataStage.MIGRATED)
    if plan.on_rollback is OnRollback.FREEZE and migrated:
        return msgspec.structs.replace(found, one_way=f"the migration of {plan.source} is one-way")
    if plan.on_rollback is OnRollback.KEEP and migrated:
        return msgspec.structs.replace(found, stays=True)
    if plan.on_rollback is not OnRollback.RESTORE or data.stage in (DataStage.SWAPPED, DataStage.COUNTED):
        return found
    return msgspec.structs.replace(found, snapshot=data.snapshot, staged=data.staged)
