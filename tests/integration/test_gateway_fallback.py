"""A candidate's failure never reaches a caller. The hosts here are FAKE (see ``gateway_rig``)."""

import os
import select
import signal
import socket
import threading
from pathlib import Path

import pytest
from gateway_rig import DEADLINE, Rig, wait_for

from lastgood.domain.traffic import ArmCounts


@pytest.fixture(scope="module")
def shared():
    rig = Rig(request_timeout=60.0)  # stable's time does not run out between two steps of a test
    rig.start_host(1)
    rig.start_host(2)
    yield rig
    rig.close()


@pytest.fixture
def rig(shared):
    for version in (1, 2):
        if version not in shared.hosts or shared.hosts[version].poll() is not None:
            if version in shared.hosts:
                shared.kill_host(version)
            shared.start_host(version)
    shared.page.renew_lease(600)
    release = shared.generation + 100  # a release of its own: counts start at nought
    shared.publish(shared.route(1, 2, release=release))
    shared.reach(1, 2)
    shared.release = release
    return shared


def counts(rig, release=None):
    for stage in rig.report().stages:
        if stage.release == (release or rig.release):
            return stage.candidate, stage.stable
    return ArmCounts(latency={}), ArmCounts(latency={})


def test_a_good_candidate_answers_and_is_counted(rig):
    """With all the weight, the candidate's own bytes come back with its version, label and release."""
    answer = rig.infer()
    candidate, stable = counts(rig)

    assert (answer.status, answer.version, answer.fallback) == (200, "2", None)
    assert answer.headers["lastgood-label"] == "v2.0"
    assert answer.headers["lastgood-release"] == str(rig.release)
    assert answer.json()["version"] == 2
    assert (candidate.requests, candidate.errors, sum(candidate.latency.values())) == (1, 0, 1)
    assert stable.requests == 0


@pytest.mark.parametrize(
    ("order", "reason", "errors", "invalid"),
    [
        ("error", "error", 1, 0),
        ("internal", "error", 1, 0),
        ("invalid", "invalid-output", 0, 1),
        ("bad", "refused", 1, 0),
        ("too-large", "refused", 1, 0),
        ("hang", "timeout", 1, 0),
        ("exit", "unavailable", 1, 0),
        ("garbage", "unavailable", 1, 0),
        ("nan-status", "unavailable", 1, 0),
    ],
)
def test_stable_answers_for_a_failing_candidate(rig, order, reason, errors, invalid):
    """Whatever the candidate does to a request, stable answers it, the header says why, and it counts once."""
    answer = rig.infer({"v2": order})
    candidate, stable = counts(rig)

    assert (answer.status, answer.version, answer.fallback) == (200, "1", reason)
    assert answer.headers["lastgood-release"] == str(rig.release)
    assert answer.json()["version"] == 1
    assert (candidate.requests, candidate.errors, candidate.invalid) == (1, errors, invalid)
    assert candidate.timeouts == (reason == "timeout")
    assert stable.requests == 0


def test_nothing_is_assigned_to_a_candidate_whose_host_is_gone(rig):
    """After a kill -9 of the candidate's host stable answers, without a fallback and counted for neither arm."""
    rig.kill_host(2)
    rig.reach(1)
    answers = [rig.infer() for _ in range(5)]
    candidate, stable = counts(rig)

    assert {(answer.status, answer.version, answer.fallback) for answer in answers} == {(200, "1", None)}
    assert all("lastgood-release" not in answer.headers for answer in answers)
    assert (candidate.requests, candidate.errors, stable.requests) == (0, 0, 0)


def test_a_sticky_key_comes_back_to_its_candidate(rig):
    """A key of the candidate's is answered by stable while the candidate is gone, and by the candidate after."""
    before = rig.infer(lastgood_key="ada")
    rig.kill_host(2)
    rig.reach(1)
    meanwhile = rig.infer(lastgood_key="ada")
    rig.start_host(2)
    rig.reach(1, 2)
    after = rig.infer(lastgood_key="ada")
    candidate, stable = counts(rig)

    assert [(answer.version, answer.fallback) for answer in (before, meanwhile, after)] == [
        ("2", None),
        ("1", None),
        ("2", None),
    ]
    assert (candidate.requests, candidate.errors, stable.requests) == (2, 0, 0)


