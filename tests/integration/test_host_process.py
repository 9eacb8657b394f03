"""Real host processes: every loader, what is refused, memory, and a graceful end."""

import json
import os
import signal
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lastgood.domain.version import Format, Signature, Tensor
from lastgood.errors import Code, LastgoodError
from lastgood.host.inspect import guess_format, inspect_artifact
from lastgood.wire.digest import digest_of
from lastgood.wire.fleet import HostState, read_status
from lastgood.wire.frames import HEADER, HEADER_BYTES, Request, Status, pack
from lastgood.wire.hostclient import HostClient
from models import (
    DOUBLE,
    FRAGILE,
    breast_cancer,
    classifier,
    host_spec,
    is_alive,
    running_host,
    save_joblib,
    save_onnx,
    save_pickle,
    save_skops,
    save_source,
    v2_body,
    wait_for,
)

XY = Signature((Tensor("x", "FP64", (-1, 2)),), (Tensor("y", "FP64", (-1,)),))


def answered(path: str, body: bytes, *, name: str = "demo") -> Any:
    with HostClient(path) as client:
        status, answer = client.infer(name, body)
    assert status is Status.OK, answer
    return json.loads(answer)


@pytest.mark.parametrize(
    ("save", "kind", "datatype"),
    [
        (save_onnx, Format.ONNX, "FP32"),
        (save_skops, Format.SKOPS, "FP64"),
        (save_joblib, Format.JOBLIB, "FP64"),
        (save_pickle, Format.PICKLE, "FP64"),
    ],
)
def test_every_format_predicts_as_trained(tmp_path: Path, save: Any, kind: Format, datatype: str) -> None:
    """A model saved in each format answers real rows as the trained estimator does."""
    rows = breast_cancer()[0][:40]
    spec = host_spec(tmp_path, save(tmp_path), kind, trust_pickle=True)
    with running_host(spec, tmp_path) as (process, status):
        assert status.state is HostState.READY, status.error
        assert status.signature is not None
        assert status.signature.inputs == (Tensor("input", datatype, (-1, 30)),)
        assert stat.S_IMODE(Path(spec.socket).stat().st_mode) == 0o600
        outputs = answered(spec.socket, v2_body(rows, datatype="FP64"))["outputs"]
        with HostClient(spec.socket) as client:
            metadata = json.loads(client.ask(Request.METADATA, "demo", b"", timeout=5)[1])

    assert outputs[0]["data"] == classifier().predict(rows).tolist()
    assert np.allclose(
        np.reshape(outputs[1]["data"], outputs[1]["shape"]), classifier().predict_proba(rows), atol=1e-4
    )
    assert [one["name"] for one in metadata["inputs"] + metadata["outputs"]] == [
        "input",
        *[output["name"] for output in outputs],
    ]
    assert not is_alive(process.pid)


