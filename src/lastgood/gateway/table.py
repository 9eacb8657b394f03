"""The route table as a worker uses it: every path that can be asked, with all that its requests need.

Built once per generation and never changed; a worker switches by one assignment.
"""

from collections.abc import Callable, Iterable, Iterator, Set
from typing import Final, Protocol

from lastgood.domain.deployment import Role
from lastgood.domain.route import Route, RouteTable, Shadow, Target
from lastgood.gateway.links import Connection, HeldLink
from lastgood.gateway.reflex import Cusum
from lastgood.gateway.tally import Tally
from lastgood.gateway.telemetry import Telemetry
from lastgood.wire.frames import Request

Header = tuple[bytes, bytes]
JSON_TYPE: Final[Header] = (b"content-type", b"application/json")


class Link(Protocol):
    """What a lane needs of the way to its host."""

    path: str
    connection: Connection | None
    tried: bool


class Lane:
    """One version in one role of one deployment, and where its requests are counted."""

    __slots__ = (
        "deployment",
        "head",
        "headers",
        "held",
        "link",
        "name",
        "release",
        "role",
        "tally",
        "version",
    )

    def __init__(self, deployment: str, target: Target, role: Role, link: Link, tally: Tally) -> None:
        self.deployment = deployment
        self.name = deployment.encode()
        self.version = target.version
        self.role = role
        self.link = link
        self.held = isinstance(link, HeldLink)
        self.tally = tally
        self.release = tally.release
        self.headers = _headers(target, tally.release)
        self.head = render(self.headers)


class Split:
    """The two arms while a release progresses. Requests in it count for the release's stage.

    Once ``reflex`` has tripped nobody is sent to either: this worker has taken the candidate out.
    """

    __slots__ = ("candidate", "reflex", "release", "stable", "weight")

    def __init__(
        self, candidate: Lane, stable: Lane | None, release: int, weight: int, reflex: Cusum
    ) -> None:
        self.candidate = candidate
        self.stable = stable
        self.release = release
        self.weight = weight
        self.reflex = reflex


class LiveShadow:
    """Who answers copies of what stable answers, and where both count.

    ``rate`` is in basis points. ``request`` and ``copy`` are the tallies of the two arms of the stage, in one ``order``.
    ``about`` is what the same shadow has in every table.
    """

    __slots__ = ("about", "copy", "deployment", "lane", "order", "rate", "release", "request")

    def __init__(self, shadow: Shadow, lane: Lane, request: Tally, copy: Tally) -> None:
        assert copy.order is not None
        self.deployment = lane.deployment
        self.lane = lane
        self.rate = shadow.rate
        self.release = shadow.release
        self.request = request
        self.copy = copy
        self.order = copy.order
        self.about = (shadow.release, shadow.stage, shadow.arm, lane.version)


class LiveRoute:
    """One deployment's route. ``direct`` holds every version that may be asked for by number.

    While it is ``held``, no lane leads anywhere, so that the hot path need not ask.
    ``release`` is the one that the route names, though it may have no traffic (no ``split``) now. While it is
    watched, all that ``stable`` answers counts for it. There is a ``shadow`` or a ``split``, or neither.
    """

    __slots__ = ("deployment", "direct", "held", "model", "release", "shadow", "split", "stable", "standby")

    def __init__(
        self,
        route: Route,
        stable: Lane | None,
        standby: Lane | None,
        split: Split | None,
        shadow: LiveShadow | None,
        direct: dict[int, Lane],
    ) -> None:
        self.deployment = route.deployment
        self.model = route.model
        self.release = route.release
        self.held = route.held
        self.stable = stable
        self.standby = standby
        self.split = split
        self.shadow = shadow
        self.direct = direct


class Endpoint:
    """What one POST path means. ``number`` is set when the path names a version."""

    __slots__ = ("kind", "number", "route")

    def __init__(self, kind: Request, route: LiveRoute, number: int | None = None) -> None:
        self.kind = kind
        self.route = route
        self.number = number


class Table:
    """All routes of one generation, by deployment, by path, and by the path as it stands in a request line."""

    __slots__ = ("endpoints", "generation", "paths", "releases", "routes", "targets")

    def __init__(self, generation: int, routes: dict[str, LiveRoute]) -> None:
        self.generation = generation
        self.routes = routes
        self.paths = frozenset(lane.link.path for route in routes.values() for lane in route.direct.values())
        self.releases = frozenset(_releases(routes.values()))
        self.endpoints = _endpoints(routes)
        self.targets = {path.encode(): endpoint for path, endpoint in self.endpoints.items()}


def compile_table(table: RouteTable, link: Callable[[str], Link], telemetry: Telemetry) -> Table:
    """Make a table ready for use. ``link`` gives the way to the host behind a socket path."""
    answering = {
        target.socket for route in table.routes for target in (route.stable, route.candidate) if target
    }
    routes = {route.deployment: _compile(route, link, telemetry, answering) for route in table.routes}
    return Table(table.generation, routes)


