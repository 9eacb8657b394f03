"""What a user may ask of releases: start one, steer it, end it."""

from collections.abc import Callable

import msgspec

from lastgood.control import preflight
from lastgood.control.execute import Executor
from lastgood.control.history import baseline_of, told_of
from lastgood.control.live_data import LiveData
from lastgood.control.lookup import deployment_named
from lastgood.control.moves import Move, advance, promote, restores_data
from lastgood.control.observe import Observer
from lastgood.control.promotion import missing
from lastgood.control.readiness import ReadinessWatch
from lastgood.control.registry import Registry
from lastgood.control.rollback import Rollback, RollbackResult
from lastgood.domain.change import Change
from lastgood.domain.deployment import Deployment
from lastgood.domain.event import EventDraft
from lastgood.domain.plan import Plan, Strategy, built_in
from lastgood.domain.release import Event, Hold, HoldReason, Override, Phase, Release, Rule
from lastgood.domain.version import Version, check_name
from lastgood.errors import Code, LastgoodError
from lastgood.ports import Blobs, ReleaseStore, TrafficStore
from lastgood.settings import Settings

_TRIES = 20
_STEERABLE = (Phase.PROGRESSING, Phase.PAUSED)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A request to release ``version`` (number or label) of ``model`` to ``deployment``."""

    model: str
    version: str
    deployment: str | None = None
    plan: Plan | None = None
    override: str | None = None
    actor: str = ""


class Releases:
    """The commands on releases. Each returns the release as stored after it."""

    def __init__(
        self,
        *,
        releases: ReleaseStore,
        traffic: TrafficStore,
        registry: Registry,
        blobs: Blobs,
        executor: Executor,
        observer: Observer,
        rollback: Rollback,
        settings: Settings,
        live: LiveData,
        readiness: ReadinessWatch,
        wake: Callable[[], None],
    ) -> None:
        self._releases = releases
        self._traffic = traffic
        self._registry = registry
        self._blobs = blobs
        self._executor = executor
        self._observer = observer
        self._rollback = rollback
        self._settings = settings
        self._live = live
        self._readiness = readiness
        self._wake = wake

    def start(self, order: Order) -> Release:
        """Start a release, after every check that can be made before anything moves.

        :raises LastgoodError: ``not_found``, ``conflict`` (another release is under way), ``refused`` (failed
            bytes, no way back, artifact not intact) or ``untrusted``.
        """
        version = self._registry.resolve(order.model, order.version)
        name = check_name(order.deployment or order.model, "deployment")
        for _ in range(_TRIES):
            change = self._start_of(order, version, name)
            try:
                stored = self._executor.commit(change)[1]
            except LastgoodError as error:
                if error.code is not Code.CONFLICT:
                    raise
                lost = error
                continue  # somebody was first: read again, and name what stands in the way
            self._wake()
            return stored
        raise lost

    def promote(self, name: str, *, full: bool, actor: str) -> Release:
        """Go to the next step at once, or with ``full`` straight to 100 %. A guardrail that held it is set aside."""
        deployment, release = self._steered(name, "promote", _STEERABLE)
        move = self._onwards(deployment, release, f"promoted by {actor}", actor, full=full)
        return self._act(deployment, release, move, actor)

    def pause(self, name: str, *, reason: str, actor: str) -> Release:
        """Hold the release where it is; guardrails stay on."""
        deployment, release = self._steered(name, "pause", (Phase.PROGRESSING,))
        message = f"paused by {actor}: {reason}" if reason else f"paused by {actor}"
        hold = Hold(HoldReason.PERSON, f"{message} (lastgood resume {name})")
        return self._act(
            deployment, release, Move(event=Event.HOLD, cause=message, changes={"hold": hold}), actor
        )

    def resume(self, name: str, *, actor: str) -> Release:
        """Go on after a pause. A guardrail that held the release is set aside for the rest of it.

        Where gateways had taken the candidate out by themselves, they send it traffic again.
        """
        deployment, release = self._steered(name, "resume", (Phase.PAUSED,))
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
        move = Move(event=Event.RESUME, cause=cause, changes=changes, publish=again)
        return self._act(deployment, release, move, actor)

    def approve(self, name: str, *, actor: str) -> Release:
        """Open the gate at which the release waits; the one after a plan's deadline leads straight to 100 %."""
        deployment, release = self._steered(name, "approve", (Phase.PAUSED,))
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
        deployment, release = self._steered(
            name, "abort", (Phase.PENDING, Phase.VALIDATING, Phase.PROGRESSING, Phase.PAUSED)
        )
        if release.phase in _STEERABLE or restores_data(release):
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

    def _start_of(self, order: Order, version: Version, name: str) -> Change:
        """Return the change that starts a release of ``version``, once nothing stands in its way."""
        found = self._releases.deployment(name)
        deployment = found or Deployment(name=name, model=version.model)
        preflight.check_free(deployment, version)
        failure = self._registry.failures([version]).get(version.digest)
        preflight.check_not_failed(version, failure, order.override)
        preflight.check_trusted(version, self._settings)
        preflight.check_takes_the_same(self._stable(deployment), version)
        preflight.check_plan_trusted(release_plan := order.plan or built_in(Strategy.CANARY), self._settings)
        if release_plan.data is not None:
            preflight.check_data(release_plan.data, deployment, self._under_way(), self._live.desk.names())
        preflight.check_fits(release_plan, version, self._live.misfits)
        self._readiness.check_start(deployment, release_plan.data)
        preflight.check_artifact(version, self._blobs)
        release = self._draft(order, release_plan, deployment, version, overridden=failure is not None)
        baseline = baseline_of(self._traffic, deployment, release_plan, release.created_at)
        release = msgspec.structs.replace(release, baseline=baseline)
        revision = 0 if found is None else found.revision + 1
        return Change(
            deployment=msgspec.structs.replace(deployment, revision=revision, release=0),
            release=release,
            events=(self._requested(release, version),),
            notify=self._executor.channels(release),
        )

    def _under_way(self) -> list[Release]:
        """Return the releases under way of all deployments."""
        found = []
        for deployment in self._releases.deployments():
            release = None if deployment.release is None else self._releases.release(deployment.release)
            if release is not None:
                found.append(release)
        return found

    def _stable(self, deployment: Deployment) -> Version | None:
        if deployment.stable is None:
            return None
        return self._executor.version(deployment.model, deployment.stable)

    def _draft(
        self, order: Order, plan: Plan, deployment: Deployment, version: Version, *, overridden: bool
    ) -> Release:
        now = self._executor.now()
        override = None
        if overridden and order.override:
            override = Override(by=order.actor, reason=order.override)
        return Release(
            id=0,
            deployment=deployment.name,
            model=version.model,
            version=version.number,
            previous=deployment.stable,
            plan=plan,
            created_at=now,
            created_by=order.actor,
            phase_since=now,
            cause=f"requested by {order.actor}",
            override=override,
        )

    def _requested(self, release: Release, version: Version) -> EventDraft:
        return EventDraft(
            type="lastgood.release.requested",
            at=release.created_at,
            actor=release.created_by,
            model=release.model,
            deployment=release.deployment,
            version=release.version,
            data={
                "to": release.phase.value,
                "label": version.label,
                "digest": version.digest,
                "cause": release.cause,
                "plan": msgspec.to_builtins(release.plan),
                "override": None if release.override is None else msgspec.to_builtins(release.override),
                "baseline": told_of(release.baseline),
            },
        )

    def _steered(self, name: str, verb: str, phases: tuple[Phase, ...]) -> tuple[Deployment, Release]:
        deployment = deployment_named(self._releases, name)
        release = None if deployment.release is None else self._releases.release(deployment.release)
        if release is None:
            raise LastgoodError(
                Code.CONFLICT,
                f"No release of {name} is under way, so there is nothing to {verb}.",
                f"See 'lastgood history {name}'.",
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
    if release.deadline is None:
        changes["deadline"] = now + release.plan.deadline
    return changes
