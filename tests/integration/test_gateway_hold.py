"""A held deployment answers nobody and fails nobody until its next route. The hosts here are FAKE (see ``gateway_rig``)."""

import threading
import time

import pytest
from gateway_rig import Rig, wait_for


@pytest.fixture(scope="module")
def shared():
    rig = Rig(request_timeout=60.0)  # no caller's time runs out between two steps of a test
    for version in (1, 2):
        rig.start_host(version)
    yield rig
    rig.close()


@pytest.fixture
def hasty():
    """A gateway whose callers wait for a second."""
    rig = Rig(request_timeout=1.0)
    rig.start_host(1)
    rig.publish(rig.route(1))
    rig.reach(1)
    yield rig
    rig.close()


@pytest.fixture
def rig(shared):
    shared.page.renew_lease(600)
    shared.publish(shared.route(1, 2, release=shared.generation + 100))
    shared.reach(1, 2)
    return shared


class Calls:
    """Requests under way, and their answers."""

    def __init__(self, rig):
        self._rig = rig
        self._threads = []
        self.answers = []

    def begin(self, body, path="/v2/models/churn/infer"):
        before = self._rig.report().in_flight
        thread = threading.Thread(target=lambda: self.answers.append(self._rig.ask("POST", path, body)))
        thread.start()
        self._threads.append(thread)
        wait_for(lambda: self._rig.report().in_flight > before, "the request is in flight")

    def end(self):
        for thread in self._threads:
            thread.join()
        return self.answers


def test_requests_wait_for_the_end_of_a_hold(rig):
    """What comes during a hold is answered by the version of the route after it, not marked, not failed."""
    rig.publish(rig.route(2, held=True), wait=False)
    wait_for(rig.acknowledged, "the hold")
    calls = Calls(rig)
    for _ in range(3):
        calls.begin({})
    assert not calls.answers
    rig.publish(rig.route(1))

    assert [(answer.status, answer.version, answer.fallback) for answer in calls.end()] == [
        (200, "1", None)
    ] * 3


def test_a_hold_catches_what_is_on_its_way(rig):
    """A request that the candidate is at work on when the hold begins is asked of the version after it."""
    release = rig.route(1).generation + 500
    rig.publish(rig.route(1, 2, release=release))
    rig.reach(1, 2)
    calls = Calls(rig)
    calls.begin({"v2": "hang"})
    rig.publish(rig.route(1, 2, release=release, held=True), wait=False)
    wait_for(rig.acknowledged, "the hold")
    time.sleep(0.6)  # longer than the candidate's own time-out: nobody gives it up meanwhile
    assert not calls.answers
    rig.publish(rig.route(1))
    (answer,) = calls.end()
    stages = [stage for stage in rig.report().stages if stage.release == release]

    assert (answer.status, answer.version, answer.fallback) == (200, "1", None)
    assert all(stage.candidate.requests == 0 for stage in stages), "it says nothing of the candidate"


def test_a_hold_that_ends_as_it_began_fails_nobody(rig):
    """When the flip was impossible the old route comes back, and who waited is answered by stable."""
    release = rig.route(1).generation + 700
    rig.publish(rig.route(1, 2, release=release, held=True), wait=False)
    wait_for(rig.acknowledged, "the hold")
    calls = Calls(rig)
    calls.begin({})
    calls.begin({}, "/v2/models/churn/versions/2/infer")
    rig.publish(rig.route(1, 2, release=release))

    assert sorted((answer.status, answer.version) for answer in calls.end()) == [(200, "1"), (200, "2")]


def test_who_waits_too_long_is_told(hasty):
    """A hold cannot keep a caller longer than a request may take: then it is 504, and no version is blamed."""
    rig = hasty
    rig.publish(rig.route(1, held=True), wait=False)
    wait_for(rig.acknowledged, "the hold")
    before = {(one.version, one.role): one.counts.errors for one in rig.report().totals}
    answer = rig.infer()
    after = {(one.version, one.role): one.counts.errors for one in rig.report().totals}
    rig.publish(rig.route(1))

    assert answer.status == 504
    assert after == before


def test_a_version_withdrawn_in_a_hold_is_told_to_who_named_it(rig):
    """A request that named a version which the next route does not have is answered 409, not by another one."""
    rig.publish(rig.route(1, 2, release=rig.generation + 900, held=True), wait=False)
    wait_for(rig.acknowledged, "the hold")
    calls = Calls(rig)
    calls.begin({}, "/v2/models/churn/versions/2/infer")
    rig.publish(rig.route(1))
    (answer,) = calls.end()

    assert answer.status == 409
