"""What happens next to a release. Pure: the release, what is observed and the time give one move or none.

Guardrails are judged before any pause, gate or hold. A rollback needs no measurement. The shell that
carries a move out is :mod:`lastgood.control.execute`.
"""

from lastgood.control.moves import Move, Situation, advance, can_take_over, promote, roll_back, undecided
from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import OnDeadline, OnFail, StepKind, Strategy
from lastgood.domain.release import Event, Hold, HoldReason, Phase, Release
from lastgood.domain.verdict import Verdict

_NOT_THE_VERSIONS_FAULT = frozenset({"corrupt", "untrusted", "unavailable", "storage"})


def decide(release: Release, deployment: Deployment, seen: Situation) -> Move | None:
    """Return the next move, or None while there is nothing to do."""
    match release.phase:
        case Phase.PENDING:
            return _take_up(release, seen)
        case Phase.VALIDATING:
            return _validate(release, deployment, seen)
        case Phase.PROGRESSING | Phase.PAUSED:
            return (
                _obey_guardrails(release, deployment, seen)
                or _obey_deadline(release, deployment, seen)
                or _proceed(release, deployment, seen)
            )
        case Phase.PROMOTING:
            return _obey_guardrails(release, deployment, seen) or _observe_promotion(release, seen)
        case Phase.WATCHING:
            return _obey_guardrails(release, deployment, seen) or _end_watch(release, seen)
        case Phase.STUCK if not release.returning:  # on the way to 100 %: most gateways serve it already
            return _obey_guardrails(release, deployment, seen) or _observe(release, seen)
        case Phase.ROLLING_BACK | Phase.STUCK:
            return _observe(release, seen)
    return None


def _take_up(release: Release, seen: Situation) -> Move:
    return Move(
        event=Event.START,
        cause=f"loading version {release.version} and proving that it answers",
        changes={"deadline": seen.now + release.plan.validate_deadline},
    )


def _validate(release: Release, deployment: Deployment, seen: Situation) -> Move | None:
    host = seen.candidate
    if host.failed and host.code in _NOT_THE_VERSIONS_FAULT:
        return Move(event=Event.ABORT, cause=f"could not be validated: {host.error}")
    if host.failed or host.starts > 3:
        why = host.error or "its host keeps exiting"
        return roll_back(release, deployment, seen, cause=f"failed validation: {why}")
    overdue = release.deadline is not None and seen.now > release.deadline
    if not host.ready:
        if overdue:
            limit = release.plan.validate_deadline
            cause = f"failed validation: it was not ready to answer after {limit:.0f} s"
            return roll_back(release, deployment, seen, cause=cause)
        return None
    if deployment.stable is None:
        return promote(release, seen, "validated; it is the first version here, so it becomes stable")
    if seen.target is None or not seen.target.ready:
        if overdue:
            return Move(
                event=Event.ABORT, cause="the stable version's host is not ready: there is no way back"
            )
        return None
    if release.plan.strategy is Strategy.ALL_AT_ONCE or not release.plan.steps:
        return promote(release, seen, "validated; the plan promotes at once")
    return Move(
        event=Event.VALIDATED,
        cause="loaded, verified and warm",
        changes={
            "step": 0,
            "step_since": seen.now,
            "deadline": seen.now + release.plan.deadline,
            "host_starts": host.starts,
        },
        publish=True,
    )


def _obey_guardrails(release: Release, deployment: Deployment, seen: Situation) -> Move | None:
    broken = [finding for finding in seen.findings if finding.verdict is Verdict.FAILED]
    for finding in broken:
        if finding.on_fail is OnFail.ROLLBACK:
            evidence = {"guardrail": finding.guardrail, "sentence": finding.sentence, **finding.numbers}
            move = roll_back(release, deployment, seen, cause=finding.sentence, evidence=evidence)
            if move is not None:
                return move
    for finding in broken:
        if finding.guardrail in release.alerted:
            continue
        told = (*release.alerted, finding.guardrail)
        if (
            finding.on_fail is OnFail.HOLD
            and _goes_on_by_itself(release)
            and finding.guardrail not in release.waived
        ):
            hold = Hold(HoldReason.GUARDRAIL, f"held by {finding.guardrail}: {finding.sentence}")
            changes = {"hold": hold, "alerted": told}
            if release.phase is Phase.PAUSED:  # the pause would end by itself: from now on a person ends it
                return Move(event=None, cause=finding.sentence, changes=changes, alert=finding.guardrail)
            return Move(event=Event.HOLD, cause=finding.sentence, changes=changes)
        if finding.on_fail is not OnFail.HOLD:
            return Move(
                event=None, cause=finding.sentence, changes={"alerted": told}, alert=finding.guardrail
            )
    return None


