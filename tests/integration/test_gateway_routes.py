"""Route switches, shares, direct versions and both protocols. The hosts here are FAKE (see ``gateway_rig``)."""

import http.client
import json
import os
import signal
import socket
import threading

import pytest
from gateway_rig import DEADLINE, Rig, wait_for

from lastgood.gateway.assignment import point_of, takes_candidate


@pytest.fixture(scope="module")
def shared():
    rig = Rig(candidate_timeout=30.0, request_timeout=60.0)  # no time runs out between two steps of a test
    for version in (1, 2, 3):
        rig.start_host(version)
    yield rig
    rig.close()


@pytest.fixture
def rig(shared):
    shared.page.renew_lease(600)
    return shared


def in_background(rig, body, path="/v2/models/churn/infer"):
    """Start a request, wait until the worker has it, and return how to collect its answer."""
    before = rig.report().in_flight
    answers = []
    caller = threading.Thread(target=lambda: answers.append(rig.ask("POST", path, body)))
    caller.start()
    wait_for(lambda: rig.report().in_flight > before, "the request is in flight")

    def collect():
        caller.join()
        return answers[0]

    return collect


def stage_of(rig, release):
    return next((stage for stage in rig.report().stages if stage.release == release), None)


# --- switches ---------------------------------------------------------------------------------------


def test_a_rollback_takes_back_what_is_in_flight(rig):
    """A request on a candidate that leaves the route is answered by stable before its timeout, and counts for no arm."""
    rig.publish(rig.route(1, 2, release=501))
    rig.reach(1, 2)
    collect = in_background(rig, {"v2": "hang"})
    rig.publish(rig.route(1), wait=False)
    answer = collect()
    stage = stage_of(rig, 501)

    assert (answer.status, answer.version, answer.fallback) == (200, "1", "rolled-back")
    assert stage is None or (stage.candidate.requests, stage.stable.requests) == (0, 0)


def test_a_rollback_of_a_promoted_version_takes_back_its_requests(rig):
    """When stable itself is left, requests on it are answered by the new stable."""
    rig.publish(rig.route(2, standby=1))
    rig.reach(1, 2)
    collect = in_background(rig, {"v2": "hang"})
    rig.publish(rig.route(1), wait=False)
    answer = collect()

    assert (answer.status, answer.version, answer.fallback) == (200, "1", "rolled-back")


def test_a_worker_acknowledges_only_when_nothing_disobeys(rig):
    """Once the new generation is acknowledged, the answer of the withdrawn version reaches nobody."""
    rig.publish(rig.route(1, 2, release=502))
    rig.reach(1, 2)
    os.kill(rig.hosts[2].pid, signal.SIGSTOP)
    collect = in_background(rig, {})
    rig.publish(rig.route(1))
    os.kill(rig.hosts[2].pid, signal.SIGCONT)
    answer = collect()

    assert all(worker.in_flight == 0 for worker in rig.page.workers())
    assert (answer.status, answer.version, answer.fallback) == (200, "1", "rolled-back")


def test_a_promotion_leaves_requests_in_flight_alone(rig):
    """A version that stays in the route in another role keeps its requests: nothing is asked twice."""
    rig.publish(rig.route(1, 2, release=503))
    rig.reach(1, 2)
    os.kill(rig.hosts[2].pid, signal.SIGSTOP)
    collect = in_background(rig, {})
    rig.publish(rig.route(2, standby=1))
    os.kill(rig.hosts[2].pid, signal.SIGCONT)
    answer = collect()

    assert (answer.status, answer.version, answer.fallback) == (200, "2", None)


def test_a_direct_request_on_a_withdrawn_version_is_told_so(rig):
    """A caller who named a version gets no other one's answer: 409 with a sentence."""
    rig.publish(rig.route(1, standby=2))
    rig.reach(1, 2)
    collect = in_background(rig, {"v2": "hang"}, "/v2/models/churn/versions/2/infer")
    rig.publish(rig.route(1), wait=False)
    answer = collect()

    assert answer.status == 409
    assert "version 2 was withdrawn" in answer.json()["error"]


