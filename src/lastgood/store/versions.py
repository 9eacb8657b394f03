"""Models, their immutable versions, and the marks on failed digests."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, bindparam, insert, select, update

from lastgood.domain.deployment import Failure
from lastgood.domain.event import EventDraft
from lastgood.domain.version import Version
from lastgood.errors import Code, LastgoodError
from lastgood.store.database import Database, find
from lastgood.store.documents import FORMAT, fingerprint, from_text, to_text
from lastgood.store.effects import with_effects
from lastgood.store.ledger import read_ledger, record, save_ledger
from lastgood.store.schema import failures, models, versions

_OF_MODEL: Final = select(versions.c.document, versions.c.format).where(
    versions.c.model == bindparam("model")
)
_BY_NUMBER: Final = _OF_MODEL.where(versions.c.number == bindparam("number"))
_BY_LABEL: Final = _OF_MODEL.where(versions.c.label == bindparam("label"))
_BY_DIGEST: Final = _OF_MODEL.where(versions.c.digest == bindparam("digest")).order_by(versions.c.number)
_NEWEST_FAILURE: Final = (
    select(failures.c.document, failures.c.format, failures.c.lifted_by)
    .where(failures.c.digest == bindparam("digest"))
    .order_by(failures.c.id.desc())
    .limit(1)
)


class SqlVersions:
    """The :class:`~lastgood.ports.VersionStore` in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_version(self, version: Version, event: EventDraft) -> Version:
        """Store ``version`` under the next number of its model and return it so numbered.

        :raises LastgoodError: ``conflict`` if the label is taken in this model.
        """
        with self._database.transaction() as connection:
            before = read_ledger(connection, lock=True)
            if version.label is not None:
                _check_free(connection, version.model, version.label)
            numbered = msgspec.structs.replace(version, number=_next_number(connection, version.model))
            effect = _insert(connection, numbered)
            draft = msgspec.structs.replace(event, model=numbered.model, version=numbered.number)
            after, _ = record(connection, before, with_effects((draft,), {"version": effect}))
            save_ledger(connection, before, after)
        return numbered

    def version(self, model: str, number: int) -> Version | None:
        """Return one version by number."""
        row = self._database.row(_BY_NUMBER, {"model": model, "number": number})
        return None if row is None else _version_from(row)

    def version_by_label(self, model: str, label: str) -> Version | None:
        """Return one version by label."""
        row = self._database.row(_BY_LABEL, {"model": model, "label": label})
        return None if row is None else _version_from(row)

    def versions_of_digest(self, model: str, digest: str) -> list[Version]:
        """Return the versions of ``model`` with these bytes, oldest first."""
        rows = self._database.rows(_BY_DIGEST, {"model": model, "digest": digest})
        return [_version_from(row) for row in rows]

    def versions(self, model: str, *, limit: int = 100, before: int | None = None) -> list[Version]:
        """Return versions newest first, at most ``limit``, with numbers below ``before`` when given."""
        query = _OF_MODEL if before is None else _OF_MODEL.where(versions.c.number < before)
        rows = self._database.rows(query.order_by(versions.c.number.desc()).limit(limit), {"model": model})
        return [_version_from(row) for row in rows]

    def models(self) -> list[str]:
        """Return the names of all models, sorted."""
        return [row.name for row in self._database.rows(select(models.c.name).order_by(models.c.name))]

    def failures(self, digests: Iterable[str]) -> dict[str, Failure]:
        """Return the newest failure of each of these digests that has one, lifted ones included.

        A mark is bound to the bytes: it holds for every model, and names the model and deployment it comes from.
        """
        found: dict[str, Failure] = {}
        with self._database.reading() as connection:
            for digest in dict.fromkeys(digests):  # one look-up by key each, however often a digest failed
                row = find(connection, _NEWEST_FAILURE, {"digest": digest})
                if row is not None:
                    found[digest] = msgspec.structs.replace(
                        from_text(row.document, Failure, row.format), lifted_by=row.lifted_by
                    )
        return found


def _version_from(row: Row[Any]) -> Version:
    return from_text(row.document, Version, row.format)


def _insert(connection: Connection, version: Version) -> dict[str, Any]:
    """Write the row and return the effect, which names all that the row holds."""
    document = to_text(version)
    named = {"number": version.number, "label": version.label, "digest": version.digest}
    row = {**named, "model": version.model, "format": FORMAT, "document": document}
    connection.execute(insert(versions).values(row))
    return {**named, "document": fingerprint(document)}


def _check_free(connection: Connection, model: str, label: str) -> None:
    query = select(versions.c.number).where(versions.c.model == model, versions.c.label == label)
    holder = connection.scalar(query)
    if holder is not None:
        raise LastgoodError(
            Code.CONFLICT,
            f"The label {label!r} of {model!r} belongs to version {holder}; a version never changes.",
            "Choose the next label, or register without one.",
            details={"version": holder},
        )


def _next_number(connection: Connection, model: str) -> int:
    grown = update(models).where(models.c.name == model).values(newest=models.c.newest + 1)
    if connection.execute(grown).rowcount == 0:
        connection.execute(insert(models).values(name=model, newest=1))
    number: int = connection.scalars(select(models.c.newest).where(models.c.name == model)).one()
    return number
