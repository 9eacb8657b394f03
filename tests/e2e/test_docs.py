"""What the README and the guide tell a person to type does what they say."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from project import DEADLINE_SECONDS, eventually, free_port

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "from-an-existing-app.md").read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    """Return the commands of a shell block, one for each line, or for several where a quote stays open."""
    found: list[str] = []
    for line in block.splitlines():
        if found and found[-1].count("'") % 2:
            found[-1] += f"\n{line}"
        elif line.strip():
            found.append(line)
    return found


class Reader:
    """A person with a fresh folder and a shell, who types what the page says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, api_port = free_port(), free_port()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("LASTGOOD_")}
        self.environment = {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
            "LASTGOOD_PORT": str(self.port),
            "LASTGOOD_API_PORT": str(api_port),
            "LASTGOOD_ACTOR": "ada",
            "NO_COLOR": "1",
        }
        self.server: subprocess.Popen[bytes] | None = None

    def types(self, command: str) -> str:
        """Run one command as the page has it, on this test's port; return what it printed."""
        if command.startswith("lastgood serve &"):
            self._serve()
            return ""
        here = command.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}").replace("curl ", "curl -sSf ", 1)
        done = subprocess.run(
            ["bash", "-c", here],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def _serve(self) -> None:
        log = self.folder / "serve.log"
        with log.open("wb") as output:
            self.server = subprocess.Popen(
                ["lastgood", "serve"], cwd=self.folder, env=self.environment, stdout=output, stderr=output
            )
        eventually(lambda: "Listening" in log.read_text(), "the server says that it listens")

    def stop(self) -> None:
        """Stop the server that was typed into the background."""
        if self.server is not None:
            self.server.send_signal(signal.SIGINT)
            self.server.wait(DEADLINE_SECONDS)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Give a person who stops the server at the end."""
    person = Reader(tmp_path)
    try:
        yield person
    finally:
        person.stop()


def write_model(path: Path, scale: float) -> None:
    """Write an ONNX model of three columns, as the pages' requests have them."""
    weights = numpy_helper.from_array(np.full((3, 1), scale, np.float32), "weights")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["rows", "weights"], ["score"])],
        "sum",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", 1])],
        [weights],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(proto.SerializeToString())


def test_the_readmes_own_model_lines_run_as_written(reader: Reader) -> None:
    """Every line but pip's, typed one after the other, exits 0, and the rollback by hand lands on v1.0."""
    write_model(reader.folder / "model.onnx", 1.0)
    write_model(reader.folder / "better.onnx", 1.1)
    (reader.folder / "train.csv").write_text("a,b,c,left\n1,2,3,0\n4,5,6,1\n")
    (reader.folder / "request.json").write_text(blocks(README, "json")[0])
    pip, *lines = commands(blocks(README, "sh")[0])
    said = {line: reader.types(line) for line in lines}

    assert pip.startswith("pip install")
    assert [line.split()[:2] for line in lines].count(["lastgood", "release"]) == 2
    answer = next(json.loads(text) for line, text in said.items() if line.startswith("curl"))
    assert answer["outputs"][0]["data"] == pytest.approx([5.6])
    assert "Deployed model version: v1.0" in next(
        text for line, text in said.items() if line.startswith("lastgood rollback")
    )
    assert "v1.0" in next(text for line, text in said.items() if line.startswith("lastgood history"))


def test_the_readmes_other_commands_run_as_written(tmp_path: Path) -> None:
    """What the text mentions in passing is a command that there is, with options that it has."""
    person = Reader(tmp_path)
    inline = [
        text for text in re.findall(r"`(lastgood [^`]+)`", README) if not text.startswith("lastgood serve")
    ]
    assert len(inline) >= 4
    write_model(tmp_path / "model.onnx", 1.0)
    person.types("lastgood init")
    person.types("lastgood register churn model.onnx --label v1.0")
    for command in inline:
        if command.endswith(" ID"):  # of an answer, and nobody was given one here
            _, name, option, _ = command.split()
            assert option in person.types(f"lastgood {name} --help"), command
        elif "--watch" not in command:  # follows until Ctrl-C
            assert person.types(command), command


def test_the_guides_callable_model_and_its_requests_run_as_written(reader: Reader) -> None:
    """The factory, the signature, the command and both curl requests of the page fit each other."""
    (reader.folder / "model.py").write_text(blocks(GUIDE, "python")[0])
    (reader.folder / "signature.json").write_text(blocks(GUIDE, "json")[0])
    curls, registration = blocks(GUIDE, "sh")
    reader.types("lastgood init")
    for command in commands(registration):
        reader.types(command)
    reader.types("lastgood serve &")
    reader.types("lastgood release churn --version v1.0 --wait")
    v2, mlflow = (json.loads(reader.types(command)) for command in commands(curls))

    assert (v2["id"], v2["outputs"][0]["name"]) == ("7f3a", "sum")
    assert v2["outputs"][0]["data"] == pytest.approx([5.6])
    assert mlflow["predictions"][0] == pytest.approx([5.6])