def test_a_new_route_holds_from_the_next_request(rig):
    """The request after the publication, with no wait in between, is answered by the new stable."""
    versions = []
    for stable in (1, 2, 1, 3, 2, 1):
        rig.publish(rig.route(stable, standby=1 if stable != 1 else 2), wait=False)
        versions.append((rig.infer().version, str(stable)))

    assert all(seen == wanted for seen, wanted in versions)


def test_a_damaged_page_changes_nothing(rig):
    """When the page's checksum is wrong the last good route serves on, and a later publication is obeyed."""
    rig.publish(rig.route(1))
    rig.reach(1)
    rig.generation += 1
    state = rig.page.words[2]
    with (rig.run / "route.page").open("r+b") as file:
        file.seek(8192 + 4 * 1024 * 1024 * (1 - (state & 1)))
        file.write(b"\x10\x00\x00\x00rubbishrubbishrubbish")
    rig.page.words[2] = rig.generation * 2 + 1 - (state & 1)
    during = rig.infer()
    rig.publish(rig.route(2))
    after = rig.infer()

    assert (during.status, during.version) == (200, "1")
    assert (after.status, after.version) == (200, "2")


# --- shares -----------------------------------------------------------------------------------------


def test_a_key_sticks_to_its_arm(rig):
    """Every key goes where the pure assignment says, by header or by the body's parameters, each time."""
    rig.publish(rig.route(1, 2, weight=4_000, release=504))
    rig.reach(1, 2)
    expected, by_header, by_body = {}, {}, {}
    for number in range(40):
        key = f"customer {number}"
        expected[key] = "2" if takes_candidate(point_of(504, key.encode()), 4_000) else "1"
        by_header[key] = rig.infer(lastgood_key=key).version
        by_body[key] = rig.infer({"parameters": {"key": key}}).version

    assert by_header == expected
    assert by_body == expected
    assert set(expected.values()) == {"1", "2"}


def test_the_report_says_what_the_client_saw(rig):
    """Counts of both arms in the release are exactly the answers that came back, failures among them."""
    rig.publish(rig.route(1, 2, weight=5_000, release=505, stage=3))
    rig.reach(1, 2)
    seen = [  # by keys, so that it is the same requests that fail each time, too far apart for the reflex
        rig.infer({"v2": "error" if number % 6 == 0 else "ok"}, lastgood_key=f"customer {number}")
        for number in range(60)
    ]
    report = rig.report()
    stage = next(stage for stage in report.stages if stage.release == 505)
    fallbacks = sum(answer.fallback == "error" for answer in seen)
    by_candidate = sum(answer.version == "2" for answer in seen)

    assert {answer.status for answer in seen} == {200}
    assert [reflex for reflex in report.reflexes if reflex.release == 505] == []
    assert (stage.stage, stage.candidate.errors) == (3, fallbacks)
    assert stage.candidate.requests == by_candidate + fallbacks
    assert stage.stable.requests == 60 - by_candidate - fallbacks
    assert sum(stage.candidate.latency.values()) == stage.candidate.requests
    assert min(by_candidate, fallbacks, stage.stable.requests) > 0


def test_without_weight_nothing_is_counted_for_the_release(rig):
    """A candidate at weight 0 gets nothing, and stable's requests are not the release's."""
    rig.publish(rig.route(1, 2, weight=0, release=506))
    rig.reach(1, 2)
    answers = [rig.infer() for _ in range(5)]

    assert {(answer.version, answer.headers.get("lastgood-release")) for answer in answers} == {("1", None)}
    assert stage_of(rig, 506) is None


# --- versions by number -----------------------------------------------------------------------------


def test_a_version_in_the_route_can_be_asked_for(rig):
    """Stable, candidate and standby answer by number, outside the release; another number is 404 with the known ones."""
    rig.publish(rig.route(1, 2, standby=3, release=507))
    rig.reach(1, 2, 3)
    answers = [rig.ask("POST", f"/v2/models/churn/versions/{number}/infer", {}) for number in (1, 2, 3)]
    other = rig.ask("POST", "/v2/models/churn/versions/9/infer", {})

    assert [answer.version for answer in answers] == ["1", "2", "3"]
    assert all("lastgood-release" not in answer.headers for answer in answers)
    assert stage_of(rig, 507) is None or stage_of(rig, 507).candidate.requests == 0
    assert other.status == 404
    assert "1, 2, 3" in other.json()["error"]


