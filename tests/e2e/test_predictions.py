"""The prediction log of a real server: nothing twice, nothing lost, nothing waits for it."""

import http.client
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import Project, body_of, eventually, serving

from models import is_alive

pytestmark = pytest.mark.slow
WAITING_BYTES = 400_000


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    settings = {"keep_waiting_predictions_bytes": WAITING_BYTES, "keep_inputs": "all"}
    with serving(tmp_path_factory.mktemp("predictions"), **settings) as running:
        yield running


def send(project: Project, prefix: str, count: int, *, filler: int = 0) -> list[str]:
    """Send requests with ids of their own over one connection; every one is answered. Return the ids."""
    connection = http.client.HTTPConnection("127.0.0.1", project.port, timeout=20)
    body = json.dumps({**json.loads(body_of(1.0)), "filler": "x" * filler})
    ids = [f"{prefix}-{number}" for number in range(count)]
    for id_ in ids:
        headers = {"content-type": "application/json", "lastgood-id": id_}
        connection.request("POST", "/v2/models/churn/infer", body, headers)
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.headers["lastgood-id"]) == (200, id_)
    connection.close()
    return ids


def recording(project: Project) -> dict[str, int]:
    """Return what the server says of the log."""
    return dict(project.data("status")["recording"])


def settled(project: Project, least: int) -> bool:
    """Whether so many predictions at least were added or dropped, and nothing waits to be read any more."""
    found = recording(project)
    return found["predictions"] + found["dropped"] >= least and not list(
        (project.folder / ".lastgood" / "predictions" / "incoming").iterdir()
    )


def test_a_recorder_that_is_killed_loses_and_doubles_nothing(project: Project) -> None:
    """Killed again and again while requests come, it ends with each answer in the log, once."""
    before = recording(project)["predictions"]
    ids = []
    for turn in range(4):
        ids += send(project, f"kill{turn}", 75)
        pid = eventually(project.recorder_pid, "a recorder runs")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda pid=pid: not is_alive(pid), "the recorder has ended")
    eventually(lambda: settled(project, before + len(ids)), "all is in the log")
    assert recording(project)["predictions"] == before + len(ids)
    assert recording(project)["dropped"] == 0
    for id_ in (ids[0], ids[150], ids[-1]):
        found = project.data("audit", "--request", id_)
        assert (found["id"], found["version"], found["role"], found["status"]) == (id_, 1, "stable", 200)


def test_what_is_over_the_bound_is_dropped_and_counted(project: Project) -> None:
    """With the recorder at rest, every request is answered, the folder stays within its bound, and status says what is missing."""
    pid = eventually(project.recorder_pid, "a recorder runs")
    folder = project.folder / ".lastgood" / "predictions" / "incoming"
    before = recording(project)
    os.kill(pid, signal.SIGSTOP)
    try:
        send(project, "flood", 120, filler=8_000)
        eventually(lambda: recording(project)["dropped"] > before["dropped"], "the drops are counted")
        assert sum(path.stat().st_size for path in folder.iterdir()) <= WAITING_BYTES
        assert "in no prediction log" in project.cli("status").stdout
    finally:
        os.kill(pid, signal.SIGCONT)
    least = before["predictions"] + before["dropped"] + 120
    eventually(lambda: settled(project, least), "all that was kept is in the log")
    after = recording(project)
    kept = after["predictions"] - before["predictions"]
    assert kept + after["dropped"] - before["dropped"] == 120
    assert kept > 0


def test_a_server_that_stops_loses_nothing(tmp_path: Path) -> None:
    """What was answered just before the end is in the log, by the next start at the latest, and once."""
    with serving(tmp_path) as project:
        ids = send(project, "last", 20)
        assert project.stop() == 0
        project.start()
        eventually(lambda: settled(project, 20), "all is in the log")
        assert recording(project)["predictions"] == 20
        assert project.data("audit", "--request", ids[-1])["id"] == ids[-1]
