"""Reads the file that a version was trained on, a .csv or .parquet, into the reference that drift is measured from."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, NamedTuple

from lastgood.analysis.reference import ColumnTally, Kind, NotANumberError
from lastgood.control.contract import reference_beside
from lastgood.domain.sketch import FEATURES_MAX, Reference
from lastgood.domain.version import Signature, Tensor
from lastgood.errors import Code, LastgoodError
from lastgood.quality_ports import Table

ROWS_MAX: Final = 1_000_000
"""Rows that are read; what comes after them is passed over."""


OpenTable = Callable[[Path], AbstractContextManager[Table]]


class Wanted(NamedTuple):
    """A column of the file: where it is, the feature that it becomes, what people call it, what it must hold."""

    place: int
    name: str
    title: str
    kind: Kind


def reference_of(
    artifact: Path,
    file: Path | None,
    without: Sequence[str],
    *,
    signature: Signature | None,
    open_table: OpenTable,
) -> Reference | None:
    """Read ``file``, or where None is given the one that the file beside the artifact names; None where there is none either.

    :raises LastgoodError: as :func:`read_reference`, and for a file beside the artifact that cannot be used.
    """
    if file is None:
        beside = reference_beside(artifact)
        if beside is None:
            return None
        file, without = beside
    return read_reference(file, signature, without, open_table)


def read_reference(
    file: Path, signature: Signature | None, without: Sequence[str], open_table: OpenTable
) -> Reference:
    """Return what a model with ``signature`` was trained on, without the columns ``without``; memory is bounded.

    :raises LastgoodError: ``not_found`` or ``invalid``, with the row and the column of what is wrong.
    """
    with open_table(file) as table:
        wanted = _matched(file, table.columns, signature, without)[:FEATURES_MAX]
        tallies = [ColumnTally(one.kind) for one in wanted]
        rows = 0
        for batch in table.batches([one.place for one in wanted]):
            size = min(len(batch[0]), ROWS_MAX - rows)
            for one, tally, values in zip(wanted, tallies, batch, strict=True):
                _add(file, table, one, tally, values[:size], rows)
            rows += size
            if rows == ROWS_MAX:
                break
    if not rows:
        raise LastgoodError(
            Code.INVALID, f"{file} has no rows.", "Give the file that the model was trained on."
        )
    features = tuple(tally.feature(one.name, one.title) for one, tally in zip(wanted, tallies, strict=True))
    return Reference(rows=rows, features=features)


def _add(file: Path, table: Table, one: Wanted, tally: ColumnTally, values: Sequence[Any], rows: int) -> None:
    try:
        tally.add(values)
    except NotANumberError as error:
        row = rows + 1 + values.index(error.value)
        raise LastgoodError(
            Code.INVALID,
            f"{file}, row {row}, column {table.columns[one.place]!r}: {str(error.value)[:40]!r} is not a number, and "
            f"the model's input {one.name!r} takes numbers.",
            "Give the values as the model gets them.",
        ) from None


def _matched(
    file: Path, columns: Sequence[str], signature: Signature | None, without: Sequence[str]
) -> list[Wanted]:
    """Return which columns become which features.

    :raises LastgoodError: ``invalid`` when the columns are not those that the model takes.
    """
    left = {name: place for place, name in enumerate(columns)}
    for name in without:
        if name not in left:
            raise _refused(file, f"there is no column {name!r} to leave out", columns)
        del left[name]
    if signature is None:
        return [Wanted(place, name, "", Kind.ANY) for name, place in left.items()]
    inputs = signature.inputs
    if len(inputs) == 1 and _width(inputs[0]) != 1 and f"{inputs[0].name}[0]" not in left:
        return _matrix(file, inputs[0], left)
    features = [(name, _kind(tensor)) for tensor in inputs for name in _names(tensor, left)]
    missing = [name for name, _ in features[:FEATURES_MAX] if name not in left]
    if missing:
        raise _refused(file, f"there is no column for the model's input {missing[0]!r}", list(left))
    return [Wanted(left[name], name, "", kind) for name, kind in features if name in left]


def _matrix(file: Path, tensor: Tensor, left: dict[str, int]) -> list[Wanted]:
    """Take the columns one after another for the places of the model's only input."""
    width = _width(tensor)
    if width not in (-1, len(left)):
        raise _refused(
            file,
            f"the model's input {tensor.name!r} has {width} places, and here are {len(left)} columns",
            list(left),
        )
    return [
        Wanted(column, f"{tensor.name}[{place}]", title, _kind(tensor))
        for place, (title, column) in enumerate(left.items())
    ]


def _width(tensor: Tensor) -> int:
    """Return how many values a row of an input has; -1 where that varies."""
    sizes = tensor.shape[1:]
    return -1 if any(size < 0 for size in sizes) else math.prod(sizes)


def _names(tensor: Tensor, left: dict[str, int]) -> Iterator[str]:
    width = _width(tensor)
    if width == 1:
        yield tensor.name
        return
    for place in range(width if width > 0 else FEATURES_MAX):
        name = f"{tensor.name}[{place}]"
        if width > 0 or name in left or place == 0:
            yield name


def _kind(tensor: Tensor) -> Kind:
    if tensor.datatype == "BYTES":
        return Kind.TEXT
    return Kind.ANY if tensor.datatype == "BOOL" else Kind.NUMBER


def _refused(file: Path, why: str, columns: Sequence[str]) -> LastgoodError:
    listed = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
    return LastgoodError(
        Code.INVALID,
        f"{file} is no reference for this model: {why}.",
        f"Its columns: {listed}. Leave out those that are no input with --without NAME.",
    )