def fallbacks_of_the_candidate(rig):
    totals = [total for total in rig.report().totals if total.role == "candidate"]
    return sum(total.fallbacks.get("unavailable", 0) for total in totals), sum(
        total.counts.requests for total in totals
    )


@pytest.fixture
def patient():
    """A gateway that gives a candidate all the time in the world."""
    rig = Rig(candidate_timeout=60.0, request_timeout=120.0)
    rig.start_host(1)
    rig.start_host(2)
    rig.publish(rig.route(1, 2))
    rig.reach(1, 2)
    rig.release = 7
    yield rig
    rig.close()


def test_a_lost_connection_is_one_error(patient):
    """Five requests on the candidate when it is killed: stable answers each, the release counts one of them."""
    rig = patient
    answers = []
    callers = [threading.Thread(target=lambda: answers.append(rig.infer({"v2": "hang"}))) for _ in range(5)]
    for caller in callers:
        caller.start()
    wait_for(lambda: rig.report().in_flight == 5, "all are in flight")
    rig.kill_host(2)
    for caller in callers:
        caller.join()
    candidate, stable = counts(rig)

    assert [(answer.status, answer.version, answer.fallback) for answer in answers] == [
        (200, "1", "unavailable")
    ] * 5
    assert (candidate.requests, candidate.errors, candidate.timeouts, stable.requests) == (1, 1, 0, 0)
    assert fallbacks_of_the_candidate(rig) == (5, 5)


def test_every_lost_connection_counts(rig):
    """A candidate that ends on each request is charged with one error each time."""
    for _ in range(2):
        assert rig.infer({"v2": "exit"}).fallback == "unavailable"
        rig.kill_host(2)
        rig.start_host(2)
        rig.reach(1, 2)
    candidate, _ = counts(rig)

    assert (candidate.requests, candidate.errors) == (2, 2)


def test_bad_input_that_both_refuse_is_the_callers(rig):
    """When stable refuses too, the caller gets 400 with stable's words and no arm is charged."""
    before = rig.report().bad_requests
    answer = rig.infer({"v1": "bad", "v2": "bad"})
    candidate, stable = counts(rig)

    assert (answer.status, answer.json()) == (400, {"error": "fake bad"})
    assert (candidate.requests, stable.requests) == (0, 0)
    assert rig.report().bad_requests == before + 1


def test_one_request_gets_one_answer(rig):
    """A host that answers one request twice gives its caller the first, and the next caller its own."""
    first = rig.infer({"v2": "twice"})
    second = rig.infer()

    assert (first.status, first.json()) == (200, {"answer": 1})
    assert (second.status, second.json()["version"]) == (200, 2)


def test_a_large_answer_arrives_whole(rig):
    """An answer of several megabytes, in many pieces, comes through byte for byte."""
    rig.publish(rig.route(2))  # stable: its time does not run out on a slow machine
    answer = rig.infer({"v2": "size:3000000"})

    assert (answer.status, answer.version) == (200, "2")
    assert answer.json()["filler"] == "x" * 3_000_000


def test_the_end_of_the_lease_stops_candidate_traffic(rig):
    """Without a lease every request goes to stable, is no fallback and counts for neither arm."""
    rig.page.renew_lease(0)
    answers = [rig.infer() for _ in range(5)]
    candidate, stable = counts(rig)

    assert {(answer.status, answer.version, answer.fallback) for answer in answers} == {(200, "1", None)}
    assert all("lastgood-release" not in answer.headers for answer in answers)
    assert (candidate.requests, stable.requests) == (0, 0)


@pytest.mark.parametrize(
    ("order", "status"), [("error", 500), ("invalid", 500), ("bad", 400), ("too-large", 413)]
)
def test_stables_own_failures_are_told(rig, order, status):
    """Stable's failure has no other version to hide behind: its words reach the caller with the right status."""
    rig.publish(rig.route(1))
    answer = rig.infer({"v1": order})

    assert (answer.status, answer.version) == (status, "1")
    assert answer.json() == {"error": f"fake {order}"}


@pytest.fixture
def hasty():
    """A gateway whose callers wait for a second."""
    rig = Rig(request_timeout=1.0)
    rig.start_host(1)
    rig.start_host(2)
    rig.publish(rig.route(1))
    rig.reach(1)
    yield rig
    rig.close()


