"""The short way of an inference request: from parsed headers to its lane without an ASGI task.

uvicorn's own protocol parses and serves every request that is out of the ordinary (other paths, pipelining,
``Expect``, an upgrade, a reader that is too slow). A POST to a path of the route table is launched
straight from the parser's callbacks and answered with one write: that halves the cost of a small request.
A client that keeps its connection mostly sends the same head again, byte for byte: what the parser
made of it is remembered, and not parsed again.
"""

import asyncio
import time
from typing import Any, Final, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from lastgood.gateway import ids
from lastgood.gateway.admission import RefusedError
from lastgood.gateway.answers import problem
from lastgood.gateway.asgi import Gateway
from lastgood.gateway.flight import RETRY_AFTER, Flight
from lastgood.gateway.table import JSON_TYPE, Endpoint, Header, render
from lastgood.wire.frames import Request

IDLE_SECONDS_MAX: Final = 75.0
CONNECTIONS_MAX: Final = 4_096  # of one worker
_OK: Final = STATUS_LINE[200]
_NEVER: Final = float("inf")
_HEADS_MAX: Final = 256
_HEAD_BYTES_MAX: Final = 2048
_OF_ONE_REQUEST: Final = frozenset({b"lastgood-key", ids.HEADER})


class _NoEvent:
    """Nobody waits for messages on the short way."""

    def set(self) -> None:
        """Wake nobody."""


class Head:
    """What the parser made of one request head: where it goes, its content type, the length of its body."""

    __slots__ = ("body_bytes", "headers", "url")

    def __init__(self, url: bytes, headers: list[Header], body_bytes: int) -> None:
        self.url = url
        self.headers = headers
        self.body_bytes = body_bytes


