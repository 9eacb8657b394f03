"""The application: the endpoints on HTTP, their threads, health and metrics."""

import functools
import importlib.metadata
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from anyio import CapacityLimiter, to_thread
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lastgood.bootstrap import Services
from lastgood.errors import Code, LastgoodError
from lastgood.web.auth import Guard
from lastgood.web.endpoint import PREFIX, Endpoint
from lastgood.web.health import health_of
from lastgood.web.metrics import registry
from lastgood.web.problem import answer_error
from lastgood.web.table import ENDPOINTS, openapi

BODY_BYTES_MAX: Final = 1024 * 1024
_THREADS: Final = 16
_URGENT_THREADS: Final = 64
_WAITING_MAX: Final = 2  # rollbacks of one deployment; a stuck one must not hold the threads of the others
_encode = msgspec.json.Encoder().encode
_Handler = Callable[[Request], Awaitable[Response]]


def build_app(services: Services) -> Starlette:
    """Return the control API over ``services``. It neither opens nor closes them."""
    ordinary, urgent = CapacityLimiter(_THREADS), CapacityLimiter(_URGENT_THREADS)
    waiting: Counter[str] = Counter()
    handlers: dict[str, dict[str, _Handler]] = {}
    for endpoint in ENDPOINTS:
        handle = _handler(endpoint, services, urgent if endpoint.urgent else ordinary)
        handle = _in_turn(handle, waiting) if endpoint.urgent else handle
        handlers.setdefault(endpoint.path, {})[endpoint.method] = handle
    routes = [Route(path, _by_method(methods), methods=list(methods)) for path, methods in handlers.items()]
    document = _encode(openapi(importlib.metadata.version("lastgood")))
    metrics = registry(services)

    async def health(_request: Request) -> Response:
        found = health_of(services, time.monotonic())
        return _json(found, 200 if found.ok else 503)

    async def describe(_request: Request) -> Response:
        return Response(document, media_type="application/json")

    async def scrape(_request: Request) -> Response:
        try:
            text = await to_thread.run_sync(generate_latest, metrics, limiter=ordinary)
        except Exception as error:  # noqa: BLE001 - the edge: shown as internal, logged there
            return answer_error(error)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    routes += [
        Route("/health", health),
        Route("/metrics", scrape),
        Route(f"{PREFIX}/openapi.json", describe),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, settings=services.settings)],
        exception_handlers={HTTPException: _no_route},
    )


def _handler(endpoint: Endpoint, services: Services, limiter: CapacityLimiter) -> _Handler:
    async def handle(request: Request) -> Response:
        try:
            body = await _body(request) if endpoint.body is not None else b""
            query = dict(request.query_params)
            work = functools.partial(endpoint.run, services, request.path_params, query, body)
            found = await to_thread.run_sync(work, limiter=limiter)
            return _json(found, endpoint.status)
        except Exception as error:  # noqa: BLE001 - the edge: every error becomes an answer
            return answer_error(error)

    return handle


def _in_turn(handle: _Handler, waiting: Counter[str]) -> _Handler:
    """Let at most two callers wait for one deployment's way back; a further one has nothing to add."""

    async def handle_in_turn(request: Request) -> Response:
        name = request.path_params["deployment"]
        if waiting[name] >= _WAITING_MAX:
            what = f"A rollback of {name!r} is already being waited for."
            return answer_error(LastgoodError(Code.CONFLICT, what, "See 'lastgood status'."))
        waiting[name] += 1
        try:
            return await handle(request)
        finally:
            waiting[name] -= 1
            if not waiting[name]:
                del waiting[name]

    return handle_in_turn


def _by_method(methods: dict[str, _Handler]) -> _Handler:
    async def choose(request: Request) -> Response:
        return await methods["GET" if request.method == "HEAD" else request.method](request)

    return choose


async def _body(request: Request) -> bytes:
    """Read the body up to its limit.

    :raises LastgoodError: ``too_large``.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_BYTES_MAX:
            raise LastgoodError(
                Code.TOO_LARGE, f"The body is over {BODY_BYTES_MAX} bytes.", "Send a smaller one."
            )
        parts.append(part)
    return b"".join(parts)


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        what = f"{request.url.path} does not take {request.method}."
        return answer_error(LastgoodError(Code.INVALID, what, f"See {PREFIX}/openapi.json."), status=405)
    what = f"There is nothing at {request.url.path}."
    return answer_error(LastgoodError(Code.NOT_FOUND, what, f"See {PREFIX}/openapi.json."), status=status)


def _json(found: Any, status: int = 200) -> Response:
    return Response(_encode(found), status_code=status, media_type="application/json")
