"""Labels meet predictions, whichever comes second. Functions for use within a transaction on the log.

A label is known by the id of its prediction and a row. Every look-up is by key, so none takes longer in a larger log.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from lastgood.domain.feedback import Fate, Fated, made_at, same
from lastgood.domain.prediction import Label, Prediction
from lastgood.predictions.join_rows import row_of
from lastgood.predictions.log import PredictionLog
from lastgood.predictions.stored import copied_row, copy_of, slices_of_row, slices_text

WAITING_MAX: Final = 1_000_000
"""Labels that may wait for a prediction, fewer in a small log; further ones of unknown ids are refused."""

_ARMS: Final = ("candidate", "stable")
_DROP_ROWS: Final = 2_000
_encode = msgspec.json.Encoder().encode


class Made(NamedTuple):
    """A prediction as far as a label needs it; ``id`` is the one that it is kept under."""

    id: str
    at: float
    served: int
    status: int
    key: int | None
    answer: bytes | None
    copy: bytes | None
    slices: str | None
    release: int | None
    stage: int | None
    arm: str | None
    version: int


def take(connection: sqlite3.Connection, label: Label, *, now: float, since: float, room: bool) -> Fated:
    """Keep a label and return what became of it.

    Predictions from before ``since`` (epoch seconds) are dropped: a label of one that is not there any more has no use.
    ``room`` is whether one more may wait.
    """
    made = _made(connection, label.id)
    id_ = label.id if made is None else made.id
    known = connection.execute(
        "SELECT value FROM labels WHERE id = ? AND row = ?", (id_, label.row)
    ).fetchone()
    if known is not None:
        if same(msgspec.json.decode(known[0]), label.value):
            return _fated(label, Fate.DUPLICATE)
        return _fated(label, Fate.REFUSED, "another value is known for that row, and stays")
    if made is None:
        before = made_at(label.id)
        if before is not None and before < since:
            return _fated(label, Fate.EXPIRED)
        if not room:
            return _fated(label, Fate.REFUSED, "as many labels of unknown ids as may wait do so already")
        _keep(connection, label, id_, now, joined=False)
        _wait(connection, 1)
        return _fated(label, Fate.UNKNOWN)
    why = _join(connection, made, label, now)
    if why:
        return _fated(label, Fate.REFUSED, why)
    _keep(connection, label, id_, now, joined=True)
    return _fated(label, Fate.JOINED)


def on_added(connection: sqlite3.Connection, batch: Sequence[Prediction]) -> None:
    """Let labels that wait for these predictions, which were added just now, meet them."""
    if not waiting(connection):
        return
    for prediction in batch:
        for id_ in prediction.ids:
            rows = connection.execute(_WAITING, (id_,)).fetchall()
            for row, value, at, received in rows:
                label = Label(id=id_, value=msgspec.json.decode(value), at=at, row=row)
                connection.execute("DELETE FROM labels WHERE id = ? AND row = ?", (id_, row))
                _wait(connection, -1)
                take(connection, label, now=received, since=0.0, room=True)


def labels_of(connection: sqlite3.Connection, id_: str) -> list[Label]:
    """Return the labels kept under an id, by row."""
    rows = connection.execute("SELECT row, value, at FROM labels WHERE id = ? ORDER BY row", (id_,))
    return [Label(id=id_, value=msgspec.json.decode(value), at=at, row=row) for row, value, at in rows]


def waiting(connection: sqlite3.Connection) -> int:
    """Return how many labels wait for their predictions."""
    row = connection.execute("SELECT value FROM tallies WHERE name = 'labels_waiting'").fetchone()
    return 0 if row is None else int(row[0])


def kept_since(connection: sqlite3.Connection, keep_from: float) -> float:
    """Return from when on predictions are kept, in epoch seconds: ``keep_from``, or later where the log was full.

    An oldest prediction that is dated after the newest is of a clock that was ahead: it tells nothing.
    """
    gone = connection.execute("SELECT 1 FROM tallies WHERE name = 'expired'").fetchone()
    first = connection.execute("SELECT at FROM predictions ORDER BY seq LIMIT 1").fetchone()
    last = connection.execute("SELECT at FROM predictions ORDER BY seq DESC LIMIT 1").fetchone()
    told = gone is not None and first is not None and first[0] <= last[0]
    return max(keep_from, first[0]) if told else keep_from


def drop_labels(log: PredictionLog, keep_from: float, *, rows_max: int = 20_000) -> int:
    """Drop labels and outcomes that came before ``keep_from``, and labels whose predictions are gone.

    Returns how many, about ``rows_max`` at most; each step is a short transaction.
    """
    dropped = 0
    while dropped < rows_max:
        with log.changing() as connection:
            since = kept_since(connection, keep_from)
            gone = connection.execute(_DROP_LABELS, (0, keep_from, _DROP_ROWS)).rowcount
            if gone:
                _wait(connection, -gone)
            gone += connection.execute(_DROP_LABELS, (1, since, _DROP_ROWS)).rowcount
            gone += connection.execute(_DROP_OUTCOMES, (keep_from, _DROP_ROWS)).rowcount
        dropped += gone
        if gone < _DROP_ROWS:
            break
    return dropped


_WAITING: Final = """
SELECT row, value, at, received FROM labels INDEXED BY labels_waiting WHERE id = ? AND joined = 0 ORDER BY row
"""
_DROP_LABELS: Final = """
DELETE FROM labels WHERE (id, row) IN (
  SELECT id, row FROM labels WHERE joined = ? AND received < ? ORDER BY received LIMIT ?)
