"""Looks into an artifact at registration: what format it has and what goes in and comes out.

The loading happens in a process of its own with a time and a memory limit: a file that a stranger made must not
be able to stop or fill the process that registers it.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from lastgood.domain.version import Format, Signature
from lastgood.errors import Code, LastgoodError, from_data
from lastgood.host.load import load_model
from lastgood.host.memory import limit_memory
from lastgood.wire.fleet import HostSpec

_FORMATS: Final = {
    ".onnx": Format.ONNX,
    ".skops": Format.SKOPS,
    ".pkl": Format.PICKLE,
    ".pickle": Format.PICKLE,
    ".joblib": Format.JOBLIB,
    ".py": Format.CALLABLE,
}


class _Finding(msgspec.Struct):
    signature: Signature | None = None
    error: dict[str, object] | None = None


def guess_format(path: Path) -> Format | None:
    """Return the format that the file's suffix names; a folder is a callable unless it holds one ``.onnx``."""
    if path.is_dir():
        return Format.ONNX if len(list(path.glob("*.onnx"))) == 1 else Format.CALLABLE
    return _FORMATS.get(path.suffix.lower())


def inspect_artifact(
    path: Path,
    artifact_format: Format,
    *,
    factory: str | None = None,
    trust_pickle: bool = False,
    trusted_types: tuple[str, ...] = (),
    timeout: float = 60.0,
    memory_bytes: int = 2 * 1024**3,
) -> Signature | None:
    """Load the artifact apart and return its signature; None for a callable, which is not run here.

    :raises LastgoodError: ``invalid`` if it is no such model, or a callable without a factory; ``untrusted``
        for a pickle without ``trust_pickle`` and for a skops file with types that are not in
        ``trusted_types``; ``unavailable`` without the extra; ``timeout`` after ``timeout`` seconds.
    """
    if artifact_format is Format.CALLABLE:
        if not factory:
            raise LastgoodError(
                Code.INVALID,
                f"{path} is Python code, and nothing says which function makes the model.",
                "Give --factory module:function.",
            )
        return None
    spec = HostSpec(
        key="inspect",
        model="inspect",
        version=0,
        digest="",
        format=artifact_format,
        artifact=str(path.resolve()),
        socket="",
        memory_bytes=memory_bytes,
        max_rows=1,
        trust_pickle=trust_pickle,
        trusted_types=trusted_types,
    )
    return _load_apart(spec, timeout)


def _load_apart(spec: HostSpec, timeout: float) -> Signature | None:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "lastgood.host.inspect"],
            input=msgspec.json.encode(spec),
            capture_output=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:
        raise LastgoodError(
            Code.TIMEOUT,
            f"{spec.artifact} could not be loaded within {timeout:g} s.",
            "Give the signature yourself, or try again on a machine with less to do.",
        ) from None
    try:
        finding = msgspec.json.decode(done.stdout, type=_Finding)
    except msgspec.DecodeError:
        raise LastgoodError(
            Code.INVALID,
            f"Loading {spec.artifact} ended the process that tried it (status {done.returncode}): "
            f"{done.stderr[-300:].decode(errors='replace').strip()}",
            "Export the model again; see also the limit host_memory_bytes.",
        ) from None
    if finding.error is not None:
        raise from_data(finding.error)
    return finding.signature


def main() -> None:
    """Load what standard input describes and print the finding as JSON."""
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=HostSpec)
    limit_memory(spec.memory_bytes)
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is not our answer
    try:
        finding = _Finding(signature=load_model(spec).signature)
    except LastgoodError as error:
        finding = _Finding(error=error.as_data())
    answers.buffer.write(msgspec.json.encode(finding))
    answers.flush()


if __name__ == "__main__":
    main()
