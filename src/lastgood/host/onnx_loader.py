"""Loads ONNX models with onnxruntime: no code of the model's author runs."""

from pathlib import Path
from typing import Any, Final

import onnxruntime as ort

from lastgood.domain.version import Signature, Tensor
from lastgood.errors import Code, LastgoodError
from lastgood.host.counters import PREFIX
from lastgood.host.model import Model
from lastgood.host.tensors import Array, zeros
from lastgood.wire.fleet import HostSpec

_DATATYPES: Final = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


def load(spec: HostSpec) -> Model:
    """Load an ``.onnx`` file, or a folder that holds one beside its external data.

    :raises LastgoodError: ``invalid`` if it is not an ONNX model, ``refused`` if its tensors cannot be served.
    """
    session = _session(_file(Path(spec.artifact)))
    names = [output.name for output in session.get_outputs()]
    # The binding below the Python class: the class checks on each call what the engine has checked already,
    # and a batch of one feels that.
    run = getattr(session, "_sess", session).run

    def predict(inputs: dict[str, Array]) -> dict[str, Any]:
        return dict(zip(names, run(names, inputs, None), strict=True))

    inputs = tuple(_tensor(argument, "input") for argument in session.get_inputs())
    outputs = [_tensor(argument, "output") for argument in session.get_outputs()]
    if any(not output.shape for output in outputs):  # the graph does not say: look at an answer
        answer = predict({tensor.name: zeros(tensor, 1) for tensor in inputs})
        outputs = [Tensor(one.name, one.datatype, (-1,) * answer[one.name].ndim) for one in outputs]
    return Model(
        platform="onnxruntime_onnx",
        signature=Signature(inputs, tuple(outputs)),
        predict=predict,
        counts=any(name.startswith(PREFIX) for name in names),
    )


def _file(artifact: Path) -> Path:
    if not artifact.is_dir():
        return artifact
    found = sorted(artifact.rglob("*.onnx"))
    if len(found) != 1:
        raise LastgoodError(
            Code.INVALID,
            f"The folder holds {len(found)} .onnx files.",
            "Give a folder with exactly one, or the file itself.",
        )
    return found[0]


def _session(path: Path) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common class  # noqa: BLE001
        raise LastgoodError(
            Code.INVALID,
            f"This is not an ONNX model that onnxruntime {ort.__version__} can load: {str(error)[:300]}",
            "Export the model again, or register it with its right --format.",
        ) from None


def _tensor(argument: Any, what: str) -> Tensor:
    datatype = _DATATYPES.get(argument.type)
    if datatype is None:
        raise LastgoodError(
            Code.REFUSED,
            f"The model's {what} {argument.name!r} is a {argument.type}, which the inference protocol cannot "
            "carry.",
            "Export with plain tensors; for scikit-learn classifiers: options={id(model): {'zipmap': False}}.",
        )
    shape = tuple(size if isinstance(size, int) and size > 0 else -1 for size in argument.shape or ())
    if what == "input" and not shape:
        raise LastgoodError(
            Code.REFUSED,
            f"The model's input {argument.name!r} has no batch dimension.",
            "Export the model with the batch as the first dimension of every input.",
        )
    return Tensor(argument.name, datatype, shape)
