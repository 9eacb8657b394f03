"""What gateway workers record: every answer with the id that its caller saw. The hosts are FAKE (see ``gateway_rig``)."""

import uuid

import pytest
from gateway_rig import Rig, wait_for

from lastgood.wire.predictions import read_segment, segments

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rig():
    rig = Rig(keep_inputs="all")
    rig.start_host(1)
    rig.start_host(2)
    rig.publish(rig.route(1, 2, release=70))
    rig.reach(1, 2)
    yield rig
    rig.close()


def record_of(rig, id_):
    """Return the record of a request once it is written."""

    def look():
        found = {}
        for path in segments(rig.settings.incoming_predictions):
            for frame in read_segment(path, 0, bytes_max=1 << 26).frames:
                found |= {record.id: record for record in frame.records}
        return found.get(id_.encode())

    wait_for(look, f"the request {id_} is recorded")
    return look()


def test_an_answer_carries_an_id_under_which_it_is_recorded(rig):
    """The candidate's own answer, its version, its arm, its inputs: found by the header of the answer."""
    answer = rig.infer({"k": 1})
    record = record_of(rig, answer.headers["lastgood-id"])
    assert uuid.UUID(answer.headers["lastgood-id"]).version == 7
    assert (record.given, record.v2, record.status, record.fallback) == (False, True, 200, None)
    assert (record.who, record.arm, record.release) == (
        ("churn", "churn", 2, "candidate"),
        (70, 1, "candidate"),
        70,
    )
    assert (record.answer, record.inputs) == (answer.body, b'{"k": 1}')
    assert record.took > 0


def test_the_callers_id_is_kept(rig):
    """An id in the header comes back and is the one that is recorded; an unsound one is replaced."""
    answer = rig.infer({}, lastgood_id="order-7")
    assert answer.headers["lastgood-id"] == "order-7"
    assert record_of(rig, "order-7").given
    replaced = rig.infer({}, lastgood_id="x" * 200).headers["lastgood-id"]
    assert uuid.UUID(replaced).version == 7


def test_ids_of_remembered_heads_differ(rig):
    """A connection that sends the same head again gets a new id each time."""
    ids = {rig.infer({}).headers["lastgood-id"] for _ in range(20)}
    assert len(ids) == 20


@pytest.mark.parametrize(("order", "reason"), [("error", "error"), ("hang", "timeout")])
def test_stable_that_answers_for_the_candidate_is_recorded_as_such(rig, order, reason):
    """Who answered is stable, the arm is the candidate's, and the reason stands beside them."""
    answer = rig.infer({"v2": order})
    record = record_of(rig, answer.headers["lastgood-id"])
    assert (answer.version, answer.fallback) == ("1", reason)
    assert (record.who, record.arm, record.fallback) == (
        ("churn", "churn", 1, "stable"),
        (70, 1, "candidate"),
        reason,
    )


def test_a_direct_request_counts_for_no_release(rig):
    """A request that named its version is recorded with neither release nor arm."""
    answer = rig.ask("POST", "/v2/models/churn/versions/1/infer", {})
    record = record_of(rig, answer.headers["lastgood-id"])
    assert (record.who, record.arm, record.release) == (("churn", "churn", 1, "stable"), None, None)


def test_an_answer_that_failed_is_recorded_too(rig):
    """What no version could answer has an id and a status, as any other."""
    answer = rig.infer({"v1": "error", "v2": "error"})
    assert answer.status == 500
    assert record_of(rig, answer.headers["lastgood-id"]).status == 500


def test_the_long_way_has_ids_too(rig):
    """MLflow's path and a body in chunks, which take the other way through the worker."""
    headers = {"content-type": "application/json", "lastgood-deployment": "churn"}
    answer = rig.ask("POST", "/invocations", b"{}", headers)
    record = record_of(rig, answer.headers["lastgood-id"])
    assert (answer.status, record.v2) == (200, False)


def test_questions_about_a_model_are_not_recorded(rig):
    """Metadata and health have no id; what was asked in between leaves nothing but inference behind."""
    assert "lastgood-id" not in rig.ask("GET", "/v2/models/churn").headers
    assert "lastgood-id" not in rig.ask("GET", "/v2/health/live").headers
    before = rig.report().recorded
    rig.ask("GET", "/v2/models/churn")
    record_of(rig, rig.infer({}).headers["lastgood-id"])
    wait_for(lambda: rig.report().recorded > before, "the worker has counted what it wrote")
    assert rig.report().recorded == before + 1
    assert rig.report().unrecorded == 0
