"""Readiness, drills and golden requests over the control API and the command line, on the real services."""

import json
import os
import subprocess
import sys

import pytest
from api_rig import STEPS, control_plane, until

GOLDEN = [
    {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [1.0]}]},
    {"request": {"inputs": [{"name": "x"}]}, "response": {"outputs": [{"name": "y", "data": [1.5]}]}},
]


@pytest.fixture
def rig(tmp_path):
    with control_plane(tmp_path) as opened:
        opened.services.readiness.serving = True
        opened.stable("v1.0")
        opened.stable("v1.1")
        yield opened


def drill(rig):
    """Run a drill to its end."""
    assert rig.post("deployments/churn/drill").status_code == 202
    return until(lambda: (found := rig.get("deployments/churn/drill").json())["done"] and found)


def links(rig, **query):
    return {link["name"]: link for link in rig.get("deployments/churn/readiness", **query).json()["links"]}


def lose_artifact(rig):
    """Remove the bytes of v1.0."""
    digest = rig.get("models/churn/versions/v1.0").json()["digest"]
    path = rig.services.settings.blobs / "sha256" / digest[7:9] / digest[7:]
    path.unlink()


def test_readiness_is_answered_link_by_link(rig):
    """The way back leads to v1.0, every link has a sentence, and the deployment shows what the last look found."""
    found = rig.get("deployments/churn/readiness", fresh="true").json()

    assert (found["ready"], found["label"], found["release"]) == (True, "v1.0", None)
    assert all(link["sentence"] for link in found["links"])
    assert rig.get("deployments/churn").json()["readiness"]["label"] == "v1.0"


def test_a_lost_artifact_is_named_at_once(rig):
    """Gone between two looks: the files are looked at each time, although their bytes are not read."""
    assert links(rig)["artifact"]["state"] == "ok"
    lose_artifact(rig)
    rig.services.readiness.look()

    assert links(rig)["artifact"]["state"] == "broken"
    assert 'lastgood_ready{deployment="churn"} 0.0' in rig.client.get("/metrics").text


def test_a_release_is_refused_without_a_way_back(rig):
    """The stable version's own bytes are gone: nothing new is released over it."""
    digest = rig.get("models/churn/versions/v1.1").json()["digest"]
    (rig.services.settings.blobs / "sha256" / digest[7:9] / digest[7:]).unlink()
    number = rig.register("v1.2")
    answer = rig.post("releases", model="churn", version=number, plan=STEPS)

    assert (answer.status_code, answer.json()["code"]) == (422, "refused")
    assert answer.json()["details"]["link"] == "artifact"


def test_a_drill_is_recorded_and_measured(rig):
    """Its parts are answered, its event is in the record, its duration in the metrics."""
    found = drill(rig)
    events = rig.get("events", deployment="churn", newest_first="true", limit=1).json()["events"]

    assert (found["ok"], found["failed"], found["label"]) == (True, "", "v1.0")
    assert [part["name"] for part in found["parts"]] == ["way back", "artifact", "host", "route"]
    assert (events[0]["type"], events[0]["actor"]) == ("lastgood.drill.finished", "tester")
    assert 'lastgood_drill_duration_seconds{deployment="churn"}' in rig.client.get("/metrics").text
    assert links(rig, fresh="true")["last drill"]["state"] == "ok"


def test_a_failed_drill_names_its_part(rig):
    """Without the artifact there is nothing to go back to."""
    lose_artifact(rig)

    assert drill(rig)["failed"].startswith("artifact: ")


def test_there_is_no_drill_of_what_is_not_deployed(rig):
    """An unknown name is said, and so is that nothing was ever rehearsed."""
    assert rig.post("deployments/elsewhere/drill").status_code == 404
    assert "lastgood drill churn" in rig.get("deployments/churn/drill").json()["next"]


def run(folder, *arguments):
    """Run one command line without a server."""
    environment = {**os.environ, "LASTGOOD_HOME": str(folder / "home"), "LASTGOOD_ACTOR": "tester"}
    return subprocess.run(
        [sys.executable, "-m", "lastgood", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_verify_works_without_a_server_and_exits_with_3_when_a_link_is_broken(rig):
    """Hosts are not known then; what lies on the disk is."""
    open_now = run(rig.folder, "verify", "churn", "--json")
    lose_artifact(rig)
    lost = run(rig.folder, "verify", "churn")

    assert open_now.returncode == 0, open_now.stderr
    states = {link["name"]: link["state"] for link in json.loads(open_now.stdout)["links"]}
    assert (states["artifact"], states["host"]) == ("ok", "unknown")
    assert lost.returncode == 3
    assert "cannot go back now: artifact" in lost.stdout


def test_golden_requests_are_kept_in_the_version(rig):
    """Both ways of writing one are read; a list that is none of them is refused before anything is stored."""
    (rig.folder / "model.py").write_text("def make():\n    return None\n")
    (rig.folder / "golden.json").write_text(json.dumps(GOLDEN))
    (rig.folder / "wrong.json").write_text('[{"rows": [1]}]')
    given = ("register", "churn", "model.py", "--factory", "model:make", "--label", "v2.0", "--golden")
    wrong, right = run(rig.folder, *given, "wrong.json"), run(rig.folder, *given, "golden.json")
    kept = rig.get("models/churn/versions/v2.0").json()["golden"]

    assert wrong.returncode == 2
    assert "Golden request 1 has no inputs" in wrong.stderr
    assert right.returncode == 0, right.stderr
    assert [one["response"] is None for one in kept] == [True, False]
