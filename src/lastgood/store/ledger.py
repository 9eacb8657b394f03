"""The ledger: one row that says what was allotted last, and the sealing of events under its lock."""

from collections.abc import Iterable
from typing import Final

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, update

from lastgood.domain.event import AuditEvent, EventDraft, seal
from lastgood.errors import Code, LastgoodError
from lastgood.store.documents import plain, to_text
from lastgood.store.schema import events, ledger

_READ: Final = select(ledger.c.release, ledger.c.generation, ledger.c.sequence, ledger.c.hash).where(
    ledger.c.id == 1
)
_LOCK: Final = _READ.with_for_update()
_SAVE: Final = update(ledger).where(
    ledger.c.id == 1, ledger.c.sequence == bindparam("read_sequence"), ledger.c.hash == bindparam("read_hash")
)
_APPEND: Final = insert(events)


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """The last release id, route generation and event allotted, and that event's hash."""

    release: int
    generation: int
    sequence: int
    hash: str


def read_ledger(connection: Connection, *, lock: bool = False) -> Ledger:
    """Return the ledger; with ``lock``, keep other writers away until the transaction ends."""
    row = connection.execute(_LOCK if lock else _READ).one_or_none()
    if row is None:
        raise LastgoodError(
            Code.CORRUPT, "The database has lost its ledger row.", "Restore it from a backup."
        )
    return Ledger(release=row.release, generation=row.generation, sequence=row.sequence, hash=row.hash)


def save_ledger(connection: Connection, before: Ledger, after: Ledger) -> None:
    """Replace the ledger, if it is still as it was read."""
    read = {"read_sequence": before.sequence, "read_hash": before.hash}
    if connection.execute(_SAVE, {**msgspec.structs.asdict(after), **read}).rowcount != 1:
        raise LastgoodError(Code.CONFLICT, "Another writer appended an event meanwhile.", "Try again.")


def record(
    connection: Connection, book: Ledger, drafts: Iterable[EventDraft]
) -> tuple[Ledger, list[AuditEvent]]:
    """Append ``drafts`` after the ledger's last event; return the ledger to save and the sealed events."""
    sealed: list[AuditEvent] = []
    for draft in drafts:
        event = seal(
            msgspec.structs.replace(draft, at=float(draft.at), data=plain(draft.data)),
            book.sequence + 1,
            book.hash,
        )
        book = msgspec.structs.replace(book, sequence=event.sequence, hash=event.hash)
        sealed.append(event)
    if sealed:
        rows = [{**msgspec.structs.asdict(event), "data": to_text(event.data)} for event in sealed]
        connection.execute(_APPEND, rows)
    return book, sealed
