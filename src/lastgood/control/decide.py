"""What happens next to a release. Pure: the release, what is observed and the time give one move or none.

Guardrails are judged before any pause, gate or hold (:mod:`lastgood.control.guarding`), and a promotion has rules of
its own (:mod:`lastgood.control.promotion`). A rollback needs no measurement. The shell that carries a move out is
:mod:`lastgood.control.execute`.
"""

from lastgood.control.data_moves import give_back, put_back
from lastgood.control.guarding import obey_gateways, obey_guardrails, obey_readiness
from lastgood.control.moves import (
    Move,
    Situation,
    advance,
    can_take_over,
    restores_data,
    roll_back,
)
from lastgood.control.promotion import after_last_step, as_soon_as_proven, lasts, missing
from lastgood.control.validating import validate
from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import OnDeadline, StepKind
from lastgood.domain.release import Event, Hold, HoldReason, Kind, Phase, Release


def decide(release: Release, deployment: Deployment, seen: Situation) -> Move | None:
    """Return the next move, or None while there is nothing to do."""
    match release.phase:
        case Phase.PENDING:
            return _take_up(release, seen)
        case Phase.VALIDATING:
            return validate(release, deployment, seen)
        case Phase.SHADOWING | Phase.PROGRESSING | Phase.PAUSED:
            over = _step_over(release, seen)
            return (
                obey_guardrails(release, deployment, seen, leaving=over is not None)
                or obey_gateways(release, deployment, seen)
                or obey_readiness(release, deployment, seen)
                or _obey_deadline(release, deployment, seen)
                or as_soon_as_proven(release, seen)
                or _proceed(release, deployment, seen, over)
            )
        case Phase.PROMOTING:
            return _guard(release, deployment, seen) or _observe_promotion(release, seen)
        case Phase.WATCHING:
            return _guard(release, deployment, seen) or _end_watch(release, seen)
        case Phase.STUCK if not release.returning:  # on the way to 100 %: most gateways serve it already
            return obey_guardrails(release, deployment, seen) or _observe(release, seen)
        case Phase.ROLLING_BACK | Phase.STUCK:
            if restores_data(release):
                back = put_back if release.kind is Kind.RESTORE else give_back
                return back(release, seen) or _overdue(release, seen)
            return _observe(release, seen)
    return None


def _guard(release: Release, deployment: Deployment, seen: Situation) -> Move | None:
    """Return what a version that has all traffic makes necessary."""
    return obey_guardrails(release, deployment, seen) or obey_readiness(release, deployment, seen)


def _take_up(release: Release, seen: Situation) -> Move:
    return Move(
        event=Event.START,
        cause=f"loading version {release.version} and proving that it answers",
        changes={"deadline": seen.now + release.plan.validate_deadline},
    )


def _obey_deadline(release: Release, deployment: Deployment, seen: Situation) -> Move | None:
    if release.deadline is None or seen.now <= release.deadline or release.plan.stands_at(release.step):
        return None
    lacking = "; ".join(missing(release, seen))
    cause = f"inconclusive: the plan's deadline passed before promotion. {lacking}".rstrip()
    if release.plan.on_deadline is OnDeadline.ROLLBACK:
        return roll_back(release, deployment, seen, cause=cause, aborting=True, findings=seen.findings)
    if release.phase is Phase.PAUSED:
        return None
    hold = Hold(HoldReason.INCONCLUSIVE, cause)
    if release.plan.on_deadline is OnDeadline.ASK:
        ask = f"{cause} (lastgood approve {deployment.name} promotes it all the same)"
        hold = Hold(HoldReason.APPROVAL, ask, promotes=True)
    changes = {"hold": hold, "deadline": None}
    return Move(event=Event.HOLD, cause=cause, changes=changes, findings=seen.findings)


def _step_over(release: Release, seen: Situation) -> str | None:
    """Return why the present step is to be left now, None while it lasts or a person ends it."""
    if release.phase is Phase.PAUSED:
        paused = release.hold is not None and release.hold.reason is HoldReason.PAUSE
        until = release.hold.until if release.hold is not None and paused else None
        return "the pause is over" if until is not None and seen.now >= until else None
    step = release.plan.steps[release.step]
    if step.kind not in (StepKind.WEIGHT, StepKind.SHADOW) or lasts(release, seen):
        return None
    return f"step {release.step + 1} of {len(release.plan.steps)} is over"


def _proceed(release: Release, deployment: Deployment, seen: Situation, over: str | None) -> Move | None:
    if over is not None:
        last = release.step + 1 >= len(release.plan.steps)
        return after_last_step(release, seen, over) if last else advance(release, seen, over)
    step = release.plan.steps[release.step]
    if release.phase is Phase.PAUSED or step.kind in (StepKind.WEIGHT, StepKind.SHADOW):
        return None
    if step.kind is StepKind.APPROVE:
        message = step.message or "waiting for an approval"
        hold = Hold(HoldReason.APPROVAL, f"{message} (lastgood approve {deployment.name})")
        return Move(event=Event.HOLD, cause=hold.message, changes={"hold": hold})
    until = None if step.duration is None else seen.now + step.duration
    end = f"for {step.duration:.0f} s" if step.duration else f"until lastgood resume {deployment.name}"
    hold = Hold(HoldReason.PAUSE, f"paused by the plan {end}", until)
    return Move(event=Event.HOLD, cause=hold.message, changes={"hold": hold})


def _observe_promotion(release: Release, seen: Situation) -> Move | None:
    if seen.acknowledged:
        return _served(release, "every gateway serves it")
    if release.deadline is not None and seen.now > release.deadline:
        return Move(event=Event.OVERDUE, cause="not every gateway acknowledged the promotion in time")
    return None


def _served(release: Release, cause: str) -> Move:
    """Return the move that begins the watch; published where the version before answers copies from now on."""
    copied = release.previous is not None and release.plan.watch > 0 and release.plan.watch_shadow > 0
    return Move(event=Event.SERVED, cause=cause, changes={"deadline": None}, publish=copied)


def _end_watch(release: Release, seen: Situation) -> Move | None:
    if release.previous is None:
        return Move(event=Event.SUCCEED, cause="the first version of this deployment serves")
    if release.hold is not None or seen.now - release.phase_since < release.plan.watch:
        return None
    # Published, since from now on nothing counts for the release any more.
    return Move(event=Event.SUCCEED, cause="the watch is over", publish=True)


def _observe(release: Release, seen: Situation) -> Move | None:
    if not release.returning:  # stuck on the way to 100 %
        return _served(release, "every gateway serves it now") if seen.acknowledged else None
    if release.generation is None:
        if can_take_over(seen) and release.target is not None:
            return Move(event=None, cause=release.cause, stable=release.target, publish=True, changes={})
    elif seen.acknowledged:
        event = Event.WITHDRAWN if release.aborting else Event.SETTLED
        verified = (seen.now - release.phase_since) * 1000.0
        changes = {"timings": {**release.timings, "verified": round(verified, 3)}}
        return Move(event=event, cause=release.reason, changes=changes, publish=True)  # a standby chosen anew
    return _overdue(release, seen)


def _overdue(release: Release, seen: Situation) -> Move | None:
    if release.phase is not Phase.ROLLING_BACK or release.deadline is None or seen.now <= release.deadline:
        return None
    if restores_data(release):
        lacking = (release.data.error if release.data is not None else "") or "its data is not back"
    elif release.generation is None:
        lacking = "its host is not ready"
    else:
        lacking = "a gateway has not acknowledged it"
    return Move(event=Event.OVERDUE, cause=f"the rollback did not take effect in time: {lacking}")
