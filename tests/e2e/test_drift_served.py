"""Drift of a real server: a reference out of a file, requests over HTTP, a world that moves and a candidate that answers otherwise."""

import http.client
import json
import random
from pathlib import Path

import pytest
from project import Project, eventually

pytestmark = pytest.mark.slow
SIGNATURE = {
    "inputs": [
        {"name": "charges", "datatype": "FP64", "shape": [-1]},
        {"name": "country", "datatype": "BYTES", "shape": [-1]},
    ],
    "outputs": [{"name": "score", "datatype": "FP64", "shape": [-1]}],
}
MODEL = """\
import numpy as np


def load():
    def predict(inputs):
        charges = np.asarray(inputs["charges"], dtype=float)
        return {"score": np.clip(charges / 200.0 + HIGHER, 0.0, 1.0)}

    return predict
"""
PLAN = """\
strategy: canary
steps:
  - weight: 50%
    for: 1h
guardrails:
  - metric: errors
  - metric: drift
    on_fail: INPUTS
  - metric: prediction_drift
    on_fail: rollback
deadline: 2h
watch: 1h
"""


def register(project: Project, label: str, higher: float) -> None:
    """Register a callable with the table that it was trained on."""
    chance = random.Random(1)
    rows = [
        f"{chance.gauss(58.0, 15.0):.2f},{chance.choice(('DE', 'FR'))},{index % 2}" for index in range(3000)
    ]
    (project.folder / "train.csv").write_text("\n".join(["charges,country,churned", *rows, ""]))
    path = project.folder / f"churn_{label.replace('.', '_')}.py"
    path.write_text(MODEL.replace("HIGHER", str(higher)))
    (project.folder / "signature.json").write_text(json.dumps(SIGNATURE))
    given = ("--label", label, "--factory", f"{path.stem}:load", "--signature", "signature.json")
    project.cli("register", "churn", str(path), *given, "--reference", "train.csv", "--without", "churned")


def send(project: Project, chance: random.Random, charges: float, count: int = 20) -> None:
    """Send requests of ten rows each."""
    connection = http.client.HTTPConnection("127.0.0.1", project.port, timeout=20)
    for _ in range(count):
        values = [chance.gauss(charges, 15.0) for _ in range(10)]
        countries = [chance.choice(("DE", "FR")) for _ in range(10)]
        inputs = [
            {"name": "charges", "datatype": "FP64", "shape": [10], "data": values},
            {"name": "country", "datatype": "BYTES", "shape": [10], "data": countries},
        ]
        connection.request("POST", "/v2/models/churn/infer", json.dumps({"inputs": inputs}))
        assert connection.getresponse().read()
    connection.close()


def released(tmp_path: Path, *, higher: float, on_drift: str) -> Project:
    """Serve v1.0 and begin to release v1.1."""
    project = Project(tmp_path)
    register(project, "v1.0", 0.0)
    register(project, "v1.1", higher)
    project.start()
    project.cli("release", "churn", "--version", "v1.0", "--wait")
    send(project, random.Random(2), 58.0, 60)
    (project.folder / "drift.yaml").write_text(PLAN.replace("INPUTS", on_drift))
    project.cli("release", "churn", "--version", "v1.1", "--plan", "drift.yaml")
    return project


def test_a_world_that_moved_holds_the_release(tmp_path: Path) -> None:
    """Charges are not those of training in both arms: held in words, by name, and nothing is rolled back."""
    project = released(tmp_path, higher=0.0, on_drift="hold")
    try:
        chance = random.Random(3)

        def held() -> bool:
            send(project, chance, 110.0)
            return bool(project.data("show", "release", "2")["phase"] == "paused")

        eventually(held, "the release is held", seconds=300.0)
        release = project.data("show", "release", "2")
        assert "charges moved by" in release["waiting"]
        assert "in training)" in release["waiting"]
        told = project.cli("status", "churn", "--evidence").stdout
        assert "charges" in told
        assert "against 5" in told  # of the medians
        project.cli("show", "release", "2", "--report", "out.html")
        assert "<h2>Drift</h2>" in (project.folder / "out.html").read_text()
        project.cli("verify", "release", "2", "--evidence")
    finally:
        project.stop()


def test_a_candidate_that_answers_otherwise_goes_back(tmp_path: Path) -> None:
    """The same requests, other scores: rolled back by prediction_drift."""
    project = released(tmp_path, higher=0.2, on_drift="alert")
    try:
        chance = random.Random(4)

        def over() -> bool:
            send(project, chance, 58.0)
            return bool(project.data("show", "release", "2")["phase"] == "rolled_back")

        eventually(over, "the candidate goes back", seconds=300.0)
        assert project.data("show", "release", "2")["cause"].startswith("prediction_drift: score is ")
    finally:
        project.stop()
