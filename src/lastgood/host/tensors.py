"""Tensors between three worlds: the protocol's datatypes, JSON values and numpy arrays."""

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from lastgood.domain.version import Tensor

Array = NDArray[Any]

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(object),
}
_DATATYPES: Final = {dtype: name for name, dtype in DTYPES.items()}
_ELEMENTS: Final[dict[str, type]] = {
    name: {"b": bool, "u": int, "i": int, "f": float, "O": str}[dtype.kind] for name, dtype in DTYPES.items()
}

_FEW: Final = 64
_LARGEST: Final = {name: float(np.finfo(dtype).max) for name, dtype in DTYPES.items() if dtype.kind == "f"}
_LISTS: Final[dict[str, Any]] = {name: list[kind] for name, kind in _ELEMENTS.items()}  # type: ignore[valid-type]


class InputError(Exception):
    """The caller's mistake, told in a sentence."""


class TooLargeError(InputError):
    """More rows than the host accepts."""


def element(datatype: str) -> type:
    """Return the Python type of one JSON value of ``datatype``: float, int, bool or str."""
    return _ELEMENTS[datatype]


def accepted(datatype: str) -> frozenset[str]:
    """Return the datatypes that a caller may send where the model takes ``datatype``: those of its kind.

    JSON numbers carry no width, so FP64 for an FP32 model is normal; values that do not fit are refused.
    """
    kind = _ELEMENTS[datatype]
    return frozenset(name for name, other in _ELEMENTS.items() if other is kind)


def datatype_of(array: Array) -> str | None:
    """Return the protocol's datatype of an array, None for one that has none (dates, objects, complex)."""
    if array.dtype.kind in "US":
        return "BYTES"
    return _DATATYPES.get(array.dtype)


def describe(shape: Sequence[int]) -> str:
    """Return a shape as people write it."""
    return f"[{', '.join(map(str, shape))}]"


def flatten(data: Any, shape: Sequence[int], name: str) -> list[Any]:
    """Return ``data``, flat or nested as ``shape`` says, as one flat row-major list.

    :raises InputError: if it is not a list, is ragged, or holds another number of values than ``shape``.
    """
    if not isinstance(data, list):
        raise InputError(f"The data of input {name!r} is not a list.")
    flat = data
    if len(shape) > 1 and data and isinstance(data[0], list):
        level: list[Any] = [data]
        for size in shape:
            if not all(isinstance(item, list) and len(item) == size for item in level):
                raise InputError(
                    f"The data of input {name!r} is nested otherwise than its shape {describe(shape)} says."
                )
            level = [value for item in level for value in item]
        flat = level
    if len(flat) != math.prod(shape):
        raise InputError(
            f"Input {name!r} has {len(flat)} values, its shape {describe(shape)} needs {math.prod(shape)}."
        )
    return flat


def typed(values: list[Any], datatype: str, name: str) -> list[Any]:
    """Return ``values`` with every one checked to be of ``datatype``'s kind; integers become floats.

    :raises InputError: naming what was found instead.
    """
    try:
        checked: list[Any] = msgspec.convert(values, _LISTS[datatype])
    except msgspec.ValidationError as error:
        raise InputError(f"Input {name!r} takes {datatype} values: {error}.") from None
    return checked


def to_array(values: list[Any], datatype: str, shape: tuple[int, ...], name: str) -> Array:
    """Return typed values as an array.

    :raises InputError: if a value does not fit ``datatype``.
    """
    dtype = DTYPES[datatype]
    largest = _LARGEST.get(datatype)
    # A few floats are compared faster one by one than numpy's error state is set; what is too large goes on.
    if largest and 0 < len(values) <= _FEW and max(values) <= largest and min(values) >= -largest:
        return np.array(values, dtype).reshape(shape)
    try:
        with np.errstate(over="ignore"):
            array: Array = np.array(values, dtype)
    except OverflowError:
        fits = False
    else:
        fits = dtype.kind != "f" or bool(np.isfinite(array).all())
    if not fits:
        raise InputError(f"Input {name!r} has a number that does not fit {datatype}.")
    return array.reshape(shape)


def zeros(tensor: Tensor, rows: int) -> Array:
    """Return an all-zero (or empty-text) input of ``rows`` rows; other open dimensions are 1."""
    batch = rows if tensor.shape[0] == -1 else tensor.shape[0]
    shape = (batch, *(1 if size == -1 else size for size in tensor.shape[1:]))
    if tensor.datatype == "BYTES":
        return np.full(shape, "", dtype=object)
    return np.zeros(shape, DTYPES[tensor.datatype])
