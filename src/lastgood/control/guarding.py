"""What follows from a failed guardrail, and from a candidate that gateways have taken out. Pure.

Both come before any pause, gate or hold. A guardrail that is on a dry run is shown and nothing follows.
"""

from typing import Final

import msgspec

from lastgood.analysis import sentences
from lastgood.control.data_moves import frozen
from lastgood.control.moves import Move, Situation, TakenOut, onwards, roll_back
from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import Guardrail, Metric, NoData, OnFail
from lastgood.domain.readiness import READINESS
from lastgood.domain.release import IN_STEPS, MOVING, Event, Hold, HoldReason, Phase, Release
from lastgood.domain.verdict import Finding, Verdict

REFLEX_TRIES: Final = 5
"""How often a candidate that gateways take out gets traffic without a person's word. Each costs a few fallbacks."""

REFLEX_SECONDS: Final = 3.0
"""How long it has none in between."""

_STAYS_HELD = (HoldReason.REFLEX, HoldReason.GUARDRAIL, HoldReason.WORLD)


def obey_guardrails(
    release: Release, deployment: Deployment, seen: Situation, *, leaving: bool = False
) -> Move | None:
    """Return what the failed guardrails ask for, None when none has failed or all is done that they asked.

    ``leaving`` is whether the present step is about to be left: a guardrail for which no data counts as a failure
    fails then, if the step gave the candidate traffic or copies.
    """
    broken = [finding for finding in _failed(release, seen, leaving) if not finding.dry_run]
    if broken and (why := frozen(release, seen)) is not None:
        broken = [_stays(finding, release, why) for finding in broken]
    for finding in broken:
        if finding.on_fail is OnFail.ROLLBACK:
            evidence = {"guardrail": finding.guardrail, "sentence": finding.sentence, **finding.numbers}
            move = roll_back(release, deployment, seen, cause=finding.sentence, evidence=evidence)
            if move is not None:
                return move
    for finding in broken:
        # One that has only alerted so far may still hold; it holds no more once a person has set it aside.
        if finding.guardrail not in release.alerted or finding.on_fail is OnFail.HOLD:
            move = _hold_or_tell(release, finding)
            if move is not None:
                return move
    return None


def obey_gateways(release: Release, deployment: Deployment, seen: Situation) -> Move | None:
    """Return the hold of a candidate that gateways have taken out by themselves, and the end of that hold.

    It is tried again by itself, :data:`REFLEX_TRIES` times in all: what a few failures could not show to the guardrails
    a few more will, and a fault that passed does not end a release. After the last try a person decides, and so where a
    person's word was awaited already.

    It takes the place of a pause that would end by itself, and of one that a person ends without knowing of it. A gate
    of the plan is reached again after it.
    """
    held = release.hold if release.hold is not None and release.hold.reason is HoldReason.REFLEX else None
    if held is not None and held.until is not None and seen.now >= held.until:
        again = f"the candidate gets traffic again, try {release.tries + 2} of {REFLEX_TRIES}"
        return Move(
            event=onwards(release),
            cause=again,
            changes={"hold": None, "tries": release.tries + 1},
            publish=True,
        )
    if not seen.taken_out:
        return None
    worst = max(seen.taken_out, key=lambda one: one.log_likelihood)
    limit = next((one for one in release.plan.guardrails if _forbids(one, worst)), None)
    if limit is not None and frozen(release, seen) is None:
        return _over_the_limit(release, deployment, seen, limit, worst)
    if release.hold is not None and release.hold.reason in _STAYS_HELD:
        return None
    slots = sorted({one.slot for one in seen.taken_out})
    workers = ", ".join(str(slot) for slot in slots)
    noun = "gateway worker" if len(slots) == 1 else "gateway workers"
    cause = (
        f"{noun} {workers} took the candidate out at once: {worst.failures} of its last {worst.requests} requests "
        f"there failed, {sentences.to_one(worst.log_likelihood)} for a version that fails every other request; no "
        "guardrail has failed yet"
    )
    until, then = None, f"lastgood resume {deployment.name} sends it traffic again"
    if release.tries + 1 < REFLEX_TRIES and _goes_on_by_itself(
        release
    ):  # a few more requests may be all that the guardrails lack
        until, then = seen.now + REFLEX_SECONDS, f"it gets traffic again after {REFLEX_SECONDS:g} s"
    changes = {"hold": Hold(HoldReason.REFLEX, f"{cause} ({then})", until)}
    event = Event.HOLD if release.phase in MOVING else None
    told = {"reflexes": [msgspec.structs.asdict(one) for one in seen.taken_out]}
    return Move(event=event, cause=cause, changes=changes, findings=seen.findings, told=told)


