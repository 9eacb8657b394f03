"""The ids that requests get whose callers gave none: UUIDv7, so that later ids sort after earlier ones."""

import os
import re
import time
from typing import Final

from lastgood.domain.prediction import ID_BYTES_MAX
from lastgood.gateway.table import Header

HEADER: Final = b"lastgood-id"
_SOUND: Final = re.compile(rb"[!-~]{1,%d}" % ID_BYTES_MAX)


class Ids:
    """Makes ids: the time in milliseconds, then bits that are this worker's alone, then a counter.

    ``offset`` is what to add to CLOCK_MONOTONIC nanoseconds for those since the epoch; :meth:`set_clock` looks again.
    """

    def __init__(self) -> None:
        mark = int.from_bytes(os.urandom(4))
        self._middle = b"7%03x-%04x-" % (mark & 0xFFF, 0x8000 | (mark >> 12 & 0x3FFF))
        self._count = int.from_bytes(os.urandom(6)) >> 1
        self._millisecond = -1
        self._start = b""
        self.offset = 0
        self.set_clock()

    def set_clock(self) -> None:
        """Follow the system's clock, which may have been set."""
        self.offset = time.time_ns() - time.monotonic_ns()

    def make(self, now: int) -> bytes:
        """Return a new id. ``now`` is CLOCK_MONOTONIC nanoseconds."""
        millisecond = (now + self.offset) // 1_000_000
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._start = b"%08x-%04x-%b" % (millisecond >> 16, millisecond & 0xFFFF, self._middle)
        self._count = count = self._count + 1
        return b"%b%012x" % (self._start, count)


def given_id(headers: list[Header]) -> bytes | None:
    """Return the id that the caller gave; None without one, and for one that is too long or could not be shown."""
    for name, value in headers:
        if name == HEADER:
            return value if _SOUND.fullmatch(value) else None
    return None
