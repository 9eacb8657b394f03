"""Webhooks, sent to a real receiver over HTTP."""

import base64
import contextlib
import hashlib
import hmac
import json
import logging
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lastgood.domain.channel import Channel
from lastgood.domain.event import GENESIS, EventDraft, seal
from lastgood.errors import Code, LastgoodError
from lastgood.integrations.webhook import Webhook, create
from lastgood.settings import Settings

EVENT = seal(
    EventDraft(
        type="lastgood.release.rolled_back",
        at=1_790_000_000.25,
        actor="lastgood",
        model="churn",
        deployment="churn-eu",
        release=7,
        version=2,
        data={
            "from": "rolling_back",
            "to": "rolled_back",
            "cause": "errors: 31 of 400 against 2 of 7600",
            "label": "v1.1",
            "target": 1,
            "evidence": {"candidate_bad": 31, "stable_bad": 2},
            "timings": {"published": 0.4, "verified": 7.5},
        },
    ),
    41,
    GENESIS,
)


class Receiver:
    """A receiver that answers from a list, then 204, and keeps what it was sent."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                status, headers, answer = outer.answers.pop(0) if outer.answers else (204, {}, b"")
                self.send_response(status)
                for name, value in {"content-length": str(len(answer)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(
                    BrokenPipeError, ConnectionResetError
                ):  # who has read enough hangs up
                    self.wfile.write(answer)

            def log_message(self, *_arguments):
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receive():
    """Start receivers, and stop them in the end."""
    started = []

    def start(*answers):
        started.append(Receiver(*answers))
        return started[-1]

    yield start
    for receiver in started:
        receiver.close()


def notifier(tmp_path, environ=None, **changes):
    return Webhook(folder=tmp_path, environ=environ or {}, **changes)


def refused(webhook, channel):
    with pytest.raises(LastgoodError) as caught:
        webhook.send(channel, EVENT, "key-1")
    return caught.value


def test_the_receiver_gets_a_cloud_event_that_a_person_can_read(tmp_path, receive):
    """The body is CloudEvents 1.0, and its text says what, why, on what numbers, and what happens next."""
    receiver = receive()
    notifier(tmp_path).send(Channel(webhook=receiver.url), EVENT, "key-1")
    ((path, headers, body),) = receiver.requests
    event = json.loads(body)
    assert path == "/hook"
    assert headers["content-type"] == "application/cloudevents+json"
    assert (event["specversion"], event["id"], event["type"]) == (
        "1.0",
        "key-1",
        "lastgood.release.rolled_back",
    )
    assert (event["source"], event["subject"]) == ("lastgood/churn-eu", "releases/7")
    assert (event["time"], event["sequence"]) == ("2026-09-21T14:13:20.250000Z", "41")
    assert event["datacontenttype"] == "application/json"
    data = event["data"]
    assert (data["release"], data["version"], data["deployment"], data["actor"]) == (
        7,
        2,
        "churn-eu",
        "lastgood",
    )
    assert data["evidence"] == {"candidate_bad": 31, "stable_bad": 2}
    for part in (
        "rolled back",
        "version 2 (v1.1)",
        "back to version 1",
        "31 of 400",
        "verified 7.5 ms",
        "answers",
    ):
        assert part in data["text"]


@pytest.mark.parametrize(
    ("reference", "stored", "key"),
    [
        ("env:HOOK", "plain key", b"plain key"),
        ("env:HOOK", "whsec_" + base64.b64encode(b"\x00\x01raw").decode(), b"\x00\x01raw"),
        ("file:hook.key", "key in a file\n", b"key in a file"),
    ],
)
def test_the_signature_is_that_of_standard_webhooks(tmp_path, receive, reference, stored, key):
    """A receiver that holds the key can check who sent the event, when, and that it is whole."""
    receiver = receive()
    (tmp_path / "hook.key").write_text(stored)
    webhook = notifier(tmp_path, {"HOOK": stored}, clock=lambda: 1_790_000_100.9)
    webhook.send(Channel(webhook=receiver.url, secret=reference), EVENT, "key-1")
    ((_, headers, body),) = receiver.requests
    expected = hmac.new(key, b"key-1.1790000100." + body, hashlib.sha256).digest()
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("key-1", "1790000100")
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"


def test_without_a_secret_nothing_is_signed(tmp_path, receive):
    """An unsigned event still has its id and its time, and claims no signature."""
    receiver = receive()
    notifier(tmp_path).send(Channel(webhook=receiver.url), EVENT, "key-1")
    assert "webhook-signature" not in receiver.requests[0][1]
    assert receiver.requests[0][1]["webhook-id"] == "key-1"


def test_every_try_is_the_same_event_under_the_same_key(tmp_path, receive):
    """After a 500 the next try carries the same id and the same bytes, so a receiver can drop the double."""
    receiver = receive((500, {}, b"not now"))
    webhook, channel = notifier(tmp_path), Channel(webhook=receiver.url)
    assert refused(webhook, channel).code is Code.UNAVAILABLE
    webhook.send(channel, EVENT, "key-1")
    first, second = receiver.requests
    assert first[2] == second[2]
    assert first[1]["webhook-id"] == second[1]["webhook-id"] == "key-1"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (408, Code.UNAVAILABLE),
        (429, Code.UNAVAILABLE),
        (503, Code.UNAVAILABLE),
        (400, Code.REFUSED),
        (410, Code.REFUSED),
    ],
)
def test_only_what_may_pass_is_tried_again(tmp_path, receive, status, code):
    """Overload and outages are worth another try; a receiver that says no is not."""
    receiver = receive((status, {"retry-after": "7"}, b"because"))
    error = refused(notifier(tmp_path), Channel(webhook=receiver.url))
    assert (error.code, error.details["status"], error.details["retry_after"]) == (code, status, 7)
    assert "because" in error.message


def test_a_redirect_is_not_followed(tmp_path, receive):
    """A signed event goes only where the operator said."""
    other = receive()
    receiver = receive((307, {"location": other.url}, b""))
    error = refused(notifier(tmp_path), Channel(webhook=receiver.url))
    assert error.code is Code.REFUSED
    assert "redirect" in error.message
    assert other.requests == []


def test_a_dead_receiver_is_unavailable(tmp_path):
    """Nothing listens there: another try may help."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        assert refused(notifier(tmp_path), Channel(webhook=url)).code is Code.UNAVAILABLE


