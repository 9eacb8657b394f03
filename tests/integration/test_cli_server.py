"""The command line against a running control API: real processes, in a fresh folder."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from api_rig import say_all_hosts_are_ready, settings_for, until, write_artifact

from lastgood.home import controlling

AT_ONCE = "strategy: all_at_once\nwatch: 0s\n"
SLOW = "strategy: canary\nsteps:\n  - weight: 10%\n    for: 1h\nwatch: 0s\n"


class Project:
    """A folder, the real controller's process, and a thread that says that every wished host is ready."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = settings_for(folder / ".lastgood")
        self.process: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._supervise)

    def _supervise(self) -> None:
        while not self._over.wait(0.02):
            with contextlib.suppress(FileNotFoundError):
                say_all_hosts_are_ready(self.settings.run)

    def run(self, *arguments: str, actor: str = "tester") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "LASTGOOD_ACTOR": actor}
        environment.pop("LASTGOOD_HOME", None)
        return subprocess.run(
            [sys.executable, "-m", "lastgood", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def register(self, label: str) -> None:
        path = write_artifact(self.folder, label)
        done = self.run("register", "churn", path.name, "--factory", "model:make", "--label", label)
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        file = self.settings.run / "settings.json"
        file.write_bytes(msgspec.json.encode(self.settings))
        with (self.folder / "controller.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lastgood.web", "--settings", str(file)], stdout=log, stderr=log
            )
        if not self._thread.is_alive():
            self._thread.start()
        until((self.settings.run / "api.json").exists)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def close(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(60)
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)


@contextlib.contextmanager
def serving(folder):
    """Give a project with v1.0 stable, whose controller runs."""
    opened = Project(folder)
    try:
        assert opened.run("init").returncode == 0
        (folder / "once.yaml").write_text(AT_ONCE)
        (folder / "slow.yaml").write_text(SLOW)
        opened.register("v1.0")
        opened.start()
        done = opened.run(
            "release", "churn", "--version", "v1.0", "--plan", "once.yaml", "--wait", "--timeout", "120s"
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "Deployed model version: v1.0"
        yield opened
    finally:
        opened.close()


@pytest.fixture
def project(tmp_path):
    """For what stops the controller or leaves another version stable."""
    with serving(tmp_path) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """For what leaves v1.0 stable, nothing under way, and the controller running."""
    with serving(tmp_path_factory.mktemp("shared")) as opened:
        yield opened


def test_release_wait_ends_with_the_releases_exit_code(shared):
    """0 for succeeded, 3 for refused and aborted, 4 for rolled back, 5 for not over in time."""
    shared.register("v1.1")
    late = shared.run(
        "release", "churn", "--version", "v1.1", "--plan", "slow.yaml", "--wait", "--timeout", "1s", "--json"
    )
    assert (late.returncode, json.loads(late.stderr)["code"]) == (5, "timeout")
    busy = shared.run("release", "churn", "--version", "v1.1")
    assert (busy.returncode, "still under way" in busy.stderr) == (1, True)
    assert shared.run("abort", "churn").returncode == 0

    ended = {}
    for command, plan in (("abort", "slow.yaml"), ("rollback", "slow.yaml")):
        waiting = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "lastgood",
                "release",
                "churn",
                "--version",
                "v1.1",
                "--plan",
                plan,
                "--wait",
            ],
            cwd=shared.folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        until(lambda: _phase(shared) == "progressing", seconds=120)
        assert shared.run(command, "churn").returncode == 0
        out, _ = waiting.communicate(timeout=120)
        ended[command] = (waiting.returncode, out.splitlines()[-1])

    assert ended == {
        "abort": (3, "Deployed model version: v1.0"),
        "rollback": (4, "Deployed model version: v1.0"),
    }
    again = shared.run("release", "churn", "--version", "v1.1")
    assert again.returncode == 3
    assert "--override" in again.stderr


def test_rollback_says_what_it_did_and_the_second_one_that_nothing_is_left_to_do(project):
    """The words of a rollback, of one to what serves, and of one with nothing to go back to."""
    project.register("v1.1")
    done = project.run("release", "churn", "--version", "v1.1", "--plan", "once.yaml", "--wait")
    assert done.returncode == 0

    first = project.run("rollback", "churn", "--reason", "too many false alarms")
    second = project.run("undo", "churn", "--version", "v1.0")
    third = project.run("rollback", "churn")

    assert first.returncode == 0
    assert first.stdout.startswith("Rolled back churn from v1.1 to v1.0: route published in ")
    assert first.stdout.splitlines()[1:] == [
        "Version 2 (v1.1) is tagged failed.",
        "Deployed model version: v1.0",
    ]
    assert second.stdout == "churn serves v1.0 already.\nDeployed model version: v1.0\n"
    assert (second.returncode, third.returncode) == (0, 3)
    audit = json.loads(project.run("audit", "--json").stdout)["events"]
    assert "too many false alarms" in json.dumps(audit)
    assert {"tester"} < {event["actor"] for event in audit}


def test_rollback_works_without_a_server(project):
    """With the controller gone, the command does it itself, says so, and a later controller agrees."""
    project.register("v1.1")
    assert (
        project.run("release", "churn", "--version", "v1.1", "--plan", "once.yaml", "--wait").returncode == 0
    )
    assert project.stop() == 0
    assert not (project.settings.run / "api.json").exists()

    done = project.run("rollback", "churn", "--keep")

    assert done.returncode == 0, done.stderr
    assert "Rolling back from here." in done.stderr
    assert "failed (--keep)" in done.stdout
    assert done.stdout.splitlines()[-1] == "Deployed model version: v1.0"
    project.start()
    assert json.loads(project.run("status", "churn", "--json").stdout)["stable"]["label"] == "v1.0"


def test_rollback_finds_a_server_that_died_without_a_word(project):
    """After kill -9 of the controller its address is stale, and the rollback still happens."""
    project.register("v1.1")
    assert (
        project.run("release", "churn", "--version", "v1.1", "--plan", "once.yaml", "--wait").returncode == 0
    )
    project.process.kill()
    project.process.wait(60)

    done = project.run("rollback", "churn", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["without_server"] is True
    assert json.loads(done.stdout)["label"] == "v1.0"


def test_the_doctor_asks_the_running_controller(project):
    """With a controller that takes its turns there is no problem; without one nothing is said of it."""
    states = {}
    for case in ("running", "stopped"):
        done = project.run("doctor", "--json")
        states[case] = {check["name"]: check["state"] for check in json.loads(done.stdout)["checks"]}
        if case == "running":
            assert (done.returncode, project.stop()) == (0, 0), done.stdout

    assert (states["running"]["server"], states["running"]["controller"]) == ("ok", "ok")
    assert (states["stopped"]["server"], states["stopped"].get("controller")) == ("note", None)


def test_the_doctor_does_not_wait_long_for_a_controller_that_hangs(shared):
    """A stopped process is one problem, told by the check of its health; no further question is put to it."""
    os.kill(shared.process.pid, signal.SIGSTOP)
    try:
        done = shared.run("doctor", "--json")
    finally:
        os.kill(shared.process.pid, signal.SIGCONT)

    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert (done.returncode, found["controller"]["state"], "server" in found) == (1, "problem", False)
    assert "its health" in found["controller"]["what"]


def test_a_process_that_has_the_pid_by_now_gets_no_token(shared):
    """With another start time in its address, the process of that pid is not asked: the store answers."""
    path = shared.settings.run / "api.json"
    told = json.loads(path.read_text())
    calls = []

    with socket.create_server(("127.0.0.1", 0)) as thief:
        thief.settimeout(0.5)
        url = f"http://127.0.0.1:{thief.getsockname()[1]}"
        path.write_text(json.dumps({**told, "url": url, "started": told["started"] - 1}))
        done = shared.run("status", "churn", "--json")
        with contextlib.suppress(TimeoutError):
            calls.append(thief.accept())

    assert (done.returncode, calls) == (0, [])
    assert json.loads(done.stdout)["stable"]["label"] == "v1.0"
    path.write_text(json.dumps(told))


def test_a_second_controller_waits_for_the_first_and_takes_over(project):
    """The second one answers once the first has ended, and nobody answers after both have."""
    first = project.process
    before = json.loads((project.settings.run / "api.json").read_text())["pid"]
    project.start()
    assert before == first.pid
    assert json.loads((project.settings.run / "api.json").read_text())["pid"] == first.pid

    first.terminate()

    assert first.wait(60) == 0
    until(lambda: _pid(project) == project.process.pid)
    assert project.run("status", "churn").returncode == 0
    assert project.stop() == 0
    with controlling(project.settings):
        assert not (project.settings.run / "api.json").exists()


def test_commands_print_text_that_fits_and_json_that_parses(shared):
    """Status, history and show answer from the server in both ways."""
    for arguments in (["status"], ["status", "churn"], ["history", "churn"], ["show", "release", "1"]):
        text, data = shared.run(*arguments), shared.run(*arguments, "--json")

        assert (text.returncode, data.returncode) == (0, 0)
        assert "v1.0" in text.stdout
        assert "\x1b" not in text.stdout
        assert json.loads(data.stdout)


def _phase(project):
    release = json.loads(project.run("status", "churn", "--json").stdout)["release"]
    return release and release["phase"]


def _pid(project):
    try:
        return json.loads((project.settings.run / "api.json").read_text())["pid"]
    except FileNotFoundError:
        return None
