"""The worker as a process: limits, start, end, and several of them. The hosts here are FAKE (see ``gateway_rig``)."""

import os
import signal
import socket
import subprocess
import threading

import pytest
from gateway_rig import DEADLINE, Rig, wait_for


@pytest.fixture
def make():
    made = []

    def build(**settings):
        made.append(Rig(**settings))
        return made[-1]

    yield build
    for rig in made:
        rig.close()


def test_before_the_first_release_it_says_what_to_do(make):
    """A gateway without routes answers 503 and names the command, on every path that needs a model."""
    rig = make()
    answers = [rig.infer(), rig.ask("POST", "/invocations", {}), rig.ask("GET", "/v2/health/ready")]

    assert {answer.status for answer in answers} == {503}
    assert all(b"lastgood release" in answer.body for answer in answers)
    assert all(answer.headers["retry-after"] == "1" for answer in answers)


def test_limits_are_kept(make):
    """A body over the limit is 413, announced or chunked; more in flight than allowed is 503 at once."""
    rig = make(max_body_bytes=1000, max_in_flight=2)
    rig.start_host(1)
    rig.publish(rig.route(1))
    rig.reach(1)
    announced = b"POST /v2/models/churn/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", rig.port), timeout=DEADLINE) as connection:
        connection.sendall(announced)
        early = connection.recv(65536)
    callers = [threading.Thread(target=rig.infer, args=({"v1": "hang"},)) for _ in range(2)]
    for caller in callers:
        caller.start()
    wait_for(lambda: rig.report().in_flight == 2, "two requests are in flight")
    third = rig.infer()
    for caller in callers:
        caller.join()

    assert early.startswith(b"HTTP/1.1 413 ")
    assert rig.infer(b"x" * 1001).status == 413
    assert rig.infer(b'"' + b"x" * 998 + b'"').status == 200
    assert (third.status, third.headers["retry-after"]) == (503, "1")


def test_a_full_candidate_is_relieved_by_stable(make):
    """Requests over the candidate's in-flight cap are answered by stable as overloaded."""
    rig = make(max_in_flight=1, candidate_timeout=2.0)
    rig.start_host(1)
    rig.start_host(2)
    rig.publish(rig.route(1, 2))
    rig.reach(1, 2)
    caller = threading.Thread(target=rig.infer, args=({"v2": "hang"},))
    caller.start()
    wait_for(lambda: rig.report().in_flight == 1, "the candidate is full")
    second = rig.infer()
    caller.join()

    assert (second.status, second.version, second.fallback) == (200, "1", "overloaded")


def test_a_stop_answers_what_is_in_flight_and_writes_the_last_report(make):
    """After SIGTERM a waiting caller still has its answer, the report has every count, the slot is free."""
    rig = make(candidate_timeout=1.0)
    rig.start_host(1)
    rig.start_host(2)
    rig.publish(rig.route(1, 2))
    rig.reach(1, 2)
    answers = []
    caller = threading.Thread(target=lambda: answers.append(rig.infer({"v2": "hang"})))
    caller.start()
    wait_for(lambda: rig.report().in_flight == 1, "a request is in flight")
    rig.workers[0].send_signal(signal.SIGTERM)
    status = rig.workers[0].wait(DEADLINE)
    caller.join()
    report = rig.newest(0)

    assert [(answer.status, answer.version, answer.fallback) for answer in answers] == [(200, "1", "timeout")]
    assert status == 0
    assert [(stage.candidate.requests, stage.candidate.timeouts) for stage in report.stages] == [(1, 1)]
    assert (report.in_flight, rig.page.workers()) == (0, [])


def test_two_workers_share_the_port_and_both_obey(make):
    """Each worker acknowledges each generation, and their reports together hold every request."""
    rig = make(workers=2)
    rig.start_host(1)
    rig.start_host(2)
    rig.publish(rig.route(1, 2, weight=5_000))
    rig.reach(1, 2)
    threads = [threading.Thread(target=lambda: [rig.infer() for _ in range(20)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stages = [stage for slot in (0, 1) for stage in rig.report(slot).stages]
    rig.publish(rig.route(1))

    assert sum(stage.candidate.requests + stage.stable.requests for stage in stages) == 120
    assert {worker.slot for worker in rig.page.workers()} == {0, 1}
    assert {worker.generation for worker in rig.page.workers()} == {rig.generation}


def test_a_killed_worker_costs_nothing_but_itself(make):
    """With one of two workers killed the other serves on; a new one in its slot reads the page and acknowledges."""
    rig = make(workers=2)
    rig.start_host(1)
    rig.publish(rig.route(1))
    rig.reach(1)
    rig.workers[0].kill()
    rig.workers[0].wait()
    alone = [rig.infer() for _ in range(10)]
    rig.start_worker(0)
    pid = rig.workers[0].pid
    wait_for(lambda: pid in {worker.pid for worker in rig.page.workers()}, "the new worker claims its slot")
    wait_for(rig.acknowledged, "the new worker acknowledges")

    assert {answer.status for answer in alone} == {200}
    assert {rig.infer().status for _ in range(10)} == {200}


def test_it_ends_with_its_parent(make):
    """A worker whose parent is not the one that started it ends at once: nobody would stop it."""
    rig = make()
    command = rig.workers[0].args
    gone = subprocess.run(
        command, env=os.environ | {"LASTGOOD_PARENT_PID": "1"}, timeout=DEADLINE, check=False
    )

    assert gone.returncode == 0


def test_stable_that_is_restarted_again_and_again_loses_no_request(make):
    """Under load, ten kills of stable's host with a standby beside it cost no caller an answer."""
    rig = make(request_timeout=10.0)
    rig.start_host(1)
    rig.start_host(2)
    rig.publish(rig.route(1, standby=2))
    rig.reach(1, 2)
    stop = threading.Event()
    seen = []

    def call():
        while not stop.is_set():
            seen.append(rig.infer().status)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for _ in range(10):
        rig.kill_host(1)
        rig.reach(2)
        rig.start_host(1)
        rig.reach(1, 2)
    stop.set()
    for caller in callers:
        caller.join()

    assert set(seen) == {200}
    assert len(seen) > 50
