"""Which columns a plan's slices may name, as far as a version's signature tells."""

import math
import re
from collections.abc import Sequence
from typing import Final

from lastgood.domain.version import Signature, Tensor

_PLACED: Final = re.compile(r"(?P<name>.*)\[(?P<place>\d{1,9})\]", re.DOTALL)


def unknown_columns(columns: Sequence[str], signature: Signature) -> list[str]:
    """Return those of ``columns`` that no request for this signature can have.

    An input with one value a row is a column, and so is each place of one with more: ``x[3]``, counted from 0. A table that
    is sent to a model with one matrix has whatever names its caller gives, so any name may be a column there.
    """
    any_name = len(signature.inputs) == 1 and _width(signature.inputs[0]) != 1
    return [column for column in columns if not _is_known(column, signature, any_name=any_name)]


def columns_told(signature: Signature) -> str:
    """Return the columns of the inputs for a person: age, x[0] to x[29]."""
    return ", ".join(map(_told, signature.inputs))


def _is_known(column: str, signature: Signature, *, any_name: bool) -> bool:
    widths = {tensor.name: _width(tensor) for tensor in signature.inputs}
    if widths.get(column, 0) in (None, 1):
        return True
    placed = _PLACED.fullmatch(column)
    if placed is None:
        return any_name and column not in widths
    width = widths.get(placed["name"], 0)
    return width is None or int(placed["place"]) < width


def _width(tensor: Tensor) -> int | None:
    """Return how many values a row has, None where that varies."""
    return None if -1 in tensor.shape[1:] else math.prod(tensor.shape[1:])


def _told(tensor: Tensor) -> str:
    width = _width(tensor)
    if width is None:
        return f"{tensor.name}[0] and so on"
    return tensor.name if width == 1 else f"{tensor.name}[0] to {tensor.name}[{width - 1}]"
