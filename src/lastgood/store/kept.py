"""What is kept of live data: one row for each token, changed together with the release it belongs to."""

from typing import Any, Final

from sqlalchemy import Connection, bindparam, insert, select, update

from lastgood.domain.event import EventDraft
from lastgood.domain.snapshot import Kept
from lastgood.errors import Code, LastgoodError
from lastgood.store.database import Database, find
from lastgood.store.documents import FORMAT, from_text, to_text
from lastgood.store.effects import with_effects
from lastgood.store.ledger import read_ledger, record, save_ledger
from lastgood.store.schema import HERE, kept

_ONE: Final = select(kept).where(kept.c.token == bindparam("of_token"))
_ADD: Final = insert(kept)
_SAVE: Final = update(kept).where(kept.c.token == bindparam("of_token"))
_HERE: Final = select(kept).where(HERE).order_by(kept.c.source, kept.c.release, kept.c.token)


class SqlKept:
    """The :class:`~lastgood.data_ports.KeptStore` in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def kept(self, token: str) -> Kept | None:
        """Return what is, or was, kept under ``token``."""
        row = self._database.row(_ONE, {"of_token": token})
        return None if row is None else from_text(row.document, Kept, row.format)

    def all_kept(self) -> list[Kept]:
        """Return everything that still takes room, by source and release."""
        return [from_text(row.document, Kept, row.format) for row in self._database.rows(_HERE)]

    def note(self, one: Kept, event: EventDraft | None = None) -> None:
        """Replace what is known of a token, with the event that says so.

        :raises LastgoodError: ``not_found`` for a token that nothing was kept under, ``conflict`` when that is freed.
        """
        with self._database.transaction() as connection:
            row = find(connection, _ONE, {"of_token": one.token})
            if row is None:
                raise LastgoodError(
                    Code.NOT_FOUND, f"Nothing is kept under {one.token!r}.", "See 'lastgood quarantine list'."
                )
            if row.freed_at is not None:
                raise LastgoodError(
                    Code.CONFLICT,
                    f"What was kept under {one.token!r} is freed already.",
                    "There is nothing to do.",
                )
            write_kept(connection, one)
            if event is not None:
                before = read_ledger(connection, lock=True)
                after, _ = record(connection, before, with_effects((event,), {}))
                save_ledger(connection, before, after)


def write_kept(connection: Connection, one: Kept) -> None:
    """Insert or replace the row of a token."""
    fields: dict[str, Any] = {
        "source": one.source,
        "deployment": one.deployment,
        "release": one.release,
        "kind": one.kind.value,
        "freed_at": one.freed_at,
        "format": FORMAT,
        "document": to_text(one),
    }
    if connection.execute(_SAVE, {**fields, "of_token": one.token}).rowcount == 0:
        connection.execute(_ADD, {"token": one.token, **fields})
