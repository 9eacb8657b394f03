"""The digest of one table from the records that SQLite stores, without making values of them.

Rows are hashed from the last to the first, each with its number, so that the digest depends on rows alone and not on how
they are spread over pages. A page that was filled in order holds its rows in just this order, without gaps, and goes into
the hash as it is.

The same row may be stored in two ways: a column that was added later is missing from the rows before it. ``None`` says so
for a whole table; written anew by SQLite, it has one form only.
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from lastgood.sources.sqlite_tree import LEAF, Bytes, Leaves, Places, TreeFile

_HEADER_BYTES: Final = 8  # of a leaf
_VARINT_BYTES: Final = 9


def records_digest(
    file: TreeFile, root: int, columns: int, rest: Callable[[], None]
) -> tuple[int, str] | None:
    """Return a table's number of rows and its digest; None when a record has not ``columns`` columns.

    ``rest`` is called after each megabyte or so.

    :raises LastgoodError: ``corrupt``.
    """
    reader = _Reader(file, columns)
    rows, digest = 0, hashlib.sha256()
    for leaves in file.leaves(root):
        found = reader.rows(leaves)
        if found is None:
            return None
        pieces = list(reader.pieces(leaves, found))
        if reader.short:
            return None
        digest.update(b"".join(pieces))
        rows += len(found.begins)
        rest()
    return rows, f"sha256:{digest.hexdigest()}"


class _Rows(msgspec.Struct, frozen=True):
    """Where in the leaves each row begins, its record begins, and it ends; page after page.

    By page: the row that is its ``first``, their ``counts``, where it begins (``pages``), whether a row is ``spilt`` over
    further pages, and whether its rows lie ``neat``: one after the other from the last to the first, up to the page's end.
    """

    begins: Places
    records: Places
    ends: Places
    first: Places
    counts: Places
    pages: Places
    spilt: npt.NDArray[np.bool_]
    neat: npt.NDArray[np.bool_]


class _Reader:
    """Reads leaves; ``short`` is true once a row that is spilt over several pages has not all columns."""

    def __init__(self, file: TreeFile, columns: int) -> None:
        self.short = False
        self._file = file
        self._columns = columns
        self._most = file.usable - 35  # bytes of a record that lie in a leaf, before the rest goes elsewhere
        self._least = (file.usable - 12) * 32 // 255 - 23

    def rows(self, leaves: Leaves) -> _Rows | None:
        """Find the rows of the leaves; None when one of those that lie in a leaf has not all columns."""
        held, usable = leaves.held, self._file.usable
        if (held[leaves.begins] != LEAF).any():
            raise self._file.damaged("a leaf is something else")
        counts = _short(held, leaves.begins + 3)
        pages, counts = leaves.begins[counts > 0], counts[counts > 0]
        if not len(pages):
            none, no = np.zeros(0, np.int64), np.zeros(0, np.bool_)
            return _Rows(none, none, none, none, none, none, no, no)
        begins, first = self._begins(held, pages, counts), np.cumsum(counts) - counts
        size, width = _varint(held, begins)
        records = begins + width + _varint(held, begins + width)[1]
        ends = records + size
        spilt = np.logical_or.reduceat(size > self._most, first)
        inside = ~np.repeat(spilt, counts)
        if ((ends > np.repeat(pages + usable, counts)) | (size < 2))[inside].any():
            raise self._file.damaged("a row reaches over the end of its page")
        if not self._whole(held, records[inside], ends[inside]):
            return None
        behind = np.roll(begins, 1)
        behind[first] = pages + usable
        neat = np.logical_and.reduceat(ends == behind, first)
        return _Rows(begins, records, ends, first, counts, pages, spilt, neat)

    def _begins(self, held: Bytes, pages: Places, counts: Places) -> Places:
        slots = np.arange(int(counts.max()), dtype=np.int64)
        used = slots < counts[:, None]
        if _HEADER_BYTES + 2 * len(slots) > self._file.usable:
            raise self._file.damaged("a page has more rows than room")
        offsets = _short(held, pages[:, None] + _HEADER_BYTES + 2 * slots)
        if (offsets[used] > self._file.usable - 4).any():
            raise self._file.damaged("a page points outside itself")
        return (pages[:, None] + offsets)[used]

    def _whole(self, held: Bytes, records: Places, ends: Places) -> bool:
        """Whether every record has all columns: its header has one number for each."""
        if not len(records):
            return True
        header, width = _varint(held, records)
        length, begin = header - width, records + width
        if (records + header > ends).any() or (length < 1).any():
            raise self._file.damaged("a row's header is longer than the row")
        widest = int(length.max())
        missing = int(begin.max()) + widest - len(held)
        room = np.concatenate([held, np.zeros(missing, np.uint8)]) if missing > 0 else held
        # A number's last byte, and no other, is below 128.
        last = np.lib.stride_tricks.sliding_window_view(room, widest)[begin] < 128
        if int(length.min()) < widest:
            last &= np.arange(widest) < length[:, None]
        return bool((last.sum(axis=1) == self._columns).all())

    def pieces(self, leaves: Leaves, found: _Rows) -> Iterator[bytes | memoryview]:
        """Yield what to hash, from the last row of each page to its first."""
        view, usable = leaves.held.data, self._file.usable
        each = zip(*(part.tolist() for part in (found.pages, found.first, found.counts)), strict=True)
        neat, spilt = found.neat.tolist(), found.spilt.tolist()
        for number, (page, first, count) in enumerate(each):
            if spilt[number]:
                for row in range(first + count - 1, first - 1, -1):
                    begin, record = int(found.begins[row]), int(found.records[row])
                    yield view[begin:record]
                    yield self._assembled(view, record, int(found.ends[row]), page + usable)
            elif neat[number]:
                yield view[int(found.begins[first + count - 1]) : page + usable]
            else:
                rows = slice(first, first + count)
                begins, ends = found.begins[rows].tolist(), found.ends[rows].tolist()
                for begin, end in zip(reversed(begins), reversed(ends), strict=True):
                    yield view[begin:end]

    def _assembled(self, view: memoryview, record: int, end: int, limit: int) -> bytes:
        """Return a whole record, of which some may lie in a chain of pages of its own."""
        size, near = end - record, end - record
        if size > self._most:
            near = self._least + (size - self._least) % (self._file.usable - 4)
            near = near if near <= self._most else self._least
        chain = size > near
        if near < 0 or record + near + 4 * chain > limit:
            raise self._file.damaged("a row reaches over the end of its page")
        parts, left = [bytes(view[record : record + near])], size - near
        following = int.from_bytes(view[record + near : record + near + 4], "big")
        while left > 0:
            page = self._file.page(following)
            following = int.from_bytes(page[:4], "big")
            part = page[4 : 4 + min(left, self._file.usable - 4)]
            parts.append(part)
            left -= len(part)
        whole = b"".join(parts)
        self._look(whole)
        return whole

    def _look(self, record: bytes) -> None:
        head = np.frombuffer(record[:_VARINT_BYTES] + bytes(_VARINT_BYTES), np.uint8)
        length, width = (int(found[0]) for found in _varint(head, np.zeros(1, np.int64)))
        if sum(byte < 128 for byte in record[width:length]) != self._columns:
            self.short = True


def _short(held: Bytes, at: Places) -> Places:
    """Return the numbers of two bytes at these places."""
    return held[at].astype(np.int64) << 8 | held[at + 1]


def _varint(held: Bytes, at: Places) -> tuple[Places, Places]:
    """Return the numbers at these places, and how many bytes (1 to 9) each one has."""
    byte = held[at].astype(np.int64)
    value, width, more = byte & 127, np.ones(len(at), np.int64), byte > 127
    for length in range(2, _VARINT_BYTES + 1):
        if not more.any():
            break
        byte = held[at + width].astype(np.int64)
        bits = 7 if length < _VARINT_BYTES else 8
        value = np.where(more, value << bits | byte & (1 << bits) - 1, value)
        width = width + more
        more = more & (byte > 127)
    return value, width
