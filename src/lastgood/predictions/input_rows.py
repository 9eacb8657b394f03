"""What a request asked with, column by column: V2 tensors or an MLflow body, as JSON. Pure.

A column of a table has its own name; an input with one value a row has the input's; column 3 of an input that is a matrix is
``name[3]``, counted from 0, of any more dimensions in the order of the data. An input that the body does not name is
``input``.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from lastgood.domain.kpi import slice_text
from lastgood.domain.sketch import FEATURES_MAX, UNNAMED

ROWS_MAX: Final = 1_000
"""Rows of one request that are looked at as values."""

SLICED_ROWS_MAX: Final = 10_000
"""Rows of one request that are told apart."""

_PLACED: Final = re.compile(r"(.*)\[(\d{1,9})\]", re.DOTALL)


class _Split(msgspec.Struct):
    columns: list[str | int]
    data: list[list[Any]]


class _Body(msgspec.Struct):
    """The ways in which a request is written; ``inputs`` is a list of tensors in V2."""

    inputs: Any = None
    dataframe_split: _Split | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    instances: list[Any] | None = None


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    data: list[Any]


class _Block(NamedTuple):
    """Columns side by side: ``flat`` holds ``width`` values a row. Of a table ``names`` are known, of a matrix its ``name``."""

    name: str
    width: int
    flat: list[Any]
    names: Sequence[str] | None = None
    unnamed: bool = False

    def column_name(self, place: int) -> str:
        if self.names is not None:
            return self.names[place]
        return self.name if self.width == 1 else f"{self.name}[{place}]"

    def place_of(self, column: str) -> int | None:
        """Return where a column is; an unnamed matrix is the model's only input, whatever its name."""
        if self.names is not None:
            return self.names.index(column) if column in self.names else None
        placed = _PLACED.fullmatch(column)
        if placed is not None and (self.unnamed or placed[1] == self.name):
            place = int(placed[2])
            return place if place < self.width else None
        return 0 if self.width == 1 and (self.unnamed or column == self.name) else None

    def column(self, place: int, rows: int) -> list[Any]:
        return self.flat[place : rows * self.width : self.width]


_decode = msgspec.json.Decoder(_Body).decode


def columns_of(inputs: bytes) -> dict[str, list[object]]:
    """Return each column's values of the first ``ROWS_MAX`` rows, ``FEATURES_MAX`` columns at most; none of what is no request.

    Values are as JSON has them: numbers, texts, truth values, None, and lists or objects where a cell holds such.
    """
    found: dict[str, list[object]] = {}
    for block in _blocks(inputs):
        for place in range(min(block.width, FEATURES_MAX - len(found))):
            found[block.column_name(place)] = block.column(place, ROWS_MAX)
    return found


def slices_of(inputs: bytes | None, columns: Sequence[str]) -> dict[str, list[str]]:
    """Return the text of each row's value of each of ``columns``; a column that the inputs lack has no rows.

    Texts are as :func:`lastgood.domain.kpi.slice_text` writes values. There are ``SLICED_ROWS_MAX`` rows at most.
    """
    found: dict[str, list[str]] = {column: [] for column in columns}
    for block in _blocks(inputs) if inputs is not None and columns else ():
        for column in columns:
            place = block.place_of(column)
            if place is not None and not found[column]:
                found[column] = [slice_text(value) for value in block.column(place, SLICED_ROWS_MAX)]
    return found


def _blocks(inputs: bytes) -> Iterator[_Block]:
    try:
        body = _decode(inputs)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return  # the host has told the caller what is wrong
    if body.dataframe_split is not None:
        yield from _table([str(name) for name in body.dataframe_split.columns], body.dataframe_split.data)
    if body.dataframe_records:
        yield from _records(body.dataframe_records)
    if body.instances:
        if all(isinstance(row, dict) for row in body.instances):
            yield from _records(body.instances)
        else:
            yield from _matrix(UNNAMED, body.instances, unnamed=True)
    if isinstance(body.inputs, dict):
        for name, data in body.inputs.items():
            yield from _matrix(str(name), data)
    elif isinstance(body.inputs, list):
        yield from _listed(body.inputs)


def _listed(given: list[Any]) -> Iterator[_Block]:
    """Read ``inputs`` that are a list: V2 tensors, or MLflow's rows without a name."""
    if not given or not isinstance(given[0], dict):
        yield from _matrix(UNNAMED, given, unnamed=True)
        return
    try:
        tensors = msgspec.convert(given, list[_Tensor])
    except msgspec.ValidationError:
        return
    for tensor in tensors:
        width = math.prod(tensor.shape[1:])
        flat = _flat(tensor.data, len(tensor.shape))
        if tensor.shape and width > 0 and len(flat) == tensor.shape[0] * width:
            yield _Block(tensor.name, width, flat)


def _records(records: list[dict[str, Any]]) -> Iterator[_Block]:
    names = list(records[0])
    yield from _table(names, [[record.get(name) for name in names] for record in records])


def _table(names: list[str], rows: list[list[Any]]) -> Iterator[_Block]:
    if names and all(len(row) == len(names) for row in rows):
        yield _Block("", len(names), [value for row in rows for value in row], names)


def _matrix(name: str, data: Any, *, unnamed: bool = False) -> Iterator[_Block]:
    """Read nested lists, whose first dimension is the rows."""
    if not isinstance(data, list) or not data:
        return
    depth, level = 0, data
    while isinstance(level, list) and level:
        depth, level = depth + 1, level[0]
    flat = _flat(data, depth)
    width = len(flat) // len(data)
    if width and width * len(data) == len(flat):
        yield _Block(name, width, flat, unnamed=unnamed)


def _flat(data: list[Any], depth: int) -> list[Any]:
    """Return the values of lists that are nested up to ``depth`` deep, in their order; none where they are not all as long.

    Flat ones are as they are.
    """
    for _ in range(depth - 1):
        if not data or not isinstance(data[0], list):
            break
        if any(not isinstance(part, list) or len(part) != len(data[0]) for part in data):
            return []
        data = [value for part in data for value in part]
    return data
