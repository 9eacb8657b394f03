"""Effects: what a change did to the rows that decisions rest on, written into its last event before the seal.

The store does this itself, so that no caller can forget it. ``lastgood.domain.replay`` reads them again.
"""

from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, select

from lastgood.domain.change import Change
from lastgood.domain.event import EventDraft
from lastgood.domain.replay import EFFECTS, Rows
from lastgood.errors import Code, LastgoodError
from lastgood.store.documents import fingerprint
from lastgood.store.schema import deployments, failures, history, ledger, models, releases, versions

_BOUND_FROM: Final = select(ledger.c.bound_from).where(ledger.c.id == 1)
_PAGE: Final = 1000


def with_effects(drafts: tuple[EventDraft, ...], effects: dict[str, Any]) -> tuple[EventDraft, ...]:
    """Return the drafts with ``effects`` in the last one's data.

    :raises LastgoodError: ``internal`` when a caller wrote effects of its own: they would be taken for true.
    """
    if any(EFFECTS in draft.data for draft in drafts):
        raise LastgoodError(
            Code.INTERNAL,
            f"An event came with {EFFECTS!r} in its data, which only the store may write.",
            "Please report this.",
        )
    if not effects:
        return drafts
    *others, last = drafts
    return (*others, msgspec.structs.replace(last, data={**last.data, EFFECTS: effects}))


def own_event(change: Change, at: float) -> EventDraft:
    """Return the store's own event, for a change that has effects and came with no event to carry them."""
    deployment, release = change.deployment, change.release
    return EventDraft(
        type="lastgood.deployment.changed",
        at=at,
        actor="lastgood",
        model=deployment.model,
        deployment=deployment.name,
        release=deployment.release if release is None else release.id,
        version=deployment.stable if release is None else release.version,
    )


def bound_from(connection: Connection) -> int:
    """Return the first sequence whose events carry effects."""
    sequence: int = connection.scalars(_BOUND_FROM).one()
    return sequence


def read_tables(connection: Connection) -> dict[str, Rows]:
    """Return every row that effects speak of, with the hash of its document in the document's place."""
    keys = {
        models: ("name",),
        versions: ("model", "number"),
        deployments: ("name",),
        releases: ("id",),
        history: ("deployment", "sequence"),
        failures: ("id",),
    }
    found: dict[str, Rows] = {}
    for table, key in keys.items():
        rows: Rows = {}
        for row in connection.execution_options(yield_per=_PAGE).execute(select(table)):
            fields = _fields(row)
            rows[tuple(fields.pop(name) for name in key)] = fields
        found[table.name] = rows
    return found


def _fields(row: Row[Any]) -> dict[str, Any]:
    fields = dict(row._mapping)  # noqa: SLF001 - the documented name of a row's mapping
    if "document" in fields:
        fields["document"] = fingerprint(fields["document"])
    return fields
