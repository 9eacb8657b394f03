"""A SQLite file that nobody changes any more, read page by page as it lies on the disk: the leaves of a table's tree.

What is read here is what SQLite's page on its file format says; the library itself has no way to give out whole pages.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from lastgood.errors import Code, LastgoodError

LEAF: Final = 13  # the first byte of a leaf of a table
_INTERIOR: Final = 5
_INTERIOR_HEADER: Final = 12
_HEADER: Final = 100  # of the file
_BATCH_BYTES: Final = 1_000_000
_DEEPEST: Final = 20  # levels of a tree that SQLite allows
SPARE: Final = (
    32  # bytes that may be read behind a batch's last page: the three numbers that a row begins with
)

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


class Leaves(msgspec.Struct, frozen=True):
    """Leaves of one table from the last to the first: their ``numbers``, and at which place of ``held`` each begins."""

    numbers: list[int]
    held: Bytes
    begins: Places


class TreeFile:
    """The pages of one file. ``usable`` is how many bytes of a page hold data."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name
        header = os.pread(descriptor, _HEADER, 0)
        if len(header) < _HEADER:
            raise self.damaged("it ends within its header")
        size = int.from_bytes(header[16:18], "big")
        self.page_bytes = 65_536 if size == 1 else size
        self.usable = self.page_bytes - header[20]
        self.format = int.from_bytes(header[44:48], "big")
        if self.page_bytes < 512 or self.usable < 480:
            raise self.damaged("its header has no size of a page")

    def damaged(self, why: str) -> LastgoodError:
        """Return the error for a file that is not what SQLite writes."""
        return LastgoodError(
            Code.CORRUPT, f"{self._name!r} is damaged: {why}.", "Check it with PRAGMA integrity_check."
        )

    def page(self, number: int) -> bytes:
        """Return one page; the first is 1."""
        found = (
            os.pread(self._descriptor, self.page_bytes, (number - 1) * self.page_bytes) if number > 0 else b""
        )
        if len(found) < self.page_bytes:
            raise self.damaged(f"page {number} is missing")
        return found

    def leaves(self, root: int) -> Iterator[Leaves]:
        """Yield the leaves of the table whose tree begins at ``root``, from the last to the first."""
        depth, page, number = 0, self.page(root), root
        while page[0] == _INTERIOR:
            depth, number = depth + 1, self._children(page)[-1]
            if depth > _DEEPEST:
                raise self.damaged("a tree has too many levels")
            page = self.page(number)
        at_most = max(1, _BATCH_BYTES // self.page_bytes)
        for numbers in self._bottom([root], depth):
            for start in range(0, len(numbers), at_most):
                yield self._read(numbers[start : start + at_most])

    def _bottom(self, numbers: list[int], depth: int) -> Iterator[list[int]]:
        if depth == 0:
            yield numbers
            return
        for number in numbers:
            yield from self._bottom(self._children(self.page(number)), depth - 1)

    def _children(self, page: bytes) -> list[int]:
        """Return the pages below, the last first."""
        if page[0] != _INTERIOR:
            raise self.damaged("a tree has branches of different lengths")
        count = int.from_bytes(page[3:5], "big")
        cells = np.frombuffer(page, ">u2", count, _INTERIOR_HEADER).astype(np.int64)
        if count and int(cells.max()) + 4 > self.page_bytes:
            raise self.damaged("a page points outside itself")
        held = np.frombuffer(page, np.uint8)
        below = sum(held[cells + byte].astype(np.int64) << 8 * (3 - byte) for byte in range(4))
        last = int.from_bytes(page[8:12], "big")
        return [last, *np.asarray(below)[::-1].tolist()] if count else [last]

    def _read(self, numbers: list[int]) -> Leaves:
        first, size = min(numbers), self.page_bytes
        span = max(numbers) - first + 1
        if span <= 2 * len(numbers) and first > 0:  # they lie together, as a rule: one read for all
            held = np.empty(span * size + SPARE, np.uint8)
            found = os.preadv(self._descriptor, [held.data[: span * size]], (first - 1) * size)
            if found < span * size:
                raise self.damaged(f"page {max(numbers)} is missing")
            begins = (np.array(numbers, np.int64) - first) * size
        else:
            held = np.frombuffer(b"".join([*map(self.page, numbers), bytes(SPARE)]), np.uint8)
            begins = np.arange(len(numbers), dtype=np.int64) * size
        return Leaves(numbers, held, begins)


@contextmanager
def tree_file(path: Path) -> Iterator[TreeFile]:
    """Open a file for reading its pages. Never a live one: to close it would take SQLite's locks on it away."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            yield TreeFile(descriptor, path.name)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise LastgoodError(
            Code.STORAGE,
            f"{path.name!r} cannot be read: {error.strerror}.",
            "Check the disk and the rights there.",
        ) from None
