"""Notification commands, run for real."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from lastgood.domain.channel import Channel
from lastgood.domain.event import GENESIS, EventDraft, seal
from lastgood.errors import Code, LastgoodError
from lastgood.integrations.command import Command, create
from lastgood.settings import Settings
from lastgood.supervise.processes import end_leftovers
from lastgood.wire.process import PARENT_PID, RUN_FOLDER

EVENT = seal(
    EventDraft(
        type="lastgood.release.paused",
        at=1_790_000_000.0,
        actor="ada",
        model="churn",
        deployment="churn",
        release=7,
        version=2,
        data={"cause": "held by a person", "to": "paused", "padding": "x" * 300_000},
    ),
    3,
    GENESIS,
)


def run(tmp_path, script, *arguments, limit_seconds=20.0):
    command = Command(folder=tmp_path, environ=dict(os.environ), limit_seconds=limit_seconds)
    command.send(Channel(command=(sys.executable, "-c", script, *arguments)), EVENT, "key-1")


def refused(tmp_path, script, **changes):
    with pytest.raises(LastgoodError) as caught:
        run(tmp_path, script, **changes)
    return caught.value


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_command_gets_the_event_its_key_and_its_arguments(tmp_path):
    """The event is on standard input, its key in the environment, and no shell reads the arguments."""
    script = (
        "import json, os, pathlib, sys\n"
        "told = {k: v for k, v in os.environ.items() if k.startswith('LASTGOOD_')}\n"
        "seen = {'event': json.load(sys.stdin), 'told': told, 'argv': sys.argv[1:]}\n"
        "pathlib.Path('seen.json').write_text(json.dumps(seen))\n"
    )
    run(tmp_path, script, "a b", "$(touch pwned)")
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["event"]["id"] == "key-1"
    assert seen["event"]["data"]["cause"] == "held by a person"
    assert seen["argv"] == ["a b", "$(touch pwned)"]
    assert not (tmp_path / "pwned").exists()
    expected = {
        "LASTGOOD_EVENT_KEY": "key-1",
        "LASTGOOD_EVENT_TYPE": "lastgood.release.paused",
        "LASTGOOD_DEPLOYMENT": "churn",
        "LASTGOOD_RELEASE": "7",
    }
    assert {name: seen["told"][name] for name in expected} == expected


def test_what_a_command_leaves_running_is_nobodys_leftover(tmp_path):
    """A server that starts ends what an earlier one left, and spares a process that a command began."""
    script = (
        "import pathlib, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "pathlib.Path('pid').write_text(str(child.pid))\n"
    )
    marks = {RUN_FOLDER: str(tmp_path), PARENT_PID: str(os.getpid())}
    command = Command(folder=tmp_path, environ={**os.environ, **marks}, limit_seconds=20.0)
    command.send(Channel(command=(sys.executable, "-c", script)), EVENT, "key-1")
    pid = int((tmp_path / "pid").read_text())
    try:
        names = {entry.split(b"=")[0].decode() for entry in environment(pid)}
        assert not names & marks.keys()
        assert "LASTGOOD_EVENT_KEY" in names
        assert end_leftovers(tmp_path) == []
        assert not gone(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def environment(pid):
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


@pytest.mark.parametrize(
    "script", ["pass", "import sys; sys.stdin.close()", "import sys; sys.stderr.write('x' * 10**6)"]
)
def test_exit_zero_is_delivered_whatever_is_read_or_written(tmp_path, script):
    """A command that reads nothing of a large event, or writes much, neither fails nor blocks."""
    assert run(tmp_path, script) is None


def test_another_exit_is_tried_again_with_what_it_said(tmp_path):
    """The status and the beginning of standard error are kept, no more."""
    error = refused(tmp_path, "import sys; sys.stderr.write('no\\x1b room ' + 'x' * 10**6); sys.exit(3)")
    assert error.code is Code.UNAVAILABLE
    assert "exited with 3: no room" in error.message
    assert len(error.message) < 300


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path):
    """After its time nothing of it is left running."""
    hangs = Channel(command=("sh", "-c", "sleep 600 & echo $! > pid; exec 2>&-; wait"))
    with pytest.raises(LastgoodError) as caught:
        Command(folder=tmp_path, environ=dict(os.environ), limit_seconds=1.5).send(hangs, EVENT, "key-1")
    assert caught.value.code is Code.TIMEOUT
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 60
    while not gone(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert gone(pid)


def test_a_command_that_leaves_something_in_the_background_is_delivered(tmp_path):
    """A child that keeps standard error open does not hold the notification until its limit."""
    script = (
        "import pathlib, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "pathlib.Path('pid').write_text(str(child.pid))\n"
    )
    run(tmp_path, script, limit_seconds=60.0)
    pid = int((tmp_path / "pid").read_text())
    assert not gone(pid)
    os.kill(pid, 9)


@pytest.mark.parametrize("argv", [("/nowhere/notify",), ("",), ("a\0b",)])
def test_what_cannot_be_started_is_refused(tmp_path, argv):
    """Another try would not help; the error says so plainly."""
    command = Command(folder=tmp_path, environ={})
    with pytest.raises(LastgoodError) as caught:
        command.send(Channel(command=argv), EVENT, "key-1")
    assert caught.value.code is Code.REFUSED


def test_commands_run_in_the_project_folder(tmp_path):
    """The entry point's factory makes relative paths mean the project's folder."""
    notifier = create(Settings(home=str(tmp_path / ".lastgood")))
    notifier.send(Channel(command=(sys.executable, "-c", "open('here', 'w').close()")), EVENT, "key-1")
    assert (tmp_path / "here").exists()
