"""The release machine: one table owns every phase change, and nothing else sets a phase.

:data:`TRANSITIONS` maps phase and event to the next phase. A pair that is absent is illegal: it
raises ``conflict`` and changes nothing. The diagram in the documentation is drawn from this table.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import msgspec

from lastgood.domain.plan import Plan
from lastgood.domain.snapshot import DataProgress
from lastgood.domain.traffic import Baseline
from lastgood.errors import Code, LastgoodError


class Phase(StrEnum):
    """Where a release is."""

    PENDING = "pending"
    VALIDATING = "validating"
    SHADOWING = "shadowing"
    PROGRESSING = "progressing"
    PAUSED = "paused"
    PROMOTING = "promoting"
    WATCHING = "watching"
    SUCCEEDED = "succeeded"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"
    STUCK = "stuck"


class Event(StrEnum):
    """What may happen to a release."""

    START = "start"  # the controller took it up
    VALIDATED = "validated"  # the candidate's host is loaded, verified and warm
    SHADOW = "shadow"  # copies of requests go to the candidate: in the next step, or on after a pause
    ADVANCE = "advance"  # the present step is over, and the next one sends no copies
    HOLD = "hold"  # a pause step, an approval, a guardrail that holds, or a person
    RESUME = "resume"  # the pause is over, or a person says go on
    APPROVE = "approve"  # a person opened the gate
    PROMOTE = "promote"  # all traffic to the candidate
    SERVED = "served"  # every gateway has acknowledged the promotion
    SUCCEED = "succeed"  # the watch is over
    ABORT = "abort"  # a person stops it, or it cannot be judged; the version is not at fault
    ROLL_BACK = "roll_back"  # back to the last good version
    SETTLED = "settled"  # the rollback was observed
    WITHDRAWN = "withdrawn"  # the abort was observed
    OVERDUE = "overdue"  # not observed before its deadline


TERMINAL: Final = frozenset({Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.ABORTED})

MOVING: Final = frozenset({Phase.SHADOWING, Phase.PROGRESSING})
"""Phases in which the plan's steps follow one another by themselves."""

IN_STEPS: Final = MOVING | {Phase.PAUSED}
"""Phases in which a step of the plan is in force, and the candidate has traffic or copies by it."""

_TABLE: Final[dict[Phase, dict[Event, Phase]]] = {
    Phase.PENDING: {
        Event.START: Phase.VALIDATING,
        Event.ABORT: Phase.ABORTED,
        Event.ROLL_BACK: Phase.ROLLING_BACK,
    },
    Phase.VALIDATING: {
        Event.SHADOW: Phase.SHADOWING,
        Event.VALIDATED: Phase.PROGRESSING,
        Event.PROMOTE: Phase.PROMOTING,
        Event.ABORT: Phase.ABORTED,
        Event.ROLL_BACK: Phase.ROLLING_BACK,
    },
    Phase.SHADOWING: {
        Event.SHADOW: Phase.SHADOWING,
        Event.ADVANCE: Phase.PROGRESSING,
        Event.HOLD: Phase.PAUSED,
        Event.PROMOTE: Phase.PROMOTING,
        Event.ABORT: Phase.ROLLING_BACK,
        Event.ROLL_BACK: Phase.ROLLING_BACK,
    },
    Phase.PROGRESSING: {
        Event.SHADOW: Phase.SHADOWING,
        Event.ADVANCE: Phase.PROGRESSING,
        Event.HOLD: Phase.PAUSED,
        Event.PROMOTE: Phase.PROMOTING,
        Event.ABORT: Phase.ROLLING_BACK,
        Event.ROLL_BACK: Phase.ROLLING_BACK,
    },
    Phase.PAUSED: {
        Event.RESUME: Phase.PROGRESSING,
        Event.SHADOW: Phase.SHADOWING,
        Event.APPROVE: Phase.PROGRESSING,
        Event.PROMOTE: Phase.PROMOTING,
        Event.ABORT: Phase.ROLLING_BACK,
        Event.ROLL_BACK: Phase.ROLLING_BACK,
    },
    Phase.PROMOTING: {
        Event.SERVED: Phase.WATCHING,
        Event.OVERDUE: Phase.STUCK,
        Event.ROLL_BACK: Phase.ROLLING_BACK,
    },
    Phase.WATCHING: {
        Event.SUCCEED: Phase.SUCCEEDED,
        Event.ROLL_BACK: Phase.ROLLING_BACK,
    },
    Phase.ROLLING_BACK: {
        Event.SETTLED: Phase.ROLLED_BACK,
        Event.WITHDRAWN: Phase.ABORTED,
        Event.OVERDUE: Phase.STUCK,
        Event.ROLL_BACK: Phase.ROLLING_BACK,
    },
    Phase.STUCK: {
        Event.SETTLED: Phase.ROLLED_BACK,
        Event.WITHDRAWN: Phase.ABORTED,
        Event.SERVED: Phase.WATCHING,
        Event.ROLL_BACK: Phase.ROLLING_BACK,
    },
    Phase.SUCCEEDED: {},
    Phase.ROLLED_BACK: {},
    Phase.ABORTED: {},
}
TRANSITIONS: Final[Mapping[Phase, Mapping[Event, Phase]]] = MappingProxyType(
    {phase: MappingProxyType(row) for phase, row in _TABLE.items()}
)


class Kind(StrEnum):
    """What started it: a candidate to make stable, a rollback by hand with no release under way, or the restore of a quarantine.

    A restore changes no version: it goes the way of a rollback from stable to stable, with its data.
    """

    RELEASE = "release"
    ROLLBACK = "rollback"
    RESTORE = "restore"