def test_callable_from_file_folder_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A factory is found in a source file of any name, in a folder, or in the environment with its path given."""
    for name in (
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONPYCACHEPREFIX",
    ):  # either would hide a cache that is written
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "code"
    folder.mkdir()
    save_source(folder, DOUBLE)
    digest, _ = digest_of(folder)
    named_by_digest = save_source(tmp_path, DOUBLE, "0f3a")
    weights = tmp_path / "weights.json"
    weights.write_text("[3, 4]")
    for artifact, factory in ((named_by_digest, "scorer:make"), (folder, "scorer:make")):
        spec = host_spec(tmp_path, artifact, Format.CALLABLE, factory=factory)
        with running_host(spec, tmp_path) as (_, status):
            assert status.state is HostState.READY, status.error
            found = answered(spec.socket, v2_body([[1, 2]], name="x"))["outputs"][0]
            assert found["data"] == [6.0]
    spec = host_spec(tmp_path, weights, Format.CALLABLE, factory="json:loads")
    with running_host(spec, tmp_path) as (_, status):
        assert "PosixPath" in status.error  # it was called with the artifact's path

    assert digest_of(folder)[0] == digest, "loading must not write into the artifact"


def refused(spec: Any, run: Path) -> tuple[str, str]:
    with running_host(spec, run) as (process, status):
        assert status.state is HostState.FAILED
        assert process.wait(60) == 3
        assert not Path(spec.socket).exists()
    return status.code, status.error


def test_changed_bytes_are_never_loaded(tmp_path: Path) -> None:
    """One flipped byte in the artifact, and the host says corrupt and does not serve."""
    path = save_onnx(tmp_path)
    spec = host_spec(tmp_path, path, Format.ONNX)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    code, error = refused(spec, tmp_path)

    assert code == Code.CORRUPT
    assert spec.digest in error


def test_untrusted_artifacts_are_refused_with_the_safe_way(tmp_path: Path) -> None:
    """Pickles and callables that the operator does not trust are not loaded; the error says what to do."""
    marker = tmp_path / "ran"
    evil = tmp_path / "evil.pkl"
    evil.write_bytes(f"cpathlib\nPath.touch\n(cpathlib\nPath\n(V{marker}\ntRtR.".encode())
    source = save_source(tmp_path, f"open({str(marker)!r}, 'w')\ndef make(): pass\n")
    for artifact, kind in ((evil, Format.PICKLE), (evil, Format.JOBLIB)):
        code, error = refused(host_spec(tmp_path, artifact, kind), tmp_path)
        assert code == Code.UNTRUSTED
        assert "ONNX" in error
    code, _ = refused(
        host_spec(tmp_path, source, Format.CALLABLE, factory="scorer:make", trust_callable=False), tmp_path
    )

    assert code == Code.UNTRUSTED
    assert not marker.exists()


def test_skops_types_must_be_trusted(tmp_path: Path) -> None:
    """A skops file with a type that is not on the operator's list is refused by name."""
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    path = tmp_path / "odd.skops"
    skops.io.dump(FunctionTransformer(os.path.join), path)
    code, error = refused(host_spec(tmp_path, path, Format.SKOPS), tmp_path)

    assert code == Code.UNTRUSTED
    assert "posixpath.join" in error
    assert "trusted_types" in error


@pytest.mark.parametrize(
    ("source", "signature", "sentence"),
    [
        ("def make(): raise RuntimeError('no weights')", XY, "no weights"),
        ("def make(): return 4", XY, "not a callable"),
        ("def other(): pass", XY, "No module named 'scorer'"),
        ("def make(): return lambda inputs: {'y': [1.0]}", XY, "for 4 rows"),
    ],
)
def test_models_that_cannot_serve_are_refused(
    tmp_path: Path, source: str, signature: Signature, sentence: str
) -> None:
    """A model that fails to load or to warm up is never ready, and its own reason is told."""
    artifact = save_source(tmp_path, source, "scorer_v1")
    spec = host_spec(tmp_path, artifact, Format.CALLABLE, factory="scorer:make", signature=signature)
    _, error = refused(spec, tmp_path)

    assert sentence in error


def test_contradicting_signature_is_refused(tmp_path: Path) -> None:
    """A registered signature that the ONNX graph contradicts is found at load."""
    spec = host_spec(tmp_path, save_onnx(tmp_path), Format.ONNX, signature=XY)
    code, error = refused(spec, tmp_path)

    assert code == Code.REFUSED
    assert "does not agree" in error


