"""Requests of a release count in the order in which they were sent. The hosts here are FAKE (see ``gateway_rig``)."""

import threading

import pytest
from gateway_rig import DEADLINE, Rig, wait_for

from lastgood.gateway.assignment import hash_of, mark_of


@pytest.fixture
def rig():
    made = Rig(candidate_timeout=3.0, request_timeout=6.0)
    made.start_host(1)
    made.start_host(2)
    made.publish(made.route(1, 2, release=9))
    made.reach(1, 2)
    yield made
    made.close()


def hang(rig):
    """Send the candidate a request that it never answers; return its caller."""
    caller = threading.Thread(target=rig.infer, args=({"v2": "hang"},), kwargs={"lastgood_key": "ada"})
    caller.start()
    wait_for(lambda: rig.report().in_flight == 1, "one hangs")
    return caller


def test_what_was_sent_later_counts_once_a_hanging_request_is_over(rig):
    """Callers have their answers meanwhile; then all count, with their keys and counters in the order of sending."""
    caller = hang(rig)
    answers = [
        rig.infer({"v2": "counts:low=1"}, lastgood_key="ben"),
        rig.infer({"v2": "error"}, lastgood_key="ada"),
        rig.infer({"v2": "ok"}),
    ]
    during = rig.report()
    caller.join()
    (after,) = rig.report().stages
    (errors, low) = (after.candidate.firsts[name] for name in ("errors", "counter:low"))
    ada, ben = (mark_of(hash_of(9, key)) for key in (b"ada", b"ben"))

    assert [answer.fallback for answer in answers] == [None, "error", None]
    assert (during.in_flight, [stage.candidate.requests for stage in during.stages]) == (1, [0])
    assert sum(total.counts.requests for total in during.totals) == 0
    assert (after.candidate.requests, after.candidate.errors, after.candidate.timeouts) == (4, 2, 1)
    assert (errors.bad, errors.repeats, errors.keys) == (2, 1, [ada])
    assert (after.candidate.counters["low"].bad, low.keys) == (1, [ben])


def test_only_the_same_stage_waits(rig):
    """The next stage, and what is outside the release, counts at once."""
    caller = hang(rig)
    rig.publish(rig.route(1, 2, release=9, stage=2))
    rig.infer()
    rig.ask("POST", "/v2/models/churn/versions/1/infer", {})
    during = rig.report()
    caller.join()
    after = rig.report()

    assert {stage.stage: stage.candidate.requests for stage in during.stages} == {1: 0, 2: 1}
    assert sum(total.counts.requests for total in during.totals if total.role == "stable") == 1
    assert {stage.stage: stage.candidate.requests for stage in after.stages} == {1: 1, 2: 1}


def test_a_stop_counts_what_waits_for_those_under_way(rig):
    """A worker that is told to stop waits for its answers, so its last report has every request in its place."""
    caller = hang(rig)
    rig.infer({"v2": "error"})
    worker = rig.workers.pop(0)
    worker.terminate()
    worker.wait(DEADLINE)
    caller.join()
    (stage,) = rig.newest(0).stages

    assert (stage.candidate.requests, stage.candidate.errors, stage.candidate.timeouts) == (2, 2, 1)
