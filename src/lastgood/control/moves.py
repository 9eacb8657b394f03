"""What may be seen of a release, and the moves that can be made of it. Pure values and their constructors.

:mod:`lastgood.control.decide` chooses among them; the commands of a person make the same ones.
"""

from typing import Any

import msgspec

from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import OnFail
from lastgood.domain.release import Event, Phase, Release
from lastgood.domain.verdict import Finding, Verdict


class HostView(msgspec.Struct, frozen=True, kw_only=True):
    """A model host as the decision sees it. ``error`` and ``code`` say why it cannot serve, when it cannot."""

    ready: bool = False
    failed: bool = False
    error: str = ""
    code: str = ""
    starts: int = 0


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything observed that a decision may depend on.

    ``candidate`` is the host of the release's version, ``target`` that of the version traffic would go
    back to, None where there is no such version. ``last_good`` is that version's number when it is not
    simply the present stable. ``acknowledged`` is whether every live gateway obeys the release's generation,
    ``served`` whether any gateway lives at all: with none, no route needs a ready host.
    ``requests`` are the candidate's in the present stage.
    """

    now: float
    candidate: HostView
    target: HostView | None
    last_good: int | None
    acknowledged: bool
    served: bool = True
    findings: tuple[Finding, ...] = ()
    requests: int = 0


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """One step to take: an event (None: a change within the phase), the fields it sets, and its reason.

    ``stable`` is the deployment's new stable version, None to leave it. ``publish`` asks for a new route.
    ``alert`` names a guardrail to tell about without acting.
    """

    event: Event | None
    cause: str
    changes: dict[str, Any] = {}
    stable: int | None = None
    publish: bool = False
    alert: str | None = None


def roll_back(
    release: Release,
    deployment: Deployment,
    seen: Situation,
    *,
    cause: str,
    evidence: dict[str, Any] | None = None,
    blame: bool = True,
    aborting: bool = False,
    target: int | None = None,
) -> Move | None:
    """Return the move that begins a rollback or an abort, None when there is no version to go back to.

    While the candidate has not become stable the way back is the present stable, and the route changes at
    once. Afterwards it is ``target`` or the last good version, and the route changes at once if that one's
    host is ready, else as soon as it is.
    """
    event = Event.ABORT if aborting else Event.ROLL_BACK
    changes: dict[str, Any] = {
        "reason": cause,
        "returning": True,
        "aborting": aborting,
        "blame": blame and not aborting,
        "deadline": seen.now + release.plan.rollback_deadline,
        "hold": None,
        "evidence": evidence or {},
        "generation": None,
    }
    if deployment.stable != release.version:
        changes["target"] = deployment.stable
        return Move(event=event, cause=cause, changes=changes, publish=True)
    goal = target if target is not None else seen.last_good
    if goal is None:
        return None
    changes["target"] = goal
    ready = can_take_over(seen)
    return Move(event=event, cause=cause, changes=changes, stable=goal if ready else None, publish=ready)


def promote(release: Release, seen: Situation, cause: str) -> Move:
    """Return the move that gives the candidate all traffic."""
    return Move(
        event=Event.PROMOTE,
        cause=cause,
        changes={"deadline": seen.now + release.plan.promote_deadline, "hold": None},
        stable=release.version,
        publish=True,
    )


def advance(release: Release, seen: Situation, cause: str) -> Move:
    """Return the move to the next step, or the promotion after the last one."""
    following = release.step + 1
    if following >= len(release.plan.steps):
        return promote(release, seen, cause)
    event = Event.RESUME if release.phase is Phase.PAUSED else Event.ADVANCE
    changes = {"step": following, "step_since": seen.now, "hold": None}
    return Move(event=event, cause=cause, changes=changes, publish=True)


def waiting_for(release: Release, seen: Situation) -> str:
    """Say in one sentence what a release that does not move is waiting for."""
    if release.hold is not None:
        return release.hold.message
    if release.phase is not Phase.PROGRESSING:
        return release.cause
    step = release.plan.steps[release.step]
    missing = []
    left = release.step_since + (step.duration or 0.0) - seen.now
    if left > 0:
        missing.append(f"{left:.0f} s more")
    if seen.requests < step.samples:
        missing.append(f"{seen.requests} of {step.samples} candidate requests")
    if not missing:
        missing = [finding.sentence for finding in undecided(release, seen)]
    return "waiting for " + "; ".join(missing) if missing else "about to go on"


def can_take_over(seen: Situation) -> bool:
    """Whether the version gone back to can answer: its host is ready, or no gateway lives to ask it."""
    return not seen.served or (seen.target is not None and seen.target.ready)


def undecided(release: Release, seen: Situation) -> list[Finding]:
    """Return the findings that stand between the last step and the promotion."""
    if release.plan.weight_at(release.step) == 0 and release.plan.stage_at(len(release.plan.steps)) < 0:
        return []  # a plan without any traffic step has nothing to measure
    return [
        finding
        for finding in seen.findings
        if finding.verdict in (Verdict.INCONCLUSIVE, Verdict.ERROR)
        and finding.on_fail is not OnFail.ALERT
        and finding.guardrail not in release.waived
    ]
