"""The route page: one memory-mapped file per machine that carries routes one way and acknowledgements back.

One writer (the controller) publishes; every gateway worker reads one 64-bit word on each request, so
a switch holds from the very next request. Layout, in 64-bit words unless said otherwise::

    word 0      magic
    word 1      boot: tells a lease of this boot from one before
    word 2      state: generation * 2 + buffer in use
    word 3      lease: CLOCK_MONOTONIC nanoseconds until which a candidate may get traffic
    word 8...   64 worker slots of 8 words: pid, started, acknowledged generation, heartbeat, in flight
    byte 8192   two buffers, each: u32 length, u32 crc32, payload (a RouteTable as JSON)

A publication fills the buffer that is not in use and then stores ``state``, one aligned 64-bit store:
a writer killed half-way leaves the old table in force, whole. A reader takes ``state``, the
buffer, and ``state`` again; if it changed in between it reads once more. A generation never goes back.

A power cut may keep ``state`` and lose the payload. Then the checksum does not hold, readers keep what they have,
and the controller, which always publishes when it starts, puts a whole table there. A slot belongs to a process,
named by its pid *and* when it started, because pids come round again.
"""

import mmap
import os
import struct
import time
import zlib
from pathlib import Path
from typing import Final

import msgspec

from lastgood.domain.route import RouteTable
from lastgood.errors import Code, LastgoodError

MAGIC: Final = 0x3145_5455_4F52_474C  # "LGROUTE1"
SLOTS: Final = 64
BUFFER_BYTES: Final = 4 * 1024 * 1024
_PAYLOAD_AT: Final = 8192
_SIZE: Final = _PAYLOAD_AT + 2 * BUFFER_BYTES
_BOOT, _STATE, _LEASE, _FIRST_SLOT, _SLOT_WORDS = 1, 2, 3, 8, 8
_PREFIX: Final = struct.Struct("<II")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(RouteTable).decode


def _boot_word() -> int:
    raw = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    return zlib.crc32(raw) | 1


class WorkerAck(msgspec.Struct, frozen=True):
    """What one worker says of itself: ``started`` in clock ticks since boot, ``heartbeat`` in seconds since then."""

    slot: int
    pid: int
    started: int
    generation: int
    heartbeat: float
    in_flight: int


