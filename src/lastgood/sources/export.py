"""Exports of rows: one JSON object a line, by column name, to be read and replayed by anybody.

Bytes are ``{"base64": "..."}``; numbers that JSON has no word for (infinity, not a number) are texts.
"""

import base64
import datetime as dt
import decimal
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, Final

import msgspec

_PLAIN_NAME: Final = re.compile(r"[^\w.-]+")


def export_name(table: str, taken: Iterable[str] = ()) -> str:
    """Return a file name for the rows of ``table`` that is not in ``taken``, whatever characters the table's has."""
    stem = _PLAIN_NAME.sub("_", table).strip("._")[:80] or "rows"
    used = {name.lower() for name in taken}
    name, number = f"{stem}.jsonl", 1
    while name.lower() in used:
        number += 1
        name = f"{stem}-{number}.jsonl"
    return name


class RowsFile:
    """The file of one table's rows. It is made with the first row, so that nothing added leaves nothing behind."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.rows = 0
        self._path = path
        self._columns = tuple(columns)
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "RowsFile":
        """Begin; an older file of that name is gone."""
        self._path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Write rows, with values in the order of the columns.

        :raises OSError: no room.
        """
        for row in rows:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("wb")
            line = {name: plain(value) for name, value in zip(self._columns, row, strict=True)}
            self._file.write(msgspec.json.encode(line) + b"\n")
            self.rows += 1


def plain(value: Any) -> Any:
    """Return ``value`` as JSON can say it; what it has no word for becomes a text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    return str(value)
