"""One row out of an answer: V2 tensors or MLflow predictions, as JSON. Pure."""

from typing import Any

import msgspec


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    data: list[Any] = []


class _Answer(msgspec.Struct):
    """The two ways in which a model's answer is written; an error is neither."""

    outputs: list[_Tensor] | None = None
    predictions: Any = None


_decode = msgspec.json.Decoder(_Answer).decode


def row_of(answer: bytes, row: int) -> dict[str, Any] | None:
    """Return each output's value of one row, by the output's name, in order; None where it has no such row.

    A row of several numbers is a list. Predictions without a name are the output ``predictions``.
    """
    found = _decoded(answer)
    return None if found is None else _row(found, row)


def rows_of(answer: bytes, most: int) -> list[dict[str, Any]]:
    """Return the rows of an answer as :func:`row_of`, from the first on, at most so many."""
    found, rows = _decoded(answer), []
    for number in range(most if found is not None else 0):
        row = None if found is None else _row(found, number)
        if row is None:
            break
        rows.append(row)
    return rows


def _decoded(answer: bytes) -> _Answer | None:
    try:
        return _decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _row(found: _Answer, row: int) -> dict[str, Any] | None:
    if found.outputs is not None:
        rows = {one.name: _of_tensor(one, row) for one in found.outputs}
    elif isinstance(found.predictions, dict):
        rows = {str(name): _at(values, row) for name, values in found.predictions.items()}
    else:
        rows = {"predictions": _at(found.predictions, row)}
    return rows if rows and None not in rows.values() else None


def _of_tensor(tensor: _Tensor, row: int) -> Any:
    """Return a row of a tensor whose data is flat, or nested as some clients and servers write it."""
    rows = tensor.shape[0] if tensor.shape else 0
    if not 0 <= row < rows or not tensor.data:
        return None
    if len(tensor.data) == rows:
        return tensor.data[row]
    width = len(tensor.data) // rows
    if width * rows != len(tensor.data):
        return None
    part = tensor.data[row * width : (row + 1) * width]
    return part[0] if len(tensor.shape) == 1 else part


def _at(values: Any, row: int) -> Any:
    return values[row] if isinstance(values, list) and 0 <= row < len(values) else None
