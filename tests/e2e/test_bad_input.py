"""Bad input, against a real server with a real ONNX model: refused plainly, nothing lost, nothing blamed on a version."""

import contextlib
import http.client
import json
import pickle
import re
import resource
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import demo_models
import pytest
from project import Project, eventually

COLUMNS = 30
ROWS_MAX, BODY_MAX = 100, 100_000
INFER, INVOCATIONS = "/v2/models/churn/infer", "/invocations"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the demo's three models once."""
    folder = tmp_path_factory.mktemp("models")
    demo_models.build(folder)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Project]:
    """Serve v1.0 of a real model, with small limits."""
    found = Project(tmp_path_factory.mktemp("served"), max_body_bytes=BODY_MAX, max_rows=ROWS_MAX)
    found.cli("register", "churn", str(models / "v1.0.onnx"), "--label", "v1.0")
    try:
        found.start()
        found.cli("release", "churn", "--version", "v1.0", "--wait")
        yield found
    finally:
        found.stop()


def ask(
    project: Project, method: str, path: str, body: bytes | str, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Send one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", project.port, timeout=20)
    try:
        sent = {"content-type": "application/json", **(headers or {})}
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before it was all sent
            connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def v2(**differs: Any) -> str:
    """Return a V2 request of one right row, but for what differs in its input."""
    right = {"name": "rows", "shape": [1, COLUMNS], "datatype": "FP32", "data": [1.0] * COLUMNS}
    return json.dumps({"inputs": [{**right, **differs}]})


def failures(project: Project) -> dict[str, float]:
    """Return every counter of /metrics that says that a version failed."""
    with urllib.request.urlopen(f"http://127.0.0.1:{project.api_port}/metrics", timeout=20) as page:
        lines = page.read().decode().splitlines()
    names = "lastgood_(?:errors|invalid_outputs|timeouts|fallbacks|unanswered_requests)_total"
    found = (re.fullmatch(rf"({names}(?:\{{.*\}})?) (\S+)", line) for line in lines)
    return {one[1]: float(one[2]) for one in found if one is not None}


def bad_requests(project: Project) -> float:
    """Return how many requests were refused, as /metrics counts them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{project.api_port}/metrics", timeout=20) as page:
        found = re.search(
            r"^lastgood_bad_requests_total(?:\{.*\})? (\S+)$", page.read().decode(), re.MULTILINE
        )
    return float(found[1]) if found else 0.0


ROW = [1.0] * COLUMNS
NAMES = [f"c{index}" for index in range(COLUMNS)]
V2: dict[str, tuple[bytes | str, int, str]] = {
    # name: body, status, what the answer must speak of
    "empty": ("", 400, "JSON"),
    "cut off": (v2()[:-7], 400, "JSON"),
    "not JSON": ("rows=1", 400, "JSON"),
    "not UTF-8": (v2().encode().replace(b"rows", b"\xff\xfe"), 400, "JSON|UTF-8|utf-8"),
    "deeply nested": ("[" * 40_000, 400, "JSON|request"),
    "deeply nested, beside the inputs": (
        '{"x": ' + "[" * 20_000 + "]" * 20_000 + "," + v2()[1:],
        400,
        "JSON",
    ),
    "deeply nested key": (
        v2()[:-1] + ', "parameters": {"key": ' + "[" * 20_000 + "]" * 20_000 + "}}",
        400,
        "JSON",
    ),
    "a list": ("[1, 2]", 400, "object"),
    "null": ("null", 400, "object"),
    "no inputs": ("{}", 400, "inputs"),
    "empty inputs": ('{"inputs": []}', 400, "no inputs"),
    "unknown input": (v2(name="columns"), 400, "takes rows"),
    "the same input twice": (json.dumps({"inputs": json.loads(v2())["inputs"] * 2}), 400, "same name"),
    "wrong datatype": (v2(datatype="INT64"), 400, "takes FP32"),
    "unknown datatype": (v2(datatype="FLOAT"), 400, "unknown datatype"),
    "text for a number": (v2(data=["a"] * COLUMNS), 400, "FP32|float"),
    "null for a number": (v2(data=[None] * COLUMNS), 400, "FP32|float"),
    "NaN as text": (v2(data=["NaN"] * COLUMNS), 400, "FP32|float"),
    "bare NaN": (v2().replace("1.0", "NaN", 1), 400, "JSON"),
    "bare Infinity": (v2().replace("1.0", "Infinity", 1), 400, "JSON"),
    "beyond the datatype": (v2().replace("1.0", "1e300", 1), 400, "does not fit"),
    "beyond any number": (v2().replace("1.0", "1e999", 1), 400, "out of range"),
    "wrong number of columns": (v2(shape=[1, 29], data=[1.0] * 29), 400, r"\[-1, 30\]"),
    "one dimension": (v2(shape=[COLUMNS]), 400, r"\[-1, 30\]"),
    "shape and data disagree": (v2(shape=[2, COLUMNS]), 400, "60"),
    "ragged": (v2(shape=[2, COLUMNS], data=[ROW, ROW[1:]]), 400, "nested"),
    "no rows": (v2(shape=[0, COLUMNS], data=[]), 400, "no rows"),
    "negative rows": (v2(shape=[-1, COLUMNS], data=[]), 400, "no rows"),
    "absurd shape": (v2(shape=[10**30, COLUMNS]), 413, "at most 100"),
    "unknown output": (json.dumps({**json.loads(v2()), "outputs": [{"name": "score"}]}), 400, "probability"),
    "absurd batch, empty": (v2(shape=[10**9, COLUMNS]), 413, "at most 100"),
    "one row too many": (v2(shape=[101, COLUMNS], data=[1] * 101 * COLUMNS), 413, "at most 100"),
    "oversized": (b" " * (BODY_MAX + 1), 413, "max_body_bytes"),
}
MLFLOW: dict[str, tuple[bytes | str, int, str]] = {
    "not JSON": ("rows=1", 400, "JSON"),
    "none of the four": ("{}", 400, "dataframe_split"),
    "two of the four": (json.dumps({"inputs": [ROW], "instances": [ROW]}), 400, "exactly one"),
    "wrong number of columns": (json.dumps({"inputs": [ROW[1:]]}), 400, r"\[-1, 30\]"),
    "unknown input": (json.dumps({"inputs": {"columns": [ROW]}}), 400, "takes rows"),
    "rows and columns disagree": (
        json.dumps({"dataframe_split": {"columns": NAMES, "data": [ROW[1:]]}}),
        400,
        "30",
    ),
    "a split without columns": (json.dumps({"dataframe_split": {"data": [ROW]}}), 400, "columns"),
    "records that differ": (json.dumps({"dataframe_records": [{"a": 1.0}, {"b": 1.0}]}), 400, "same columns"),
    "text for a number": (json.dumps({"inputs": [["a"] * COLUMNS]}), 400, "FP32|float"),
    "bare NaN": (json.dumps({"inputs": [[float("nan")] * COLUMNS]}), 400, "JSON"),
    "no rows": (json.dumps({"instances": []}), 400, "row|shape"),
    "one row too many": (json.dumps({"inputs": [[1] * COLUMNS] * 101}), 413, "at most 100"),
    "oversized": (b" " * (BODY_MAX + 1), 413, "max_body_bytes"),
}


@pytest.mark.parametrize("name", V2)
def test_a_bad_v2_request_is_refused_plainly(project: Project, name: str) -> None:
    """A 4xx whose sentence names the mistake, and the next right request is answered."""
    body, expected, words = V2[name]
    status, answer = ask(project, "POST", INFER, body)
    assert status == expected, answer
    assert re.search(words, json.loads(answer)["error"]), answer
    assert ask(project, "POST", INFER, v2())[0] == 200


@pytest.mark.parametrize("name", MLFLOW)
def test_a_bad_scoring_request_is_refused_plainly(project: Project, name: str) -> None:
    """The same on MLflow's route, in the shape that MLflow's clients read."""
    body, expected, words = MLFLOW[name]
    status, answer = ask(project, "POST", INVOCATIONS, body)
    told = json.loads(answer)
    assert status == expected, answer
    assert set(told) == {"error_code", "message"}
    assert re.search(words, told["message"]), answer
    assert ask(project, "POST", INVOCATIONS, json.dumps({"inputs": [ROW]}))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected", "words"),
    [
        ("POST", "/v2/models/fraud/infer", {}, 404, "churn"),
        ("POST", "/v2/models/churn/versions/7/infer", {}, 404, "known: 1"),
        ("POST", "/v2/models/churn/versions/v1.0/infer", {}, 404, "known: 1"),
        ("GET", INFER, {}, 405, "POST"),
        ("DELETE", INFER, {}, 405, "POST"),
        ("GET", INVOCATIONS, {}, 405, "POST"),
        ("POST", "/deployments/fraud/invocations", {}, 404, "churn"),
        ("POST", INVOCATIONS, {"lastgood-deployment": "fraud"}, 404, "churn"),
        ("POST", INVOCATIONS, {"content-type": "text/csv"}, 415, "application/json"),
        ("POST", "/v3/anything", {}, 404, "/v3/anything"),
        ("POST", "/v2/repository/models/churn/load", {}, 400, "lastgood release"),
    ],
)
def test_a_wrong_address_is_told(
    project: Project, method: str, path: str, headers: dict[str, str], expected: int, words: str
) -> None:
    """Unknown model, version, path, method and media type each say what there is instead."""
    status, answer = ask(project, method, path, v2(), headers)
    assert status == expected, answer
    told = json.loads(answer)
    assert words in (told.get("error") or told.get("message")), answer
    assert ask(project, "POST", INFER, v2())[0] == 200


@pytest.mark.parametrize("body", [b'{"ready": "\xff"}', b"{", b'{"x": ' + b"[" * 20_000, b'{"ready": 3}'])
def test_a_bad_question_to_the_index_is_told(project: Project, body: bytes) -> None:
    """The repository index says what its body may be."""
    status, answer = ask(project, "POST", "/v2/repository/index", body)
    assert (status, "the body must be" in json.loads(answer)["error"]) == (400, True), answer


@pytest.mark.parametrize(
    "body", [b'{"model": "\xff"}', b"{", b'{"x": ' + b"[" * 20_000, b'{"model": 3}', b"[]"]
)
def test_a_bad_command_to_the_control_api_is_told(project: Project, body: bytes) -> None:
    """The control API answers 400 with a code and a next step, and does nothing."""
    token = (project.folder / ".lastgood" / "token").read_text().strip()
    connection = http.client.HTTPConnection("127.0.0.1", project.api_port, timeout=20)
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    connection.request("POST", "/api/v1/releases", body, headers)
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    assert (answer.status, told["code"], bool(told["next"])) == (400, "invalid", True), told


def test_a_body_without_an_end_is_cut_off(project: Project) -> None:
    """A chunked body that goes on beyond the limit is refused while it comes, not stored first."""
    connection = http.client.HTTPConnection("127.0.0.1", project.port, timeout=20)
    connection.putrequest("POST", INFER)
    connection.putheader("transfer-encoding", "chunked")
    connection.endheaders()
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the answer comes before the end
        for _ in range(8):
            connection.send(chunk)
    answer = connection.getresponse()
    assert (answer.status, "max_body_bytes" in answer.read().decode()) == (413, True)
    connection.close()
    assert ask(project, "POST", INFER, v2())[0] == 200


def test_bad_input_is_no_failure_of_a_version(project: Project) -> None:
    """After all of it, /metrics counts refused requests, and no error, timeout, fallback or invalid output."""
    before = bad_requests(project)
    for body, _, _ in V2.values():
        ask(project, "POST", INFER, body)
    for body, _, _ in MLFLOW.values():
        ask(project, "POST", INVOCATIONS, body)
    counted = len(V2) + len(MLFLOW)
    eventually(lambda: bad_requests(project) >= before + counted, "the refused requests are counted")
    told = failures(project)
    assert len(told) >= 3
    assert set(told.values()) == {0.0}
    assert project.data("status", "churn")["stable"]["label"] == "v1.0"


def test_bad_input_is_no_failure_of_a_candidate(project: Project, models: Path) -> None:
    """During a release at 50 % the same requests get the same refusals, and the candidate is not blamed."""
    project.cli("register", "churn", str(models / "v1.2.onnx"), "--label", "v1.2")
    (project.folder / "half.yaml").write_text("steps:\n  - weight: 50%\n    for: 1h\n")
    project.cli("release", "churn", "--version", "v1.2", "--plan", "half.yaml")
    eventually(
        lambda: project.data("status", "churn")["release"]["phase"] == "progressing", "it gets traffic"
    )
    before = bad_requests(project)
    for _ in range(4):
        for name, (body, expected, words) in V2.items():
            status, answer = ask(project, "POST", INFER, body)
            assert (status, bool(re.search(words, answer.decode()))) == (expected, True), (name, answer)
    eventually(lambda: bad_requests(project) >= before + 4 * len(V2), "the refused requests are counted")
    blamed = {
        name: count for name, count in failures(project).items() if count and 'reason="refused"' not in name
    }
    assert blamed == {}
    assert project.data("status", "churn")["release"]["phase"] == "progressing"
    project.cli("abort", "churn")


def test_a_corrupted_artifact_is_refused_at_release(project: Project, models: Path) -> None:
    """One byte flipped in the stored file: exit 3 with the reason, and v1.0 goes on serving."""
    digest = project.data("register", "churn", str(models / "v1.1.onnx"), "--label", "v1.1")[
        "digest"
    ].partition(":")[2]
    blob = project.folder / ".lastgood" / "blobs" / "sha256" / digest[:2] / digest
    whole = blob.read_bytes()
    blob.chmod(0o644)
    blob.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])

    refused = project.cli("release", "churn", "--version", "v1.1", "--wait", expect=3)

    assert "is not what was registered" in refused.stderr
    assert "next:" in refused.stderr
    assert "failed" not in project.cli("versions", "churn").stdout
    assert ask(project, "POST", INFER, v2())[0] == 200
    mended = project.cli("register", "churn", str(models / "v1.1.onnx"), "--label", "v1.1.1")
    assert "same bytes" in mended.stdout
    assert blob.read_bytes() == whole


def test_a_plan_with_an_unknown_key_is_refused_with_its_line(project: Project) -> None:
    """Exit 2, the line and the key, and no release came of it."""
    (project.folder / "wrong.yaml").write_text("strategy: canary\nsteps:\n  - weight: 5%\n    sampels: 10\n")
    refused = project.cli("release", "churn", "--version", "v1.0", "--plan", "wrong.yaml", expect=2)
    assert re.search(r"wrong\.yaml\W+(line )?4", refused.stderr)
    assert "sampels" in refused.stderr
    assert "samples" in refused.stderr
    assert project.data("status", "churn")["release"] is None


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """Give a project without a server."""
    return Project(tmp_path)


def stored(project: Project) -> list[str]:
    """Return every file below the blobs folder."""
    blobs = project.folder / ".lastgood" / "blobs"
    return sorted(path.name for path in blobs.rglob("*") if path.is_file()) if blobs.exists() else []


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Give a project without a server in which nothing is ever registered."""
    return Project(tmp_path_factory.mktemp("empty"))


def test_what_is_no_model_is_not_registered(empty: Project) -> None:
    """Exit 2 and a way out for a file that only has the name of a model; nothing is kept."""
    (empty.folder / "model.onnx").write_bytes(b"\x08\x08 this is no graph")
    (empty.folder / "model.bin").write_bytes(b"\0" * 100)
    (empty.folder / "empty.onnx").write_bytes(b"")
    for name, words in (
        ("model.onnx", "not an ONNX model"),
        ("empty.onnx", "model"),
        ("model.bin", "--format"),
    ):
        refused = empty.cli("register", "churn", name, "--label", "v1.0", expect=2)
        assert words in refused.stderr
        assert "next:" in refused.stderr
    assert "none" in empty.cli("versions", "churn", expect=1).stderr
    assert stored(empty) == []


@pytest.mark.parametrize("label", ["final", "latest", "v2-new", "prod", "backup", "7", "v1/0"])
def test_a_label_that_names_no_order_is_refused(empty: Project, models: Path, label: str) -> None:
    """Exit 2, with what to use instead."""
    refused = empty.cli("register", "churn", str(models / "v1.0.onnx"), "--label", label, expect=2)
    assert re.search(r"Use .*v\d", refused.stderr)
    assert stored(empty) == []


def test_the_same_bytes_twice_are_one_artifact(fresh: Project, models: Path) -> None:
    """The second time says so; under another label they are another version of the same artifact."""
    path = str(models / "v1.0.onnx")
    first = fresh.data("register", "churn", path, "--label", "v1.0")
    again = fresh.data("register", "churn", path, "--label", "v1.0")
    other = fresh.cli("register", "churn", path, "--label", "v1.1").stdout
    assert (first["created"], again["created"]) == (True, False)
    assert (first["number"], first["digest"]) == (again["number"], again["digest"])
    assert "same bytes as version 1" in other
    assert len(stored(fresh)) == 1


def test_a_full_disk_leaves_nothing_half_written(fresh: Project, models: Path) -> None:
    """Where no file may grow, registering says so with exit 1; with room again it works as if never tried."""
    artifact = models / "v1.0.onnx"
    size = artifact.stat().st_size
    limit = size // 2
    done = subprocess.run(
        [sys.executable, "-m", "lastgood", "register", "churn", str(artifact), "--label", "v1.0"],
        cwd=fresh.folder,
        env=fresh.environment,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        check=False,
    )
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert re.search("no room|too large|full", done.stderr), done.stderr
    assert "next:" in done.stderr
    assert stored(fresh) == []
    assert "none" in fresh.cli("versions", "churn", expect=1).stderr
    assert fresh.data("register", "churn", str(artifact), "--label", "v1.0")["number"] == 1
    assert fresh.data("audit", "verify")["intact"]


def test_a_pickle_is_refused_until_it_is_trusted(fresh: Project) -> None:
    """Exit 3 with the safe way; with trust_pickle = true in lastgood.toml the same file is registered."""
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    (fresh.folder / "model.pkl").write_bytes(pickle.dumps(model))
    refused = fresh.cli("register", "churn", "model.pkl", "--label", "v1.0", expect=3)
    assert "trust_pickle" in refused.stderr
    assert "ONNX" in refused.stderr
    assert stored(fresh) == []
    settings = fresh.folder / "lastgood.toml"
    settings.write_text(settings.read_text().replace("# trust_pickle = false", "trust_pickle = true"))
    assert (
        "Registered churn version 1" in fresh.cli("register", "churn", "model.pkl", "--label", "v1.0").stdout
    )
