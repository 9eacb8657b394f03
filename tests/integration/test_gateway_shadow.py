"""Copies for a shadow in a real worker: whatever it does, callers see nothing of it. The hosts are FAKE (see ``gateway_rig``)."""

import pytest
from gateway_rig import DEADLINE, Rig, wait_for

from lastgood.domain.route import Shadow
from lastgood.wire.predictions import read_segment, segments

pytestmark = pytest.mark.slow
RELEASE = 7
UNLIKE = ("lastgood-id", "date")  # headers that differ between any two answers


@pytest.fixture
def make():
    made = []

    def build(**settings):
        rig = Rig(**settings)
        made.append(rig)
        rig.start_host(1)
        rig.start_host(2)
        publish(rig)
        rig.reach(1, 2)
        return rig

    yield build
    for rig in made:
        rig.close()


def publish(rig, *, rate=10_000, **more):
    """Let version 2 answer copies of what version 1 answers, in a shadow step."""
    shadow = Shadow(target=rig.target(2), rate=rate, release=RELEASE, stage=0, arm="candidate")
    rig.publish(rig.route(1, shadow=shadow, **more), wait=False)
    wait_for(rig.acknowledged, "workers acknowledge the route")


def arms(rig):
    """Return the requests and the bad ones of both arms."""
    for stage in rig.report().stages:
        if stage.release == RELEASE:
            return [(arm.requests, arm.errors + arm.invalid) for arm in (stage.candidate, stage.stable)]
    return None


def told(answer):
    return (
        answer.status,
        {name: value for name, value in answer.headers.items() if name not in UNLIKE},
        answer.body,
    )


def test_answers_are_the_same_with_and_without_a_shadow(make):
    """Status, headers and bytes, by both ways through the worker, for answers and for errors."""
    rig = make()

    def ask():
        invoked = {"content-type": "application/json", "lastgood-deployment": "churn"}
        return [
            told(rig.infer({"k": 1}, lastgood_key="ada")),
            told(rig.infer({"v1": "error"})),
            told(rig.infer({"v1": "bad"})),
            told(rig.infer({"v1": "counts:low=1"})),
            told(rig.ask("POST", "/invocations", b"{}", invoked)),
        ]

    with_shadow = ask()
    wait_for(lambda: arms(rig) == [(4, 0), (4, 1)], "all pairs but that of the bad input count")
    rig.publish(rig.route(1))

    assert with_shadow == ask()


@pytest.mark.parametrize(
    ("order", "bad"),
    [
        ("error", 1),
        ("invalid", 1),
        ("internal", 1),
        ("bad", 1),
        ("hang", 1),
        ("exit", 1),
        ("garbage", 1),
        ("ok", 0),
    ],
)
def test_whatever_the_shadow_does_the_caller_has_stables_answer(make, order, bad):
    """It is answered by stable, without a mark; the copy counts for the shadow's arm alone."""
    rig = make()
    answer = rig.infer({"v2": order})

    assert (answer.status, answer.version, answer.fallback) == (200, "1", None)
    wait_for(lambda: arms(rig) == [(1, bad), (1, 0)], "the pair counts")


def test_callers_do_not_wait_for_a_shadow_that_hangs(make):
    """They have their answers while all copies are under way; what is over the bound has none, and is counted."""
    rig = make(candidate_timeout=30.0, request_timeout=60.0, max_copies_in_flight=3)
    answers = [rig.infer({"v2": "hang"}) for _ in range(8)]
    wait_for(lambda: rig.report().copies_dropped == 5, "the copies over the bound are dropped")

    assert [answer.status for answer in answers] == [200] * 8
    assert arms(rig) == [(0, 0), (0, 0)]


def test_a_shadow_that_is_gone_is_not_waited_for(make):
    """Its host killed, requests are served as before, in no pair."""
    rig = make()
    rig.kill_host(2)
    rig.reach(1)

    assert [rig.infer().status for _ in range(5)] == [200] * 5
    assert arms(rig) == [(0, 0), (0, 0)]


def test_the_end_of_the_lease_ends_copies(make):
    """A gateway without a controller that lives makes none."""
    rig = make()
    rig.page.renew_lease(0)
    answers = [rig.infer() for _ in range(5)]

    assert [answer.status for answer in answers] == [200] * 5
    assert (arms(rig), rig.report().copies_dropped) == ([(0, 0), (0, 0)], 0)


@pytest.mark.parametrize("change", ["held", "withdrawn"])
def test_copies_under_way_end_with_a_hold_and_with_the_shadow(make, change):
    """The request that was answered counts for its version, and the pair for no arm."""
    rig = make(candidate_timeout=30.0, request_timeout=60.0)
    assert rig.infer({"v2": "hang"}).status == 200
    if change == "held":
        publish(rig, held=True)
        publish(rig)
    else:
        rig.publish(rig.route(1))
    wait_for(lambda: stable_total(rig) == 1, "it counts for stable")

    assert arms(rig) == [(0, 0), (0, 0)]


def stable_total(rig):
    return sum(total.counts.requests for total in rig.report().totals if total.role == "stable")


def test_a_pair_is_recorded_once_with_the_copy(make):
    """The record of the request has what the shadow answered, and no other record is made of that."""
    rig = make()
    answer = rig.infer({"k": 1})
    wait_for(lambda: arms(rig) == [(1, 0), (1, 0)], "the pair counts")
    wait_for(lambda: records(rig), "it is recorded")
    (record,) = records(rig)
    version, status, took, said = record.copy

    assert record.id.decode() == answer.headers["lastgood-id"]
    assert (record.arm, record.answer) == ((RELEASE, 0, "stable"), answer.body)
    assert (version, status, b'"version": 2' in said) == (2, 200, True)
    assert took > 0
    assert (record.sketched, record.inputs, record.keep) == (True, b'{"k": 1}', False)


def records(rig):
    found = []
    for path in segments(rig.settings.incoming_predictions):
        for frame in read_segment(path, 0, bytes_max=1 << 26).frames:
            found += frame.records
    return found


def test_a_stop_records_requests_whose_copies_are_under_way(make):
    """A worker that is told to stop leaves out the copies, not the requests."""
    rig = make(candidate_timeout=30.0, request_timeout=60.0)
    for _ in range(3):
        rig.infer({"v2": "hang"})
    worker = rig.workers.pop(0)
    worker.terminate()
    worker.wait(DEADLINE)
    report = rig.newest(0)

    assert [record.copy for record in records(rig)] == [None] * 3
    assert sum(total.counts.requests for total in report.totals) == 3
    assert [(stage.candidate.requests, stage.stable.requests) for stage in report.stages] == [(0, 0)]
