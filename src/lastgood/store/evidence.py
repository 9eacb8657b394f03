"""The strata of each release and the evidence folded from them, always in step."""

from collections.abc import Iterator, Sequence
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
_SEQUENCES: Final = select(evidence.c.release, evidence.c.sequence).where(
    evidence.c.release.in_(bindparam("releases", expanding=True))
)
_SAVE: Final = update(evidence).where(evidence.c.release == bindparam("of_release"))
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

    def save_evidence(self, *steps: EvidenceStep) -> None:
        """Append strata and replace the evidence, each step of another release, all in one transaction.

        :raises LastgoodError: ``conflict`` if a stored sequence is not the step's ``before`` (nothing is written
            then), ``internal`` if a step's strata do not lead from there to the evidence's sequence one by one.
        """
        for step in steps:
            _check_in_step(step)
        # What can be worked out before is not worked out while others wait for the write lock.
        documents = [to_text(step.evidence) for step in steps]
        rows = [
            {
                "release": step.evidence.release,
                "sequence": one.sequence,
                "format": FORMAT,
                "document": to_text(one),
            }
            for step in steps
            for one in step.strata
        ]
        with self._database.transaction() as connection:
            _replace(connection, steps, documents)
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


def _replace(connection: Connection, steps: Sequence[EvidenceStep], documents: Sequence[str]) -> None:
    releases = [step.evidence.release for step in steps]
    at = {row.release: row.sequence for row in connection.execute(_SEQUENCES, {"releases": releases})}
    added, saved = [], []
    for step, document in zip(steps, documents, strict=True):
        release = step.evidence.release
        if at.get(release, 0) != step.before:
            raise _outrun(step, at.get(release, 0))
        columns = {"sequence": step.evidence.sequence, "format": FORMAT, "document": document}
        if release in at:
            saved.append({"of_release": release, **columns})
        else:
            added.append({"release": release, **columns})
    if added:
        connection.execute(_ADD, added)
    if saved:
        connection.execute(_SAVE, saved)


def _outrun(step: EvidenceStep, stored: int) -> LastgoodError:
    release = step.evidence.release
    return LastgoodError(
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
