"""What a step of a release leaves to be kept of live data: rows that say what takes room, and under which token. Pure."""

from typing import Any, Final

import msgspec

from lastgood.domain.plan import OnRollback
from lastgood.domain.release import Release
from lastgood.domain.snapshot import (
    DataProgress,
    DataStage,
    Kept,
    KeptKind,
    Schema,
    Snapshot,
    restore_token,
    snapshot_token,
)

DATA_EVENTS: Final = {
    DataStage.CAPTURING: "lastgood.data.capture_started",
    DataStage.CAPTURED: "lastgood.data.captured",
    DataStage.STAGED: "lastgood.data.staged",
    DataStage.MIGRATING: "lastgood.data.migration_started",
    DataStage.MIGRATED: "lastgood.data.migrated",
    DataStage.HOLDING: "lastgood.data.hold_started",
    DataStage.SWAPPED: "lastgood.data.restored",
}
POSTPONED: Final = "lastgood.data.restore_postponed"


def kept_by(before: Release, after: Release, now: float) -> tuple[Kept, ...]:
    """Return what is kept from this step on. What is staged is noted before it is begun, so that nothing is forgotten.

    A release that begins with a captured state (one of long ago, or a quarantine) has no id yet: the store gives both.
    """
    old, data = before.data, after.data
    begun = before.id == 0
    if after.terminal and data is not None and data.stage is DataStage.CAPTURING and not data.error:
        return (_left_behind(after, data, now),)
    if data is None or data.snapshot is None or (old is not None and old.stage is data.stage and not begun):
        return ()
    row = Kept(
        token=snapshot_token(after.id),
        kind=KeptKind.SNAPSHOT,
        source=data.source,
        model=after.model,
        deployment=after.deployment,
        release=after.id,
        version=after.previous or 0,
        at=now,
        snapshot=data.snapshot,
    )
    token = restore_token(after.id)
    plan = after.plan.data
    if data.stage is DataStage.CAPTURED:
        staged = msgspec.structs.replace(row, token=token, kind=KeptKind.STAGED)
        restores = plan is not None and plan.on_rollback is OnRollback.RESTORE
        if begun:
            return (staged,) if restores else ()
        return (row, staged) if restores else (row,)
    if data.stage is DataStage.SWAPPED:
        replaced = msgspec.structs.replace(row, token=token, kind=KeptKind.QUARANTINE, version=after.version)
        return (replaced,)
    return ()


def _left_behind(after: Release, data: DataProgress, now: float) -> Kept:
    """Return what a release leaves that ended while its data was being captured: to be freed once that is over."""
    token = snapshot_token(after.id)
    unknown = Snapshot(
        token=token,
        source=data.source,
        provider="",
        taken_at=now,
        seconds=0.0,
        size_bytes=0,
        rows={},
        schema=Schema(id=""),
        digest="",
    )
    return Kept(
        token=token,
        kind=KeptKind.SNAPSHOT,
        source=data.source,
        model=after.model,
        deployment=after.deployment,
        release=after.id,
        version=after.previous or 0,
        at=now,
        snapshot=unknown,
        freed_by="lastgood",
        freed_why="its release ended while it was being captured",
    )


def data_told(data: DataProgress) -> dict[str, Any]:
    """Return what an event says of a release's data: numbers, never rows."""
    told: dict[str, Any] = {"source": data.source, "stage": data.stage.value}
    if data.snapshot is not None:
        snapshot = data.snapshot
        told |= {
            "snapshot": snapshot.token,
            "rows": sum(snapshot.rows.values()),
            "bytes": snapshot.size_bytes,
            "digest": snapshot.digest,
            "schema": snapshot.schema.id,
            "seconds": snapshot.seconds,
        }
    if data.held_ms is not None:
        told["held_ms"] = data.held_ms
    if data.error:
        told["error"] = data.error
    return told
