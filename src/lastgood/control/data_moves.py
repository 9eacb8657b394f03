"""What happens next to a release's data. Pure: before the candidate has traffic, and on the way back.

Each step is saved before its work begins, and the work is idempotent by the release's tokens; so whoever starts after a
crash repeats the work of the step that it finds. Requests wait (``held``) while a flip of data and route is under
way, so nobody is answered by one version's model on the other one's data.
"""

from typing import Final

import msgspec

from lastgood.control.moves import Move, Situation, can_take_over, restores_data, roll_back
from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import OnRollback
from lastgood.domain.release import Event, Kind, Phase, Release
from lastgood.domain.snapshot import DataProgress, DataStage, DataTask

RETRY_SECONDS: Final = 1.0
"""After a swap that a lock made impossible; doubled for each further one, up to :data:`RETRY_MOST`."""

RETRY_MOST: Final = 30.0

RESTORE_TRIES: Final = 5
"""After so many swaps that a lock made impossible, the restore of a quarantine is given up: nobody depends on it."""


HOLD_SECONDS: Final = 10.0
"""So long gateways may take to acknowledge that requests wait; then requests are let go, and nothing has begun."""

_UNHEARD: Final = f"gateways did not acknowledge within {HOLD_SECONDS:g} s that requests wait"


def prepared(release: Release) -> bool:
    """Whether the release's data is as its candidate shall find it, or the plan says nothing of data."""
    plan, data = release.plan.data, release.data
    if plan is None:
        return True
    if data is None:
        return False
    if plan.migrate:
        return data.stage is DataStage.MIGRATED
    return data.stage is (DataStage.STAGED if plan.on_rollback is OnRollback.RESTORE else DataStage.CAPTURED)


def awaits_host(release: Release) -> bool:
    """Whether the candidate must be ready before its data is migrated: requests wait for the migration alone then."""
    plan, data = release.plan.data, release.data
    if plan is None or data is None or not (plan.hold and plan.migrate):
        return False
    return data.stage is DataStage.STAGED or (
        data.stage is DataStage.CAPTURED and plan.on_rollback is not OnRollback.RESTORE
    )


def may_load(release: Release) -> bool:
    """Whether the candidate's host may start: after the migration, or before it where requests wait for that."""
    plan = release.plan.data
    return plan is None or not plan.migrate or plan.hold or prepared(release)


def prepare(release: Release, deployment: Deployment, seen: Situation) -> Move | None:
    """Return the next move that leads to :func:`prepared`: capture, stage the way back, migrate."""
    plan, data = release.plan.data, release.data
    if plan is None:
        return None
    if data is None:
        first = DataProgress(source=plan.source, stage=DataStage.CAPTURING)
        return _to(first, f"capturing {plan.source} before anything changes")
    work = seen.data
    match data.stage:
        case DataStage.CAPTURING if work.error is not None:
            failed = {"data": msgspec.structs.replace(data, error=work.error)}
            cause = f"{plan.source} could not be captured: {work.error}"
            return Move(event=Event.ABORT, cause=cause, changes=failed)
        case DataStage.CAPTURING if work.snapshot is not None:
            captured = msgspec.structs.replace(data, stage=DataStage.CAPTURED, snapshot=work.snapshot)
            rows = sum(work.snapshot.rows.values())
            return _to(captured, f"captured {plan.source}: {rows} rows, {work.snapshot.size_bytes} bytes")
        case DataStage.CAPTURED if plan.on_rollback is OnRollback.RESTORE:
            if work.error is not None:
                return Move(event=Event.ABORT, cause=f"the way back of {plan.source} failed: {work.error}")
            staged = msgspec.structs.replace(data, stage=DataStage.STAGED)
            return _to(staged, f"the way back of {plan.source} lies ready") if work.done else None
        case DataStage.CAPTURED | DataStage.STAGED if plan.migrate:
            return _begin_migration(release, data, seen)
        case DataStage.MIGRATING:
            return _migrating(release, deployment, data, seen)
    return None


def _migrating(release: Release, deployment: Deployment, data: DataProgress, seen: Situation) -> Move | None:
    """Return the move that ends the stage of a migration: well, failed, or before it could begin."""
    plan = release.plan.data
    assert plan is not None
    if data.held is not None and _unheard(data, seen, data.held):
        stage = DataStage.STAGED if plan.on_rollback is OnRollback.RESTORE else DataStage.CAPTURED
        before = msgspec.structs.replace(data, stage=stage, touched=False, held=None)
        cause = f"{_UNHEARD}; {plan.source} was not migrated"
        return Move(event=Event.ABORT, cause=cause, changes={"data": before}, publish=True)
    if seen.data.error is not None:
        return roll_back(release, deployment, seen, cause=f"the migration failed: {seen.data.error}")
    if not seen.data.done:
        return None
    return _to(msgspec.structs.replace(data, stage=DataStage.MIGRATED), "the migration has ended")


def _begin_migration(release: Release, data: DataProgress, seen: Situation) -> Move | None:
    plan = release.plan.data
    assert plan is not None
    migrating = msgspec.structs.replace(data, stage=DataStage.MIGRATING, touched=True, by=seen.process)
    if not plan.hold:
        return _to(migrating, f"migrating {plan.source}: {plan.migrate[0]}")
    if not seen.candidate.ready:
        return None  # it is loaded first, so that requests wait for the migration alone
    held = msgspec.structs.replace(migrating, held=seen.now)
    return _to(held, f"requests wait while {plan.migrate[0]} migrates {plan.source}", publish=True)


