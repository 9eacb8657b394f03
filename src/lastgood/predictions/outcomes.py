"""Outcomes, as the controller reads them: only those that it has not read, however many there are."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, Final

import msgspec

from lastgood.domain.agreement import PairRow
from lastgood.domain.kpi import Awaited, Cursor, Outcome
from lastgood.predictions.join_rows import rows_of
from lastgood.predictions.log import PredictionLog
from lastgood.predictions.stored import copied_rows, copy_of
from lastgood.quality_ports import PAIR_ROWS

_ALL: Final = 2**63 - 1
_COLUMNS: Final = (
    "seq, release, stage, arm, version, predicted_at, labelled_at, value, answer, key, copied, other, slices"
)
# Known before, and old enough only now.
_MATURED: Final = f"""
SELECT {_COLUMNS} FROM outcomes INDEXED BY outcomes_release
WHERE release = ?1 AND predicted_at >= ?3 AND (predicted_at > ?3 OR seq > ?4) AND predicted_at <= ?5 AND seq <= ?2
ORDER BY predicted_at, seq LIMIT ?6
"""  # noqa: S608 - a constant
# Old enough, and known only now.
_CAME: Final = f"""
SELECT {_COLUMNS} FROM outcomes INDEXED BY outcomes_new
WHERE release = ?1 AND seq > ?2 AND seq <= ?3 AND predicted_at <= ?4 ORDER BY seq LIMIT ?5
"""  # noqa: S608 - a constant


# A request keeps its place; a log that was emptied begins anew.
_PAIRS: Final = """
SELECT p.seq, s.stage, s.arm, p.answer, p.copy FROM served s JOIN predictions p ON p.served = s.number
WHERE s.release = ?1 AND s.arm IS NOT NULL AND s.stage IS NOT NULL AND p.copy IS NOT NULL AND p.seq > ?2
ORDER BY p.seq LIMIT ?3
"""
ROWS_MAX: Final = 1_000
"""Rows of one request that are looked at for agreement."""


class LoggedOutcomes:
    """The :class:`~lastgood.quality_ports.Outcomes` of a prediction log."""

    def __init__(self, log: PredictionLog) -> None:
        self._log = log

    def outcomes(
        self, release: int, since: Cursor, *, made_until: float, limit: int
    ) -> tuple[list[Outcome], Cursor]:
        """Return outcomes after ``since`` whose predictions were made until ``made_until``, and how far that is."""
        if not self._log.path.exists():
            return [], since
        until = max(made_until, since.made)
        with self._log.reading() as connection:
            last = connection.execute("SELECT coalesce(max(seq), 0) FROM outcomes").fetchone()[0]
            known = min(since.sequence, last)
            place = (release, known, since.made, since.among, until, limit)
            found = [_outcome(row) for row in connection.execute(_MATURED, place)]
            if len(found) == limit:
                return found, Cursor(known, found[-1].predicted_at, found[-1].sequence)
            left = limit - len(found)
            came = [_outcome(row) for row in connection.execute(_CAME, (release, known, last, until, left))]
        read = came[-1].sequence if len(came) == left else last
        return found + came, Cursor(read, until, _ALL)

    def awaited(self, release: int) -> dict[str, Awaited]:
        """Return how many predictions and labelled ones each arm of a release has; takes no longer in a larger log."""
        if not self._log.path.exists():
            return {}
        with self._log.reading() as connection:
            rows = connection.execute(
                "SELECT s.arm, sum(s.added), coalesce(sum(l.predictions), 0) FROM served s "
                "LEFT JOIN labelled l ON l.served = s.number "
                "WHERE s.release = ? AND s.arm IS NOT NULL GROUP BY s.arm ORDER BY s.arm",
                (release,),
            ).fetchall()
        return {arm: Awaited(predictions=added, labelled=labelled) for arm, added, labelled in rows}

    def pairs(self, release: int, since: int, limit: int) -> tuple[list[PairRow], int]:
        """Return the rows of copied requests after ``since``, and how far that is."""
        if not self._log.path.exists():
            return [], since
        with self._log.reading() as connection:
            last = connection.execute("SELECT coalesce(max(seq), 0) FROM predictions").fetchone()[0]
            known = since if since <= last else 0
            rows: list[PairRow] = []
            for one in connection.execute(_PAIRS, (release, known, limit)):
                rows += _pair(*one)
                known = one[0]
                if len(rows) >= PAIR_ROWS:
                    break
        return rows, known


def _pair(sequence: int, stage: int, arm: str, answer: bytes | None, packed: bytes) -> Iterator[PairRow]:
    """Yield the rows of one copied request: as many as either answer has, one without any where nobody can say."""
    copy = copy_of(packed)
    own = [] if answer is None else rows_of(answer, ROWS_MAX)
    other = [] if copy is None else copied_rows(copy, ROWS_MAX)
    if not (own or other):
        yield PairRow(sequence=sequence, stage=stage, arm=arm)
    for first, second in zip_longest(own, other):
        yield PairRow(sequence=sequence, stage=stage, arm=arm, answer=first, other=second)


def _outcome(row: tuple[Any, ...]) -> Outcome:
    seq, release, stage, arm, version, predicted_at, labelled_at, value, answer, key, *pair = row
    copied, other, slices = pair
    return Outcome(
        sequence=seq,
        release=release,
        stage=stage,
        arm=arm,
        version=version,
        predicted_at=predicted_at,
        labelled_at=labelled_at,
        value=msgspec.json.decode(value),
        answer=None if answer is None else msgspec.json.decode(answer),
        key=key,
        copied=copied is not None,
        other=None if other is None else msgspec.json.decode(other),
        slices={} if slices is None else msgspec.json.decode(slices),
    )
