"""Callers that hold on to a worker: half a request, none at all. The hosts here are FAKE (see ``gateway_rig``)."""

import socket

import pytest
from gateway_rig import DEADLINE, Rig

HEAD = b"POST /v2/models/churn/infer HTTP/1.1\r\nhost: x\r\n"


@pytest.fixture(scope="module")
def rig():
    made = Rig(request_timeout=0.5, candidate_timeout=0.2)
    made.start_host(1)
    made.publish(made.route(1))
    made.reach(1)
    yield made
    made.close()


def said_until_closed(rig, raw):
    with socket.create_connection(("127.0.0.1", rig.port), timeout=DEADLINE) as connection:
        connection.sendall(raw)
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


@pytest.mark.parametrize(
    "half",
    [
        b"POST /v2/mod",
        HEAD,
        HEAD + b"content-length: 10\r\n\r\n{",
        HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\n{",
        b"POST /v2/repository/index HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{",
    ],
)
def test_half_a_request_is_answered_408_and_closed(rig, half):
    """A head or body that does not end within the request's time is refused, whichever way it takes."""
    received = said_until_closed(rig, half)

    assert received.startswith(b"HTTP/1.1 408 ")
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in received


def test_half_a_request_after_a_whole_one_is_answered_in_its_turn(rig):
    """The whole request has its own answer first, and then the half one its 408."""
    received = said_until_closed(rig, HEAD + b"content-length: 2\r\n\r\n{}" + HEAD)
    statuses = [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]

    assert statuses == [b"200", b"408"]


@pytest.mark.parametrize("number", ["9" * 5000, "\u0661", "1" * 19])
def test_a_version_that_is_no_number_is_not_found(rig, number):
    """Thousands of digits, or digits of another script, are 404 with what can be asked and a short sentence."""
    path = "".join(f"%{byte:02x}" for byte in number.encode()) if not number.isascii() else number
    answer = rig.ask("GET", f"/v2/models/churn/versions/{path}/ready")

    assert answer.status == 404
    assert "known: 1" in answer.json()["error"]
    assert len(answer.body) < 400


def test_a_key_with_a_line_end_reaches_no_header(rig):
    """A sticky key in the body, with a header of its own after a line end, leaves the answer's headers alone."""
    rig.publish(rig.route(1, 1, weight=5_000, release=601))
    answer = rig.infer({"parameters": {"key": "a\r\nset-cookie: b=c"}})

    assert answer.status == 200
    assert "set-cookie" not in answer.headers


def test_a_broken_page_is_counted(rig):
    """Reads of a page that fails its checksum are in the report."""
    before = rig.report().page_errors
    rig.generation += 1
    state = rig.page.words[2]
    with (rig.run / "route.page").open("r+b") as file:
        file.seek(8192 + 4 * 1024 * 1024 * (1 - (state & 1)))
        file.write(b"\x10\x00\x00\x00rubbishrubbishrubbish")
    rig.page.words[2] = rig.generation * 2 + 1 - (state & 1)
    during = [rig.report().page_errors for _ in range(3)][-1]
    rig.publish(rig.route(1))

    assert before == 0
    assert during > 0
