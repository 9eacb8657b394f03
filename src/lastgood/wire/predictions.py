"""Segments: what gateway workers leave of their answers in files, for the process that fills the prediction log.

A segment is one file, ``<slot>-<epoch>-<number>.log``, to which one worker appends frames. It begins with 4 bytes that name
the format; a frame is::

    u32 length    of the payload, little-endian
    u32 crc32     of the payload
    ... payload   a Frame as MessagePack

Whoever writes a segment holds a lock on it, which ends with that process: no lock means that nothing more comes. What a
power cut or a kill leaves of a frame is not taken for one.
"""

import fcntl
import os
import re
import struct
import zlib
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

MAGIC: Final = b"LGP1"
FRAME_BYTES_MAX: Final = 64 * 1024 * 1024
_HEADER: Final = struct.Struct("<II")
_NAME: Final = re.compile(r"(\d+)-(\d+)-(\d+)\.log")


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One answer. The gateway writes it as a tuple with these fields, so that it costs next to nothing.

    ``given`` says that the caller gave the ``id``; ``v2`` that the answer may hold one of its own. ``arrived`` is on the
    worker's CLOCK_MONOTONIC, in nanoseconds as ``took``. ``who`` answered is deployment, model, version and role;
    ``arm`` is the release, the stage and the arm that the request counts for. ``keep`` says that ``inputs`` are for the
    log, ``sketched`` that this request's inputs and answer are looked at for drift, ``columns`` which inputs tell requests
    apart. ``copy`` is the version, status, nanoseconds and answer of a copy.
    """

    id: bytes
    given: bool
    v2: bool
    arrived: int
    took: int
    who: tuple[str, str, int, str]
    arm: tuple[int, int, str] | None
    release: int | None
    status: int
    key: int | None
    fallback: str | None
    answer_bytes: int
    answer: bytes | None
    inputs: bytes | None
    keep: bool = True
    sketched: bool = False
    columns: tuple[str, ...] = ()
    copy: tuple[int, int, int, bytes | None] | None = None


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """Some records, and what to add to their ``arrived`` for nanoseconds since the epoch."""

    offset: int
    records: list[Record]


class Portion(NamedTuple):
    """What one look at a segment found: whole frames, and the ``position`` after them.

    ``unreadable`` bytes were passed over. ``over`` says that the segment was read to its end and nothing more comes.
    """

    frames: list[Frame]
    position: int
    unreadable: int
    over: bool


_decode = msgspec.msgpack.Decoder(Frame).decode


class SegmentWriter:
    """Appends frames to segments; each is closed at ``bytes_max``. For one thread."""

    def __init__(self, folder: Path, slot: int, epoch: int, *, bytes_max: int) -> None:
        """Write into ``folder``; nothing is opened before the first frame."""
        self._folder = folder
        self._life = f"{slot}-{epoch}"
        self._slot = slot
        self._bytes_max = bytes_max
        self._number = 0
        self._descriptor: int | None = None
        self._size = 0

    def append(self, payload: bytes) -> None:
        """Append one frame.

        :raises OSError: when the disk does not take it; nothing of it counts then, and the next one begins a new segment.
        """
        if self._descriptor is None:
            self._open()
        try:
            self._write(_HEADER.pack(len(payload), zlib.crc32(payload)) + payload)
        except OSError:
            self.close()
            raise
        if self._size >= self._bytes_max:
            self.close()

    def close(self) -> None:
        """End the present segment; harmless when there is none."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> None:
        """Begin a segment under another name, so that nobody meets it before it is locked."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._folder.glob(f"{self._slot}-*.draft"):
            left.unlink(missing_ok=True)
        draft = self._folder / f"{self._life}-{self._number}.draft"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(draft, flags, 0o600)
        self._size = 0
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._write(MAGIC)
            draft.rename(draft.with_suffix(".log"))
        except OSError:
            self.close()
            raise
        self._number += 1

    def _write(self, content: bytes) -> None:
        assert self._descriptor is not None
        written = os.write(self._descriptor, content)
        while written < len(content):
            written += os.write(self._descriptor, content[written:])
        self._size += len(content)


def segments(folder: Path) -> list[Path]:
    """Return the segments in ``folder``, those of one worker in the order in which they were written."""
    try:
        found = [(path, known) for path in folder.iterdir() if (known := _NAME.fullmatch(path.name))]
    except FileNotFoundError:
        return []
    found.sort(key=lambda one: (int(one[1][2]), int(one[1][1]), int(one[1][3])))
    return [path for path, _ in found]


def waiting_bytes(folder: Path) -> int:
    """Return the size of everything in ``folder`` that was not read to its end yet."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    total += entry.stat().st_size
                except FileNotFoundError:
                    continue  # read to its end meanwhile
    except FileNotFoundError:
        return 0
    return total


def read_segment(path: Path, position: int, *, bytes_max: int) -> Portion:
    """Read whole frames from ``position`` on, at most ``bytes_max`` of them or one frame.

    :raises FileNotFoundError: if the segment is gone.
    """
    with path.open("rb") as file:
        closed = _is_closed(file.fileno())  # asked first: what is read then is all that comes
        size = os.fstat(file.fileno()).st_size
        start = max(position, len(MAGIC))
        if not position and file.read(len(MAGIC)) != MAGIC:
            return Portion([], size if closed else 0, size if closed else 0, over=closed)
        file.seek(start)
        content = file.read(bytes_max)
        if len(content) >= _HEADER.size:  # one frame may be larger than what was asked for
            length, _ = _HEADER.unpack_from(content)
            content += file.read(max(min(length, FRAME_BYTES_MAX) + _HEADER.size - len(content), 0))
    frames, whole, broken = _frames(content)
    reached = start + whole
    torn = start + len(content) >= size > reached
    if closed and (broken or torn):
        return Portion(frames, size, size - reached, over=True)
    return Portion(frames, reached, 0, over=closed and reached >= size)


def _frames(content: bytes) -> tuple[list[Frame], int, bool]:
    """Return the whole frames, where they end, and whether what follows is no frame."""
    frames: list[Frame] = []
    at = 0
    while len(content) - at >= _HEADER.size:
        length, checksum = _HEADER.unpack_from(content, at)
        stop = at + _HEADER.size + length
        if not 0 < length <= FRAME_BYTES_MAX:
            return frames, at, True
        if stop > len(content):
            break
        payload = content[at + _HEADER.size : stop]
        if zlib.crc32(payload) != checksum:
            return frames, at, True
        try:
            frames.append(_decode(payload))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return frames, at, True
        at = stop
    return frames, at, False


def _is_closed(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
