"""Digests of data: of a file's bytes, of rows in an order, of a schema, and of a whole content.

Equal content has an equal digest wherever it lies. Rows are hashed in blocks of a fixed number, so that however a
provider reads them, the same rows in the same order come to the same.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from lastgood.domain.snapshot import Column, Schema

_BLOCK_ROWS: Final = 1000
_PART_BYTES: Final = 262_144
_PREFIX: Final = "sha256:"
_encode: Final = msgspec.msgpack.Encoder().encode


def file_digest(path: Path, rest: Callable[[], None] | None = None) -> str:
    """Return the SHA-256 of a file's bytes, as ``sha256:`` and 64 hexadecimal digits.

    ``rest`` is called after each quarter of a megabyte, for who wants to leave others some time.

    :raises OSError: it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        if rest is None:
            return _PREFIX + hashlib.file_digest(file, "sha256").hexdigest()
        digest, part = hashlib.sha256(), bytearray(_PART_BYTES)
        while taken := file.readinto(part):
            digest.update(memoryview(part)[:taken])
            rest()
        return _PREFIX + digest.hexdigest()


def value_digest(value: Any) -> str:
    """Return the digest of anything that JSON can say. Keys of mappings are sorted first."""
    return _PREFIX + hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


def schema_of(tables: Mapping[str, Sequence[Column]]) -> Schema:
    """Return the schema with its id: a digest of the tables' names and their columns in their order, nothing else."""
    known = {table: tuple(columns) for table, columns in sorted(tables.items())}
    plain = {table: [(column.name, column.type) for column in columns] for table, columns in known.items()}
    return Schema(id=value_digest(plain), tables=known)


class RowsDigest:
    """The digest of one table's rows in an order that the content alone decides (a key). Blobs, texts, numbers, None.

    Memory is that of one block. Numbers that are equal but of different kinds, 1 and 1.0, differ.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._hash = hashlib.sha256()
        self._block: list[Any] = []

    def add(self, rows: Iterable[Any]) -> None:
        """Take in rows: tuples or lists of plain values."""
        self._block.extend(rows)
        whole = len(self._block) - len(self._block) % _BLOCK_ROWS
        for start in range(0, whole, _BLOCK_ROWS):
            self._take(self._block[start : start + _BLOCK_ROWS])
        del self._block[:whole]

    def value(self) -> str:
        """Return the digest of all rows; nothing may be added afterwards."""
        if self._block:
            self._take(self._block)
            self._block = []
        return _PREFIX + self._hash.hexdigest()

    def _take(self, block: list[Any]) -> None:
        self.rows += len(block)
        self._hash.update(_encode(block))


def content_digest(schema: Schema, tables: Mapping[str, str], also: Any = None) -> str:
    """Return the digest of a content: its schema, the digest of each table's rows, and ``also`` what else must agree."""
    return value_digest({"schema": schema.id, "tables": dict(tables), "also": also})
