"""What a user may ask of releases: start one, steer it, end it."""

from collections.abc import Callable, Set
from typing import Final

import msgspec

from lastgood.control.execute import Executor
from lastgood.control.lookup import deployment_named
from lastgood.control.moves import Move, advance, migrates, onwards, promote, restores_data
from lastgood.control.observe import Observer
from lastgood.control.promotion import missing
from lastgood.control.readiness import ReadinessWatch
from lastgood.control.rollback import Rollback, RollbackResult
from lastgood.control.starting import Order, Starting
from lastgood.domain.deployment import Deployment
from lastgood.domain.release import IN_STEPS, MOVING, Event, Hold, HoldReason, Phase, Release, Rule
from lastgood.errors import Code, LastgoodError
from lastgood.ports import ReleaseStore

_TRIES = 20
_HELD: Final = frozenset({Phase.PAUSED})


class Releases:
    """The commands on releases. Each returns the release as stored after it."""

    def __init__(
        self,
        *,
        releases: ReleaseStore,
        starting: Starting,
        executor: Executor,
        observer: Observer,
        rollback: Rollback,
        readiness: ReadinessWatch,
        wake: Callable[[], None],
    ) -> None:
        self._releases = releases
        self._starting = starting
        self._executor = executor
        self._observer = observer
        self._rollback = rollback
        self._readiness = readiness
        self._wake = wake

    def start(self, order: Order) -> Release:
        """Start a release: see :meth:`Starting.start`."""
        release = self._starting.start(order)
        self._wake()
        return release

    def promote(self, name: str, *, full: bool, actor: str) -> Release:
        """Go to the next step at once, or with ``full`` straight to 100 %. A guardrail that held it is set aside."""
        deployment, release = self._steered(name, "promote", IN_STEPS)
        move = self._onwards(deployment, release, f"promoted by {actor}", actor, full=full)
        return self._act(deployment, release, move, actor)

    def pause(self, name: str, *, reason: str, actor: str) -> Release:
        """Hold the release where it is; guardrails stay on."""
        deployment, release = self._steered(name, "pause", MOVING)
        message = f"paused by {actor}: {reason}" if reason else f"paused by {actor}"
        hold = Hold(HoldReason.PERSON, f"{message} (lastgood resume {name})")
        return self._act(
            deployment, release, Move(event=Event.HOLD, cause=message, changes={"hold": hold}), actor
        )

    def resume(self, name: str, *, actor: str) -> Release:
        """Go on after a pause, or with a watch that is held. A guardrail that held it is set aside for the rest of it.

        Where gateways had taken the candidate out by themselves, they send it traffic again.
        """
        deployment, release = self._steered(name, "resume", _HELD)
        hold = release.hold
        cause = f"resumed by {actor}"
        if hold is not None and hold.reason is HoldReason.APPROVAL:
            raise LastgoodError(
                Code.CONFLICT, f"{name} waits for an approval, not for time.", f"Run: lastgood approve {name}"
            )
        self._readiness.check_onwards(release)
        if hold is not None and hold.reason is HoldReason.PAUSE:
            return self._act(deployment, release, self._onwards(deployment, release, cause, actor), actor)
        changes = {"hold": None, **_taken_up(release, self._executor.now(), actor)}
        again = "tries" in changes
        event = None if release.phase is Phase.WATCHING else onwards(release)
        move = Move(event=event, cause=cause, changes=changes, publish=again)
        return self._act(deployment, release, move, actor)

    def approve(self, name: str, *, actor: str) -> Release:
        """Open the gate at which the release waits; the one after a plan's deadline leads straight to 100 %."""
        deployment, release = self._steered(name, "approve", _HELD)
        if release.hold is None or release.hold.reason is not HoldReason.APPROVAL:
            raise LastgoodError(
                Code.CONFLICT,
                f"{name} does not wait for an approval: {release.hold.message if release.hold else release.cause}.",
                f"Run: lastgood resume {name}",
            )
        cause = f"approved by {actor}"
        if release.hold.promotes:
            unproven = "; ".join(missing(release, self._observer.peek(release)))
            cause += f" after the deadline, although it was not proven: {unproven}"
        move = self._onwards(deployment, release, cause, actor, full=release.hold.promotes)
        if move.event is Event.RESUME:
            move = msgspec.structs.replace(move, event=Event.APPROVE)
        elif move.event is Event.SHADOW:  # which tells nothing of who opened the gate
            move = msgspec.structs.replace(move, told={**move.told, "approved": True})
        return self._act(deployment, release, move, actor)

    def abort(self, name: str, *, reason: str, actor: str) -> Release:
        """End the release without blaming the version; all traffic goes to stable.

        It holds whatever the controller does to the release at the same moment.
        """
        for _ in range(_TRIES):
            try:
                return self._abort(name, reason, actor)
            except LastgoodError as error:
                if error.code is not Code.CONFLICT:
                    raise
                lost = error  # somebody was first: read again, and name what stands in the way
        raise lost

    def _abort(self, name: str, reason: str, actor: str) -> Release:
        deployment, release = self._steered(name, "abort", {Phase.PENDING, Phase.VALIDATING} | IN_STEPS)
        if release.phase in IN_STEPS or restores_data(release) or migrates(release):
            self._rollback.to_version(name, reason=reason, keep=True, actor=actor, aborting=True)
            return self._releases.release(release.id) or release
        cause = f"aborted by {actor}: {reason}" if reason else f"aborted by {actor}"
        return self._act(deployment, release, Move(event=Event.ABORT, cause=cause), actor)

    def roll_back(
        self, name: str, *, version: str | None, reason: str, keep: bool, actor: str
    ) -> RollbackResult:
        """Go back, verified. See :meth:`Rollback.to_version`."""
        result = self._rollback.to_version(name, version=version, reason=reason, keep=keep, actor=actor)
        self._wake()
        return result

    def _onwards(
        self, deployment: Deployment, release: Release, cause: str, actor: str, *, full: bool = False
    ) -> Move:
        """Return a person's move to the next step, or to 100 % after the last one and with ``full``.

        It says what the guardrails had found by then.
        """
        self._readiness.check_onwards(release)
        seen = self._observer.situation(deployment, release, measure=False)
        if full or release.step + 1 >= len(release.plan.steps):
            findings = self._observer.peek(release).findings
            move = promote(release, seen, cause, rule=Rule.PERSON, findings=findings)
        else:
            move = advance(release, seen, cause)
        changes = {**_taken_up(release, seen.now, actor), **move.changes}
        if move.event is Event.PROMOTE:
            changes.pop("tries", None)  # nothing is tried any more
        return msgspec.structs.replace(move, changes=changes)

    def _steered(self, name: str, verb: str, phases: Set[Phase]) -> tuple[Deployment, Release]:
        deployment = deployment_named(self._releases, name)
        release = None if deployment.release is None else self._releases.release(deployment.release)
        if release is None:
            raise LastgoodError(
                Code.CONFLICT,
                f"No release of {name} is under way, so there is nothing to {verb}.",
                f"See 'lastgood history {name}'.",
            )
        if release.phase is Phase.WATCHING and release.hold is not None and verb == "resume":
            return deployment, release
        if release.phase not in phases and verb == "resume" and release.plan.stands_at(release.step):
            raise LastgoodError(
                Code.CONFLICT,
                f"Release {release.id} of {name} is {release.phase.value}: its shadow stands, and is not held.",
                f"To go on to its next step: lastgood promote {name}",
            )
        if release.phase not in phases:
            held = release.phase is Phase.PAUSED
            raise LastgoodError(
                Code.CONFLICT,
                f"Release {release.id} of {name} is "
                + (
                    "held already, so there is nothing to pause."
                    if held and verb == "pause"
                    else f"{release.phase.value.replace('_', ' ')}: it cannot {verb} now."
                ),
                f"What it waits for: lastgood status {name}"
                if held
                else f"To leave it: lastgood rollback {name}",
            )
        return deployment, release

    def _act(self, deployment: Deployment, release: Release, move: Move, actor: str) -> Release:
        stored = self._executor.apply(deployment, release, move, actor=actor)[1]
        self._wake()
        return stored


def _taken_up(release: Release, now: float, actor: str) -> dict[str, object]:
    """Return what changes when a person goes on with a release that is held, whatever held it.

    A guardrail that held it is set aside for the rest of it, gateways try the candidate again, a deadline that has passed begins
    anew.
    """
    reason = None if release.hold is None else release.hold.reason
    changes: dict[str, object] = {}
    if release.hold is not None and release.hold.guardrail is not None:
        name = release.hold.guardrail
        changes["waived"] = tuple(sorted({*release.waived, name}))
        changes["waived_by"] = {**release.waived_by, name: actor}
    if reason is HoldReason.REFLEX:
        changes["tries"] = release.tries + 1
    if release.deadline is None and release.phase is not Phase.WATCHING:
        changes["deadline"] = now + release.plan.deadline
    return changes