def obey_readiness(release: Release, deployment: Deployment, seen: Situation) -> Move | None:
    """Return the hold of a release whose way back is lost, and the end of that hold once it is open again.

    It takes the place of a pause of the plan; any other hold is a person's to end, who cannot while it is lost. A version
    that has all traffic already cannot be held: that is told, once.
    """
    lost = seen.way_back.lost
    held = release.hold is not None and release.hold.reason is HoldReason.READINESS
    if not lost:
        if not (held and seen.way_back.open):
            return None
        return Move(event=onwards(release), cause="the way back is open again", changes={"hold": None})
    cause = f"the way back is lost: {lost}"
    if release.phase not in IN_STEPS:
        if READINESS in release.alerted:
            return None
        told = (*release.alerted, READINESS)
        return Move(event=None, cause=cause, changes={"alerted": told}, alert=READINESS)
    if release.phase is Phase.PAUSED and not (release.hold and release.hold.reason is HoldReason.PAUSE):
        return None
    hold = Hold(HoldReason.READINESS, f"{cause} (lastgood verify {deployment.name} says what to do)")
    event = Event.HOLD if release.phase in MOVING else None
    return Move(event=event, cause=cause, changes={"hold": hold}, findings=seen.findings)


def _forbids(guardrail: Guardrail, worst: TakenOut) -> bool:
    """Whether what a gateway saw is over a hard limit of the plan, which asks for a rollback."""
    return (
        guardrail.metric in (Metric.ERRORS, Metric.INVALID_OUTPUT)
        and guardrail.on_fail is OnFail.ROLLBACK
        and not guardrail.dry_run
        and guardrail.maximum is not None
        and worst.failures > guardrail.maximum * worst.requests
    )


def _over_the_limit(
    release: Release, deployment: Deployment, seen: Situation, limit: Guardrail, worst: TakenOut
) -> Move | None:
    """Return the rollback of a candidate that gateways took out, by a hard limit that its few requests are over."""
    cause = (
        f"{limit.name}: {worst.failures} of the candidate's last {worst.requests} requests failed, "
        f"{sentences.to_one(worst.log_likelihood)} for a version that fails every other request, over the maximum of "
        f"{sentences.percent(limit.maximum or 0.0)}: a gateway took it out at once."
    )
    evidence = {"guardrail": limit.name, "sentence": cause, **msgspec.structs.asdict(worst)}
    return roll_back(release, deployment, seen, cause=cause, evidence=evidence, findings=seen.findings)


def _stays(finding: Finding, release: Release, why: str) -> Finding:
    """Return the finding of a release that must not go back by itself: it is held where it can be, and told."""
    if finding.on_fail is not OnFail.ROLLBACK:
        return finding
    split = release.phase in IN_STEPS
    return msgspec.structs.replace(
        finding,
        on_fail=OnFail.HOLD if split else OnFail.ALERT,
        sentence=f"{finding.sentence} Nothing goes back: {why}.",
    )


def _failed(release: Release, seen: Situation, leaving: bool) -> list[Finding]:
    found = [finding for finding in seen.findings if finding.verdict is Verdict.FAILED]
    if leaving and (release.plan.weight_at(release.step) > 0 or release.shadows):
        found += [
            msgspec.structs.replace(
                finding, sentence=f"{finding.sentence} The plan counts no data as a failure."
            )
            for finding in seen.findings
            if finding.no_data is NoData.FAIL and finding.verdict is not Verdict.FAILED
        ]
    return found


def _hold_or_tell(release: Release, finding: Finding) -> Move | None:
    name, told = finding.guardrail, (*release.alerted, finding.guardrail)
    watching = release.phase is Phase.WATCHING
    served = release.phase not in IN_STEPS and not watching  # nothing is left that could be held
    if finding.on_fail is not OnFail.HOLD or served:
        if name in release.alerted:
            return None
        return Move(
            event=None, cause=finding.sentence, changes={"alerted": told}, alert=name, findings=(finding,)
        )
    goes_on = release.hold is None if watching else _goes_on_by_itself(release)
    if not goes_on or name in release.waived:
        return None
    here = release.deployment
    onwards = f"lastgood resume {here} sets {name} aside and goes on, lastgood rollback {here} goes back"
    reason = HoldReason.WORLD if finding.world else HoldReason.GUARDRAIL
    hold = Hold(reason, f"held by {finding.sentence} ({onwards})", guardrail=name)
    changes = {"hold": hold, "alerted": tuple(dict.fromkeys(told))}
    # A pause would end by itself, and so would the watch: from now on a person ends it.
    if release.phase is Phase.PAUSED or watching:
        return Move(event=None, cause=finding.sentence, changes=changes, alert=name, findings=(finding,))
    return Move(event=Event.HOLD, cause=finding.sentence, changes=changes, findings=(finding,))


def _goes_on_by_itself(release: Release) -> bool:
    timed = release.hold is not None and release.hold.until is not None
    return release.phase in MOVING or (release.phase is Phase.PAUSED and timed)