def work_wanted(release: Release, *, acknowledged: bool) -> DataTask | None:
    """Return the work on live data that the release's stage asks for; a flip waits until every gateway holds."""
    plan, data = release.plan.data, release.data
    if plan is None or data is None or release.terminal:
        return None
    if release.returning:
        if not restores_data(release):
            return None
        if data.stage is DataStage.CAPTURED:
            return DataTask.STAGE
        return DataTask.SWAP if data.stage is DataStage.HOLDING and acknowledged else None
    match data.stage:
        case DataStage.CAPTURING:
            return DataTask.CAPTURE
        case DataStage.CAPTURED if plan.on_rollback is OnRollback.RESTORE:
            return DataTask.STAGE
        case DataStage.MIGRATING if data.held is None or acknowledged:
            return DataTask.MIGRATE
    return None


def frozen(release: Release, seen: Situation) -> str | None:
    """Return why nothing may go back by itself, None where it may: the data stays, and the older version could not read it."""
    plan, data = release.plan.data, release.data
    if plan is None or data is None or restores_data(release):
        return None
    migrated = data.stage in (DataStage.MIGRATING, DataStage.MIGRATED)
    if plan.on_rollback is OnRollback.FREEZE and migrated:
        return f"the migration of {plan.source} is one-way, so nothing goes back by itself"
    if seen.misfits_back:
        return f"{plan.source} stays, and the version before does not fit it: {'; '.join(seen.misfits_back)}"
    return None


def give_back(release: Release, seen: Situation) -> Move | None:
    """Return the next move that brings data and route back together: stage, hold, swap, let go."""
    data, work = release.data, seen.data
    assert data is not None
    if data.stage is DataStage.CAPTURED:
        if work.error is not None:
            return _told(data, work.error)
        return (
            _to(msgspec.structs.replace(data, stage=DataStage.STAGED, error=""), release.cause)
            if work.done
            else None
        )
    if data.stage is not DataStage.HOLDING:
        if not can_take_over(seen) or seen.now < data.retry_at:
            return None
        # A hold from before a migration goes on: stable cannot read what is there, so nobody is let go for gateways' sake.
        mine = {"held": seen.now, "by": seen.process} if data.held is None else {"by": ""}
        holding = msgspec.structs.replace(data, stage=DataStage.HOLDING, error="", **mine)
        return _to(holding, f"requests wait while {data.source} goes back", publish=True)
    unheard = data.held is not None and _unheard(data, seen, data.held)
    failed = work.error or (_UNHEARD if unheard else None)
    if failed is not None:  # let go of the requests, try again later: everything is as it was
        again = seen.now + min(RETRY_SECONDS * 2**data.tries, RETRY_MOST)
        stage = DataStage.CAPTURED if work.lost else DataStage.STAGED  # what is gone is staged anew
        later = msgspec.structs.replace(
            data, stage=stage, held=None, tries=data.tries + 1, retry_at=again, error=failed
        )
        return _to(later, f"{data.source} could not go back yet: {failed}", publish=True)
    if not work.done:
        return None
    waited = 0.0 if data.held is None else (seen.now - data.held) * 1000.0
    swapped = msgspec.structs.replace(
        data, stage=DataStage.SWAPPED, held=None, held_ms=round(waited, 3), error=""
    )
    return Move(
        event=None,
        cause=f"{data.source} is back",
        changes={"data": swapped},
        stable=release.target,
        publish=True,
    )


def _unheard(data: DataProgress, seen: Situation, since: float) -> bool:
    """Whether gateways take too long to hold requests, and this process, which asked them to, has begun nothing."""
    waited = seen.now - since > HOLD_SECONDS
    return waited and not seen.acknowledged and not seen.data.begun and data.by == seen.process


def put_back(release: Release, seen: Situation) -> Move | None:
    """Return the next move of the restore of a quarantine: as :func:`give_back`, but given up where that may be.

    Unlike a rollback it may be left: stable serves on the data that is live, and what was staged is freed.
    """
    data, why = release.data, None
    assert data is not None
    if data.stage is DataStage.CAPTURED:
        why = seen.data.error
    elif data.stage is DataStage.STAGED and data.tries >= RESTORE_TRIES:
        why = data.error
    elif data.stage is DataStage.STAGED and release.deadline is not None and seen.now > release.deadline:
        why = data.error or "the stable version's host is not ready"
    if why is not None:
        return leave_restore(f"{data.source} is as it was: {why}")
    move = give_back(release, seen)
    if move is not None and data.stage is DataStage.CAPTURED:
        changes = {**move.changes, "deadline": seen.now + release.plan.rollback_deadline}
        return msgspec.structs.replace(move, changes=changes)
    return move


def may_leave(release: Release) -> bool:
    """Whether it is the restore of a quarantine, and one that has not begun to change anything."""
    data = release.data
    return (
        release.kind is Kind.RESTORE
        and not release.terminal
        and data is not None
        and data.stage in (DataStage.CAPTURED, DataStage.STAGED)
    )


def leave_restore(cause: str) -> Move:
    """Return the move that ends a restore that :func:`may_leave`."""
    return Move(event=Event.WITHDRAWN, cause=cause, publish=True)


def _told(data: DataProgress, error: str) -> Move | None:
    """Return the move that keeps a new reason why the data is not back, None when it is known."""
    if error == data.error:
        return None
    return _to(msgspec.structs.replace(data, error=error), f"{data.source} cannot go back: {error}")


def _to(data: DataProgress, cause: str, *, publish: bool = False) -> Move:
    return Move(event=None, cause=cause, changes={"data": data}, publish=publish)


def fits_matter(release: Release) -> bool:
    """Whether the candidate is about to be loaded or to get traffic on data that it has not been compared with."""
    return release.phase is Phase.VALIDATING and prepared(release)
