"""Deployments: their state, their past, and the commands that steer what is under way."""

from typing import Any

import msgspec

from lastgood.bootstrap import Services
from lastgood.control.rollback import RollbackResult
from lastgood.control.traffic_views import TrafficView
from lastgood.control.views import DeploymentView, ReleaseView
from lastgood.web.bodies import (
    ActorOrder,
    AtQuery,
    EvidenceQuery,
    HistoryQuery,
    PromoteOrder,
    ReasonOrder,
    RollbackOrder,
)
from lastgood.web.endpoint import PREFIX, Endpoint
from lastgood.web.moment import parse_moment

_ONE = f"{PREFIX}/deployments/{{deployment}}"


class DeploymentList(msgspec.Struct, frozen=True):
    """Every deployment."""

    deployments: list[DeploymentView]


class History(msgspec.Struct, frozen=True):
    """What was stable when, and the releases, newest first."""

    stable: list[dict[str, Any]]
    releases: list[ReleaseView]


class Moment(msgspec.Struct, frozen=True):
    """What was stable at a moment (seconds since the epoch); ``stable`` is None before the first version."""

    deployment: str
    at: float
    stable: dict[str, Any] | None


def deployments(services: Services, *, query: EvidenceQuery) -> DeploymentList:
    """Return every deployment."""
    return DeploymentList(services.views.deployments(intervals=query.evidence))


def deployment(services: Services, *, deployment: str, query: EvidenceQuery) -> DeploymentView:
    """Return one deployment."""
    return services.views.deployment(deployment, intervals=query.evidence)


def history(services: Services, *, deployment: str, query: HistoryQuery) -> History:
    """Return a deployment's past."""
    return History(**services.views.history(deployment, limit=query.limit))


def at(services: Services, *, deployment: str, query: AtQuery) -> Moment:
    """Return what a deployment served at a moment."""
    moment = parse_moment(query.time)
    return Moment(deployment, moment, services.views.at(deployment, moment))


def traffic(services: Services, *, deployment: str) -> TrafficView:
    """Return what the stable version answered in the last 24 hours."""
    return services.traffic.recent(deployment)


def rollback(services: Services, *, deployment: str, body: RollbackOrder) -> RollbackResult:
    """Go back, and answer once that is observed."""
    version = None if body.version is None else str(body.version)
    return services.releases.roll_back(
        deployment, version=version, reason=body.reason, keep=body.keep, actor=body.actor
    )


def promote(services: Services, *, deployment: str, body: PromoteOrder) -> ReleaseView:
    """Go on to the next step or to all traffic."""
    release = services.releases.promote(deployment, full=body.full, actor=body.actor)
    return services.views.release(release.id)


def pause(services: Services, *, deployment: str, body: ReasonOrder) -> ReleaseView:
    """Hold the release where it is."""
    return services.views.release(
        services.releases.pause(deployment, reason=body.reason, actor=body.actor).id
    )


def resume(services: Services, *, deployment: str, body: ActorOrder) -> ReleaseView:
    """Go on after a pause."""
    return services.views.release(services.releases.resume(deployment, actor=body.actor).id)


def approve(services: Services, *, deployment: str, body: ActorOrder) -> ReleaseView:
    """Open the gate at which the release waits."""
    return services.views.release(services.releases.approve(deployment, actor=body.actor).id)


def abort(services: Services, *, deployment: str, body: ReasonOrder) -> ReleaseView:
    """End the release without blaming its version."""
    return services.views.release(
        services.releases.abort(deployment, reason=body.reason, actor=body.actor).id
    )


ENDPOINTS = (
    Endpoint(
        method="GET",
        path=f"{PREFIX}/deployments",
        call=deployments,
        query=EvidenceQuery,
        answer=DeploymentList,
        summary="Every deployment",
    ),
    Endpoint(
        method="GET",
        path=_ONE,
        call=deployment,
        query=EvidenceQuery,
        answer=DeploymentView,
        summary="One deployment",
    ),
    Endpoint(
        method="GET",
        path=f"{_ONE}/history",
        call=history,
        query=HistoryQuery,
        answer=History,
        summary="What was stable when, and the releases",
    ),
    Endpoint(
        method="GET",
        path=f"{_ONE}/at",
        call=at,
        query=AtQuery,
        answer=Moment,
        summary="What was stable at a moment",
    ),
    Endpoint(
        method="GET",
        path=f"{_ONE}/traffic",
        call=traffic,
        answer=TrafficView,
        summary="What the stable version answered in the last 24 hours, minute by minute",
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/rollback",
        call=rollback,
        body=RollbackOrder,
        answer=RollbackResult,
        summary="Roll back; answers once every gateway has followed",
        urgent=True,
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/promote",
        call=promote,
        body=PromoteOrder,
        answer=ReleaseView,
        summary="Go to the next step, or to all traffic",
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/pause",
        call=pause,
        body=ReasonOrder,
        answer=ReleaseView,
        summary="Hold the release where it is",
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/resume",
        call=resume,
        body=ActorOrder,
        answer=ReleaseView,
        summary="Go on after a pause",
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/approve",
        call=approve,
        body=ActorOrder,
        answer=ReleaseView,
        summary="Open the gate at which the release waits",
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/abort",
        call=abort,
        body=ReasonOrder,
        answer=ReleaseView,
        summary="End the release without blaming its version",
        urgent=True,
    ),
)
