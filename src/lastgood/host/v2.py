"""The Open Inference Protocol V2, as JSON: requests in, answers out.

Two ways through: a typed one for what most callers send (one input, flat data, right in every respect),
and a careful one for everything else, which also finds the sentence for what is wrong.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from lastgood.domain.version import Signature
from lastgood.host.outputs import Output
from lastgood.host.request import Work, assemble, fixed_layout
from lastgood.host.tensors import InputError, accepted, element

encode = msgspec.json.Encoder().encode


class _Wanted(msgspec.Struct, gc=False):
    name: str


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: Any


class _Body(msgspec.Struct):
    inputs: list[_Input]
    id: str | None = None
    outputs: list[_Wanted] | None = None


_careful = msgspec.json.Decoder(_Body)


def _typed_decoder(values: type) -> msgspec.json.Decoder[Any]:
    one = msgspec.defstruct(
        "OneInput",
        [("name", str), ("shape", list[int]), ("datatype", str), ("data", list[values])],  # type: ignore[valid-type]
    )
    body = msgspec.defstruct(
        "FastBody",
        [("inputs", list[one]), ("id", str | None, None), ("outputs", list[_Wanted] | None, None)],  # type: ignore[valid-type]
    )
    return msgspec.json.Decoder(body)


class V2Parser:
    """Decodes inference bodies for one model."""

    def __init__(self, signature: Signature | None, max_rows: int) -> None:
        """Prepare the typed way where the signature has one input with fixed dimensions."""
        self._signature = signature
        self._max_rows = max_rows
        self._layout = (
            fixed_layout(signature) if signature is not None and len(signature.inputs) == 1 else None
        )
        if self._layout is not None:
            tensor = self._layout[0]
            self._name = tensor.name
            self._accepted = accepted(tensor.datatype)
            self._tail = list(tensor.shape)
            self._width = 1
            for size in tensor.shape:
                self._width *= size
            batch = signature.inputs[0].shape[0] if signature is not None else -1
            self._rows_least, self._rows_most = (1, max_rows) if batch == -1 else (batch, batch)
            self._fast = _typed_decoder(element(tensor.datatype))

    def parse(self, body: memoryview) -> Work:
        """Decode one body.

        :raises InputError: with the sentence for the caller.
        """
        if self._layout is None:
            return self._parse_carefully(body)
        try:
            request = self._fast.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._parse_carefully(body)
        if len(request.inputs) == 1:
            given = request.inputs[0]
            shape = given.shape
            if (
                given.name == self._name
                and given.datatype in self._accepted
                and shape
                and self._rows_least <= shape[0] <= self._rows_most
                and shape[1:] == self._tail
                and len(given.data) == shape[0] * self._width
            ):
                wanted = self._wanted(request.outputs) if request.outputs else None
                return Work(shape[0], self._layout, [given.data], request.id, wanted)
        return self._parse_carefully(body)

    def _parse_carefully(self, body: memoryview) -> Work:
        try:
            request = _careful.decode(body)
        except msgspec.ValidationError as error:
            raise InputError(f"The body is not an inference request: {error}.") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"The body is not valid JSON: {error}.") from None
        given = {one.name: (one.datatype, one.shape, one.data) for one in request.inputs}
        if len(given) != len(request.inputs):
            raise InputError("Two inputs have the same name.")
        rows, layout, columns = assemble(given, self._signature, self._max_rows)
        return Work(
            rows, layout, columns, request.id, self._wanted(request.outputs) if request.outputs else None
        )

    def _wanted(self, outputs: Sequence[_Wanted]) -> tuple[str, ...]:
        names = tuple(one.name for one in outputs)
        if self._signature is not None:
            known = [tensor.name for tensor in self._signature.outputs]
            for name in names:
                if name not in known:
                    raise InputError(f"The model has no output {name!r}; it gives {', '.join(known)}.")
        return names


def prefix(model: str, version: int) -> bytes:
    """Return the beginning of every answer of ``model``."""
    return b'{"model_name":%b,"model_version":"%d",' % (encode(model), version)


def answer(start: bytes, work: Work, first: int, outputs: Sequence[Output]) -> bytes:
    """Return the JSON for the rows of ``work``, which begin at row ``first`` of the batch."""
    rows = work.rows
    parts = [start]
    if work.request_id is not None:
        parts.append(b'"id":%b,' % encode(work.request_id))
    parts.append(b'"outputs":[')
    if work.wanted is not None:
        by_name = {output.form.name: output for output in outputs}
        for name in work.wanted:
            if name not in by_name:
                raise InputError(f"The model has no output {name!r}; it gives {', '.join(by_name)}.")
        outputs = [by_name[name] for name in work.wanted]
    for position, output in enumerate(outputs):
        if position:
            parts.append(b",")
        form, flat = output.form, output.flat
        width = form.width
        if rows * width != len(flat):  # the batch is not this request's alone
            flat = flat[first * width : (first + rows) * width]
        parts += (form.head, b"%d" % rows, form.middle, encode(flat), b"}")
    parts.append(b"]}")
    return b"".join(parts)


def error(message: str) -> bytes:
    """Return the body of an error answer."""
    return encode({"error": message})


def decode_error(body: bytes) -> str:
    """Return the sentence of an error answer."""
    return str(msgspec.json.decode(body)["error"])
