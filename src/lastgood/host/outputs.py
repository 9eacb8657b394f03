"""What a model returned, checked against what it promised."""

import math
from typing import Any, Final

import msgspec
import numpy as np

from lastgood.domain.version import Signature, Tensor
from lastgood.host.tensors import DTYPES, Array, datatype_of, describe

_FEW: Final = 256


class InvalidOutputError(Exception):
    """The model answered, and the answer cannot be true: NaN, infinity, wrong shape, wrong number of rows."""


class NotFiniteError(InvalidOutputError):
    """The shape is right, but a number is NaN or infinite."""


class Form:
    """What all outputs of one name, datatype and row shape share: the fixed parts of their JSON."""

    __slots__ = ("dtype", "floats", "head", "middle", "name", "tail", "width")

    def __init__(self, name: str, datatype: str, tail: tuple[int, ...]) -> None:
        self.name = name
        self.dtype = DTYPES[datatype]
        self.floats = self.dtype.kind == "f"
        self.tail = tail
        self.width = math.prod(tail)
        self.head = b'{"name":%b,"datatype":"%b","shape":[' % (msgspec.json.encode(name), datatype.encode())
        self.middle = b"".join(b",%d" % size for size in tail) + b'],"data":'


class Output:
    """One checked output of a batch: the array, and its values as one flat list."""

    __slots__ = ("array", "flat", "form")

    def __init__(self, form: Form, array: Array, flat: list[Any]) -> None:
        self.form = form
        self.array = array
        self.flat = flat


class Checker:
    """Checks every answer of one model: quickly what is right in every respect, with care all the rest."""

    def __init__(self, signature: Signature | None) -> None:
        """Prepare the forms of the outputs whose dimensions are all known but the rows."""
        self._signature = signature
        self._forms: list[Form] = []
        tensors = signature.outputs if signature is not None else ()
        if all(one.shape and one.datatype != "BYTES" and -1 not in one.shape[1:] for one in tensors):
            self._forms = [Form(one.name, one.datatype, one.shape[1:]) for one in tensors]
        self._least = max((one.shape[0] for one in tensors if one.shape), default=-1)

    def check(self, raw: Any, rows: int) -> list[Output]:
        """Return the outputs of a predict call over ``rows`` rows.

        :raises InvalidOutputError: saying which output is wrong and how.
        """
        outputs = []
        if self._least == -1 and type(raw) is dict:
            for form in self._forms:
                array = raw.get(form.name)
                if (
                    type(array) is not np.ndarray
                    or array.dtype != form.dtype
                    or array.shape != (rows, *form.tail)
                ):
                    break
                flat = array.ravel().tolist()
                # Finite values may have a sum that is not: then the careful way looks at each.
                few = len(flat) <= _FEW
                if form.floats and not (math.isfinite(sum(flat)) if few else np.isfinite(array).all()):
                    break
                outputs.append(Output(form, array, flat))
            else:
                if outputs:
                    return outputs
        return check(raw, self._signature, rows)


def check(raw: Any, signature: Signature | None, rows: int) -> list[Output]:
    """Return the outputs of a predict call over ``rows`` rows, each one checked with care.

    :raises InvalidOutputError: saying which output is wrong and how.
    """
    if not isinstance(raw, dict):
        raw = {signature.outputs[0].name if signature is not None and signature.outputs else "output": raw}
    if signature is None or not signature.outputs:
        if not raw:
            raise InvalidOutputError("The model returned no outputs.")
        return [_checked(str(name), value, None, rows) for name, value in raw.items()]
    missing = [tensor.name for tensor in signature.outputs if tensor.name not in raw]
    if missing:
        raise InvalidOutputError(f"The model did not return its output {missing[0]!r}.")
    return [_checked(tensor.name, raw[tensor.name], tensor, rows) for tensor in signature.outputs]


def _checked(name: str, value: Any, promised: Tensor | None, rows: int) -> Output:
    try:
        array: Array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InvalidOutputError(f"The output {name!r} is not an array: {error}.") from None
    if array.ndim == 0 or array.shape[0] != rows:
        raise InvalidOutputError(
            f"The output {name!r} has shape {describe(array.shape)} for {rows} rows of input."
        )
    if promised is not None and (
        len(promised.shape) != array.ndim
        or any(size not in {-1, got} for size, got in zip(promised.shape, array.shape, strict=True))
    ):
        raise InvalidOutputError(
            f"The output {name!r} has shape {describe(array.shape)}, promised is {describe(promised.shape)}."
        )
    array, datatype = _cast(name, array, promised)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise NotFiniteError(f"The output {name!r} holds NaN or infinity.")
    return Output(Form(name, datatype, array.shape[1:]), array, array.ravel().tolist())


def _cast(name: str, array: Array, promised: Tensor | None) -> tuple[Array, str]:
    if array.dtype.kind in "OSU":
        array = _texts(name, array)
    found = datatype_of(array)
    if found is None:
        raise InvalidOutputError(f"The output {name!r} holds {array.dtype}, which is no datatype.")
    if promised is None or promised.datatype == found:
        return array, found
    wanted = DTYPES[promised.datatype]
    if not np.can_cast(array.dtype, wanted, casting="same_kind"):
        raise InvalidOutputError(f"The output {name!r} holds {found}, promised is {promised.datatype}.")
    with np.errstate(over="ignore"):
        return array.astype(wanted), promised.datatype


def _texts(name: str, array: Array) -> Array:
    values = [
        one.decode(errors="replace") if isinstance(one, bytes) else one for one in array.ravel().tolist()
    ]
    if not all(isinstance(one, str) for one in values):
        raise InvalidOutputError(f"The output {name!r} holds objects that are not texts.")
    texts = np.empty(len(values), dtype=object)
    texts[:] = values
    return texts.reshape(array.shape)
