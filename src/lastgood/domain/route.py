"""A route: what gateways obey. Stable, candidate, weight, standby, and a generation that only grows."""

from typing import Final

import msgspec

FULL_WEIGHT: Final = 10_000  # basis points


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A version that a gateway may send requests to, and the unix socket of its model host."""

    version: int
    label: str | None = None
    digest: str
    socket: str


class Shadow(msgspec.Struct, frozen=True, kw_only=True):
    """Copies of requests: ``target`` answers them too, to nobody, while the lease holds.

    ``rate`` is the part of the requests that stable answers, in basis points (1 to 10 000). Such a request and its copy are a
    pair, and count for ``release`` and ``stage``: the copy for the arm ``arm`` (``candidate`` in a shadow step, ``stable`` in
    the watch, where the version before answers copies), the request for the other.
    """

    target: Target
    rate: int
    release: int
    stage: int
    arm: str


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The whole truth for one deployment.

    ``weight`` is the candidate's share in basis points (0 to 10 000). ``release`` salts the sticky
    assignment and is counted under; None when no candidate is set and stable is not watched. With no
    candidate it is the release that made this version stable, and every request counts for that version.
    ``stage`` is the step of the plan that this route serves, so that counts of different stages are never mixed.
    ``tries`` grows when a person sends the candidate traffic again after gateways had taken it out by themselves.
    ``standby`` is the last good version, resident, that answers when stable's host cannot. While ``held``, requests
    wait: data and route are about to change together. ``shadow`` says who answers copies of requests, None for nobody.
    ``columns`` are inputs whose values the plan wants to tell requests apart by.
    """

    deployment: str
    model: str
    generation: int
    stable: Target | None = None
    candidate: Target | None = None
    weight: int = 0
    release: int | None = None
    stage: int = 0
    tries: int = 0
    standby: Target | None = None
    held: bool = False
    shadow: Shadow | None = None
    columns: tuple[str, ...] = ()

    def targets(self) -> tuple[Target, ...]:
        """Every version that may be asked for by number, stable first, without repeats."""
        found: list[Target] = []
        shadow = None if self.shadow is None else self.shadow.target
        for target in (self.stable, self.candidate, self.standby, shadow):
            if target is not None and all(target.version != other.version for other in found):
                found.append(target)
        return tuple(found)


class RouteTable(msgspec.Struct, frozen=True, kw_only=True):
    """All routes of one machine, as published: ``generation`` is the highest among them."""

    generation: int
    routes: tuple[Route, ...] = ()
