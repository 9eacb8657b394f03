"""Counts what sampled requests and answers look like, in memory, until the counts are written to the log as rows.

Whatever a request holds, the memory that its counts take is bounded. Counts are of records that the log has already: killed
anywhere, what was in memory is lost, some seconds of a sample, and nothing is counted twice.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from lastgood.domain.sketch import FEATURES_MAX, Sketch, sketch_of
from lastgood.predictions.input_rows import columns_of
from lastgood.predictions.log import PredictionLog
from lastgood.predictions.output_rows import outputs_of
from lastgood.predictions.sketches import NewRow, add_sketches
from lastgood.wire.predictions import Frame, Record

FLUSH_SECONDS: Final = 10.0
UNRELEASED_SECONDS: Final = 60.0
"""How long counts that no release waits for stay in memory."""

KEYS_MAX: Final = 64
ENTRIES_MAX: Final = 100_000
"""Buckets and texts in memory at once, about; more are written at once."""

NAME_CHARACTERS_MAX: Final = 200
"""A column with a longer name is passed over."""

_OTHER: Final = {"candidate": "stable", "stable": "candidate"}
_Columns = dict[str, list[object]]
_encode = msgspec.json.Encoder().encode


class _Key(NamedTuple):
    """Who answered, and for which arm."""

    deployment: str
    version: int
    release: int | None
    stage: int | None
    arm: str | None


class _Batch:
    """Values of some requests of one key, as they came; ``at`` is when the last one did."""

    def __init__(self) -> None:
        self.at = float("-inf")
        self.rows = 0
        self.inputs: _Columns = {}
        self.outputs: _Columns = {}

    def add(self, at: float, inputs: _Columns, outputs: _Columns) -> None:
        self.at = max(self.at, at)
        self.rows += max(map(len, [*inputs.values(), *outputs.values()]), default=0)
        for columns, known in ((inputs, self.inputs), (outputs, self.outputs)):
            for name, values in columns.items():
                known.setdefault(name, []).extend(values)


class _Counts:
    """What one key has counted since ``since``; ``entries`` are its buckets and texts."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.at = float("-inf")
        self.rows = 0
        self.entries = 0
        self.inputs: dict[str, Sketch] = {}
        self.outputs: dict[str, Sketch] = {}

    def add(self, batch: _Batch) -> None:
        self.at = max(self.at, batch.at)
        self.rows += batch.rows
        for columns, known in ((batch.inputs, self.inputs), (batch.outputs, self.outputs)):
            for name, values in columns.items():
                before = known.get(name)
                if before is None and (len(known) >= FEATURES_MAX or len(name) > NAME_CHARACTERS_MAX):
                    continue
                after = sketch_of(values) if before is None else before.plus(sketch_of(values))
                known[name] = after
                self.entries += _entries(after) - (0 if before is None else _entries(before))

    def row(self, key: _Key) -> NewRow:
        outputs, inputs = _encode(self.outputs).decode(), _encode(self.inputs).decode()
        return NewRow(self.at, *key, self.rows, outputs, inputs)


class Sketcher:
    """Fills the table of sketches of one log. For one thread."""

    def __init__(self, log: PredictionLog) -> None:
        self._log = log
        self._counts: dict[_Key, _Counts] = {}
        self._flushed = float("-inf")

    def see(self, frames: Iterable[Frame], now: float) -> None:
        """Count the records that are to be sketched; they must be in the log. None came after ``now`` (epoch seconds).

        :raises LastgoodError: when room had to be made and the log cannot be written.
        """
        batches: dict[_Key, _Batch] = {}
        for frame in frames:
            for record in frame.records:
                if record.sketched:
                    _take(batches, record, min((record.arrived + frame.offset) / 1e9, now))
        for key, batch in batches.items():
            if key not in self._counts and len(self._counts) >= KEYS_MAX:
                self.flush(now, everything=True)
            self._counts.setdefault(key, _Counts(now)).add(batch)
            if sum(one.entries for one in self._counts.values()) > ENTRIES_MAX:
                self.flush(now, everything=True)

    def flush(self, now: float, *, everything: bool = False) -> None:
        """Write what has been counted for long enough, or ``everything``, and forget it.

        :raises LastgoodError: when the log cannot be written; these counts are lost then.
        """
        if not everything and abs(now - self._flushed) < FLUSH_SECONDS:
            return
        due = [key for key, one in self._counts.items() if everything or _is_due(key, one, now)]
        self._flushed = now
        rows = [self._counts.pop(key).row(key) for key in due]  # first: written twice is worse than lost
        if rows:
            add_sketches(self._log, rows)


def _take(batches: dict[_Key, _Batch], record: Record, at: float) -> None:
    """Take a request's values for the arm that it was meant for, and its copy's for the other one."""
    deployment, _, version, _ = record.who
    release, stage, arm = record.arm or (None, None, None)
    inputs = (
        {} if record.inputs is None or arm is None else columns_of(record.inputs)
    )  # of no release: for nobody
    answers = []
    if _is_good(record.status):
        answer = None if record.fallback else record.answer  # the arm's own version did not answer it
        answers.append((version, arm, answer))
    if record.copy is not None and arm in _OTHER and _is_good(record.copy[1]):
        answers.append((record.copy[0], _OTHER[arm], record.copy[3]))
    for version, meant, answer in answers:
        batch = batches.setdefault(_Key(deployment, version, release, stage, meant), _Batch())
        batch.add(at, inputs, {} if answer is None else outputs_of(answer))


def _is_due(key: _Key, counts: _Counts, now: float) -> bool:
    return key.arm is not None or abs(now - counts.since) >= UNRELEASED_SECONDS


def _is_good(status: int) -> bool:
    return 200 <= status < 300


def _entries(sketch: Sketch) -> int:
    return len(sketch.numbers) + len(sketch.texts)
