"""A snapshot: a captured, verified state of data that a version depends on; and what a restore replaced."""

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
