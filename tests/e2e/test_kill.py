"""Kill -9 of any process, in any phase, under load: no client failure where a gateway lives, and the same end."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from project import DEADLINE_SECONDS, GOOD, Load, Project, eventually, serving

SLOW_PLAN = """\
strategy: canary
steps:
  - weight: 30%
    for: 1s
    samples: 20
  - approve: "go on?"
guardrails:
  - metric: health
    misses: 100  # a candidate whose host is started again is not judged by how long this machine takes for it
  - metric: errors
false_rollback_rate: 1%
watch: 2s
"""

pytestmark = pytest.mark.slow


def _controller(project: Project) -> int:
    return project.controller_pid()


def _gateway(project: Project) -> int:
    return project.gateway_pids().get("0", 0)


def _stable_host(project: Project) -> int:
    return int(project.hosts().get("1", {}).get("pid", 0))


def _candidate_host(project: Project) -> int:
    return int(project.hosts().get("2", {}).get("pid", 0))


VICTIMS: dict[str, Callable[[Project], int]] = {  # the pid, 0 while it does not run
    "controller": _controller,
    "gateway": _gateway,
    "stable host": _stable_host,
    "candidate host": _candidate_host,
}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A server of its own for each story, in which a request may wait for a host as long as a slow machine takes."""
    with serving(tmp_path, request_timeout=60) as made:
        (made.folder / "slow.yaml").write_text(SLOW_PLAN)
        made.register("v1.1", GOOD + "  # one more feature")
        yield made


def _kill(project: Project, victim: str) -> int:
    """Kill -9 one process as soon as it runs; return its pid."""
    pid: int = eventually(lambda: VICTIMS[victim](project), f"the {victim} runs")
    os.kill(pid, signal.SIGKILL)
    return pid


def _phase(project: Project) -> str:
    """Return the last release's phase; nothing while the command gets no answer, because who gives it was killed."""
    done = project.cli("status", "churn", "--json", expect=None)
    if done.returncode:
        return ""
    view = json.loads(done.stdout)
    return str((view["release"] or view["last_release"])["phase"])


def _reach(project: Project, phase: str) -> None:
    """Bring the release of v1.1 into ``phase``, under load."""
    project.cli("release", "churn", "--version", "v1.1", "--plan", "slow.yaml")
    if phase == "validating":
        return
    if phase == "progressing":
        eventually(lambda: _phase(project) in ("progressing", "paused"), "it progresses")
        return
    eventually(lambda: _phase(project) == "paused", "it is paused")
    if phase == "watching":
        project.cli("approve", "churn")
        eventually(lambda: _phase(project) in ("watching", "succeeded"), "it is watched")


def _finish(project: Project) -> None:
    """Bring the release to its good end, whatever it lost on the way."""

    def ended() -> bool:
        phase = _phase(project)
        if phase == "paused":
            project.cli("approve", "churn", expect=None)
        assert phase not in ("rolled_back", "aborted", "stuck"), project.cli("history", "churn").stdout
        return phase == "succeeded"

    eventually(ended, "the release succeeds")


def _answered(project: Project, value: float) -> tuple[int, Any, dict[str, str]] | None:
    """Return an answer, None while the hosts of a server that has just been started are loading."""
    answer = project.infer(value)
    return answer if answer[0] == 200 else None


@pytest.mark.parametrize("phase", ["progressing", "paused"])
@pytest.mark.parametrize("victim", VICTIMS)
def test_one_process_dies(project: Project, victim: str, phase: str) -> None:
    """One kill costs no client an answer and changes nothing about how the release ends."""
    with Load(project) as load:
        _reach(project, phase)
        pid = _kill(project, victim)
        eventually(lambda: VICTIMS[victim](project) not in (pid, 0), f"the {victim} is started again")
        _finish(project)

    assert not load.failures, load.failures
    assert project.data("status", "churn")["stable"]["label"] == "v1.1"
    project.cli("audit", "verify")


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["validating", "watching"])
@pytest.mark.parametrize("victim", VICTIMS)
def test_one_process_dies_in_the_other_phases(project: Project, victim: str, phase: str) -> None:
    """The same while validating and after 100 %."""
    with Load(project) as load:
        _reach(project, phase)
        _kill(project, victim)
        _finish(project)

    assert not load.failures, load.failures
    assert project.data("status", "churn")["stable"]["label"] == "v1.1"
    project.cli("audit", "verify")