def test_a_direct_request_has_no_fallback(rig):
    """The failure of a version that was asked for by number is the answer."""
    rig.publish(rig.route(1, 2, release=508))
    rig.reach(1, 2)
    answer = rig.ask("POST", "/v2/models/churn/versions/2/infer", {"v2": "error"})

    assert (answer.status, answer.version, answer.fallback) == (500, "2", None)


# --- the rest of both protocols -----------------------------------------------------------------------


def test_the_v2_paths_answer(rig):
    """Server, health, metadata, readiness and index answer as the Open Inference Protocol says."""
    rig.publish(rig.route(1, standby=2))
    rig.reach(1, 2)
    metadata = rig.ask("GET", "/v2/models/churn").json()

    assert rig.ask("GET", "/v2").json()["name"] == "lastgood"
    assert rig.ask("GET", "/v2/health/live").status == 200
    assert rig.ask("GET", "/v2/health/ready").json() == {"ready": True}
    assert rig.ask("GET", "/v2/models").json() == {"models": ["churn"]}
    assert metadata == {
        "name": "churn",
        "versions": ["1", "2"],
        "platform": "fake",
        "inputs": [],
        "outputs": [],
    }
    assert rig.ask("GET", "/v2/models/churn/versions/2").headers["lastgood-version"] == "2"
    assert rig.ask("GET", "/v2/models/churn/versions/2/ready").json() == {"name": "churn", "ready": True}
    assert rig.ask("HEAD", "/v2/health/live").status == 200
    index = rig.ask("POST", "/v2/repository/index").json()
    assert [(entry["version"], entry["state"]) for entry in index] == [("1", "READY"), ("2", "READY")]


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "/v2/models/nobody/infer", 404, "known: churn"),
        ("GET", "/v2/models/nobody", 404, "known: churn"),
        ("GET", "/nothing", 404, "nothing at /nothing"),
        ("GET", "/v2/models/churn/infer", 405, "POST"),
        ("POST", "/v2/health/live", 405, "GET"),
        ("DELETE", "/v2/models/churn", 405, "GET"),
        ("GET", "/v2/models/churn/versions/x", 404, "known: 1"),
        ("POST", "/v2/repository/models/churn/load", 400, "lastgood release"),
        ("POST", "/v2/repository/models/churn/unload", 400, "lastgood release"),
    ],
)
def test_what_cannot_be_asked_is_explained(rig, method, path, status, words):
    """A wrong path, method or model is a 4xx whose sentence says what can be asked."""
    rig.publish(rig.route(1))
    rig.reach(1)
    answer = rig.ask(method, path, {} if method == "POST" else None)

    assert answer.status == status
    assert words in answer.json()["error"]
    assert (status == 405) == ("allow" in answer.headers)


def test_mlflow_paths_answer(rig):
    """Scoring, ping, health and version are where MLflow's clients look for them."""
    rig.publish(rig.route(1))
    rig.reach(1)
    answer = rig.ask("POST", "/invocations", {}, {"content-type": "application/json; charset=utf-8"})

    assert (answer.status, answer.version, answer.json()["kind"]) == (200, "1", 2)
    assert rig.ask("POST", "/deployments/churn/invocations", {}).json()["kind"] == 2
    assert rig.ask("GET", "/ping").body == rig.ask("GET", "/health").body == b"\n"
    assert rig.ask("GET", "/version").status == 200
    assert rig.ask("GET", "/invocations").headers["allow"] == "POST"
    assert rig.ask("POST", "/invocations", b"a,b", {"content-type": "text/csv"}).status == 415


def test_several_deployments_must_be_named_for_mlflow(rig):
    """With two deployments /invocations needs the header; both share one host."""
    rig.publish(rig.route(1), rig.route(1, deployment="churn-eu"))
    rig.reach(1)
    unnamed = rig.ask("POST", "/invocations", {})
    named = rig.ask("POST", "/invocations", {}, {"lastgood-deployment": "churn-eu"})
    unknown = rig.ask("POST", "/invocations", {}, {"lastgood-deployment": "nobody"})

    assert (unnamed.status, unnamed.json()["error_code"]) == (400, "BAD_REQUEST")
    assert "churn, churn-eu" in unnamed.json()["message"]
    assert (named.status, named.json()["name"]) == (200, "churn-eu")
    assert unknown.status == 404


