"""From a deployment and its release to the route that gateways shall obey, and to the hosts it needs."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import msgspec

from lastgood.control.data_moves import may_load
from lastgood.control.moves import restores_data
from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import OnRollback
from lastgood.domain.release import IN_STEPS, Phase, Release
from lastgood.domain.route import Route, Shadow, Target
from lastgood.domain.version import Version
from lastgood.settings import Settings
from lastgood.wire.fleet import HostSpec

_PROMOTED = frozenset({Phase.PROMOTING, Phase.WATCHING, Phase.STUCK})
_NEEDS_ITS_HOST = IN_STEPS | {Phase.PENDING, Phase.VALIDATING, Phase.PROMOTING, Phase.WATCHING}


@lru_cache(maxsize=65_536)
def host_key(model: str, number: int) -> str:
    """Name the host of a version: a short file name, unique per model and number.

    128 bits of the model's name, so that nobody finds two names of one key: their hosts would share a socket.
    """
    return f"v{number}-{hashlib.blake2b(model.encode(), digest_size=16).hexdigest()}"


@lru_cache(maxsize=65_536)
def host_socket(run: Path, model: str, number: int) -> str:
    """Return the path of the socket on which that host answers."""
    return str(run / "hosts" / f"{host_key(model, number)}.sock")


def host_spec(version: Version, artifact: Path, settings: Settings) -> HostSpec:
    """Return what a host must know to load ``version``; trust comes from the settings alone."""
    return HostSpec(
        key=host_key(version.model, version.number),
        model=version.model,
        version=version.number,
        label=version.label,
        digest=version.digest,
        format=version.format,
        factory=version.factory,
        signature=version.signature,
        artifact=str(artifact),
        socket=host_socket(settings.run, version.model, version.number),
        memory_bytes=settings.host_memory_bytes,
        max_rows=settings.max_rows,
        trust_pickle=settings.trust_pickle,
        trust_callable=settings.trust_callable,
        trusted_types=settings.trusted_types,
    )


def route_for(
    deployment: Deployment,
    release: Release | None,
    standby: int | None,
    find: Callable[[int], Version],
    run: Path,
) -> Route:
    """Return the route of ``deployment``; ``standby`` is its last good version where that finds the data that it needs.

    A candidate is routed only while its release progresses or is paused; in a shadow step it is the route's shadow and
    nothing else. Once it is stable, its release is named until the watch is over, so that what it answers counts for it,
    and in the watch the standby shadows it. The version that a rollback
    leaves is in no role, not even standby, until the rollback is settled; nor is one that cannot read the data as it is.
    """

    def target(number: int | None) -> Target | None:
        if number is None:
            return None
        version = find(number)
        return Target(
            version=number,
            label=version.label,
            digest=version.digest,
            socket=host_socket(run, deployment.model, number),
        )

    split = release is not None and release.phase in IN_STEPS and not release.shadows
    watched = release is not None and _is_watched(release)
    leaving = release.version if release is not None and release.returning and not release.terminal else None
    aside = None if standby == leaving or _left_behind(deployment, release) else target(standby)
    return Route(
        deployment=deployment.name,
        model=deployment.model,
        generation=deployment.generation,
        stable=target(deployment.stable),
        candidate=target(release.version) if release is not None and split else None,
        weight=release.plan.weight_at(release.step) if release is not None and split else 0,
        release=release.id if release is not None and (split or watched) else None,
        stage=0 if release is None or not (split or watched) else _stage(release, watched=watched),
        tries=release.tries if release is not None and split else 0,
        standby=aside,
        held=release is not None
        and not release.terminal
        and release.data is not None
        and release.data.held is not None,
        shadow=None if release is None else _shadow(release, target(release.version), aside),
        columns=() if release is None else _columns(release),
    )


def _shadow(release: Release, candidate: Target | None, standby: Target | None) -> Shadow | None:
    """Return who answers copies: the candidate in a shadow step, the version before in the watch, else nobody."""
    plan = release.plan
    if release.shadows and candidate is not None:
        stage, rate = plan.stage_at(release.step), plan.shadow_at(release.step)
        return Shadow(target=candidate, rate=rate, release=release.id, stage=stage, arm="candidate")
    watching = release.phase is Phase.WATCHING and _is_watched(release)
    if watching and standby is not None and plan.watch_shadow:
        rate, stage = plan.watch_shadow, plan.pair_stage
        return Shadow(target=standby, rate=rate, release=release.id, stage=stage, arm="stable")
    return None


def _columns(release: Release) -> tuple[str, ...]:
    """Return the inputs by which the plan tells requests apart, while any of them are counted."""
    if release.phase not in IN_STEPS and not _is_watched(release):
        return ()
    return tuple(dict.fromkeys(name for one in release.plan.guardrails for name in one.slices))


def _is_watched(release: Release) -> bool:
    """Whether the release's version serves in the place of another one, and is to be judged alone."""
    return release.phase in _PROMOTED and not release.returning and release.previous is not None


def _left_behind(deployment: Deployment, release: Release | None) -> bool:
    """Whether the version before cannot read the data any more, by the plan: asked now, it would fail its callers."""
    if release is None or release.terminal or deployment.stable != release.version:
        return False
    plan, data = release.plan.data, release.data
    if plan is None or data is None or not plan.hold:
        return False
    # Data that no rollback gives back stays what the migration made of it.
    return data.touched if plan.on_rollback is not OnRollback.RESTORE else restores_data(release)


def _stage(release: Release, *, watched: bool) -> int:
    return release.plan.watch_stage if watched else max(release.plan.stage_at(release.step), 0)


def without_candidate(route: Route) -> Route:
    """Return the route with stable alone, and nobody who answers copies."""
    return msgspec.structs.replace(
        route, candidate=None, weight=0, release=None, stage=0, tries=0, shadow=None
    )


def needed_versions(deployment: Deployment, release: Release | None, last_good: int | None) -> list[int]:
    """Return the versions of ``deployment`` that must be resident: all that serve or may have to."""
    wanted = [deployment.stable, last_good]
    if release is not None and release.phase in _NEEDS_ITS_HOST and may_load(release):
        wanted.append(release.version)
    if release is not None and release.returning:
        wanted.append(release.target)
    return sorted({number for number in wanted if number is not None})