class HoldReason(StrEnum):
    """Why a release is paused."""

    PAUSE = "pause"  # a pause step of the plan
    APPROVAL = "approval"  # an approve step of the plan
    GUARDRAIL = "guardrail"  # a guardrail whose on_fail is hold
    WORLD = (
        "world"  # a guardrail failed that the version before is not known to do better in: the world changed
    )
    INCONCLUSIVE = "inconclusive"  # the deadline passed without enough evidence
    REFLEX = "reflex"  # gateways took the candidate out by themselves, and the guardrails have not decided
    READINESS = "readiness"  # the way back is not open: it goes on by itself once it is again
    PERSON = "person"  # somebody typed pause


class Hold(msgspec.Struct, frozen=True):
    """A pause: why, until when (None: until a person acts), and a sentence.

    ``promotes`` is whether an approval gives all traffic at once, whatever steps are left. ``guardrail`` names the one
    that holds, None where none does.
    """

    reason: HoldReason
    message: str
    until: float | None = None
    promotes: bool = False
    guardrail: str | None = None


class Rule(StrEnum):
    """What allowed a promotion: written into its event."""

    PROVEN = "proven"  # the candidate has been shown not to be worse than the proof margins
    MEASURED = "measured"  # the steps' times and samples were over and every guardrail had passed
    PERSON = "person"  # somebody said so
    AT_ONCE = (
        "at_once"  # there was nothing to measure: a first version, or a plan that gives no traffic before
    )


class Override(msgspec.Struct, frozen=True):
    """Who released failed bytes again, and why."""

    by: str
    reason: str


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to make ``version`` stable, or (kind ``rollback``) to leave it, or (``restore``) to give it other data.

    ``previous`` was stable when it began. ``step`` indexes the plan's steps; ``step_since`` is when
    it began. ``target`` is the version that a rollback returns to, ``blame`` whether ``version`` is to be
    marked failed, ``reason`` and ``returned_by`` why and through whom it goes back, ``returning`` that it is on its way back (also while stuck), ``aborting`` that this ends as
    aborted. ``generation`` is the route generation that every gateway must acknowledge before a promotion
    or a rollback counts as done, None while nothing was published for it. ``deadline`` is when the present
    phase has lasted too long. ``waived`` guardrails were set aside by a person, ``waived_by`` says by whom, ``alerted`` ones have
    been told. ``host_starts`` is how often the candidate's host had started when it was validated. ``timings``
    holds milliseconds from the request or verdict that began a rollback: ``published``, ``verified``.
    ``traffic_since`` is when gateways were first told to send the candidate traffic, None before.
    ``baseline`` is what stable did before, fixed when the release began. ``tries`` grows when a person sends the
    candidate traffic again after gateways had taken it out by themselves. ``data`` is how far
    the data is that the plan speaks of, None before it was begun.
    """

    id: int
    deployment: str
    model: str
    kind: Kind = Kind.RELEASE
    version: int
    previous: int | None
    plan: Plan
    phase: Phase = Phase.PENDING
    revision: int = 0
    step: int = 0
    step_since: float = 0.0
    created_at: float
    created_by: str
    phase_since: float = 0.0
    finished_at: float | None = None
    cause: str = ""
    hold: Hold | None = None
    override: Override | None = None
    target: int | None = None
    blame: bool = True
    reason: str = ""
    returned_by: str = ""
    returning: bool = False
    aborting: bool = False
    waived: tuple[str, ...] = ()
    waived_by: dict[str, str] = {}
    alerted: tuple[str, ...] = ()
    host_starts: int = 0
    generation: int | None = None
    deadline: float | None = None
    traffic_since: float | None = None
    baseline: Baseline = Baseline()
    tries: int = 0
    data: DataProgress | None = None
    evidence: dict[str, Any] = {}
    timings: dict[str, float] = {}

    @property
    def shadows(self) -> bool:
        """Whether the step in force sends the candidate copies of requests, and nothing else."""
        return self.phase in IN_STEPS and self.plan.shadow_at(self.step) > 0

    @property
    def terminal(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.phase in TERMINAL

    def after(self, event: Event, now: float, **changes: Any) -> "Release":
        """Return the release after ``event`` with ``changes`` applied and the revision grown.

        :raises LastgoodError: ``conflict`` when the event is illegal in this phase.
        """
        if "phase" in changes:
            raise TypeError("a phase is changed by an event, never by assignment")
        phase = next_phase(self.phase, event)
        finished = now if phase in TERMINAL else self.finished_at
        since = now if phase is not self.phase else self.phase_since
        return msgspec.structs.replace(
            self, phase=phase, phase_since=since, finished_at=finished, revision=self.revision + 1, **changes
        )

    def with_changes(self, **changes: Any) -> "Release":
        """Return the release with ``changes`` and the revision grown, in the same phase."""
        if "phase" in changes:
            raise TypeError("a phase is changed by an event, never by assignment")
        return msgspec.structs.replace(self, revision=self.revision + 1, **changes)


def next_phase(phase: Phase, event: Event) -> Phase:
    """Look the next phase up.

    :raises LastgoodError: ``conflict`` when ``event`` is illegal in ``phase``.
    """
    following = TRANSITIONS[phase].get(event)
    if following is None:
        legal = ", ".join(known.value for known in TRANSITIONS[phase])
        raise LastgoodError(
            Code.CONFLICT,
            f"A release that is {phase.value} cannot {event.value.replace('_', ' ')}.",
            f"Possible now: {legal}." if legal else "It is over; start a new release.",
        )
    return following
