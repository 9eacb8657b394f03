"""Sketches, as the controller reads them, and how long they are kept."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from lastgood.domain.sketch import Sketch, SketchRow
from lastgood.predictions.log import PredictionLog

ROWS_MAX: Final = 100_000
"""Rows that are kept; the oldest go first."""

KEPT_SECONDS: Final = 172_800.0
"""How long rows are kept at most: they are read within seconds, or a day later, and may hold texts of callers."""

BEFORE_BYTES_MAX: Final = 4 * 1024 * 1024
"""JSON that is read to say what a version answered before."""

_GOLDEN: Final = 0.6180339887498949  # its multiples, modulo 1, are spread evenly however many there are
_DAY: Final = 86_400.0
_BYTES_PART: Final = 10  # of the log's largest size, for all sketches together
_DROP_ROWS: Final = 20
_BYTES: Final = "sketch_bytes"
_COLUMNS: Final = "seq, at, deployment, version, release, stage, arm, rows, inputs, outputs"
_SINCE: Final = f"""
SELECT {_COLUMNS} FROM sketches INDEXED BY sketches_release
WHERE release = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?
"""  # noqa: S608 - a constant
_BEFORE: Final = """
SELECT seq FROM sketches INDEXED BY sketches_version
WHERE deployment = ? AND version = ? AND at >= ? AND at < ? ORDER BY at, seq
"""
_OUTPUTS: Final = "SELECT outputs FROM sketches WHERE seq = ?"
_INSERT: Final = """
INSERT INTO sketches (at, deployment, version, release, stage, arm, rows, outputs, inputs, bytes)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_TALLY: Final = "INSERT INTO tallies VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = value + ?2"
_decode = msgspec.json.Decoder(dict[str, Sketch]).decode


class NewRow(NamedTuple):
    """A row that has no ``seq`` yet; ``outputs`` and ``inputs`` are JSON."""

    at: float
    deployment: str
    version: int
    release: int | None
    stage: int | None
    arm: str | None
    rows: int
    outputs: str
    inputs: str

    @property
    def bytes(self) -> int:
        """How long the JSON is."""
        return len(self.outputs.encode()) + len(self.inputs.encode())


class LoggedSketches:
    """The :class:`~lastgood.quality_ports.Sketches` of a prediction log."""

    def __init__(self, log: PredictionLog) -> None:
        self._log = log

    def since(self, release: int, after: int, limit: int) -> tuple[list[SketchRow], int]:
        """Return at most ``limit`` rows of a release with a ``seq`` above ``after``, in order, and how far that is."""
        if not self._log.path.exists():
            return [], after
        with self._log.reading() as connection:
            last = _last(connection)
            known = min(after, last)  # of another log, where this one is new
            found = [_row(row) for row in connection.execute(_SINCE, (release, known, last, limit))]
        return found, found[-1].seq if found and len(found) == limit else last

    def before(self, deployment: str, version: int, at: float) -> dict[str, Sketch]:
        """Return what a version answered in the day before ``at``, by output; empty where nothing is known.

        Of very much, rows spread evenly over the day are enough: a turn of the controller waits for this.
        """
        if not self._log.path.exists():
            return {}
        with self._log.reading() as connection:
            numbers = [row[0] for row in connection.execute(_BEFORE, (deployment, version, at - _DAY, at))]
            found: dict[str, Sketch] = {}
            read = 0
            for place in sorted(range(len(numbers)), key=lambda place: place * _GOLDEN % 1.0):
                row = connection.execute(_OUTPUTS, (numbers[place],)).fetchone()
                if row is None:
                    continue  # dropped by now
                for name, sketch in _decode(row[0]).items():
                    found[name] = found[name].plus(sketch) if name in found else sketch
                read += len(row[0])
                if read >= BEFORE_BYTES_MAX:
                    break
        return dict(sorted(found.items()))


def add_sketches(log: PredictionLog, rows: Sequence[NewRow]) -> None:
    """Add rows to the log, all or none.

    :raises LastgoodError: ``storage``, ``corrupt`` or ``conflict`` when the log cannot be written.
    """
    with log.changing() as connection:
        connection.executemany(_INSERT, [(*row, row.bytes) for row in rows])
        connection.execute(_TALLY, (_BYTES, sum(row.bytes for row in rows)))


def drop_sketches(log: PredictionLog, before: float, bytes_max: int) -> int:
    """Drop the oldest rows: those from before ``before`` (epoch seconds), over ``ROWS_MAX``, or over a tenth of ``bytes_max``.

    Returns how many, some at most; call again until there are none.
    """
    with log.changing() as connection:
        known = connection.execute("SELECT value FROM tallies WHERE name = ?", (_BYTES,)).fetchone()
        over = known is not None and known[0] > bytes_max // _BYTES_PART
        surplus = _last(connection) - ROWS_MAX
        first = connection.execute("SELECT seq, at, bytes FROM sketches ORDER BY seq LIMIT ?", (_DROP_ROWS,))
        gone = [(seq, size) for seq, at, size in first.fetchall() if at < before or over or seq <= surplus]
        connection.executemany("DELETE FROM sketches WHERE seq = ?", [(seq,) for seq, _ in gone])
        if gone:
            connection.execute(_TALLY, (_BYTES, -sum(size for _, size in gone)))
    return len(gone)


def _last(connection: sqlite3.Connection) -> int:
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'sketches'").fetchone()
    return 0 if found is None else int(found[0])


def _row(row: tuple[Any, ...]) -> SketchRow:
    seq, at, deployment, version, release, stage, arm, rows, inputs, outputs = row
    return SketchRow(
        seq=seq,
        at=at,
        deployment=deployment,
        version=version,
        release=release,
        stage=stage,
        arm=arm,
        rows=rows,
        inputs=_decode(inputs),
        outputs=_decode(outputs),
    )
