"""The data of a version that served before: which snapshot belongs to it, when it is gone back to by hand."""

from typing import Final

from lastgood.data_ports import KeptStore
from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import DataPlan, OnRollback, Plan
from lastgood.domain.release import Release
from lastgood.domain.snapshot import DataProgress, DataStage, restore_token
from lastgood.errors import Code, LastgoodError
from lastgood.ports import ReleaseStore

_LOOKED_AT: Final = 100
"""History entries; a version that served longer ago has no snapshot by any usual retention."""


def way_back_of_data(
    releases: ReleaseStore, kept: KeptStore, deployment: Deployment, goal: int | None
) -> tuple[Plan, DataProgress | None]:
    """Return what a rollback by hand to ``goal`` (None: to the last good version) does with the data.

    The release that ended ``goal``'s last time as stable captured the data before it changed it: that is the state which
    belongs to ``goal``. Where ``goal``'s own release was rolled back, the state that belongs to it is what that replaced,
    once it is counted; the capture is of the version before. Where the release said nothing of data, or only to keep it,
    the data stays.
    """
    if goal is None:
        entry = releases.last_good(deployment.name, besides=deployment.stable)
        goal = None if entry is None else entry.version
    release = None if goal is None else _that_ended(releases, deployment, goal)
    if release is None or release.plan.data is None or release.data is None:
        return Plan(), None
    plan, data = release.plan.data, release.data
    if plan.on_rollback is not OnRollback.RESTORE or data.snapshot is None or not data.touched:
        return Plan(), None
    snapshot = data.snapshot
    if release.version == goal:
        row = kept.kept(restore_token(release.id))
        if row is None or row.quarantine is None:
            return Plan(), None
        snapshot = row.quarantine.kept
    return Plan(data=DataPlan(source=plan.source)), DataProgress(
        source=plan.source, stage=DataStage.CAPTURED, snapshot=snapshot, touched=True
    )


def check_still_kept(kept: KeptStore, release: Release) -> None:
    """Refuse to go back to a state that was freed: model and data go back together or not at all.

    :raises LastgoodError: ``refused``.
    """
    snapshot = None if release.data is None else release.data.snapshot
    row = None if snapshot is None else kept.kept(snapshot.token)
    if row is None or not row.freed_by:
        return
    raise LastgoodError(
        Code.REFUSED,
        f"The data of then is gone: {row.freed_by} freed {row.token!r} of release {row.release} ({row.freed_why}). "
        "Nothing was changed.",
        f"Go back to a later version ('lastgood history {release.deployment}'), or release one that fits the live data.",
    )


def _that_ended(releases: ReleaseStore, deployment: Deployment, goal: int) -> Release | None:
    following = None
    for entry in releases.history(deployment.name, limit=_LOOKED_AT):
        if entry.version == goal:
            return None if following is None else releases.release(following)
        following = entry.release
    return None