# --- the wire -----------------------------------------------------------------------------------------


def talk(rig, raw, answers):
    """Send raw bytes on one connection and return what came back, once it holds that many status lines."""
    received = b""
    with socket.create_connection(("127.0.0.1", rig.port), timeout=DEADLINE) as connection:
        connection.sendall(raw)
        while received.count(b"HTTP/1.1 ") < answers or not received.endswith((b"}", b"\n")):
            part = connection.recv(65536)
            if not part:
                break
            received += part
    return received


def post(path, body, *headers):
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_pipelined_requests_are_answered_in_order(rig):
    """Requests sent in one go on one connection come back one by one, whichever way each takes."""
    rig.publish(rig.route(1, standby=2))
    rig.reach(1, 2)
    paths = [f"/v2/models/churn/versions/{number}/infer" for number in (1, 2, 1, 1, 2)]
    received = talk(rig, b"".join(post(path, b"{}") for path in paths), len(paths))
    versions = [part[:1] for part in received.split(b"lastgood-version: ")[1:]]

    assert received.count(b"HTTP/1.1 200") == 5
    assert versions == [b"1", b"2", b"1", b"1", b"2"]


def test_the_same_head_again_means_the_same_and_obeys_the_newest_route(rig):
    """On a kept connection, requests with one and the same head get their own body's answer by the route of now."""
    connection = http.client.HTTPConnection("127.0.0.1", rig.port, timeout=DEADLINE)
    seen = []
    for stable in (1, 2, 1):
        rig.publish(rig.route(stable, standby=3 - stable))
        rig.reach(1, 2)
        for order in ("ok", "no", "bad", "ok"):
            body = json.dumps({f"v{stable}": order}).ljust(40)  # one length, so one head
            connection.request("POST", "/v2/models/churn/infer", body)
            answer = connection.getresponse()
            answer.read()
            seen.append((answer.status, answer.headers["lastgood-version"]))
    connection.close()

    assert seen == [(status, version) for version in "121" for status in (200, 200, 400, 200)]


@pytest.mark.parametrize(
    "headers", [("expect: 100-continue",), ("connection: close",), ("upgrade: h2c", "connection: upgrade")]
)
def test_requests_out_of_the_ordinary_are_answered(rig, headers):
    """Expect, close and upgrade headers do not keep a request from its answer."""
    rig.publish(rig.route(1))
    rig.reach(1)
    received = talk(rig, post("/v2/models/churn/infer", b"{}", *headers), 2 if "expect" in headers[0] else 1)

    assert b"HTTP/1.1 200" in received
    assert b"lastgood-version: 1" in received
    assert (b"connection: close" in received) == ("connection: close" in headers)


def test_a_body_in_pieces_and_chunks_arrives_whole(rig):
    """A body sent byte by byte and a chunked one reach the host in full; the answers say how long they were."""
    rig.publish(rig.route(1))
    rig.reach(1)
    body = b'{"filler": "' + b"x" * 100_000 + b'"}'
    plain = rig.infer(body)
    chunked = b"transfer-encoding: chunked\r\n\r\n" + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    received = talk(rig, b"POST /v2/models/churn/infer HTTP/1.1\r\nhost: x\r\n" + chunked, 1)

    assert plain.json()["bytes"] == len(body)
    assert b'"bytes": %d' % len(body) in received


def test_a_key_that_is_too_long_is_refused(rig):
    """A sticky key over 1 KiB is the caller's fault, in header and body."""
    rig.publish(rig.route(1, 2, release=509))
    rig.reach(1, 2)

    assert rig.infer(lastgood_key="k" * 1025).status == 400
    assert rig.infer({"parameters": {"key": "k" * 1025}}).status == 400
    assert rig.infer(lastgood_key="k" * 1024).status == 200
