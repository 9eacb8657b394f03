"""What may be seen of a release, and the moves that can be made of it. Pure values and their constructors.

:mod:`lastgood.control.decide` chooses among them; the commands of a person make the same ones.
"""

from typing import Any

import msgspec

from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import OnRollback
from lastgood.domain.readiness import Standing
from lastgood.domain.release import Event, Phase, Release, Rule
from lastgood.domain.snapshot import DataStage, Snapshot
from lastgood.domain.verdict import Finding


class HostView(msgspec.Struct, frozen=True, kw_only=True):
    """A model host as the decision sees it. ``error`` and ``code`` say why it cannot serve, when it cannot."""

    ready: bool = False
    failed: bool = False
    error: str = ""
    code: str = ""
    starts: int = 0


class TakenOut(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway worker that sends the candidate nothing more in this try, and why.

    ``failures`` of the last ``requests`` failed; ``log_likelihood`` is the natural logarithm of how much likelier
    that is for a version that fails every other request than for one that fails as stable does.
    """

    slot: int
    failures: int
    requests: int
    log_likelihood: float


class DataWork(msgspec.Struct, frozen=True, kw_only=True):
    """How the work on live data stands that the release's stage asks for.

    ``snapshot`` is what a capture gave. ``error`` is why it failed, None while it runs or when it ended well. ``lost`` is
    whether that was because what had been staged is gone. ``begun`` is whether this process has begun it.
    """

    begun: bool = False
    done: bool = False
    snapshot: Snapshot | None = None
    error: str | None = None
    lost: bool = False


class GoldenView(msgspec.Struct, frozen=True, kw_only=True):
    """How the candidate's golden requests stand: how many were answered, and what was wrong with the first that was not."""

    done: bool = True
    requests: int = 0
    error: str = ""


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything observed that a decision may depend on.

    ``candidate`` is the host of the release's version, ``target`` that of the version traffic would go
    back to, None where there is no such version. ``last_good`` is that version's number when it is not
    simply the present stable. ``acknowledged`` is whether every live gateway obeys the release's generation,
    ``served`` whether any gateway lives at all: with none, no route needs a ready host.
    ``requests`` are the candidate's in the present stage. ``taken_out`` are the gateway workers that have stopped
    sending the candidate traffic by themselves in this try of the release. ``data`` is the work on live data that
    the release's stage asks for; ``process`` names the process that looks, ``misfits`` say what the candidate would not find in the live data, and
    ``misfits_back`` what the version gone back to would not: each is looked at only when it matters. ``golden`` is how
    the candidate answered its golden requests, ``way_back`` whether the way back was open when it was last looked at.
    """

    now: float
    candidate: HostView
    target: HostView | None
    last_good: int | None
    acknowledged: bool
    served: bool = True
    findings: tuple[Finding, ...] = ()
    requests: int = 0
    taken_out: tuple[TakenOut, ...] = ()
    data: DataWork = DataWork()
    process: str = ""
    misfits: tuple[str, ...] = ()
    misfits_back: tuple[str, ...] = ()
    golden: GoldenView = GoldenView()
    way_back: Standing = Standing()


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """One step to take: an event (None: a change within the phase), the fields it sets, and its reason.

    ``stable`` is the deployment's new stable version, None to leave it. ``publish`` asks for a new route.
    ``alert`` names a guardrail to tell about without acting. ``findings`` are those it rests on and ``told`` is what
    else its event says.
    """

    event: Event | None
    cause: str
    changes: dict[str, Any] = {}
    stable: int | None = None
    publish: bool = False
    alert: str | None = None
    findings: tuple[Finding, ...] = ()
    told: dict[str, Any] = {}


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
    findings: tuple[Finding, ...] = (),
) -> Move | None:
    """Return the move that begins a rollback or an abort, None when there is no version to go back to.

    While the candidate has not become stable the way back is the present stable, and the route changes at
    once. Afterwards it is ``target`` or the last good version, and the route changes at once if that one's
    host is ready, else as soon as it is. With data to give back (:mod:`lastgood.control.data_moves`) a promoted
    version serves on until its data is swapped: model and data go back together.
    """
    restoring = restores_data(release)
    at_once = aborting and not restoring and not migrates(release)
    event = Event.ABORT if at_once else Event.ROLL_BACK
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
    if release.data is not None and release.data.held is not None and not restoring:
        changes["data"] = msgspec.structs.replace(release.data, held=None)  # nobody waits for what stays
    if deployment.stable != release.version:
        changes["target"] = deployment.stable
        return Move(event=event, cause=cause, changes=changes, publish=True, findings=findings)
    goal = target if target is not None else seen.last_good
    if goal is None:
        return None
    changes["target"] = goal
    ready = can_take_over(seen) and not restoring
    stable = goal if ready else None
    return Move(event=event, cause=cause, changes=changes, stable=stable, publish=ready, findings=findings)


def promote(
    release: Release, seen: Situation, cause: str, *, rule: Rule, findings: tuple[Finding, ...] = ()
) -> Move:
    """Return the move that gives the candidate all traffic, by this rule and on these findings."""
    return Move(
        event=Event.PROMOTE,
        cause=cause,
        changes={
            "deadline": seen.now + release.plan.promote_deadline,
            "hold": None,
            **_touched(release, seen),
        },
        stable=release.version,
        publish=True,
        findings=findings,
        told={"rule": rule.value},
    )


def advance(release: Release, seen: Situation, cause: str) -> Move:
    """Return the move to the next step; there must be one. The deadline begins anew behind a standing shadow."""
    following = release.step + 1
    event = Event.RESUME if release.phase is Phase.PAUSED else Event.ADVANCE
    if release.plan.shadow_at(following):
        event = Event.SHADOW
    changes = {
        "step": following,
        "step_since": seen.now,
        "hold": None,
        **first_traffic(release, following, seen),
    }
    if release.plan.stands_at(release.step):
        changes["deadline"] = seen.now + release.plan.deadline
    return Move(event=event, cause=cause, changes=changes, publish=True)


def onwards(release: Release) -> Event:
    """Return the event that ends a pause within the present step: it goes on with copies, or with its weight."""
    return Event.SHADOW if release.plan.shadow_at(release.step) else Event.RESUME


def first_traffic(release: Release, step: int, seen: Situation) -> dict[str, Any]:
    """Return what changes when ``step`` is the first that sends the candidate traffic, else nothing."""
    if release.plan.weight_at(step) == 0:
        return {}
    begins = {"traffic_since": seen.now} if release.traffic_since is None else {}
    return {**begins, **_touched(release, seen)}


def restores_data(release: Release) -> bool:
    """Whether the way back includes live data that is not back yet."""
    plan, data = release.plan.data, release.data
    return (
        plan is not None
        and plan.on_rollback is OnRollback.RESTORE
        and data is not None
        and data.touched
        and data.stage not in (DataStage.SWAPPED, DataStage.COUNTED)
    )


def migrates(release: Release) -> bool:
    """Whether its migration may be running: it has to be ended, and that seen, before the release may be over."""
    return release.data is not None and release.data.stage is DataStage.MIGRATING


def _touched(release: Release, seen: Situation) -> dict[str, Any]:
    """Return what traffic on the candidate means for the data: it may change from now on, and nobody waits any more."""
    data = release.data
    if data is None:
        return {}
    waited = data.held_ms if data.held is None else round((seen.now - data.held) * 1000.0, 3)
    return {"data": msgspec.structs.replace(data, touched=True, held=None, held_ms=waited)}


def can_take_over(seen: Situation) -> bool:
    """Whether the version gone back to can answer: its host is ready, or no gateway lives to ask it."""
    return not seen.served or (seen.target is not None and seen.target.ready)