def _compile(
    route: Route, link: Callable[[str], Link], telemetry: Telemetry, answering: Set[str]
) -> LiveRoute:
    def lane(target: Target | None, role: Role, release: int | None = None) -> Lane | None:
        if target is None:
            return None
        tally = telemetry.outside(route.deployment, route.model, target.version, role)
        if release is not None:
            tally = telemetry.staged(tally, release, route.stage)
        way = link(target.socket)
        if route.held:
            way = HeldLink(way.path)
        return Lane(route.deployment, target, role, way, tally)

    plain = lane(route.stable, Role.STABLE)
    stable = _watched(route, plain, telemetry)
    candidate = lane(route.candidate, Role.CANDIDATE)
    standby = lane(route.standby, Role.STANDBY)
    copying = lane(None if route.shadow is None else route.shadow.target, Role.SHADOW)
    direct: dict[int, Lane] = {}
    for found in (plain, candidate, standby, copying):
        if found is not None:
            direct.setdefault(found.version, found)
    split = None
    if route.weight > 0:
        counted = lane(route.candidate, Role.CANDIDATE, route.release)
        beside = lane(route.stable, Role.STABLE, route.release)
        split = _split(route, counted, beside, stable, telemetry)
    shadow = None
    if split is None and not _disturbs(route.shadow, answering):
        shadow = _shadow(route.shadow, copying, plain, telemetry)
    live = LiveRoute(route, stable, standby, split, shadow, direct)
    for tally in _staged(live):
        tally.columns = route.columns
    return live


def _watched(route: Route, plain: Lane | None, telemetry: Telemetry) -> Lane | None:
    """Return the lane of stable, which counts for its release while it is watched."""
    if plain is None or route.stable is None or route.release is None or route.candidate is not None:
        return plain
    tally = telemetry.watched(plain.tally, route.release, route.stage)
    return Lane(route.deployment, route.stable, Role.STABLE, plain.link, tally)


def _split(
    route: Route, candidate: Lane | None, beside: Lane | None, stable: Lane | None, telemetry: Telemetry
) -> Split | None:
    if candidate is None or route.release is None:
        return None
    reflex = telemetry.reflexes.of(route.release, route.tries)
    candidate.tally.reflex = reflex
    candidate.tally.beside = None if stable is None else stable.tally
    return Split(candidate, beside, route.release, route.weight, reflex)


def _disturbs(shadow: Shadow | None, answering: Set[str]) -> bool:
    """Whether copies that nobody asked for, those of a watch, would go to a host on which callers wait.

    Deployments of one model share the host of a version: what ends the version there would end it for the callers of both.
    """
    return shadow is not None and shadow.arm == Role.STABLE.value and shadow.target.socket in answering


def _shadow(
    shadow: Shadow | None, lane: Lane | None, stable: Lane | None, telemetry: Telemetry
) -> LiveShadow | None:
    if shadow is None or lane is None or stable is None:
        return None
    arm = Role(shadow.arm)
    other = Role.STABLE if arm is Role.CANDIDATE else Role.CANDIDATE
    request = telemetry.staged(stable.tally, shadow.release, shadow.stage, other)
    return LiveShadow(shadow, lane, request, telemetry.staged(lane.tally, shadow.release, shadow.stage, arm))


def _staged(route: LiveRoute) -> Iterator[Tally]:
    """Return the tallies of the release that the route names or its shadow is for."""
    lanes = [route.stable] if route.split is None else [route.split.candidate, route.split.stable]
    yield from (lane.tally for lane in lanes if lane is not None and lane.tally.release is not None)
    if route.shadow is not None:
        yield route.shadow.request


def _releases(routes: Iterable[LiveRoute]) -> Iterator[int]:
    for route in routes:
        if route.release is not None:
            yield route.release
        if route.shadow is not None:
            yield route.shadow.release


def _endpoints(routes: dict[str, LiveRoute]) -> dict[str, Endpoint]:
    found: dict[str, Endpoint] = {}
    for name, route in routes.items():
        found[f"/v2/models/{name}/infer"] = Endpoint(Request.INFER, route)
        found[f"/deployments/{name}/invocations"] = Endpoint(Request.INVOCATIONS, route)
        for number in route.direct:
            found[f"/v2/models/{name}/versions/{number}/infer"] = Endpoint(Request.INFER, route, number)
    if len(routes) == 1:  # MLflow's own path names no deployment, and need not
        (only,) = routes.values()
        found["/invocations"] = Endpoint(Request.INVOCATIONS, only)
    return found


def render(headers: Iterable[Header]) -> bytes:
    """Return the headers as they go over the wire."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)


def _headers(target: Target, release: int | None) -> list[Header]:
    headers: list[Header] = [JSON_TYPE, (b"lastgood-version", b"%d" % target.version)]
    # The page is the boundary: a line end in a label would start a header of its own.
    if target.label is not None and target.label.isprintable():
        headers.append((b"lastgood-label", target.label.encode()))
    if release is not None:
        headers.append((b"lastgood-release", b"%d" % release))
    return headers