class ShortCycle:
    """What uvicorn's protocol asks of a request in progress; one per connection, used again and again."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self) -> None:
        self.disconnected = False
        self.keep_alive = True
        self.message_event = _NoEvent()
        self.response_complete = True


class GatewayProtocol(HttpToolsProtocol):
    """One client connection."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._admission = cast("Gateway", config.app).admission
        self._heads: dict[bytes, Head] = cast("Gateway", config.app).heads
        self._short = ShortCycle()
        self._as_cycle = cast("RequestResponseCycle", self._short)
        self._endpoint: Endpoint | None = None  # of the request whose body is coming on the short way
        self._body: bytes | bytearray = b""
        self._idle_since = _NEVER
        self._coming_since = _NEVER  # when the first byte of the request came whose end has not
        self._head_coming = False
        self._between = True  # no request is half parsed
        self._begun = 0
        self._short_one = False  # the last request took the short way to its end

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or turn it away at once when there are too many."""
        super().connection_made(transport)
        self._idle_since = time.monotonic()
        if len(self.connections) > CONNECTIONS_MAX:
            self._short.keep_alive = False
            self._refuse(None, RefusedError(503, f"more than {CONNECTIONS_MAX} connections are open"))

    def close_if_late(self, now: float) -> None:
        """Close a connection that asks nothing, or does not end its request. ``now`` is CLOCK_MONOTONIC seconds."""
        if now - self._coming_since > self._admission.body_seconds_max:
            self._give_up_request(now)
        elif now - self._idle_since > IDLE_SECONDS_MAX and (
            self.cycle is None or self.cycle is self._as_cycle
        ):
            self.timeout_keep_alive_handler()

    def _give_up_request(self, now: float) -> None:
        """Answer 408 to a request whose end does not come, unless an earlier one has to be answered first."""
        cycle = self.cycle
        if self.transport.is_closing():
            self.transport.abort()
        elif self.pipeline:
            self._coming_since = now  # it is this side that does not read
        elif self._head_coming and cycle is not None and not cycle.response_complete:
            return  # that answer has a deadline of its own
        else:
            self._refuse(
                self._endpoint, RefusedError(408, "the request did not come to its end in time"), last=True
            )

    # --- the parser's callbacks -------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Launch a request whose head is known and whose body is all there; parse any other."""
        between = self._between
        if between and self.cycle is self._as_cycle and self._short.response_complete:
            end = data.find(b"\r\n\r\n") + 4
            head = self._heads.get(data[:end])
            if head is not None and len(data) - end == head.body_bytes and not self.flow.write_paused:
                endpoint = self._admission.table().targets.get(head.url)
                if endpoint is not None:
                    self._idle_since = _NEVER
                    self._short.response_complete = False
                    self._launch(endpoint, head.headers, data[end:])
                    return
        self._begun = 0
        super().data_received(data)
        if self._endpoint is not None:  # the rest of its body is still to come
            self._refuse_announced()
        elif between and self._between and self._begun == 1 and self._short_one:
            self._remember(data)

    def _remember(self, data: bytes) -> None:
        """Keep what the parser made of ``data``, which was exactly one request."""
        end = data.find(b"\r\n\r\n") + 4
        names = [name for name, _ in self.headers]
        one_length = names.count(b"content-length") == 1 and b"transfer-encoding" not in names
        # Heads with a sticky key or an id are as many as there are of those: not worth their memory.
        if one_length and not _OF_ONE_REQUEST.intersection(names) and end <= _HEAD_BYTES_MAX:
            if len(self._heads) >= _HEADS_MAX:
                self._heads.clear()
            told = [
                header for header in self.headers if header[0] == b"content-type"
            ]  # all that is asked for
            self._heads[data[:end]] = Head(self.url, told, len(data) - end)

    def on_message_begin(self) -> None:
        """Forget the last request; the ASGI scope is made only if the long way needs it."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._idle_since = _NEVER
        self._coming_since = time.monotonic()
        self._head_coming = True
        self._between = self._short_one = False
        self._begun += 1

    def on_headers_complete(self) -> None:
        """Take the short way if nothing about the request is out of the ordinary."""
        self._head_coming = False
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            endpoint = self._admission.table().targets.get(self.url)
            parser = self.parser
            if (
                endpoint is not None
                and parser.get_method() == b"POST"
                and not self.expect_100_continue
                and not parser.should_upgrade()
                and not self.flow.write_paused
                and parser.get_http_version() == "1.1"
                and not (self.url == b"/invocations" and self._names_a_deployment())
            ):
                self._endpoint = endpoint
                self._body = b""
                self.cycle = self._as_cycle
                self._short.response_complete = False
                self._short.keep_alive = parser.should_keep_alive()
                return
        self._take_the_long_way()

    def _names_a_deployment(self) -> bool:
        return any(name == b"lastgood-deployment" for name, _ in self.headers)

    def _take_the_long_way(self) -> None:
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        if self._endpoint is None:
            super().on_body(body)
        elif not self._body:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body
        if self._endpoint is not None and len(self._body) > self._admission.body_bytes_max:
            self._refuse(self._endpoint, self._admission.too_large(), last=True)

    def on_message_complete(self) -> None:
        """Launch."""
        self._between = True
        self._coming_since = _NEVER
        endpoint = self._endpoint
        if endpoint is None:
            super().on_message_complete()
            return
        body, self._body = self._body, b""
        self._short_one = self._short.keep_alive
        self._endpoint = None
        self._launch(endpoint, self.headers, body if isinstance(body, bytes) else bytes(body))

    def _launch(self, endpoint: Endpoint, headers: list[Header], body: bytes) -> None:
        try:
            self._admission.launch(endpoint, headers, body, self._deliver)
        except RefusedError as refused:
            self._refuse(endpoint, refused)

    # --- answers ----------------------------------------------------------------------------------

    def _deliver(self, flight: Flight) -> None:
        lane = flight.lane
        if flight.headers is lane.headers and flight.status == 200:
            self._write(_OK, lane.head, flight.payload, flight.id)
        else:
            self._write(STATUS_LINE[flight.status], render(flight.headers), flight.payload, flight.id)

    def _refuse_announced(self) -> None:
        try:
            self._admission.check_length(self.headers)
        except RefusedError as refused:
            self._refuse(self._endpoint, refused, last=True)

    def _refuse(self, endpoint: Endpoint | None, refused: RefusedError, *, last: bool = False) -> None:
        """Answer what no version was asked; ``last`` closes a connection whose body is not read to its end."""
        kind = endpoint.kind if endpoint is not None else Request.INFER
        self._endpoint = None
        self._body = b""
        self._admission.count(refused)
        if last:
            self._short.keep_alive = False
        headers = (JSON_TYPE, RETRY_AFTER) if refused.status == 503 else (JSON_TYPE,)
        payload = problem(kind, refused.status, refused.sentence)
        self._write(STATUS_LINE[refused.status], render(headers), payload)

    def _write(self, start: bytes, head: bytes, payload: bytes, named: bytes = b"") -> None:
        short, transport = self._short, self.transport
        short.response_complete = True
        if transport.is_closing():
            return
        length = b"content-length: %d\r\n\r\n" % len(payload)
        if named:
            length = b"lastgood-id: %b\r\n%b" % (named, length)
        dated = _rendered_defaults(self.server_state.default_headers)
        if short.keep_alive:
            transport.write(b"".join((start, dated, head, length, payload)))
        else:
            transport.write(b"".join((start, dated, head, b"connection: close\r\n", length, payload)))
            transport.close()
        if self.pipeline:
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1
            self._idle_since = time.monotonic()


class _Defaults:
    """The server's default headers (the date), rendered once for as long as uvicorn keeps the list."""

    source: list[tuple[bytes, bytes]] | None = None
    rendered = b""


def _rendered_defaults(headers: list[tuple[bytes, bytes]]) -> bytes:
    if _Defaults.source is not headers:
        _Defaults.source = headers
        _Defaults.rendered = render(headers)
    return _Defaults.rendered
