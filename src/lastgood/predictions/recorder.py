"""The recorder: reads what gateways left in segments, and adds it to the prediction log.

A segment that was read to its end is removed after the commit that holds its last frame. Killed anywhere, the recorder goes
on at the position that the last commit saved: nothing is added twice, and nothing is passed over.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from lastgood.domain.prediction import ANSWER_BYTES_MAX, ID_BYTES_MAX, Copy, Prediction
from lastgood.errors import LastgoodError
from lastgood.predictions.input_rows import slices_of
from lastgood.predictions.labels import drop_labels
from lastgood.predictions.log import Position, PredictionLog
from lastgood.predictions.sketcher import Sketcher
from lastgood.predictions.sketches import KEPT_SECONDS, drop_sketches
from lastgood.wire.predictions import Frame, Record, read_segment, segments

_PORTION_BYTES: Final = 2 * 1024 * 1024
_DROP_SECONDS: Final = 2.0
_log: Final = logging.getLogger(__name__)


class _Answer(msgspec.Struct):
    """As much of a V2 answer as is of interest here."""

    id: str | None = None


_decode = msgspec.json.Decoder(_Answer).decode


class Recorder:
    """Fills one log from one folder of segments, and keeps the log within its bounds. For one thread."""

    def __init__(self, log: PredictionLog, incoming: Path, *, keep_seconds: float, bytes_max: int) -> None:
        self._log = log
        self._incoming = incoming
        self._keep_seconds = keep_seconds
        self._bytes_max = bytes_max
        self._sketcher = Sketcher(log)
        self._positions: dict[str, int] | None = None
        self._dropped_at = float("-inf")
        self._failing = False

    def step(self, now: float, *, believed: float | None = None) -> bool:
        """Take a portion of every segment, and drop what is over a bound; return whether there may be more to do at once.

        ``now`` is epoch seconds, ``believed`` what ages are reckoned by where that is another time. A log that cannot be written is said once; what waits goes on waiting.
        """
        try:
            more = self._take(now)
            self._sketcher.flush(now)
            if abs(now - self._dropped_at) >= _DROP_SECONDS:
                if not self._drop(now if believed is None else believed):
                    self._dropped_at = now
                else:
                    more = True
        except (LastgoodError, OSError) as error:
            self._fail(error)
            return False
        self._failing = False
        return more

    def finish(self, now: float) -> None:
        """Write what is only in memory: the sketches of the last seconds."""
        try:
            self._sketcher.flush(now, everything=True)
        except LastgoodError as error:
            self._fail(error)

    def _drop(self, now: float) -> bool:
        """Drop some of what is too old at ``now`` or over a bound; return whether there may be more."""
        before = now - self._keep_seconds
        return bool(
            self._log.drop(before, self._bytes_max)
            or drop_labels(self._log, before)
            or drop_sketches(self._log, max(before, now - KEPT_SECONDS), self._bytes_max)
        )

    def _fail(self, error: Exception) -> None:
        self._log.close()  # it may be another file by the next time
        self._positions = None  # whatever was committed, the log knows
        if not self._failing:
            _log.error("Predictions wait outside the log: %s", error)
        self._failing = True

    def _take(self, now: float) -> bool:
        found = segments(self._incoming)
        if self._positions is None:
            self._positions = self._log.positions()
            self._forget(self._positions.keys() - {path.name for path in found})
        read = 0
        over = []
        for path in found:
            name = path.name
            position = self._positions.get(name, 0)
            try:
                portion = read_segment(path, position, bytes_max=_PORTION_BYTES)
            except FileNotFoundError:
                over.append(name)
                continue
            if portion.position > position:
                self._log.add(
                    predictions_of(portion.frames, now),
                    Position(name, portion.position),
                    unreadable=portion.unreadable,
                )
                self._positions[name] = portion.position
                self._sketcher.see(portion.frames, now)
                read += 1
            if portion.unreadable:
                _log.warning("%d bytes of %s cannot be read and are passed over", portion.unreadable, name)
            if portion.over:
                path.unlink(missing_ok=True)
                over.append(name)
        self._forget(over)
        return bool(read)

    def _forget(self, names: Iterable[str]) -> None:
        names = list(names)
        if names and self._positions is not None:
            self._log.forget_segments(names)
            for name in names:
                self._positions.pop(name, None)


def predictions_of(frames: Iterable[Frame], now: float) -> list[Prediction]:
    """Return the predictions in ``frames``. None is from after ``now`` (epoch seconds): a clock may have been wrong."""
    return [
        _prediction(record, min((record.arrived + frame.offset) / 1e9, now))
        for frame in frames
        for record in frame.records
    ]


def _prediction(record: Record, at: float) -> Prediction:
    name = record.id.decode("ascii", "replace")
    own = None
    if record.v2 and record.answer is not None and not record.given:
        own = _own_id(record.answer)
    deployment, model, version, role = record.who
    release, stage, arm = record.arm or (record.release, None, None)
    return Prediction(
        id=own or name,
        also=name if own else None,
        at=at,
        deployment=deployment,
        model=model,
        version=version,
        role=role,
        status=record.status,
        seconds=record.took / 1e9,
        release=release,
        stage=stage,
        arm=arm,
        key=record.key if record.arm is not None else None,
        fallback=record.fallback,
        answer_bytes=record.answer_bytes,
        answer=record.answer,
        inputs=record.inputs if record.keep else None,
        copy=None if record.copy is None else _copy(*record.copy),
        slices=slices_of(record.inputs, record.columns) if record.columns else {},
    )


def _copy(version: int, status: int, took: int, answer: bytes | None) -> Copy:
    if answer is not None and len(answer) > ANSWER_BYTES_MAX:
        answer = None
    return Copy(version=version, status=status, seconds=took / 1e9, answer=answer)


def _own_id(answer: bytes) -> str | None:
    """Return the id that the caller gave in a V2 body and the answer repeats; None without a sound one."""
    if b'"id"' not in answer:
        return None
    try:
        own = _decode(answer).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # the version's answer is not ours to judge here
    if not own or len(own.encode(errors="replace")) > ID_BYTES_MAX:
        return None
    return own if own.isprintable() else None
