"""What a version answered, column by column: the counterpart of :mod:`lastgood.predictions.input_rows`. Pure."""

from typing import Final

import msgspec

from lastgood.predictions.input_rows import columns_of

_NOTHING: Final = msgspec.Raw(b"null")


class _Answer(msgspec.Struct):
    """The two ways in which a model's answer is written; the parts stay JSON."""

    outputs: msgspec.Raw = _NOTHING
    predictions: msgspec.Raw = _NOTHING


_decode = msgspec.json.Decoder(_Answer).decode


def outputs_of(answer: bytes) -> dict[str, list[object]]:
    """Return each output's values, as :func:`~lastgood.predictions.input_rows.columns_of` does for inputs; none of an error.

    An output with one value a row has its own name, and place 3 of one with several is ``name[3]``. Predictions without a
    name are the output ``predictions``.
    """
    try:
        found = _decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    tensors, predictions = bytes(found.outputs).strip(), bytes(found.predictions).strip()
    if tensors.startswith(b"["):
        return columns_of(b'{"inputs": %b}' % tensors)
    if predictions.startswith(b"{"):
        return columns_of(b'{"inputs": %b}' % predictions)
    return columns_of(b'{"inputs": {"predictions": %b}}' % predictions)
