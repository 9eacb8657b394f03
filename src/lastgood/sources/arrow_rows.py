"""Rows in Arrow batches: a digest that no order of files or rows changes, and what one set of rows has over another.

A row is encoded column by column in the order of their names, empty values left out, so that the same values are the same
row whichever file they lie in, and a new column that is empty everywhere changes no row.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

_MODULUS: Final = 1 << 256
_PASS_ROWS: Final = 1_000_000  # hashes that are in memory at a time, about 150 bytes each


class RowSum(msgspec.Struct):
    """How many rows were added, and the sum of their hashes modulo 2**256."""

    rows: int = 0
    total: int = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in a batch."""
        self.rows += batch.num_rows
        self.total = (self.total + sum(int.from_bytes(each, "big") for each in row_hashes(batch))) % _MODULUS

    def count(self, row: bytes, times: int = 1) -> None:
        """Take in the hash of a row that is there several times."""
        self.rows += times
        self.total = (self.total + int.from_bytes(row, "big") * times) % _MODULUS

    def value(self) -> str:
        """Return both as one text."""
        return f"{self.rows}:{self.total:064x}"


def row_hashes(batch: pa.RecordBatch) -> list[bytes]:
    """Return the SHA-256 of each row's canonical bytes."""
    if not batch.num_columns:
        return [hashlib.sha256().digest()] * batch.num_rows
    named = sorted(zip(batch.schema.names, batch.columns, strict=True), key=lambda pair: pair[0])
    fields = [_field(name, column) for name, column in named]
    rows = pc.binary_join_element_wise(*fields, pa.scalar(b"", pa.large_binary()))
    return [hashlib.sha256(row).digest() for row in rows.to_pylist()]


def _field(name: str, column: pa.Array) -> pa.Array:
    """Return name, length and value of each element as bytes; nothing where it is null."""
    value = _bytes(column)
    length = pc.binary_length(value).cast(pa.string()).cast(pa.large_binary())
    head = pa.scalar(msgspec.json.encode(name) + b":", pa.large_binary())
    colon, nothing = pa.scalar(b":", pa.large_binary()), pa.scalar(b"", pa.large_binary())
    return pc.fill_null(pc.binary_join_element_wise(head, length, colon, value, nothing), nothing)


def _bytes(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _bytes(column.dictionary_decode())
    if pa.types.is_fixed_size_binary(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return column.cast(pa.binary()).cast(pa.large_binary())
    if kind in (pa.string(), pa.large_string(), pa.string_view()):
        return column.cast(pa.large_string()).cast(pa.large_binary())
    if kind == pa.binary_view():
        return column.cast(pa.large_binary())
    if pa.types.is_timestamp(kind) or pa.types.is_time64(kind) or pa.types.is_duration(kind):
        column = column.cast(
            pa.int64()
        )  # the moment itself: a text of it would depend on a table of time zones
    elif pa.types.is_date32(kind) or pa.types.is_time32(kind):
        column = column.cast(pa.int32())
    elif pa.types.is_nested(kind):
        return pa.array(
            [None if v is None else repr(v).encode() for v in column.to_pylist()], pa.large_binary()
        )
    return column.cast(pa.string()).cast(pa.large_binary())


class Difference(msgspec.Struct):
    """The rows that one set has and the other has not: how many, and the sums of their hashes."""

    added: RowSum = msgspec.field(default_factory=RowSum)
    removed: RowSum = msgspec.field(default_factory=RowSum)

    def after(self, old: RowSum) -> RowSum:
        """Return the sum of the new set, given that of the old one: no row that is in both need be read."""
        rows = old.rows - self.removed.rows + self.added.rows
        return RowSum(rows, (old.total - self.removed.total + self.added.total) % _MODULUS)


def difference(
    old: Callable[[], Iterable[pa.RecordBatch]],
    new: Callable[[], Iterable[pa.RecordBatch]],
    rows: int,
    take: Callable[[list[dict[str, Any]]], None],
) -> Difference:
    """Count the rows of ``new`` that ``old`` has not, and the other way round, and hand the added ones to ``take``.

    A row that is in both, but more often in one, counts for each time. ``rows`` is how many ``old`` has at most; when
    they are many, both are read several times, and each time a part of the rows is looked at, so that memory is bounded.
    """
    found = Difference()
    parts = 1 + rows // _PASS_ROWS
    for part in range(parts):
        known: Counter[bytes] = Counter()
        for batch in old():
            known.update(each for each in row_hashes(batch) if each[0] % parts == part)
        for batch in new():
            hashes = row_hashes(batch)
            places = list(_unknown(hashes, known, part, parts))
            for place in places:
                found.added.count(hashes[place])
            if places:
                take(batch.take(pa.array(places)).to_pylist())
        for row, times in known.items():
            found.removed.count(row, times)
    return found


def _unknown(hashes: list[bytes], known: Counter[bytes], part: int, parts: int) -> Iterator[int]:
    for place, each in enumerate(hashes):
        if each[0] % parts != part:
            continue
        if known[each] > 0:
            known[each] -= 1
        else:
            yield place
