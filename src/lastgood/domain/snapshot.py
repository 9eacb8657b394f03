"""A snapshot: a captured, verified state of data that a version depends on; and what a restore replaced."""

import hashlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec


class Column(msgspec.Struct, frozen=True, order=True):
    """One column: its name and its type as the source itself calls it, in lower case (``integer``, ``text``)."""

    name: str
    type: str


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """What data looks like: each table's columns in their order. ``id`` is a digest of just that.

    Folders of files and other data without columns have tables with none.
    """

    id: str
    tables: dict[str, tuple[Column, ...]] = {}


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A captured state of one source. ``token`` names it for ever; whoever captures chooses it.

    ``rows`` are by table, ``size_bytes`` is what a restore needs room for, ``digest`` is of the content: equal content
    has an equal digest, wherever it lies. ``seconds`` is how long the capture took. ``place`` is the provider's own
    note of where the state is; it holds no secret.
    """

    token: str
    source: str
    provider: str
    taken_at: float
    seconds: float
    size_bytes: int
    rows: dict[str, int]
    schema: Schema
    digest: str
    place: dict[str, Any] = {}


class Gained(msgspec.Struct, frozen=True, kw_only=True):
    """How one table of replaced data differs from the snapshot it was replaced with.

    ``added`` rows were not in the snapshot, ``removed`` ones are only there; a changed row is one of each. ``export`` is
    the name of the file with the added rows, None where there are none.
    """

    added: int = 0
    removed: int = 0
    export: str | None = None


class Quarantine(msgspec.Struct, frozen=True, kw_only=True):
    """Data that a restore replaced: kept whole, and counted. ``kept`` is it as a snapshot, so it can be restored itself.

    ``since`` is the token of the snapshot that took its place.
    """

    token: str
    since: str
    kept: Snapshot
    tables: dict[str, Gained]


class DataStage(StrEnum):
    """How far a release is with its data. Each is saved before the work that leads to the next begins."""

    CAPTURING = "capturing"  # a snapshot is being taken
    CAPTURED = "captured"  # it is there, and was read back
    STAGED = "staged"  # the way back lies beside the live data, ready to be swapped in
    MIGRATING = "migrating"  # the plan's command may have begun to change the live data
    MIGRATED = "migrated"  # it has ended well
    HOLDING = "holding"  # on the way back: requests wait for the swap
    SWAPPED = "swapped"  # the snapshot's state is live again, what it replaced is kept
    COUNTED = "counted"  # what it replaced has been counted and exported


class DataTask(StrEnum):
    """A piece of work on a source that takes longer than a look."""

    CAPTURE = "capture"
    STAGE = "stage"
    MIGRATE = "migrate"
    SWAP = "swap"
    COUNT = "count"
    FREE = "free"
    VERIFY = "verify"  # read a snapshot again
    REHEARSE = "rehearse"  # stage a snapshot and free it again


class DataProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A release's data: how far it is, what was captured, and what a restore replaced.

    ``touched`` is whether the live data may be other than the snapshot by this release's doing: its migration has begun,
    or its candidate had traffic. ``held`` is since when requests wait for a flip (None: they do not), ``held_ms`` how
    long they did in the last one. ``by`` is the process that began the migration, or the hold of a swap: another one cannot know how far that
    came. ``tries`` counts swaps that somebody's lock made impossible, ``retry_at`` is when the next one may be tried,
    ``error`` what stood in the way.
    """

    source: str
    stage: DataStage
    snapshot: Snapshot | None = None
    quarantine: Quarantine | None = None
    touched: bool = False
    by: str = ""
    held: float | None = None
    held_ms: float | None = None
    tries: int = 0
    retry_at: float = 0.0
    error: str = ""

    @property
    def staged(self) -> bool:
        """Whether the way back lies ready beside the live data."""
        return self.stage in (DataStage.STAGED, DataStage.MIGRATING, DataStage.MIGRATED, DataStage.HOLDING)


def schema_of(tables: Mapping[str, Sequence[Column]]) -> Schema:
    """Return the schema with these tables; its id is a sha256 of their names, columns and types."""
    plain = {name: tuple(columns) for name, columns in tables.items()}
    text = msgspec.json.encode(sorted(plain.items()))
    return Schema(id=f"sha256:{hashlib.sha256(text).hexdigest()}", tables=plain)


def misfits(needed: Schema, live: Schema) -> tuple[str, ...]:
    """Say what a reader of ``needed`` would not find in ``live``: missing tables, missing columns, other types.

    Tables and columns that it does not know disturb nobody.
    """
    found = []
    for name, columns in sorted(needed.tables.items()):
        if name not in live.tables:
            found.append(f"there is no table {name!r}")
            continue
        types = {column.name: column.type for column in live.tables[name]}
        for column in columns:
            if column.name not in types:
                found.append(f"{name}.{column.name} is missing")
            elif types[column.name] != column.type:
                found.append(f"{name}.{column.name} is {types[column.name]}, not {column.type}")
    return tuple(found)


def snapshot_token(release: int) -> str:
    """Return the token under which a release captures its data."""
    return f"r{release}_snapshot"


def restore_token(release: int) -> str:
    """Return the token under which a release stages its way back; what that replaces is kept under it, too."""
    return f"r{release}_restore"


class KeptKind(StrEnum):
    """What is kept of a source's data."""

    SNAPSHOT = "snapshot"  # captured before a release
    STAGED = "staged"  # a copy beside the live data, ready to be swapped in
    QUARANTINE = "quarantine"  # what a restore replaced


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that takes room in a source, by the token it is kept under. ``freed_at`` is set once it is gone.

    Freeing begins by naming who lets it go (``freed_by``) and why: from then on nothing may use it, and whoever starts
    after a crash frees it.

    ``snapshot`` is what was captured, or what is staged, or what a quarantine was replaced with. ``quarantine`` is known
    once its rows have been counted; ``trouble`` says why they could not be, or why it could not be freed, yet.
    """

    token: str
    kind: KeptKind
    source: str
    model: str
    deployment: str
    release: int
    version: int
    at: float
    snapshot: Snapshot
    quarantine: Quarantine | None = None
    trouble: str = ""
    freed_at: float | None = None
    freed_by: str = ""
    freed_why: str = ""
