"""Slices of a real server: named inputs over HTTP, labels, and a candidate that is worse for one country alone."""

import http.client
import json
import random
from pathlib import Path

import pytest
from project import Project, eventually

pytestmark = pytest.mark.slow
SIGNATURE = {
    "inputs": [
        {"name": "score", "datatype": "FP64", "shape": [-1]},
        {"name": "country", "datatype": "BYTES", "shape": [-1]},
    ],
    "outputs": [{"name": "fraud", "datatype": "INT64", "shape": [-1]}],
}
MODEL = """\
import numpy as np


def load():
    def predict(inputs):
        score = np.asarray(inputs["score"], dtype=float)
        country = np.asarray([one.decode() if isinstance(one, bytes) else str(one) for one in inputs["country"]])
        return {"fraud": FOUND.astype(np.int64)}

    return predict
"""
STABLE = "(score >= 0.55)"
CANDIDATE = "np.where(country == 'BR', score >= 0.8, score >= 0.5)"
PLAN = """\
strategy: canary
steps:
  - weight: 50%
    for: 1h
guardrails:
  - metric: errors
  - metric: recall
    positive: 1
    margin: 2pp
    slices: [COLUMN]
deadline: 2h
watch: 1h
"""


def register(project: Project, label: str, found: str) -> None:
    """Register a callable of two named inputs."""
    path = project.folder / f"fraud_{label.replace('.', '_')}.py"
    path.write_text(MODEL.replace("FOUND", found))
    (project.folder / "signature.json").write_text(json.dumps(SIGNATURE))
    given = ("--label", label, "--factory", f"{path.stem}:load", "--signature", "signature.json")
    project.cli("register", "fraud", str(path), *given)


def send(project: Project, chance: random.Random, first: int, count: int) -> list[str]:
    """Send frauds, a tenth of them from BR, as V2 and as rows of a table; return their ids."""
    connection = http.client.HTTPConnection("127.0.0.1", project.port, timeout=20)
    for number in range(first, first + count):
        country = "BR" if chance.random() < 0.1 else chance.choice(["DE", "FR"])
        score = 0.5 + chance.random() / 2
        if number % 2:
            row = {"score": score, "country": country}
            path, body = "/invocations", {"dataframe_records": [row]}
        else:
            tensors = [
                {"name": "score", "shape": [1], "datatype": "FP64", "data": [score]},
                {"name": "country", "shape": [1], "datatype": "BYTES", "data": [country]},
            ]
            path, body = "/v2/models/fraud/infer", {"inputs": tensors}
        headers = {"content-type": "application/json", "lastgood-id": f"case-{number}"}
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status == 200, said
    connection.close()
    return [f"case-{number}" for number in range(first, first + count)]


def test_a_candidate_that_is_worse_for_one_country_is_rolled_back_over_http(tmp_path: Path) -> None:
    """Better on the whole, it goes back on the labels of one country; the country is named in cause, status and page."""
    project = Project(tmp_path)
    register(project, "v1.0", STABLE)
    register(project, "v1.1", CANDIDATE)
    (tmp_path / "plan.yaml").write_text(PLAN.replace("COLUMN", "country"))
    (tmp_path / "wrong.yaml").write_text(PLAN.replace("COLUMN", "city"))
    try:
        project.start()
        project.cli("release", "fraud", "--version", "v1.0", "--wait")
        refused = project.cli("release", "fraud", "--version", "v1.1", "--plan", "wrong.yaml", expect=3)
        assert "score, country" in refused.stderr
        released = project.popen(
            "release", "fraud", "--version", "v1.1", "--plan", "plan.yaml", "--wait", "--json"
        )

        def is_measured() -> bool:
            release = project.data("status", "fraud")["release"]
            return release is not None and release["phase"] == "progressing"

        eventually(is_measured, "the candidate has traffic")
        chance, sent = random.Random(11), 0
        while released.poll() is None and sent < 6_000:
            labels = send(project, chance, sent, 300)
            (tmp_path / "labels.csv").write_text("id,value\n" + "".join(f"{id_},1\n" for id_ in labels))
            project.cli("feedback", "labels.csv")
            sent += len(labels)
        said, _ = released.communicate(timeout=120)
        assert released.returncode == 4, said
        release = project.data("show", "release", "2")
        assert "worse for country=BR: " in release["cause"]
        assert release["evidence"]["candidate"]["value"] > release["evidence"]["stable"]["value"]
        assert {one["name"] for one in release["evidence"]["slices"]} == {
            "country=BR",
            "country=DE",
            "country=FR",
        }
        project.cli("verify", "release", "2", "--evidence")
        project.cli("show", "release", "2", "--report", "out.md")
        assert "country=BR" in (tmp_path / "out.md").read_text().split("## Slices")[1]
    finally:
        project.stop()
