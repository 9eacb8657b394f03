"""Copies and slices as the columns of the log hold them; NULL where there are none, so that most rows hold neither. Pure."""

from typing import Any, Final

import msgspec

from lastgood.domain.prediction import Copy
from lastgood.predictions.join_rows import row_of, rows_of

_encode: Final = msgspec.json.Encoder().encode
_pack: Final = msgspec.msgpack.Encoder().encode
_copy: Final = msgspec.msgpack.Decoder(Copy).decode
_slices: Final = msgspec.json.Decoder(dict[str, list[str]]).decode


def packed_copy(copy: Copy | None) -> bytes | None:
    """Return what the column ``copy`` holds."""
    return None if copy is None else _pack(copy)


def copy_of(packed: bytes | None) -> Copy | None:
    """Return the copy that the column ``copy`` holds."""
    return None if packed is None else _copy(packed)


def slices_text(slices: dict[str, list[str]] | dict[str, str]) -> str | None:
    """Return what a column ``slices`` holds."""
    return _encode(slices).decode() if slices else None


def slices_of_text(text: str | None) -> dict[str, list[str]]:
    """Return the slices of a prediction, row by row."""
    return {} if text is None else _slices(text)


def slices_of_row(text: str | None, row: int) -> dict[str, str]:
    """Return one row's value of each column, empty where the inputs had none."""
    return {name: texts[row] if row < len(texts) else "" for name, texts in slices_of_text(text).items()}


def copied_row(copy: Copy, row: int) -> dict[str, Any] | None:
    """Return what a copy answered to one row, as :func:`row_of`; None where it gave no usable answer."""
    if copy.answer is None or not 200 <= copy.status < 300:
        return None
    return row_of(copy.answer, row)


def copied_rows(copy: Copy, most: int) -> list[dict[str, Any]]:
    """Return what a copy answered to each row, as :func:`copied_row`, at most so many."""
    if copy.answer is None or not 200 <= copy.status < 300:
        return []
    return rows_of(copy.answer, most)