def test_a_receiver_that_says_a_byte_now_and_then_has_one_deadline(tmp_path):
    """The time limit is over everything, so dripping bytes does not outlive it."""

    def drip(listener):
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):  # the sender has gone: that is what is wanted
            for byte in b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n":
                connection.sendall(bytes([byte]))
                time.sleep(0.03)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        error = refused(notifier(tmp_path, total_seconds=0.3), Channel(webhook=url))
        thread.join()
    assert error.code is Code.TIMEOUT


def test_a_silent_receiver_times_out(tmp_path):
    """A receiver that accepts and never answers is a timeout, which is tried again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        error = refused(notifier(tmp_path, total_seconds=0.2), Channel(webhook=url))
    assert error.code is Code.TIMEOUT


def test_nothing_secret_reaches_errors_or_logs(tmp_path, receive, caplog):
    """Neither the key nor the URL's user, path or query is shown, whatever goes wrong."""
    create(Settings(home=str(tmp_path / ".lastgood")))
    receiver = receive(
        (500, {}, b"x" * 5_000_000), (302, {"location": "/"}, b""), (404, {}, b""), (200, {}, b"")
    )
    url = receiver.url.replace("http://", "http://user:topsecret@") + "/topsecret?token=topsecret"
    channel = Channel(webhook=url, secret="env:HOOK")
    webhook = notifier(tmp_path, {"HOOK": "topsecret"})
    with caplog.at_level(logging.INFO):
        told = [str(refused(webhook, channel)) for _ in range(3)]
        webhook.send(channel, EVENT, "key-1")
    told.append(str(refused(notifier(tmp_path), channel)))
    assert "topsecret" not in " ".join(told) + caplog.text
    assert all(len(sentence) < 400 for sentence in told)


@pytest.mark.parametrize(
    ("reference", "environ", "code"),
    [
        ("env:GONE", {}, Code.UNAVAILABLE),
        ("env:EMPTY", {"EMPTY": ""}, Code.UNAVAILABLE),
        ("file:gone.key", {}, Code.UNAVAILABLE),
        ("env:BROKEN", {"BROKEN": "whsec_not base64"}, Code.REFUSED),
    ],
)
def test_without_its_key_nothing_is_sent(tmp_path, receive, reference, environ, code):
    """An event that should be signed never goes out unsigned; the error says where the key was looked for."""
    receiver = receive()
    error = refused(notifier(tmp_path, environ), Channel(webhook=receiver.url, secret=reference))
    assert (error.code, receiver.requests) == (code, [])
    assert reference in error.message


def test_a_url_that_cannot_be_used_is_refused(tmp_path):
    """A URL that got past the plan's checks is an error, not a crash."""
    assert refused(notifier(tmp_path), Channel(webhook="http://[::1")).code is Code.REFUSED
    assert refused(notifier(tmp_path), Channel(command=("x",))).code is Code.REFUSED