"""
# They are in the order in which they came: only the first ones are looked at.
_DROP_OUTCOMES: Final = """
DELETE FROM outcomes WHERE received < ? AND seq IN (SELECT seq FROM outcomes ORDER BY seq LIMIT ?)
"""


def _made(connection: sqlite3.Connection, id_: str) -> Made | None:
    """Return the newest prediction that an id finds."""
    row = connection.execute(
        "SELECT p.id, p.at, p.served, p.status, p.key, p.answer, p.copy, p.slices, s.release, s.stage, s.arm, "
        "s.version "
        "FROM predictions p JOIN served s ON s.number = p.served WHERE p.seq = ("
        "SELECT max((SELECT coalesce(max(seq), -1) FROM predictions WHERE id = ?1), "
        "(SELECT coalesce(max(seq), -1) FROM predictions WHERE also = ?1)))",
        (id_,),
    ).fetchone()
    return None if row is None else Made(*row)


def _join(connection: sqlite3.Connection, made: Made, label: Label, now: float) -> str:
    """Note the outcome of a prediction whose release counts it; return why that cannot be, nothing when it can."""
    values: dict[str, Any] | None = None
    if made.answer is not None and 200 <= made.status < 300:
        values = row_of(made.answer, label.row)
        if values is None and row_of(made.answer, 0) is not None:
            return f"its answer has no row {label.row}"
    any_known = connection.execute(
        "SELECT 1 FROM labels WHERE id = ? AND +joined = 1 LIMIT 1", (made.id,)
    ).fetchone()
    if any_known is None:
        connection.execute(
            "INSERT INTO labelled VALUES (?, 1) ON CONFLICT (served) DO UPDATE SET predictions = predictions + 1",
            (made.served,),
        )
    if made.release is None or made.stage is None or made.arm not in _ARMS or not 200 <= made.status < 300:
        return ""
    copy = copy_of(made.copy)
    other = None if copy is None else copied_row(copy, label.row)
    connection.execute(
        "INSERT INTO outcomes (release, stage, arm, version, key, predicted_at, labelled_at, received, answer, value, "
        "copied, other, slices) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            made.release,
            made.stage,
            made.arm,
            made.version,
            made.key,
            made.at,
            label.at,
            now,
            None if values is None else _encode(values),
            _encode(label.value).decode(),
            None if copy is None else 1,
            None if other is None else _encode(other),
            slices_text(slices_of_row(made.slices, label.row)),
        ),
    )
    return ""


def _keep(connection: sqlite3.Connection, label: Label, id_: str, now: float, *, joined: bool) -> None:
    connection.execute(
        "INSERT INTO labels VALUES (?, ?, ?, ?, ?, ?)",
        (id_, label.row, _encode(label.value).decode(), label.at, now, joined),
    )


def _wait(connection: sqlite3.Connection, more: int) -> None:
    connection.execute(
        "INSERT INTO tallies VALUES ('labels_waiting', ?1) ON CONFLICT (name) DO UPDATE SET value = value + ?1",
        (more,),
    )


def _fated(label: Label, fate: Fate, why: str = "") -> Fated:
    return Fated(id=label.id, row=label.row, fate=fate, why=why)
