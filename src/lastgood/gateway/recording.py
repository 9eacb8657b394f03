"""Recording: what was answered, on its way to the prediction log. It is no reason for any request to wait or to fail.

The event loop appends a tuple to a batch and hands batches to a thread, which writes them to a segment. Everything is
bounded: the batch, the batches that wait for the disk, the segments that wait for their reader. What is over a bound
is dropped and counted.
"""

import errno
import logging
import threading
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any, Final

import msgspec

from lastgood.domain.deployment import Role
from lastgood.domain.prediction import ANSWER_BYTES_MAX
from lastgood.gateway.flight import Flight
from lastgood.gateway.ids import Ids
from lastgood.settings import Settings
from lastgood.wire.frames import Request
from lastgood.wire.predictions import SegmentWriter, waiting_bytes

HAND_OVER_SECONDS: Final = 0.1
SAMPLED: Final = 100
"""One request in so many keeps its inputs where they are sampled."""
SKETCHED_A_SECOND: Final = 20
"""So many requests, the first ones of a second that are answered well, are looked at for drift: of candidates, and of all others."""
_BATCH_RECORDS_MAX: Final = 16_384
_BATCH_BYTES_MAX: Final = 8 * 1024 * 1024
_BATCHES_MAX: Final = 4
_FRAME_RECORDS: Final = (
    512  # encoded in one go, which nothing interrupts; so many bytes of answers and inputs too
)
_FRAME_BYTES: Final = 256 * 1024
_SEGMENT_BYTES: Final = 8 * 1024 * 1024
_CLOSE_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 3.0
_SECOND: Final = 1_000_000_000
_ANSWER, _INPUTS, _COPY = 12, 13, 17  # the places in a record; only few go as far as the last
_INFER: Final = Request.INFER
_CANDIDATE: Final = Role.CANDIDATE
_encode = msgspec.msgpack.Encoder().encode
_log: Final = logging.getLogger(__name__)
_Batch = list[tuple[Any, ...]]
CopyAnswer = tuple[int, int, int, bytes | None]
"""The version, the HTTP status, the nanoseconds and the answer of a copy."""


