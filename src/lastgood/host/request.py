"""A decoded request, ready to be put into a batch with others of the same layout."""

from typing import Any

from lastgood.domain.version import Signature, Tensor
from lastgood.host.tensors import DTYPES, InputError, TooLargeError, accepted, describe, flatten, typed
from lastgood.wire.frames import Request, Status

Layout = tuple[Tensor, ...]


class Work:
    """One request on its way through the host.

    ``layout`` holds the input tensors without their rows: requests with equal layouts can share one
    predict call. ``columns`` are the flat row-major values, one list for each tensor of the layout. ``counts`` is
    what the version counted of this request, as the answer's name field.
    """

    __slots__ = (
        "body",
        "columns",
        "connection",
        "counts",
        "identifier",
        "kind",
        "layout",
        "name",
        "request_id",
        "rows",
        "status",
        "wanted",
    )

    def __init__(
        self,
        rows: int,
        layout: Layout,
        columns: list[list[Any]],
        request_id: str | None = None,
        wanted: tuple[str, ...] | None = None,
    ) -> None:
        self.rows = rows
        self.layout = layout
        self.columns = columns
        self.request_id = request_id
        self.wanted = wanted
        self.kind: int = Request.INFER
        self.identifier = 0
        self.name = b""
        self.connection: Any = None
        self.status: int = Status.OK
        self.body = b""
        self.counts = b""


def fixed_layout(signature: Signature | None) -> Layout | None:
    """Return the one layout that every request to this model has, None where dimensions are open."""
    if signature is None or any(-1 in tensor.shape[1:] for tensor in signature.inputs):
        return None
    return tuple(Tensor(one.name, one.datatype, one.shape[1:]) for one in signature.inputs)


def assemble(
    given: dict[str, tuple[str, list[int], Any]], signature: Signature | None, max_rows: int
) -> tuple[int, Layout, list[list[Any]]]:
    """Check named inputs (datatype, shape, data) against the signature; return rows, layout and columns.

    :raises InputError: naming the first mistake; :class:`TooLargeError` for too many rows.
    """
    if not given:
        raise InputError("The request has no inputs.")
    ordered = list(given) if signature is None else _known_names(given, signature)
    columns, layout = [], []
    rows = 0
    for position, name in enumerate(ordered):
        datatype, shape, data = given[name]
        takes = signature.inputs[position] if signature is not None else None
        _check_tensor(name, datatype, shape, takes)
        if position and shape[0] != rows:
            raise InputError(f"Input {name!r} has {shape[0]} rows, {ordered[0]!r} has {rows}.")
        rows = shape[0]
        if rows > max_rows:
            raise TooLargeError(f"The request has {rows} rows; at most {max_rows} are accepted.")
        columns.append(typed(flatten(data, shape, name), datatype, name))
        layout.append(Tensor(name, takes.datatype if takes is not None else datatype, tuple(shape[1:])))
    return rows, tuple(layout), columns


def _known_names(given: dict[str, Any], signature: Signature) -> list[str]:
    names = [tensor.name for tensor in signature.inputs]
    for name in given:
        if name not in names:
            raise InputError(f"The model has no input {name!r}; it takes {', '.join(names)}.")
    for name in names:
        if name not in given:
            raise InputError(f"The input {name!r} is missing.")
    return names


def _check_tensor(name: str, datatype: str, shape: list[int], takes: Tensor | None) -> None:
    if datatype not in DTYPES:
        raise InputError(f"Input {name!r} has the unknown datatype {datatype!r}.")
    if not shape or shape[0] < 1 or min(shape) < 0:
        raise InputError(f"Input {name!r} has the shape {describe(shape)}, which has no rows.")
    if takes is None:
        return
    if datatype not in accepted(takes.datatype):
        raise InputError(f"Input {name!r} has datatype {datatype}, the model takes {takes.datatype}.")
    if len(shape) != len(takes.shape) or any(
        size not in {-1, got} for size, got in zip(takes.shape, shape, strict=True)
    ):
        raise InputError(
            f"Input {name!r} has shape {describe(shape)}, the model takes {describe(takes.shape)}."
        )
