"""The ASGI application: every path, by the long way. Inference mostly takes the short one in ``protocol``."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from lastgood.gateway import ids
from lastgood.gateway.admission import Admission, RefusedError
from lastgood.gateway.answers import NOTHING_DEPLOYED, known, problem
from lastgood.gateway.flight import RETRY_AFTER, Flight
from lastgood.gateway.inquiries import Inquiries, Reply
from lastgood.gateway.table import Endpoint, Header
from lastgood.wire.frames import Request

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Gateway:
    """One worker's application."""

    def __init__(self, admission: Admission, inquiries: Inquiries) -> None:
        self.admission = admission
        self.heads: dict[bytes, Any] = {}  # what the short way remembers of heads, for all connections
        self._inquiries = inquiries

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path, method = scope["path"], scope["method"]
        endpoint = self.admission.table().endpoints.get(path)
        kind = Request.INFER if endpoint is None else endpoint.kind
        try:
            if method == "POST" and path == "/invocations":
                kind = Request.INVOCATIONS
                endpoint = self._named(scope["headers"])
            body = await self._whole_body(scope, receive) if method == "POST" else b""
            if endpoint is None or method != "POST":
                reply = await self._inquiries.answer(path, "GET" if method == "HEAD" else method, body)
            else:
                reply = await self._infer(endpoint, scope["headers"], body)
        except RefusedError as refused:
            self.admission.count(refused)
            reply = Reply(refused.status, problem(kind, refused.status, refused.sentence))
        await _send(send, reply)

    async def _infer(self, endpoint: Endpoint, headers: list[Header], body: bytes) -> Reply:
        answered: asyncio.Future[Flight] = asyncio.get_running_loop().create_future()
        self.admission.launch(endpoint, headers, body, deliver_to(answered))
        flight = await answered
        return Reply(flight.status, flight.payload, (*flight.headers, (ids.HEADER, flight.id)))

    async def _whole_body(self, scope: Scope, receive: Receive) -> bytes:
        """Read to the end of the body, or to the limit."""
        self.admission.check_length(scope["headers"])
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(400, "the body ended before it was whole")
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > self.admission.body_bytes_max:
                raise self.admission.too_large()
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    def _named(self, headers: list[Header]) -> Endpoint:
        """MLflow's path names no deployment: the header does, or there is only one."""
        routes = self.admission.table().routes
        named = next((value for name, value in headers if name == b"lastgood-deployment"), None)
        if not routes:
            raise RefusedError(503, NOTHING_DEPLOYED)
        if named is None and len(routes) > 1:
            raise RefusedError(
                400,
                f"several deployments are served ({known(routes)}): name one in the lastgood-deployment "
                "header, or POST to /deployments/NAME/invocations",
            )
        name = next(iter(routes)) if named is None else named.decode("latin-1")
        if name not in routes:
            raise RefusedError(404, f"there is no deployment {name!r}; known: {known(routes)}")
        return Endpoint(Request.INVOCATIONS, routes[name])


def deliver_to(future: "asyncio.Future[Flight]") -> Callable[[Flight], None]:
    """Return a delivery that ends a wait; a wait that the server gave up when it shut down is left alone."""

    def deliver(flight: Flight) -> None:
        if not future.done():
            future.set_result(flight)

    return deliver


async def _send(send: Send, reply: Reply) -> None:
    headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
    if reply.status == 503 and RETRY_AFTER not in headers:
        headers.append(RETRY_AFTER)
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
