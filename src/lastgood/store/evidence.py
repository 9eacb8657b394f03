"""The strata of each release and the evidence folded from them, always in step."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection, bindparam, insert, select, update

from lastgood.domain.change import Evidence, EvidenceStep
from lastgood.domain.traffic import Stratum
from lastgood.errors import Code, LastgoodError
from lastgood.store.database import Database
from lastgood.store.documents import FORMAT, from_text, to_text
from lastgood.store.schema import evidence, strata

_PAGE: Final = 500
_STORED: Final = select(evidence).where(evidence.c.release == bindparam("release"))
_ADD: Final = insert(evidence)
_SAVE: Final = update(evidence).where(
    evidence.c.release == bindparam("of_release"), evidence.c.sequence == bindparam("read_sequence")
)
_ADD_STRATA: Final = insert(strata)
_STRATA: Final = (
    select(strata)
    .where(strata.c.release == bindparam("release"), strata.c.sequence > bindparam("after"))
    .order_by(strata.c.sequence)
    .limit(_PAGE)
)


class SqlEvidence:
    """The :class:`~lastgood.ports.EvidenceStore` in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def evidence(self, release: int) -> Evidence:
        """Return the evidence so far, empty at the beginning."""
        row = self._database.row(_STORED, {"release": release})
        return Evidence(release=release) if row is None else from_text(row.document, Evidence, row.format)

    def save_evidence(self, step: EvidenceStep) -> None:
        """Append strata and replace the evidence, in one transaction.

        :raises LastgoodError: ``conflict`` if the stored sequence is not ``step.before``, ``internal`` if the
            strata do not lead from there to the evidence's sequence one by one.
        """
        _check_in_step(step)
        release = step.evidence.release
        with self._database.transaction() as connection:
            _replace(connection, step)
            rows = [
                {"release": release, "sequence": one.sequence, "format": FORMAT, "document": to_text(one)}
                for one in step.strata
            ]
            if rows:
                connection.execute(_ADD_STRATA, rows)

    def strata(self, release: int) -> Iterator[Stratum]:
        """Yield the strata in order, a page at a time."""
        last = -1
        while True:
            page = self._database.rows(_STRATA, {"release": release, "after": last})
            for row in page:
                yield from_text(row.document, Stratum, row.format)
            if len(page) < _PAGE:
                return
            last = page[-1].sequence


def _replace(connection: Connection, step: EvidenceStep) -> None:
    columns = {"sequence": step.evidence.sequence, "format": FORMAT, "document": to_text(step.evidence)}
    release = step.evidence.release
    guard = {"of_release": release, "read_sequence": step.before}
    if connection.execute(_SAVE, {**columns, **guard}).rowcount == 1:
        return
    row = connection.execute(_STORED, {"release": release}).one_or_none()
    if row is None and step.before == 0:
        connection.execute(_ADD, {"release": release, **columns})
        return
    stored = 0 if row is None else row.sequence
    raise LastgoodError(
        Code.CONFLICT,
        f"The evidence of release {release} is at {stored}, not at {step.before}: "
        "another controller was first.",
        "Read it again.",
    )


def _check_in_step(step: EvidenceStep) -> None:
    wanted = list(range(step.before + 1, step.evidence.sequence + 1))
    if [one.sequence for one in step.strata] != wanted or step.evidence.sequence < step.before:
        raise LastgoodError(
            Code.INTERNAL,
            f"The strata of release {step.evidence.release} do not lead from {step.before} to "
            f"{step.evidence.sequence}.",
            "Please report this.",
        )