def test_a_stable_that_hangs_is_given_up_at_the_deadline(hasty):
    """A caller of a hanging stable has 504 with a sentence."""
    answer = hasty.infer({"v1": "hang"})

    assert answer.status == 504
    assert "did not answer in time" in answer.json()["error"]


def test_requests_wait_for_stable_to_come_back(rig):
    """With no standby, a request that finds stable's host dead is answered by it once it is back."""
    rig.publish(rig.route(1))
    rig.kill_host(1)
    rig.reach()
    answers = []
    caller = threading.Thread(target=lambda: answers.append(rig.infer()))
    caller.start()
    wait_for(lambda: rig.report().in_flight == 1, "the request waits")
    rig.start_host(1)
    caller.join()

    assert [(answer.status, answer.version, answer.fallback) for answer in answers] == [(200, "1", None)]


@pytest.mark.slow
def test_nobody_answers_for_a_stable_that_stays_away_without_a_standby(hasty):
    """The version before may be resident, but out of the route: 503 with a sentence, and it is never asked."""
    hasty.kill_host(1)
    hasty.reach()
    answer = hasty.infer({"v1": "ok"})

    assert answer.status == 503
    assert "the host of version 1 was away" in answer.json()["error"]
    assert "no other version may stand in" in answer.json()["error"]


def test_standby_answers_while_stable_is_gone(rig):
    """A connected standby answers at once, under its own version, and says why."""
    rig.publish(rig.route(1, standby=2))
    rig.reach(1, 2)
    rig.kill_host(1)
    rig.reach(2)
    answer = rig.infer()

    assert (answer.status, answer.version, answer.fallback) == (200, "2", "stable-unavailable")


def test_requests_in_flight_survive_the_kill_of_stable(rig):
    """A request that stable's host took to its grave is answered by standby."""
    rig.publish(rig.route(1, standby=2))
    rig.reach(1, 2)
    answers = []
    caller = threading.Thread(target=lambda: answers.append(rig.infer({"v1": "hang"})))
    caller.start()
    wait_for(lambda: rig.report().in_flight == 1, "the request is in flight")
    rig.kill_host(1)
    caller.join()

    assert [(answer.status, answer.version, answer.fallback) for answer in answers] == [
        (200, "2", "stable-unavailable")
    ]


def test_a_dying_host_that_is_connected_to_once_more_has_not_ended_twice(patient):
    """A killed host may be reached for a moment although nothing in it listens: what is sent there is asked again."""
    rig = patient
    rig.publish(rig.route(1))
    rig.reach(1)
    os.kill(rig.hosts[1].pid, signal.SIGSTOP)
    answers = []
    caller = threading.Thread(target=lambda: answers.append(rig.infer()))
    caller.start()
    wait_for(lambda: rig.report().in_flight == 1, "the request is in flight")
    Path(rig.socket_of(1)).unlink()
    with socket.socket(socket.AF_UNIX) as dying:
        dying.bind(rig.socket_of(1))
        dying.listen()
        rig.kill_host(1)
        select.select([dying], [], [], DEADLINE)  # the gateway is connected, and has sent the request again
    rig.start_host(1)
    caller.join()

    assert [(answer.status, answer.version) for answer in answers] == [(200, "1")]


def test_a_request_that_ends_its_hosts_is_given_up(patient):
    """What ended stable's host twice is not tried on a third one: its caller is told."""
    rig = patient
    rig.publish(rig.route(1))
    rig.reach(1)
    answers = []
    caller = threading.Thread(target=lambda: answers.append(rig.infer({"v1": "exit"})))
    caller.start()
    for _ in range(2):
        rig.hosts[1].wait(DEADLINE)
        rig.start_host(1)
    caller.join()

    assert [answer.status for answer in answers] == [503]
    assert "ended twice" in answers[0].json()["error"]
    assert rig.hosts[1].poll() is None


def test_a_stopped_candidate_times_out(rig):
    """A candidate whose process is stopped costs its callers the candidate's timeout and no answer."""
    os.kill(rig.hosts[2].pid, signal.SIGSTOP)
    answer = rig.infer()
    os.kill(rig.hosts[2].pid, signal.SIGCONT)

    assert (answer.status, answer.version, answer.fallback) == (200, "1", "timeout")
