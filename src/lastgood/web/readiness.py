"""Readiness and drills: whether the way back is open, and rehearsing it."""

import msgspec

from lastgood.bootstrap import Services
from lastgood.domain.readiness import Drill, Readiness
from lastgood.web.bodies import ActorOrder, ReadinessQuery
from lastgood.web.endpoint import PREFIX, Endpoint

_ONE = f"{PREFIX}/deployments/{{deployment}}"


class ReadinessDocument(Readiness, frozen=True, kw_only=True):
    """The way back, and in one word whether it is ``ready``: no link is broken."""

    ready: bool


class DrillDocument(Drill, frozen=True, kw_only=True):
    """A drill: whether it is ``ok`` (None while it goes on), and the part that ``failed`` (empty when none did)."""

    ok: bool | None  # type: ignore[assignment]
    failed: str


def readiness(services: Services, *, deployment: str, query: ReadinessQuery) -> ReadinessDocument:
    """Return whether a deployment can go back now."""
    found = services.readiness.of(deployment, fresh=query.fresh)
    return ReadinessDocument(**msgspec.structs.asdict(found), ready=found.ready)


def drill(services: Services, *, deployment: str) -> DrillDocument:
    """Return the drill under way, or the last one."""
    return _document(services.drills.latest(deployment))


def start_drill(services: Services, *, deployment: str, body: ActorOrder) -> DrillDocument:
    """Begin a drill."""
    return _document(services.drills.start(deployment, actor=body.actor))


def _document(found: Drill) -> DrillDocument:
    ok = found.ok if found.done else None
    return DrillDocument(**msgspec.structs.asdict(found), ok=ok, failed=found.failed)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path=f"{_ONE}/readiness",
        call=readiness,
        query=ReadinessQuery,
        answer=ReadinessDocument,
        summary="Whether the way back is open now, link by link",
    ),
    Endpoint(
        method="GET",
        path=f"{_ONE}/drill",
        call=drill,
        answer=DrillDocument,
        summary="The drill under way, or the last one",
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/drill",
        call=start_drill,
        body=ActorOrder,
        answer=DrillDocument,
        summary="Begin a drill, or join the one under way",
        status=202,
    ),
)