class Recording:
    """One worker's. ``add`` and ``hand_over`` are for the event loop; the thread does the rest."""

    def __init__(self, settings: Settings, ids: Ids, *, slot: int, epoch: int) -> None:
        """Prepare; nothing is written before :meth:`start`."""
        self._ids = ids
        self._folder = settings.incoming_predictions
        self._waiting_max = settings.keep_waiting_predictions_bytes
        self._every = {"none": 0, "sampled": SAMPLED, "all": 1}[settings.keep_inputs]
        self._count = 0
        self._to_sketch = [0, 0]  # of all others, and of candidates: a small arm is not lost in a large one
        self._next_second = 0
        self._batch: _Batch = []
        self._bytes = 0
        self._batches: SimpleQueue[tuple[int, _Batch] | None] = SimpleQueue()
        self._writer = SegmentWriter(self._folder, slot, epoch, bytes_max=_SEGMENT_BYTES)
        self._thread = threading.Thread(target=self._write_all, name="lastgood-recording", daemon=True)
        self._unwritable = False
        self._overflowed = 0  # counted by the event loop
        self._unwritten = 0  # counted by the thread
        self.recorded = 0

    @property
    def dropped(self) -> int:
        """How many answers are in no log, because something was full."""
        return self._overflowed + self._unwritten

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def add(self, flight: Flight, now: int, copy: CopyAnswer | None = None) -> None:
        """Take a flight that was answered at ``now`` (CLOCK_MONOTONIC nanoseconds), with what became of its copy."""
        answer: bytes | None = flight.payload
        size = kept = len(flight.payload)
        if size > ANSWER_BYTES_MAX:
            answer, kept = None, 0
        batch = self._batch
        if len(batch) >= _BATCH_RECORDS_MAX or self._bytes > _BATCH_BYTES_MAX:
            self._overflowed += 1
            return
        inputs = None
        if self._every:
            inputs = self._inputs(flight.body)
        tally = flight.tally
        record: tuple[Any, ...] = (
            flight.id,
            flight.given,
            flight.kind is _INFER,
            flight.arrived,
            now - flight.arrived,
            flight.lane.tally.who,
            tally.staged_as,
            flight.release,
            flight.status,
            flight.key,
            flight.fallback,
            size,
            answer,
            inputs,
        )
        if now >= self._next_second:
            self._next_second = now + _SECOND
            self._to_sketch = [SKETCHED_A_SECOND, SKETCHED_A_SECOND]
        sketched = self._to_sketch[tally.arm is _CANDIDATE] > 0 and flight.status == 200
        if sketched or tally.columns or copy is not None:
            record = self._with_more(record, flight, sketched, tally.columns, copy)
        batch.append(record)
        self._bytes += kept

    def _with_more(
        self,
        record: tuple[Any, ...],
        flight: Flight,
        sketched: bool,
        columns: tuple[str, ...],
        copy: CopyAnswer | None,
    ) -> tuple[Any, ...]:
        """Return a record with what few have; inputs that only these need are not for the log."""
        inputs = record[_INPUTS]
        keep = inputs is not None
        if sketched:
            self._to_sketch[flight.tally.arm is _CANDIDATE] -= 1
        if not keep and (sketched or columns) and len(flight.body) <= ANSWER_BYTES_MAX:
            inputs = flight.body
            self._bytes += len(inputs)
        if copy is not None:
            version, status, took, answer = copy
            answer = None if answer is None or len(answer) > ANSWER_BYTES_MAX else answer
            self._bytes += 0 if answer is None else len(answer)
            copy = (version, status, took, answer)
        return (*record[:_INPUTS], inputs, keep, sketched, columns, copy)

    def _inputs(self, body: bytes) -> bytes | None:
        self._count += 1
        if self._count % self._every or len(body) > ANSWER_BYTES_MAX:
            return None
        self._bytes += len(body)
        return body

    def hand_over(self) -> None:
        """Give the batch to the thread, unless too many wait for the disk already."""
        self._ids.set_clock()
        if self._batch and self._batches.qsize() < _BATCHES_MAX:
            self._batches.put((self._ids.offset, self._batch))
            self._batch, self._bytes = [], 0

    def stop(self) -> None:
        """Write what there is, if the disk takes it in time, and end."""
        if self._batch:
            self._batches.put((self._ids.offset, self._batch))
            self._batch, self._bytes = [], 0
        self._batches.put(None)
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    # --- the thread -------------------------------------------------------------------------------

    def _write_all(self) -> None:
        while True:
            try:
                handed = self._batches.get(timeout=_CLOSE_SECONDS)
            except Empty:
                self._writer.close()  # nothing more comes soon: let it be read to its end
                continue
            if handed is None:
                self._writer.close()
                return
            self._write(*handed)

    def _write(self, offset: int, batch: _Batch) -> None:
        for records in _frames(batch):
            try:
                self._append(_encode((offset, records)))
            except OSError as error:  # serving outlives a full disk
                self._unwritten += len(records)
                if not self._unwritable:
                    _log.error("Predictions cannot be kept; requests are served all the same: %s", error)
                self._unwritable = True
            else:
                self.recorded += len(records)
                self._unwritable = False

    def _append(self, payload: bytes) -> None:
        """Write one frame.

        :raises OSError: when there is no room for it, on the disk or by the bound on what waits.
        """
        waiting = waiting_bytes(self._folder)
        if waiting + len(payload) > self._waiting_max:
            raise OSError(errno.EDQUOT, f"{waiting} bytes wait to be read already")
        self._writer.append(payload)


def _frames(batch: _Batch) -> Iterator[_Batch]:
    """Return the batch in parts that are quickly encoded."""
    first, size = 0, 0
    for place, record in enumerate(batch):
        answer, inputs = record[_ANSWER], record[_INPUTS]
        more = (0 if answer is None else len(answer)) + (0 if inputs is None else len(inputs))
        copy = record[_COPY] if len(record) > _COPY else None
        if copy is not None and copy[-1] is not None:
            more += len(copy[-1])
        if place - first >= _FRAME_RECORDS or (size + more > _FRAME_BYTES and place > first):
            yield batch[first:place]
            first, size = place, 0
        size += more
    yield batch[first:]
