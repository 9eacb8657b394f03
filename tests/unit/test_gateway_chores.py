"""A worker's chores outlive their faults, up to a number."""

import pytest

from lastgood.gateway.chores import FAULTS_MAX, Chore


def test_a_fault_ends_the_chore_only_after_many_in_a_row(caplog):
    """Each fault is logged and the chore goes on; a good run starts the count anew; the last in a row is raised."""
    outcomes = [True] * (FAULTS_MAX - 1) + [False] + [True] * FAULTS_MAX

    def act():
        if outcomes.pop(0):
            raise OSError("the disk is gone")

    chore = Chore("the report", 0, act)
    for now in range(2 * FAULTS_MAX - 1):
        chore.run(float(now))

    assert caplog.text.count("the report failed and is tried again") == 2 * (FAULTS_MAX - 1)
    with pytest.raises(OSError, match="the disk is gone"):
        chore.run(1000.0)


def test_a_chore_is_done_when_it_is_due():
    """Runs that come before its seconds have passed do nothing."""
    done = []
    chore = Chore("the heartbeat", 0.25, lambda: done.append(1))
    for now in (10.0, 10.1, 10.24, 10.26, 10.3):
        chore.run(now)

    assert len(done) == 2
