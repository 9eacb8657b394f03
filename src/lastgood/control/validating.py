"""Before a candidate has any traffic: its data, its host, and whether the two fit. Pure."""

import msgspec

from lastgood.control.data_moves import awaits_host, prepare, prepared
from lastgood.control.moves import (
    Move,
    Situation,
    first_traffic,
    migrates,
    promote,
    restores_data,
    roll_back,
)
from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import Strategy
from lastgood.domain.release import Event, Release, Rule

_NOT_THE_VERSIONS_FAULT = frozenset({"corrupt", "untrusted", "unavailable", "storage"})


def validate(release: Release, deployment: Deployment, seen: Situation) -> Move | None:
    """Return the next move of a release that validates, None while something is awaited."""
    unloadable = _unloadable(release, deployment, seen)
    if unloadable is not None:
        return unloadable
    overdue = release.deadline is not None and seen.now > release.deadline
    if seen.way_back.lost and not restores_data(release):
        why = f"there is no way back: {seen.way_back.lost}"
        return _give_up(release, deployment, seen, why) if overdue else None
    if not prepared(release):
        move = prepare(release, deployment, seen)
        if move is not None and move.event is None:  # the time to validate begins when the data is ready
            later = {"deadline": seen.now + release.plan.validate_deadline}
            return msgspec.structs.replace(move, changes={**move.changes, **later})
        if move is not None or not awaits_host(release):
            return move
    elif seen.misfits:
        cause = f"failed validation: it does not fit its data: {'; '.join(seen.misfits)}"
        return roll_back(release, deployment, seen, cause=cause)
    return _ready(release, deployment, seen, overdue=overdue)


def _ready(release: Release, deployment: Deployment, seen: Situation, *, overdue: bool) -> Move | None:
    """Return the move that gives traffic to a candidate whose data is as it shall be, None while its host is awaited."""
    if not seen.candidate.ready or not seen.golden.done:
        limit = release.plan.validate_deadline
        cause = f"failed validation: it was not ready to answer after {limit:.0f} s"
        return roll_back(release, deployment, seen, cause=cause) if overdue else None
    if seen.golden.error:
        return roll_back(release, deployment, seen, cause=f"failed validation: {seen.golden.error}")
    if deployment.stable is None:
        why = "validated; it is the first version here, so it becomes stable"
        return promote(release, seen, why, rule=Rule.AT_ONCE)
    if seen.target is None or not seen.target.ready:
        why = "the stable version's host is not ready: there is no way back"
        return _give_up(release, deployment, seen, why) if overdue else None
    return _begin(release, seen)


def _unloadable(release: Release, deployment: Deployment, seen: Situation) -> Move | None:
    host = seen.candidate
    if host.failed and host.code in _NOT_THE_VERSIONS_FAULT:
        return _give_up(release, deployment, seen, f"could not be validated: {host.error}")
    if host.failed or host.starts > 3:
        why = host.error or "its host keeps exiting"
        return roll_back(release, deployment, seen, cause=f"failed validation: {why}")
    return None


def _begin(release: Release, seen: Situation) -> Move:
    """Return the move that gives a valid candidate its first step, or all traffic where the plan has none."""
    if release.plan.strategy is Strategy.ALL_AT_ONCE or not release.plan.steps:
        return promote(release, seen, "validated; the plan promotes at once", rule=Rule.AT_ONCE)
    return Move(
        event=Event.SHADOW if release.plan.shadow_at(0) else Event.VALIDATED,
        cause="loaded, verified and warm" + _answered(seen),
        changes={
            "step": 0,
            "step_since": seen.now,
            "deadline": seen.now + release.plan.deadline,
            "host_starts": seen.candidate.starts,
            **first_traffic(release, 0, seen),
        },
        publish=True,
    )


def _answered(seen: Situation) -> str:
    count = seen.golden.requests
    return f"; {count} golden {'request' if count == 1 else 'requests'} answered as expected" if count else ""


def _give_up(release: Release, deployment: Deployment, seen: Situation, cause: str) -> Move | None:
    """End a release that is nobody's fault before its candidate had traffic; its data goes back if it was migrated."""
    if restores_data(release) or migrates(release):
        return roll_back(release, deployment, seen, cause=cause, aborting=True)
    return Move(event=Event.ABORT, cause=cause)