@pytest.mark.parametrize("phase", ["paused", pytest.param("progressing", marks=pytest.mark.slow)])
def test_the_whole_tree_dies(project: Project, phase: str) -> None:
    """After kill -9 of everything, the next start serves the same route and ends the release the same way."""
    with Load(project):
        _reach(project, phase)
    project.kill_tree()
    project.start()
    _, body, headers = eventually(lambda: _answered(project, 3.0), "it serves")
    assert body["outputs"][0]["data"] == [6.0]
    assert headers["lastgood-version"] in ("1", "2")

    with Load(project) as load:
        _finish(project)

    assert not load.failures, load.failures
    ended = [event["type"] for event in project.data("audit")["events"]]
    assert ended.count("lastgood.release.succeeded") == 2, "one for each version"
    project.cli("audit", "verify")


def test_a_stopped_controller_loses_its_lease(tmp_path: Path) -> None:
    """Candidate traffic ends by itself when the controller no longer renews the lease."""
    with serving(tmp_path, lease_seconds=1.0) as project:
        (project.folder / "slow.yaml").write_text(SLOW_PLAN)
        project.register("v1.1", GOOD + "  # one more feature")
        with Load(project) as load:
            _reach(project, "paused")
            controller = project.controller_pid()
            os.kill(controller, signal.SIGSTOP)
            try:

                def only_stable() -> bool:
                    before = load.versions["2"]
                    eventually(lambda now=load.requests: load.requests > now + 200, "more requests")
                    return load.versions["2"] == before

                eventually(only_stable, "the candidate gets nothing any more")
            finally:
                os.kill(controller, signal.SIGCONT)
            before = load.versions["2"]
            eventually(lambda: load.versions["2"] > before, "the lease is renewed again")

    assert not load.failures, load.failures


def test_a_gateway_that_does_not_obey_makes_a_rollback_stuck(project: Project) -> None:
    """A rollback that not every worker acknowledges exits 5 and says which; it settles when they do."""
    plan = SLOW_PLAN + "rollback_deadline: 1s\n"
    (project.folder / "slow.yaml").write_text(plan)
    with Load(project):
        _reach(project, "paused")
    worker = project.gateway_pids()["1"]
    os.kill(worker, signal.SIGSTOP)
    try:
        stuck = project.cli("rollback", "churn", "--reason", "wrong", expect=5)
        assert "did not take effect" in stuck.stderr
        eventually(lambda: _phase(project) == "stuck", "it is stuck")
    finally:
        os.kill(worker, signal.SIGCONT)

    eventually(lambda: _phase(project) == "rolled_back", "it settles")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "end", "victim"),
    [
        ("promoting", "succeeded", "controller"),
        ("promoting", "succeeded", "candidate host"),
        ("promoting", "succeeded", "stable host"),
        ("rolling_back", "rolled_back", "controller"),
        ("rolling_back", "rolled_back", "stable host"),  # the candidate's is being stopped anyway
    ],
)
def test_one_process_dies_in_a_phase_that_waits_for_gateways(
    project: Project, phase: str, end: str, victim: str
) -> None:
    """Promoting and rolling back last milliseconds; a worker that lags makes them last, and a kill there changes nothing."""
    with Load(project):
        _reach(project, "paused")
    worker = project.gateway_pids()["1"]
    os.kill(worker, signal.SIGSTOP)
    try:
        command = ("promote", "churn", "--full") if phase == "promoting" else ("rollback", "churn")
        waiting = project.popen(*command)
        eventually(lambda: _phase(project) == phase, f"it is {phase}")
        pid = _kill(project, victim)
        if victim == "controller":
            eventually(lambda: VICTIMS[victim](project) not in (pid, 0), "a new one")
    finally:
        os.kill(worker, signal.SIGCONT)
    waiting.communicate(timeout=DEADLINE_SECONDS)
    with Load(project) as load:
        eventually(lambda: _phase(project) == end, f"it ends as {end}")

    assert not load.failures, load.failures
    expected = "v1.1" if end == "succeeded" else "v1.0"
    assert project.data("status", "churn")["stable"]["label"] == expected
    project.cli("audit", "verify")
