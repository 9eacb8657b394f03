"""Quarantines as they are shown, and how a restore of one stands."""

from pathlib import Path

import msgspec

from lastgood.domain.snapshot import Gained, Kept


class QuarantineView(msgspec.Struct, frozen=True, kw_only=True):
    """One quarantine. ``version`` wrote the data, ``release`` is the one whose way back replaced it, ``at`` when.

    ``tables`` say what it had that the restored snapshot (``since``) had not, and the other way round, in rows; they
    are empty until ``counted``. ``rows`` and ``size_bytes`` are of all it holds. ``exports`` is the folder of the files
    with the added rows. ``freed_by`` is who let it go, and ``freed_at`` when it was gone.
    """

    token: str
    source: str
    model: str
    deployment: str
    release: int
    version: int
    label: str | None
    at: float
    since: str
    counted: bool
    tables: dict[str, Gained]
    rows: dict[str, int]
    size_bytes: int
    digest: str
    exports: str
    trouble: str
    freed_at: float | None
    freed_by: str
    freed_why: str


class RestoreResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a restore stands. ``restored`` is None while it is under way; ``replaced`` is where the data before it is.

    ``held_ms`` is how long requests waited for the swap.
    """

    token: str
    deployment: str
    release: int
    restored: bool | None
    cause: str
    replaced: str
    held_ms: float | None = None


def view_of(row: Kept, label: str | None, exports: Path) -> QuarantineView:
    """Return what is shown of a row; ``label`` is that of the version that wrote the data."""
    counted = row.quarantine
    return QuarantineView(
        token=row.token,
        source=row.source,
        model=row.model,
        deployment=row.deployment,
        release=row.release,
        version=row.version,
        label=label,
        at=row.at,
        since=row.snapshot.token,
        counted=counted is not None,
        tables={} if counted is None else counted.tables,
        rows={} if counted is None else counted.kept.rows,
        size_bytes=0 if counted is None else counted.kept.size_bytes,
        digest="" if counted is None else counted.kept.digest,
        exports=str(exports),
        trouble=row.trouble,
        freed_at=row.freed_at,
        freed_by=row.freed_by,
        freed_why=row.freed_why,
    )
