"""Labels of a real server: late, out of order, twice, before their predictions are recorded; and what follows."""

import http.client
import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from project import Project, body_of, eventually, serving

from models import is_alive

pytestmark = pytest.mark.slow
PLAN = """\
strategy: canary
steps:
  - weight: 50%
    for: 1h
guardrails:
  - metric: errors
  - metric: recall
    output: y
    threshold: 100
    positive: 1
    margin: 2pp
deadline: 2h
watch: 1h
"""
MISSES = "return {'y': np.where(x % 4 == 1, 0.0, x * 2.0)}"
"""Answers like the good version, but for a quarter of the rows, which it calls harmless. No error, no delay."""


class Clinic:
    """Sends rows from 0 to 99, of which those from 50 on are of the class of interest, and knows it later."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.chance = random.Random(11)
        self.cases: dict[str, int] = {}

    def expect(self, count: int) -> None:
        """Note who will come."""
        for _ in range(count):
            self.cases[f"case-{len(self.cases)}"] = self.chance.randrange(100)

    def send(self, cases: dict[str, int]) -> None:
        """Send requests with ids over one connection; every one is answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.project.port, timeout=20)
        for id_, value in cases.items():
            headers = {"content-type": "application/json", "lastgood-id": id_}
            connection.request("POST", "/v2/models/churn/infer", body_of(float(value)), headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
        connection.close()

    def labels(self, *, twice: int = 0) -> list[dict[str, Any]]:
        """Return what is known, in no order, some of it twice."""
        known = [{"id": id_, "value": int(value >= 50)} for id_, value in self.cases.items()]
        known += self.chance.sample(known, twice)
        self.chance.shuffle(known)
        return known


def give(project: Project, labels: list[dict[str, Any]]) -> dict[str, int]:
    """Post labels to the control API; return how many had which fate."""
    token = (project.folder / ".lastgood" / "token").read_text().strip()
    connection = http.client.HTTPConnection("127.0.0.1", project.api_port, timeout=60)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    connection.request("POST", "/api/v1/feedback", json.dumps(labels), headers)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    assert answer.status == 200, found
    connection.close()
    return dict(found["counts"])


def recall_of(project: Project) -> dict[str, Any]:
    """Return how the guardrail stands now."""
    release = project.data("status", "churn")["release"]
    return next(one for one in release["findings"] if one["guardrail"] == "recall")


def is_measured(project: Project) -> bool:
    release = project.data("status", "churn")["release"]
    return release is not None and release["phase"] == "progressing"


def test_worse_recall_is_rolled_back_on_labels_alone(tmp_path: Path) -> None:
    """No request fails; labels that come after all of them, in no order, show what the candidate misses."""
    with serving(tmp_path) as project:
        project.register("v1.1", MISSES)
        (project.folder / "plan.yaml").write_text(PLAN)
        released = project.popen(
            "release", "churn", "--version", "v1.1", "--plan", "plan.yaml", "--wait", "--json"
        )
        eventually(lambda: is_measured(project), "the candidate has traffic")
        clinic = Clinic(project)
        clinic.expect(900)
        clinic.send(clinic.cases)
        eventually(
            lambda: sum(recall_of(project)["pending"].values()) == 900, "all predictions wait for labels"
        )
        counts = give(project, clinic.labels(twice=90))
        assert (counts["joined"], counts["duplicate"]) == (900, 90)
        said, _ = released.communicate(timeout=120)
        assert released.returncode == 4, said
        release = project.data("show", "release", "2")
        assert release["evidence"]["guardrail"] == "recall"
        assert release["evidence"]["candidate"]["value"] < 0.9
        assert release["evidence"]["stable"]["value"] == 1.0
        errors = next(one for one in release["findings"] if one["guardrail"] == "errors")
        assert errors["numbers"]["candidate"]["bad"] == 0
        project.cli("verify", "release", "2", "--evidence")
        assert project.data("status", "churn")["stable"]["label"] == "v1.0"


def test_labels_that_come_first_meet_what_a_killed_recorder_left(tmp_path: Path) -> None:
    """Each label waits for its prediction, which is recorded whatever happens to the recorder, and meets it once."""
    with serving(tmp_path) as project:
        project.register("v1.1", "return {'y': x * 2.0}")
        (project.folder / "plan.yaml").write_text(PLAN)
        project.cli("release", "churn", "--version", "v1.1", "--plan", "plan.yaml")
        eventually(lambda: is_measured(project), "the candidate has traffic")
        clinic = Clinic(project)
        clinic.expect(200)
        assert give(project, clinic.labels())["unknown"] == 200
        cases = list(clinic.cases.items())
        for first in range(0, 200, 50):
            clinic.send(dict(cases[first : first + 50]))
            recorder = eventually(project.recorder_pid, "a recorder runs")
            os.kill(recorder, signal.SIGKILL)
            eventually(lambda pid=recorder: not is_alive(pid), "the recorder has ended")
        eventually(lambda: _labelled(project) == 200, "every label has met its prediction")
        assert sum(recall_of(project)["pending"].values()) == 0
        counts = give(project, clinic.labels())
        assert counts == {"joined": 0, "unknown": 0, "duplicate": 200, "expired": 0, "refused": 0}


def _labelled(project: Project) -> int:
    numbers = recall_of(project)["numbers"]
    return int(numbers["candidate"]["labelled"] + numbers["stable"]["labelled"])
