"""Several processes on one store, and processes that are killed: one winner, no gaps, nothing by halves."""

import random
import subprocess
import sys
import time
from pathlib import Path

from store_samples import Stores, deploy, register_many, verify_chain

WRITER = Path(__file__).with_name("store_writer.py")


def start_writers(stores: Stores, count: int, commits: int) -> list[subprocess.Popen[str]]:
    """Start writers that have all read the same revision, and let them go together."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, str(WRITER), stores.database.where, str(commits)]
    children = [subprocess.Popen(command, text=True, **pipes) for _ in range(count)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    return children


def check_whole(stores: Stores) -> int:
    """Every commit left its revision, release, generation, entry, event and notification, or none of them."""
    deployment = stores.releases.deployment("churn")
    assert deployment is not None
    revision = deployment.revision
    entries = stores.releases.history("churn", limit=10_000)
    assert [entry.sequence for entry in entries] == list(range(revision, 0, -1))
    assert [entry.release for entry in entries] == list(range(revision, 0, -1))
    assert [entry.until is None for entry in entries] == [True] + [False] * (revision - 1)
    releases = stores.releases.releases("churn", limit=10_000)
    assert [release.id for release in releases] == list(range(revision, 0, -1))
    assert [release.generation for release in releases] == list(range(revision, 0, -1))
    assert stores.releases.generation() == deployment.generation == revision
    assert verify_chain(stores) == 4 + revision
    assert len(stores.outbox.due(1e12, limit=10_000)) == revision
    return revision


def test_two_processes_have_one_winner_for_each_revision(file_stores: Stores) -> None:
    """Two processes hammer one deployment: each revision is won once, and nothing is missing or double."""
    register_many(file_stores, 4)
    deploy(file_stores)
    children = start_writers(file_stores, 2, 60)
    answers = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0, 0], answers
    lines = [line for out, _ in answers for line in out.split()]
    won = sorted(int(line) for line in lines if line != "conflict")

    assert len(lines) == 120
    assert won == list(range(1, len(won) + 1))
    assert 60 <= len(won) < 120  # their first tries at least met
    assert check_whole(file_stores) == len(won)


def test_killed_writer_leaves_nothing_by_halves(file_stores: Stores) -> None:
    """A writer killed at random moments loses no commit that it reported and leaves no half of another."""
    chance = random.Random(20261121)
    register_many(file_stores, 4)
    deploy(file_stores)
    reported = 0
    for _ in range(6):
        child, *_ = start_writers(file_stores, 1, 1_000_000)
        assert child.stdout is not None
        reported = int(child.stdout.readline())  # it is at work now
        time.sleep(chance.uniform(0.0, 0.06))  # only chooses where it dies; every place must do
        child.kill()
        rest = child.communicate(timeout=60)[0].split("\n")[:-1]  # the last line may be cut off
        reported = int(rest[-1]) if rest else reported

        assert check_whole(file_stores) >= reported
    assert reported > 6


def test_writer_goes_on_after_a_killed_one(file_stores: Stores) -> None:
    """The lock of a killed process is free at once."""
    register_many(file_stores, 4)
    deploy(file_stores)
    child, *_ = start_writers(file_stores, 1, 1_000_000)
    assert child.stdout is not None
    child.stdout.readline()
    child.kill()
    child.communicate(timeout=60)
    before = check_whole(file_stores)
    after, *_ = start_writers(file_stores, 1, 3)
    out, _ = after.communicate(timeout=60)

    assert [int(line) for line in out.split()] == [before + 1, before + 2, before + 3]
