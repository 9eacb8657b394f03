"""A loaded model: what every loader returns, and what the host needs of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lastgood.domain.version import Signature, Tensor
from lastgood.errors import Code, LastgoodError
from lastgood.host.tensors import Array, datatype_of, describe


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """``predict`` takes arrays by input name and returns arrays by output name, or one array.

    ``signature`` is None where only the model's author knows it. ``counts`` is whether predicting may report
    counters of the model's own: False only where the format tells that there are none.
    """

    platform: str
    signature: Signature | None
    predict: Callable[[dict[str, Array]], Any]
    counts: bool = True


def observed_tensors(outputs: dict[str, Any]) -> tuple[Tensor, ...]:
    """Return what outputs look like, from one answer of the model: the batch is open, the rest as seen."""
    found = []
    for name, value in outputs.items():
        array = np.asarray(value)
        datatype = datatype_of(array)
        if datatype is None and array.dtype == object:
            datatype = "BYTES"
        if datatype is None or array.ndim == 0:
            raise LastgoodError(
                Code.REFUSED,
                f"The model's output {name!r} ({array.dtype}, shape {describe(array.shape)}) is not a batch "
                "of numbers or texts.",
                "Let the model return one row of numbers or texts for each row of input.",
            )
        found.append(Tensor(name, datatype, (-1, *array.shape[1:])))
    return tuple(found)


def agreed(own: Signature | None, given: Signature | None) -> Signature | None:
    """Return the signature to serve by: the model's own, made narrower by the registered one.

    :raises LastgoodError: ``refused`` if the two contradict each other.
    """
    if own is None or given is None:
        return own or given
    return Signature(
        inputs=_agreed_tensors(own.inputs, given.inputs, "inputs"),
        outputs=_agreed_tensors(own.outputs, given.outputs, "outputs"),
    )


def _agreed_tensors(own: Sequence[Tensor], given: Sequence[Tensor], what: str) -> tuple[Tensor, ...]:
    by_name = {tensor.name: tensor for tensor in given}
    fits = len(own) == len(given) and all(
        tensor.name in by_name and _fits(tensor, by_name[tensor.name]) for tensor in own
    )
    if not fits:
        raise LastgoodError(
            Code.REFUSED,
            f"The registered signature does not agree with the model: its {what} are {_listed(own)}, "
            f"registered are {_listed(given)}.",
            "Register the version again with the model's own signature.",
        )
    return tuple(
        Tensor(tensor.name, tensor.datatype, _narrower(tensor.shape, by_name[tensor.name].shape))
        for tensor in own
    )


def _fits(one: Tensor, other: Tensor) -> bool:
    return (
        one.datatype == other.datatype
        and len(one.shape) == len(other.shape)
        and all(a == b or -1 in {a, b} for a, b in zip(one.shape, other.shape, strict=True))
    )


def _narrower(own: tuple[int, ...], given: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(b if a == -1 else a for a, b in zip(own, given, strict=True))


def _listed(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"{one.name} {one.datatype} {describe(one.shape)}" for one in tensors) or "none"