def test_inspection_reads_signatures_and_refuses_what_is_no_model(tmp_path: Path) -> None:
    """Registration learns the signature in a process apart, and says what to do with a file that is no model."""
    onnx = inspect_artifact(save_onnx(tmp_path), Format.ONNX, timeout=600.0)
    skops = inspect_artifact(save_skops(tmp_path), Format.SKOPS, timeout=600.0)
    source = save_source(tmp_path, DOUBLE)
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"not a model")

    assert onnx is not None
    assert onnx.inputs == (Tensor("input", "FP32", (-1, 30)),)
    assert skops is not None
    assert [tensor.shape for tensor in skops.outputs] == [(-1,), (-1, 2)]
    assert inspect_artifact(source, Format.CALLABLE, factory="scorer:make") is None
    assert [guess_format(path) for path in (junk, source, tmp_path / "x.txt")] == [
        Format.ONNX,
        Format.CALLABLE,
        None,
    ]
    for kind in (Format.ONNX, Format.SKOPS):
        with pytest.raises(LastgoodError) as caught:
            inspect_artifact(junk, kind, timeout=600.0)
        assert caught.value.code is Code.INVALID
        assert caught.value.next_step
    with pytest.raises(LastgoodError, match="zipmap"):
        inspect_artifact(save_onnx(tmp_path, zipmap=True), Format.ONNX, timeout=600.0)


def test_fixed_batch_onnx_serves_pipelined_rows(tmp_path: Path) -> None:
    """A graph exported for exactly one row answers many pipelined one-row requests."""
    rows = breast_cancer()[0][:8]
    spec = host_spec(tmp_path, save_onnx(tmp_path, rows=1), Format.ONNX)
    with running_host(spec, tmp_path) as (_, status):
        assert status.state is HostState.READY, status.error
        answers = exchange(spec.socket, [v2_body(rows[i : i + 1]) for i in range(8)])

    assert [json.loads(body)["outputs"][0]["data"][0] for _, body in answers] == classifier().predict(
        rows
    ).tolist()


