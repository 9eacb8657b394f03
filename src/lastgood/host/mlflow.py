"""MLflow's scoring protocol: ``/invocations`` bodies in, ``predictions`` out."""

from collections.abc import Sequence
from typing import Any

import msgspec

from lastgood.domain.version import Signature
from lastgood.host.outputs import Output
from lastgood.host.request import Work, assemble
from lastgood.host.tensors import InputError, element
from lastgood.wire.frames import Status

_encode = msgspec.json.Encoder().encode
Inputs = dict[str, tuple[str, list[int], Any]]
_ONE_OF = "exactly one of dataframe_split, dataframe_records, instances and inputs"


class _Split(msgspec.Struct):
    columns: list[str | int]
    data: list[list[Any]]


class _Body(msgspec.Struct):
    dataframe_split: _Split | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    instances: list[Any] | None = None
    inputs: dict[str, Any] | list[Any] | None = None


_decoder = msgspec.json.Decoder(_Body)


def parse(body: memoryview, signature: Signature | None, max_rows: int) -> Work:
    """Decode one body.

    :raises InputError: with the sentence for the caller.
    """
    try:
        request = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InputError(f"The body is not a scoring request ({_ONE_OF}): {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"The body is not valid JSON: {error}.") from None
    given = [name for name in request.__struct_fields__ if getattr(request, name) is not None]
    if len(given) != 1:
        raise InputError(f"The body must have {_ONE_OF}; it has {', '.join(given) or 'none of them'}.")
    if request.dataframe_split is not None:
        split = request.dataframe_split
        named = _table([str(name) for name in split.columns], split.data, signature)
    elif request.dataframe_records is not None:
        named = _records(request.dataframe_records, signature)
    elif request.instances is not None:
        rows = request.instances
        if rows and all(isinstance(row, dict) for row in rows):
            named = _records(rows, signature)
        else:
            named = {_single(signature): rows}
    else:
        inputs = request.inputs
        named = inputs if isinstance(inputs, dict) else {_single(signature): inputs}
    tensors = {name: _tensor(name, data, signature) for name, data in named.items()}
    return Work(*assemble(tensors, signature, max_rows))


def answer(work: Work, first: int, outputs: Sequence[Output]) -> bytes:
    """Return the JSON for the rows of ``work``, which begin at row ``first`` of the batch."""
    rows = {output.form.name: output.array[first : first + work.rows].tolist() for output in outputs}
    return _encode({"predictions": rows if len(outputs) > 1 else rows[outputs[0].form.name]})


def error(status: int, message: str) -> bytes:
    """Return the body of an error answer."""
    fault = status in {Status.BAD_INPUT, Status.TOO_LARGE}
    return _encode({"error_code": "BAD_REQUEST" if fault else "INTERNAL_ERROR", "message": message})


def _single(signature: Signature | None) -> str:
    if signature is None:
        return "input"
    if len(signature.inputs) != 1:
        names = ", ".join(tensor.name for tensor in signature.inputs)
        raise InputError(f"The model has several inputs ({names}): send named columns or inputs.")
    return signature.inputs[0].name


def _records(records: list[dict[str, Any]], signature: Signature | None) -> dict[str, Any]:
    columns = list(records[0]) if records else []
    if any(record.keys() != records[0].keys() for record in records):
        raise InputError("The records do not all have the same columns.")
    return _table(columns, [[record[name] for name in columns] for record in records], signature)


def _table(columns: list[str], rows: list[list[Any]], signature: Signature | None) -> dict[str, Any]:
    """Give a model's one matrix all columns in their order, and named inputs each its own."""
    if len(set(columns)) != len(columns) or any(len(row) != len(columns) for row in rows):
        raise InputError(f"Not every row has one value for each of the {len(columns)} different columns.")
    if signature is not None and len(signature.inputs) == 1 and signature.inputs[0].name not in columns:
        return {signature.inputs[0].name: rows}
    return {name: [row[position] for row in rows] for position, name in enumerate(columns)}


def _tensor(name: str, data: Any, signature: Signature | None) -> tuple[str, list[int], Any]:
    shape = _shape(data)
    takes = next((one for one in signature.inputs if one.name == name), None) if signature else None
    if takes is not None:
        if len(shape) == 1 and takes.shape[1:] in {(1,), (-1,)}:
            shape.append(1)  # a column of values for an input of one column
        return takes.datatype, shape, data
    flat = data
    for _ in shape[1:]:
        flat = [value for row in flat if isinstance(row, list) for value in row]
    values = flat if isinstance(flat, list) else []
    if values and all(type(value) is bool for value in values):
        return "BOOL", shape, data
    return ("BYTES" if any(isinstance(value, element("BYTES")) for value in values) else "FP64"), shape, data


def _shape(data: Any) -> list[int]:
    shape = []
    while isinstance(data, list):
        shape.append(len(data))
        if not data:
            break
        data = data[0]
    return shape
