"""Kill -9 of the controller at seeded moments of a release with data: both or neither, no row and no request lost."""

import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from data_shop import Shop, Writer
from project import DEADLINE_SECONDS, Load, Project, eventually

BAD = "x % 4 == 0"
ENDED = ("rolled_back", "aborted", "succeeded")
LEAD_SECONDS = {
    "lastgood.data.capture_started": 0.02,
    "lastgood.data.captured": 0.02,
    "lastgood.data.staged": 0.3,
    "lastgood.data.migration_started": 0.3,
    "lastgood.data.migrated": 0.05,
    "lastgood.release.rollback_started": 0.05,
    "lastgood.data.hold_started": 0.03,
    "lastgood.data.restored": 0.05,
}
"""After which event a kill comes, and at most how long after it: chance decides within that time."""


def _phase(project: Project) -> str:
    """Return the last release's phase; nothing while the command gets no answer, because who gives it was killed."""
    done = project.cli("status", "churn", "--json", expect=None)
    if done.returncode:
        return ""
    view = json.loads(done.stdout)
    return str((view["release"] or view["last_release"])["phase"])


def _kill_after(project: Project, event: str, wait: float, journal: Path) -> None:
    """Kill the controller ``wait`` seconds after the store's write-ahead log first shows ``event``."""
    pid = project.controller_pid()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not _shows(journal, event):
        assert time.monotonic() < deadline, f"{event} never came"
        time.sleep(0.001)
    time.sleep(wait)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: _another_controller(project, pid), "the controller is started again")


def _shows(journal: Path, event: str) -> bool:
    for path in journal.parent.glob(f"{journal.name}*"):
        with contextlib.suppress(FileNotFoundError):  # the log goes with the last process that has it open
            if event.encode() in path.read_bytes():
                return True
    return False


def _another_controller(project: Project, pid: int) -> bool:
    there = project.controller_pid() not in (pid, 0)
    return there and project.cli("status", expect=None).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(("event", "seed"), [(event, seed) for seed, event in enumerate(LEAD_SECONDS)])
def test_a_killed_controller_leaves_both_or_neither(tmp_path: Path, event: str, seed: int) -> None:
    """Whenever it dies, the next one ends the release with model and data of one version, and every row is accounted for."""
    chance = random.Random(seed)
    shop = Shop(tmp_path)
    project = shop.project
    try:
        project.start()
        project.cli("release", "churn", "--version", "v1.2", "--wait")
        shop.register("v1.3", implausible=BAD)
        with Writer(shop, seed=seed) as writer, Load(project) as load:
            started = project.popen("release", "churn", "--version", "v1.3", "--plan", "plan.yaml")
            store = project.folder / ".lastgood" / "lastgood.db"
            _kill_after(project, event, chance.uniform(0.0, LEAD_SECONDS[event]), store)
            eventually(lambda: _phase(project) in ENDED, "the release ends")
            started.communicate(timeout=DEADLINE_SECONDS)
            stable = project.data("status", "churn")["stable"]["label"]
            version = {"v1.2": "1", "v1.3": "2"}[stable]
            eventually(lambda now=load.versions[version]: load.versions[version] > now + 50, "it answers")

        assert not load.failures, load.failures
        assert (stable, shop.columns()) == ("v1.2", ["id", "age"])
        project.cli("audit", "verify")
        project.stop()
        shop.check_accounts(writer, [2])
    finally:
        project.stop()