def exchange(path: str, bodies: list[bytes]) -> list[tuple[Status, bytes]]:
    """Send all bodies in one write and return the answers in the order of the requests."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.settimeout(60)
        client.sendall(b"".join(pack(i, Request.INFER, b"demo", body) for i, body in enumerate(bodies)))
        return read_answers(client, len(bodies))


def read_answers(client: socket.socket, count: int) -> list[tuple[Status, bytes]]:
    reader = client.makefile("rb")
    found = {}
    for _ in range(count):
        length, identifier, status, _, _ = HEADER.unpack(reader.read(HEADER_BYTES))
        found[identifier] = (Status(status), reader.read(length - (HEADER_BYTES - 4)))
    return [found[identifier] for identifier in sorted(found)]


def test_pipelined_batch_equals_single_answers(tmp_path: Path) -> None:
    """Sixty-four frames in one write, cut anywhere by the socket, give the answers they give one at a time."""
    rows = breast_cancer()[0][:64]
    bodies = [v2_body(rows[i : i + 1], id=str(i)) for i in range(64)]
    spec = host_spec(tmp_path, save_onnx(tmp_path), Format.ONNX)
    with running_host(spec, tmp_path):
        together = exchange(spec.socket, bodies)
        alone = [exchange(spec.socket, [body])[0] for body in bodies]

    labels = [
        [json.loads(body)["outputs"][0]["data"] for _, body in answers] for answers in (together, alone)
    ]
    assert labels[0] == labels[1]
    assert [json.loads(body)["id"] for _, body in together] == [str(i) for i in range(64)]


def test_slow_reader_blocks_nobody(tmp_path: Path) -> None:
    """A connection that takes no answers delays no other one, and gets all of them once it reads."""
    artifact = save_source(tmp_path, DOUBLE)
    spec = host_spec(tmp_path, artifact, Format.CALLABLE, factory="scorer:make")
    count = 600
    with running_host(spec, tmp_path), socket.socket(socket.AF_UNIX) as slow:
        slow.connect(spec.socket)
        slow.setblocking(False)
        frames = memoryview(
            b"".join(
                pack(i, Request.INFER, b"demo", v2_body(np.full((1000, 2), 0.1234567891), name="x"))
                for i in range(count)
            )
        )
        sent, stuck = 0, 0

        def push() -> bool:
            nonlocal sent, stuck
            try:
                sent += slow.send(frames[sent:])
                stuck = 0
            except BlockingIOError:
                others = answered(spec.socket, v2_body([[1, 2]], name="x"))["outputs"][0]["data"]
                stuck += others == [6.0]
            return stuck == 20

        wait_for(push)
        assert sent < len(frames), "the host must stop reading from who does not read"
        slow.setblocking(True)
        slow.settimeout(60)
        rest = threading.Thread(target=lambda: slow.sendall(frames[sent:]))
        rest.start()
        answers = read_answers(slow, count)
        rest.join()

    assert [status for status, _ in answers] == [Status.OK] * count


def test_garbage_on_the_socket_ends_only_that_connection(tmp_path: Path) -> None:
    """Bytes that are no frame close their connection, and the host goes on."""
    spec = host_spec(tmp_path, save_source(tmp_path, DOUBLE), Format.CALLABLE, factory="scorer:make")
    with running_host(spec, tmp_path), socket.socket(socket.AF_UNIX) as client:
        client.connect(spec.socket)
        client.settimeout(60)
        client.sendall(b"\xff" * 64)

        assert client.recv(1) == b""
        assert answered(spec.socket, v2_body([[1, 2]], name="x"))["outputs"][0]["data"] == [6.0]


def test_sigterm_drains(tmp_path: Path) -> None:
    """After SIGTERM what had arrived is answered, no new connection is taken, and the host ends with 0."""
    spec = host_spec(tmp_path, save_source(tmp_path, DOUBLE), Format.CALLABLE, factory="scorer:make")
    with running_host(spec, tmp_path) as (process, _):
        with HostClient(spec.socket) as client:
            assert client.ping(5)
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: not connects(spec.socket))
            status, _ = client.infer("demo", v2_body([[1, 2]], name="x"))
            assert status is Status.OK
        assert process.wait(60) == 0
    assert not Path(spec.socket).exists()


def connects(path: str) -> bool:
    try:
        HostClient(path, timeout=0.2).close()
    except LastgoodError:
        return False
    return True


def test_one_request_that_asks_for_too_much_does_not_end_the_host(tmp_path: Path) -> None:
    """A MemoryError that leaves nothing behind fails its request, and the same process goes on."""
    spec = host_spec(tmp_path, save_source(tmp_path, FRAGILE), Format.CALLABLE, factory="scorer:make")
    with running_host(spec, tmp_path), HostClient(spec.socket) as client:
        first, _ = client.infer("demo", v2_body([[79, 0]], name="x"))
        second, _ = client.infer("demo", v2_body([[1, 0]], name="x"))

    assert (first, second) == (Status.MODEL_ERROR, Status.OK)


def test_a_missing_extra_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where onnxruntime is not installed, the error names the extra that brings it."""
    absent = "raise ModuleNotFoundError('absent', name='onnxruntime')"
    (tmp_path / "without").mkdir()
    save_source(tmp_path / "without", absent, "onnxruntime.py")
    model = save_onnx(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "without"))
    code, error = refused(host_spec(tmp_path, model, Format.ONNX), tmp_path)

    assert code == Code.UNAVAILABLE
    assert "pip install 'lastgood[onnx]'" in error


def test_leak_ends_only_the_host(tmp_path: Path) -> None:
    """A model that takes memory without end is stopped by its limit, and the host says that this was why."""
    spec = host_spec(
        tmp_path,
        save_source(tmp_path, FRAGILE),
        Format.CALLABLE,
        factory="scorer:make",
        memory_bytes=400 * 1024**2,
    )
    with running_host(spec, tmp_path) as (process, _), HostClient(spec.socket) as client:
        status, answer = client.infer("demo", v2_body([[77, 0]], name="x"))
        assert status is Status.MODEL_ERROR
        assert b"MemoryError" in answer
        assert process.wait(60) != 0
        said = read_status(tmp_path, spec.key)

    assert said is not None
    assert "400 MiB" in said.error