class RoutePage:
    """One mapping of the page. Open it with :meth:`writer` or :meth:`reader`."""

    def __init__(self, mapping: mmap.mmap) -> None:
        self._map = mapping
        self._words = memoryview(mapping).cast("Q")

    @classmethod
    def open(cls, path: Path) -> "RoutePage":
        """Map the page, making it when it is not there. Every process uses the same call."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < _SIZE:
                os.posix_fallocate(fd, 0, _SIZE)  # a hole would end in a bus error when the disk is full
            page = cls(mmap.mmap(fd, _SIZE))
        except OSError as error:
            raise LastgoodError(
                Code.STORAGE,
                f"The route page {path} cannot be made: {error.strerror}.",
                f"It needs {_SIZE >> 20} MiB: free some space on that disk.",
            ) from None
        finally:
            os.close(fd)
        if page._words[0] == 0:
            page._words[0] = MAGIC
        elif page._words[0] != MAGIC:
            raise LastgoodError(
                Code.CORRUPT, f"{path} is not a route page.", "Stop the server and remove that file."
            )
        boot = _boot_word()
        if page._words[_BOOT] != boot:  # another boot: its lease and its workers mean nothing now
            page._words[_LEASE] = 0
            page.clear_slots()
            page._words[_BOOT] = boot
        return page

    def clear_slots(self) -> None:
        """Forget every worker: for whoever starts the workers, before the first of them."""
        for word in range(_FIRST_SLOT, _FIRST_SLOT + SLOTS * _SLOT_WORDS):
            self._words[word] = 0

    def close(self) -> None:
        """Unmap."""
        self._words.release()
        self._map.close()

    # --- the controller's side ------------------------------------------------------------------

    def publish(self, table: RouteTable) -> bool:
        """Put ``table`` in force; False, and no change, if its generation is not above the present one."""
        state = self._words[_STATE]
        if table.generation <= state >> 1:
            return False
        payload = _encode(table)
        if len(payload) + _PREFIX.size > BUFFER_BYTES:
            raise LastgoodError(
                Code.TOO_LARGE, "The route table does not fit its page.", "Retire deployments."
            )
        buffer = 1 - (state & 1)
        start = _PAYLOAD_AT + buffer * BUFFER_BYTES
        self._map[start + _PREFIX.size : start + _PREFIX.size + len(payload)] = payload
        _PREFIX.pack_into(self._map, start, len(payload), zlib.crc32(payload))
        self._words[_STATE] = table.generation * 2 + buffer
        return True

    def renew_lease(self, seconds: float) -> None:
        """Allow candidate traffic for ``seconds`` from now; 0 ends it at once."""
        self._words[_LEASE] = time.monotonic_ns() + int(seconds * 1e9) if seconds > 0 else 0

    def workers(self) -> list[WorkerAck]:
        """Return every claimed slot, whether or not its process still lives."""
        found = []
        for slot in range(SLOTS):
            at = _FIRST_SLOT + slot * _SLOT_WORDS
            pid, started, generation, heartbeat, in_flight = self._words[at : at + 5].tolist()
            if pid:
                found.append(WorkerAck(slot, pid, started, generation, heartbeat / 1e9, in_flight))
        return found

    # --- the gateway's side ---------------------------------------------------------------------

    @property
    def words(self) -> memoryview:
        """The page as 64-bit words, for the one comparison on the hot path: ``words[STATE_WORD]``."""
        return self._words

    @property
    def generation(self) -> int:
        """The generation in force."""
        return int(self._words[_STATE]) >> 1

    def lease_holds(self) -> bool:
        """Whether a candidate may get traffic now."""
        return bool(self._words[_LEASE] > time.monotonic_ns())

    def read(self) -> tuple[int, RouteTable]:
        """Return the state word and the table in force; state 0 and an empty table before the first.

        :raises LastgoodError: ``corrupt`` if the buffer does not match its checksum.
        """
        while True:
            state = self._words[_STATE]
            if state == 0:
                return 0, RouteTable(generation=0)
            start = _PAYLOAD_AT + (state & 1) * BUFFER_BYTES
            length, checksum = _PREFIX.unpack_from(self._map, start)
            payload = self._map[start + _PREFIX.size : start + _PREFIX.size + min(length, BUFFER_BYTES)]
            if self._words[_STATE] != state:
                continue
            if zlib.crc32(payload) != checksum:
                raise LastgoodError(
                    Code.CORRUPT, "The route page does not match its checksum.", "The controller rewrites it."
                )
            return state, _decode(payload)

    def claim(self, slot: int, pid: int) -> None:
        """Take a slot for this worker, forgetting what its predecessor acknowledged."""
        at = _FIRST_SLOT + slot * _SLOT_WORDS
        self._words[at + 2] = 0
        self._words[at + 4] = 0
        self._words[at + 3] = time.monotonic_ns()
        self._words[at + 1] = started_at(pid) or 0
        self._words[at] = pid

    def acknowledge(self, slot: int, generation: int, in_flight: int) -> None:
        """Say: from now on this worker obeys ``generation``, and ``in_flight`` requests are left that do not."""
        at = _FIRST_SLOT + slot * _SLOT_WORDS
        self._words[at + 4] = in_flight
        self._words[at + 3] = time.monotonic_ns()
        self._words[at + 2] = generation

    def release_slot(self, slot: int) -> None:
        """Give the slot back at a clean end."""
        self._words[_FIRST_SLOT + slot * _SLOT_WORDS] = 0


def started_at(pid: int) -> int | None:
    """Return when a process started (clock ticks since boot), None when it has ended or waits to be collected."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


STATE_WORD: Final = _STATE
LEASE_WORD: Final = _LEASE