def _goes_on_by_itself(release: Release) -> bool:
    timed = release.hold is not None and release.hold.until is not None
    return release.phase is Phase.PROGRESSING or (release.phase is Phase.PAUSED and timed)


def _obey_deadline(release: Release, deployment: Deployment, seen: Situation) -> Move | None:
    if release.deadline is None or seen.now <= release.deadline:
        return None
    missing = "; ".join(finding.sentence for finding in undecided(release, seen))
    cause = f"inconclusive: the plan's deadline passed before promotion. {missing}".rstrip()
    if release.plan.on_deadline is OnDeadline.ROLLBACK:
        return roll_back(release, deployment, seen, cause=cause, aborting=True)
    if release.phase is Phase.PAUSED:
        return None
    hold = Hold(HoldReason.INCONCLUSIVE, cause)
    return Move(event=Event.HOLD, cause=cause, changes={"hold": hold, "deadline": None})


def _proceed(release: Release, deployment: Deployment, seen: Situation) -> Move | None:
    if release.phase is Phase.PAUSED:
        hold = release.hold
        if hold is not None and hold.until is not None and seen.now >= hold.until:
            return _leave_step(release, seen, "the pause is over")
        return None
    step = release.plan.steps[release.step]
    if step.kind is StepKind.APPROVE:
        message = step.message or "waiting for an approval"
        hold = Hold(HoldReason.APPROVAL, f"{message} (lastgood approve {deployment.name})")
        return Move(event=Event.HOLD, cause=hold.message, changes={"hold": hold})
    if step.kind is StepKind.PAUSE:
        until = None if step.duration is None else seen.now + step.duration
        end = f"for {step.duration:.0f} s" if step.duration else f"until lastgood resume {deployment.name}"
        hold = Hold(HoldReason.PAUSE, f"paused by the plan {end}", until)
        return Move(event=Event.HOLD, cause=hold.message, changes={"hold": hold})
    if seen.now - release.step_since < (step.duration or 0.0) or seen.requests < step.samples:
        return None
    return _leave_step(release, seen, f"step {release.step + 1} of {len(release.plan.steps)} is over")


def _leave_step(release: Release, seen: Situation, cause: str) -> Move | None:
    last = release.step + 1 >= len(release.plan.steps)
    if last and undecided(release, seen):
        return None  # never a silent promotion: the deadline decides what happens to the undecided
    return advance(release, seen, cause)


def _observe_promotion(release: Release, seen: Situation) -> Move | None:
    if seen.acknowledged:
        return Move(event=Event.SERVED, cause="every gateway serves it", changes={"deadline": None})
    if release.deadline is not None and seen.now > release.deadline:
        return Move(event=Event.OVERDUE, cause="not every gateway acknowledged the promotion in time")
    return None


def _end_watch(release: Release, seen: Situation) -> Move | None:
    if release.previous is None:
        return Move(event=Event.SUCCEED, cause="the first version of this deployment serves")
    if seen.now - release.phase_since < release.plan.watch:
        return None
    return Move(event=Event.SUCCEED, cause="the watch is over")


def _observe(release: Release, seen: Situation) -> Move | None:
    if not release.returning:  # stuck on the way to 100 %
        return (
            Move(event=Event.SERVED, cause="every gateway serves it now", changes={"deadline": None})
            if seen.acknowledged
            else None
        )
    if release.generation is None:
        if can_take_over(seen) and release.target is not None:
            return Move(event=None, cause=release.cause, stable=release.target, publish=True, changes={})
    elif seen.acknowledged:
        event = Event.WITHDRAWN if release.aborting else Event.SETTLED
        verified = (seen.now - release.phase_since) * 1000.0
        changes = {"timings": {**release.timings, "verified": round(verified, 3)}}
        return Move(event=event, cause=release.reason, changes=changes, publish=True)  # a standby chosen anew
    if release.phase is Phase.ROLLING_BACK and release.deadline is not None and seen.now > release.deadline:
        missing = (
            "its host is not ready" if release.generation is None else "a gateway has not acknowledged it"
        )
        return Move(event=Event.OVERDUE, cause=f"the rollback did not take effect in time: {missing}")
    return None
