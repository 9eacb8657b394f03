"""What a release does with live data, as it is shown: what was captured, how far it is, and what a restore replaced."""

import msgspec

from lastgood.domain.release import Release
from lastgood.domain.snapshot import DataStage, Snapshot, restore_token


class SnapshotView(msgspec.Struct, frozen=True, kw_only=True):
    """A captured state that was read back. ``rows`` are by table, ``seconds`` is how long the capture took."""

    token: str
    taken_at: float
    seconds: float
    rows: dict[str, int]
    size_bytes: int
    schema: str
    digest: str


class DataView(msgspec.Struct, frozen=True, kw_only=True):
    """The live data of a release. ``back`` is whether its snapshot is live again, ``replaced`` the quarantine of what that replaced.

    ``touched`` is whether the live data may be other than the snapshot by this release's doing. ``held_ms`` is how long
    requests waited in the last flip, in milliseconds; ``error`` is what stands in the way now.
    """

    source: str
    on_rollback: str
    stage: str
    touched: bool
    back: bool
    snapshot: SnapshotView | None
    replaced: str | None
    held_ms: float | None
    error: str


def data_view(release: Release) -> DataView | None:
    """Return what is shown of a release's data, None where it does nothing with any."""
    plan, data = release.plan.data, release.data
    if plan is None or data is None:
        return None
    back = data.stage in (DataStage.SWAPPED, DataStage.COUNTED)
    return DataView(
        source=data.source,
        on_rollback=plan.on_rollback.value,
        stage=data.stage.value,
        touched=data.touched,
        back=back,
        snapshot=None if data.snapshot is None else _snapshot(data.snapshot),
        replaced=restore_token(release.id) if back else None,
        held_ms=data.held_ms,
        error=data.error,
    )


def _snapshot(snapshot: Snapshot) -> SnapshotView:
    return SnapshotView(
        token=snapshot.token,
        taken_at=snapshot.taken_at,
        seconds=snapshot.seconds,
        rows=snapshot.rows,
        size_bytes=snapshot.size_bytes,
        schema=snapshot.schema.id,
        digest=snapshot.digest,
    )
