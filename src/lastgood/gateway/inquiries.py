"""Every path that is not an inference: health, metadata, the repository, and what is not there."""

import asyncio
import time
from importlib.metadata import version as installed_version
from typing import Final

import msgspec

from lastgood.gateway.answers import NOTHING_DEPLOYED, encode, known
from lastgood.gateway.dispatch import Dispatcher
from lastgood.gateway.flight import Flight
from lastgood.gateway.table import JSON_TYPE, Header, Lane, LiveRoute
from lastgood.wire.frames import Request

_TEXT: Final[Header] = (b"content-type", b"text/plain; charset=utf-8")
_DIGITS_MAX: Final = 18  # more name no version, and make a number slowly or not at all
_SHOWN_MAX: Final = 40
_ONLY_RELEASES: Final = "only a release moves traffic: use lastgood release"


class Reply(msgspec.Struct, frozen=True):
    """One whole answer, less its length."""

    status: int
    body: bytes
    headers: tuple[Header, ...] = (JSON_TYPE,)


class _IndexQuestion(msgspec.Struct):
    ready: bool = False


class Inquiries:
    """Answers from the table in force and from the hosts' own metadata."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._version = installed_version("lastgood")

    async def answer(self, path: str, method: str, body: bytes) -> Reply:
        """Answer any request that is no inference, 404 and 405 included."""
        match path.split("/")[1:]:
            case ["ping" | "health"]:
                return _allowed(method, "GET") or Reply(200, b"\n", (_TEXT,))
            case ["version"]:
                return _allowed(method, "GET") or Reply(200, self._version.encode(), (_TEXT,))
            case ["invocations"]:
                return _not_allowed("POST")
            case ["deployments", name, "invocations"]:
                return _allowed(method, "POST") or self._unknown(name)
            case ["v2", *rest]:
                return await self._v2(rest, method, body)
        return _not_found(path)

    async def _v2(self, rest: list[str], method: str, body: bytes) -> Reply:
        match rest:
            case [] | [""]:
                about = {"name": "lastgood", "version": self._version, "extensions": ["model_repository"]}
                return _allowed(method, "GET") or _json(about)
            case ["health", "live"]:
                return _allowed(method, "GET") or _json({"live": True})
            case ["health", "ready"]:
                return _allowed(method, "GET") or self._ready()
            case ["models"]:
                return _allowed(method, "GET") or _json({"models": list(self._dispatcher.table.routes)})
            case ["models", name, *path]:
                return await self._model(name, path, method)
            case ["repository", "index"]:
                return _allowed(method, "POST") or self._index(body)
            case ["repository", "models", _, "load" | "unload"]:
                return _allowed(method, "POST") or _problem(400, _ONLY_RELEASES)
        return _not_found("/".join(["/v2", *rest]))

    def _ready(self) -> Reply:
        routes = self._dispatcher.table.routes
        if any(_reachable(route.stable) for route in routes.values()):
            return _json({"ready": True})
        return _problem(503, "no stable version can be reached" if routes else NOTHING_DEPLOYED)

    async def _model(self, name: str, path: list[str], method: str) -> Reply:
        route = self._dispatcher.table.routes.get(name)
        if route is None:
            return self._unknown(name)
        lane = route.stable
        if path[:1] == ["versions"] and len(path) >= 2:
            number = path[1]
            lane = route.direct.get(int(number)) if _is_number(number) else None
            if lane is None:
                numbers = known(route.direct)
                return _problem(
                    404, f"{name} has no version {number[:_SHOWN_MAX]!r} that serves now; known: {numbers}"
                )
            path = path[2:]
        match path:
            case [] | [""]:
                return _allowed(method, "GET") or await self._metadata(route, lane)
            case ["ready"]:
                return _allowed(method, "GET") or _model_ready(name, lane)
            case ["infer"]:
                return _not_allowed("POST")
        return _not_found("/".join(["/v2/models", name, *path]))

    async def _metadata(self, route: LiveRoute, lane: Lane | None) -> Reply:
        if lane is None:
            return _problem(503, f"deployment {route.deployment} has no stable version yet")
        answered: asyncio.Future[Flight] = asyncio.get_running_loop().create_future()
        deliver = answered.set_result
        self._dispatcher.launch(Request.METADATA, lane, b"", time.monotonic_ns(), deliver, direct=True)
        flight = await answered
        if flight.status != 200:
            return Reply(flight.status, flight.payload, tuple(flight.headers))
        about = {"name": route.deployment, "versions": [str(number) for number in route.direct]}
        return Reply(200, encode(about | msgspec.json.decode(flight.payload)), tuple(flight.headers))

    def _index(self, body: bytes) -> Reply:
        try:
            asked = msgspec.json.decode(body or b"{}", type=_IndexQuestion)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return _problem(400, f'the body must be {{}} or {{"ready": true}}: {error}')
        found = []
        for name, route in self._dispatcher.table.routes.items():
            for number, lane in route.direct.items():
                up = _reachable(lane)
                if up or not asked.ready:
                    found.append(
                        {
                            "name": name,
                            "version": str(number),
                            "state": "READY" if up else "UNAVAILABLE",
                            "reason": "" if up else "its host cannot be reached",
                        }
                    )
        return _json(found)

    def _unknown(self, name: str) -> Reply:
        routes = self._dispatcher.table.routes
        if not routes:
            return _problem(503, NOTHING_DEPLOYED)
        return _problem(404, f"there is no deployment {name!r}; known: {known(routes)}")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX


def _reachable(lane: Lane | None) -> bool:
    return lane is not None and lane.link.connection is not None


def _model_ready(name: str, lane: Lane | None) -> Reply:
    if _reachable(lane):
        return _json({"name": name, "ready": True})
    return _problem(503, f"{name} is not ready: its host cannot be reached")


def _json(value: object) -> Reply:
    return Reply(200, encode(value))


def _problem(status: int, sentence: str) -> Reply:
    return Reply(status, encode({"error": sentence}))


def _not_found(path: str) -> Reply:
    return _problem(404, f"there is nothing at {path}")


def _not_allowed(allowed: str) -> Reply:
    return Reply(405, encode({"error": f"use {allowed}"}), (JSON_TYPE, (b"allow", allowed.encode())))


def _allowed(method: str, wanted: str) -> Reply | None:
    return None if method == wanted else _not_allowed("GET, HEAD" if wanted == "GET" else wanted)
