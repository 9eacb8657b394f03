"""Real models for tests: a classifier trained on real data, saved in every format, and callables as source."""

import contextlib
import functools
import json
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from lastgood.domain.version import Format
from lastgood.wire.digest import digest_of
from lastgood.wire.fleet import HostSpec, HostState, HostStatus, read_status


@functools.cache
def breast_cancer() -> tuple[Any, Any]:
    """Return the rows (569 x 30) and the labels."""
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer(return_X_y=True)


@functools.cache
def classifier() -> Any:
    """Return a scaler and a logistic regression, fitted."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, labels = breast_cancer()
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(rows, labels)


def save_onnx(folder: Path, *, zipmap: bool = False, rows: int | None = None) -> Path:
    """Export the classifier; ``rows`` fixes the batch dimension."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    options = {} if zipmap else {"zipmap": False}
    model = to_onnx(
        classifier(),
        initial_types=[("input", FloatTensorType([rows, 30]))],
        options={id(classifier()): options} if options else None,
    )
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def save_skops(folder: Path) -> Path:
    """Save the classifier with skops."""
    import skops.io

    path = folder / "model.skops"
    skops.io.dump(classifier(), path)
    return path


def save_joblib(folder: Path) -> Path:
    """Save the classifier with joblib."""
    import joblib

    path = folder / "model.joblib"
    joblib.dump(classifier(), path)
    return path


def save_pickle(folder: Path) -> Path:
    """Save the classifier with pickle."""
    path = folder / "model.pkl"
    path.write_bytes(pickle.dumps(classifier()))
    return path


def save_source(folder: Path, source: str, name: str = "scorer.py") -> Path:
    """Write a source file for the format callable."""
    path = folder / name
    path.write_text(source)
    return path


DOUBLE = """
import numpy as np
CALLS = []

def make():
    def predict(inputs):
        CALLS.append(len(inputs["x"]))
        return {"y": inputs["x"].sum(axis=1) * 2, "calls": np.full(len(inputs["x"]), len(CALLS))}
    return predict
"""

FRAGILE = """
import ctypes, mmap, time
import numpy as np
HELD = []

def make():
    def predict(inputs):
        x = inputs["x"]
        if (x == 13).any():
            raise ValueError("thirteen")
        if (x == 99).any():
            ctypes.string_at(0)
        if (x == 60).any():
            time.sleep(3600)
        if (x == 77).any():
            while True:
                HELD.append(np.ones(1_000_000))
        y = x.sum(axis=1)
        if (x == 78).any():
            HELD.append(mmap.mmap(-1, 600 << 20))  # shared memory is beyond RLIMIT_DATA
            HELD[-1].write(bytes(600 << 20))
        if (x == 79).any():
            np.ones(10**12)
        if (x == 14).any():
            y[x[:, 0] == 14] = np.nan
        if (x == 15).any():
            return {"y": y[:-1]}
        if (x == 16).any():
            return {"y": np.stack([y, y], axis=1)}
        if (x == 17).any():
            return {"other": y}
        return {"y": y}
    return predict
"""


def host_spec(run: Path, artifact: Path, kind: Format, **changes: Any) -> HostSpec:
    """Return a specification with everything that a test does not care about filled in."""
    (run / "hosts").mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {
        "key": "demo-1",
        "model": "demo",
        "version": 1,
        "digest": digest_of(artifact)[0],
        "format": kind,
        "artifact": str(artifact),
        "socket": str(run / "demo-1.sock"),
        "memory_bytes": 2 * 1024**3,
        "max_rows": 1000,
    }
    return HostSpec(**{**values, **changes})


def v2_body(rows: Any, *, name: str = "input", datatype: str = "FP32", **more: Any) -> bytes:
    """Return an inference body with one two-dimensional input."""
    array = np.asarray(rows)
    given = {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.ravel().tolist()}
    return json.dumps({"inputs": [given], **more}).encode()


def wait_for(condition: Callable[[], Any], *, seconds: float = 120.0) -> Any:
    """Poll until ``condition`` is true and return its value; fail the test at the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "what the test waits for did not happen in time"
        time.sleep(0.005)
    return value


def is_alive(pid: int) -> bool:
    """Return whether a process with this pid runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def running_host(spec: HostSpec, run: Path) -> Iterator[tuple[subprocess.Popen[bytes], HostStatus]]:
    """Start a real host, wait until it is ready or has failed, and leave nothing running."""
    spec_file = run / "hosts" / f"{spec.key}.spec.json"
    spec_file.write_bytes(msgspec.json.encode(spec))
    with (run / "host.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "lastgood.host", str(spec_file)], stderr=log)
    try:

        def settled() -> HostStatus | None:
            ended = process.poll() is not None  # looked at first: what it says comes before its end
            status = read_status(run, spec.key)
            if status is None or status.pid != process.pid or status.state is HostState.STARTING:
                assert not ended, "the host ended without a word"
                return None
            return status

        yield process, wait_for(settled)
    finally:
        process.kill()
        process.wait()
