"""The commits of an Iceberg table that a way back needs: pin, unpin, and everything back at once.

Each carries requirements, so that a catalog takes it only on top of what was looked at. Updates and requirements are
written as the catalog protocol of Iceberg has them.
"""

from typing import Any, Final

import msgspec
from pydantic import TypeAdapter
from pyiceberg.table import Table
from pyiceberg.table.update import TableRequirement, TableUpdate

from lastgood.errors import Code, LastgoodError
from lastgood.sources.lake_state import Swap

_TAG: Final = "lastgood-"
_PROPERTY: Final = "lastgood.swap."
_MAIN: Final = "main"
_UPDATES: Final = TypeAdapter(tuple[TableUpdate, ...])
_REQUIREMENTS: Final = TypeAdapter(tuple[TableRequirement, ...])


class Place(msgspec.Struct, frozen=True):
    """Where a table stands: ids of its snapshot (None: it was never written to), schema, partitioning and order."""

    snapshot: int | None
    schema: int
    spec: int
    order: int


def live_place(table: Table) -> Place:
    """Return where the table stands now."""
    known = table.metadata
    return Place(
        known.current_snapshot_id,
        known.current_schema_id,
        known.default_spec_id,
        known.default_sort_order_id,
    )


def swap_of(table: Table, token: str) -> Swap | None:
    """Return the swap that the table's properties note under the token."""
    noted = table.properties.get(_PROPERTY + token)
    return None if noted is None else msgspec.json.decode(noted, type=Swap)


def tag(table: Table, token: str, place: Place) -> None:
    """Tag the snapshot of ``place``; a table that was never written to has none, and nothing to keep.

    :raises CommitFailedException: somebody else was first.
    """
    held = table.metadata.refs.get(_TAG + token)
    if place.snapshot is None or (held is not None and held.snapshot_id == place.snapshot):
        return
    before = None if held is None else held.snapshot_id
    _commit(table, [_stands(_TAG + token, before)], [_tagged(token, place.snapshot)])


def untag(table: Table, token: str) -> None:
    """Remove the tag, if it is there.

    :raises CommitFailedException: somebody else was first.
    """
    held = table.metadata.refs.get(_TAG + token)
    if held is not None:
        gone = {"action": "remove-snapshot-ref", "ref-name": _TAG + token}
        _commit(table, [_stands(_TAG + token, held.snapshot_id)], [gone])


def put_back(table: Table, token: str, place: Place) -> Swap:
    """Make the table stand at ``place``, keep where it stood under a tag, and note both under the token.

    :raises CommitFailedException: somebody else was first; nothing is changed.
    :raises LastgoodError: ``corrupt`` when the catalog took the commit and the table stands elsewhere.
    """
    before = live_place(table)
    swap = Swap(msgspec.to_builtins(before), msgspec.to_builtins(place))
    requirements = [
        _stands(_MAIN, before.snapshot),
        {"type": "assert-current-schema-id", "current-schema-id": before.schema},
        {"type": "assert-default-spec-id", "default-spec-id": before.spec},
        {"type": "assert-default-sort-order-id", "default-sort-order-id": before.order},
    ]
    updates: list[dict[str, Any]] = [
        {"action": "set-current-schema", "schema-id": place.schema},
        {"action": "set-default-spec", "spec-id": place.spec},
        {"action": "set-default-sort-order", "sort-order-id": place.order},
        {"action": "set-properties", "updates": {_PROPERTY + token: msgspec.json.encode(swap).decode()}},
    ]
    if before.snapshot is not None:
        updates.append(_tagged(token, before.snapshot))
    if place.snapshot is not None:
        updates.append(_main(table, place.snapshot))
    elif before.snapshot is not None:
        updates.append({"action": "remove-snapshot-ref", "ref-name": _MAIN})
    _commit(table, requirements, updates)
    return _proved(table, swap, place)


def _proved(table: Table, swap: Swap, place: Place) -> Swap:
    """Look at the table again, unless others have committed since; what the catalog took is not yet what it did."""
    table.refresh()
    stands = live_place(table)
    if stands == msgspec.convert(swap.before, Place) != place:
        raise LastgoodError(
            Code.CORRUPT,
            "The catalog took the restore but the table stands where it stood.",
            "Look at the table's history and at the catalog's version.",
        )
    if stands.snapshot == place.snapshot and stands.schema != place.schema:
        raise LastgoodError(
            Code.CORRUPT,
            "The restore brought the rows back but not their schema.",
            f"Set the table's current schema to {place.schema} with the catalog's own tools.",
        )
    return swap


def _main(table: Table, snapshot: int) -> dict[str, Any]:
    """Return the update of the main branch; how long it keeps snapshots stays as somebody set it."""
    main = table.metadata.refs.get(_MAIN)
    update = {"action": "set-snapshot-ref", "ref-name": _MAIN, "type": "branch", "snapshot-id": snapshot}
    if main is not None:
        update["max-ref-age-ms"] = main.max_ref_age_ms
        update["max-snapshot-age-ms"] = main.max_snapshot_age_ms
        update["min-snapshots-to-keep"] = main.min_snapshots_to_keep
    return update


def _tagged(token: str, snapshot: int) -> dict[str, Any]:
    return {"action": "set-snapshot-ref", "ref-name": _TAG + token, "type": "tag", "snapshot-id": snapshot}


def _stands(name: str, snapshot: int | None) -> dict[str, Any]:
    return {"type": "assert-ref-snapshot-id", "ref": name, "snapshot-id": snapshot}


def _commit(table: Table, requirements: list[dict[str, Any]], updates: list[dict[str, Any]]) -> None:
    same = {"type": "assert-table-uuid", "uuid": table.metadata.table_uuid}
    table.catalog.commit_table(
        table, _REQUIREMENTS.validate_python((same, *requirements)), _UPDATES.validate_python(tuple(updates))
    )
