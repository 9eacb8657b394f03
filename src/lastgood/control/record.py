"""What a move leaves in the record: its event, the mark on failed bytes, the mark that it lifts. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from lastgood.control.keeping import DATA_EVENTS, POSTPONED, data_told
from lastgood.control.moves import Move
from lastgood.domain.deployment import Failure
from lastgood.domain.event import EventDraft
from lastgood.domain.release import IN_STEPS, Event, Kind, Phase, Release
from lastgood.domain.verdict import Finding
from lastgood.domain.version import Version

EVENT_TYPES: Final = {
    Event.START: "lastgood.release.started",
    Event.VALIDATED: "lastgood.release.validated",
    Event.ADVANCE: "lastgood.release.advanced",
    Event.HOLD: "lastgood.release.paused",
    Event.RESUME: "lastgood.release.resumed",
    Event.APPROVE: "lastgood.release.approved",
    Event.PROMOTE: "lastgood.release.promotion_started",
    Event.SERVED: "lastgood.release.promoted",
    Event.SUCCEED: "lastgood.release.succeeded",
    Event.ABORT: "lastgood.release.abort_started",
    Event.ROLL_BACK: "lastgood.release.rollback_started",
    Event.SETTLED: "lastgood.release.rolled_back",
    Event.WITHDRAWN: "lastgood.release.aborted",
    Event.OVERDUE: "lastgood.release.stuck",
}

_SHADOW_TYPES: Final = {Phase.VALIDATING: Event.VALIDATED, Phase.PAUSED: Event.RESUME}
"""As what the record tells that copies go to a candidate: by the phase before, else as the next step."""

RESTORE_TYPES: Final = {
    Event.ROLL_BACK: "lastgood.quarantine.restore_started",
    Event.SETTLED: "lastgood.quarantine.restored",
    Event.WITHDRAWN: "lastgood.quarantine.restore_given_up",
}
"""What the same events are called in the restore of a quarantine: no version is left by it."""


def failure_of(after: Release, version: Version, now: float) -> Failure | None:
    """Return the mark that ``after`` puts on its version's bytes, None unless a rollback has just settled."""
    if after.phase is not Phase.ROLLED_BACK or not after.blame:
        return None
    return Failure(
        digest=version.digest,
        model=after.model,
        version=after.version,
        deployment=after.deployment,
        release=after.id,
        at=now,
        by=after.returned_by,
        cause=after.reason,
        evidence=after.evidence,
    )


def lifted_by(after: Release, version: Version) -> str | None:
    """Return the digest whose mark an overridden second try has lifted by succeeding, None otherwise."""
    if after.phase is Phase.SUCCEEDED and after.override is not None:
        return version.digest
    return None


def event_of(
    before: Release,
    after: Release,
    move: Move,
    version: Version,
    *,
    now: float,
    actor: str,
    evidence: Mapping[str, Any] | None = None,
) -> EventDraft:
    """Return the event that tells of ``move``: who, what, why and on what numbers.

    ``evidence`` is what is sealed of all strata when a release ends: how many there are and their digest.
    """
    data: dict[str, Any] = {
        "from": before.phase.value,
        "to": after.phase.value,
        "cause": move.cause,
        "label": version.label,
        "digest": version.digest,
    }
    if move.stable is not None:
        data["stable"] = move.stable
    if after.phase in IN_STEPS:
        data["step"] = after.step + 1
        data["weight_percent"] = after.plan.weight_at(after.step) / 100
    if after.shadows:
        data["shadow_percent"] = after.plan.shadow_at(after.step) / 100
    if after.returning:
        data.update(target=after.target, evidence=after.evidence, timings=after.timings, blame=after.blame)
    if move.alert is not None:
        data["guardrail"] = move.alert
    if move.findings:
        data["findings"] = [_told(finding) for finding in move.findings]
    if after.data is not None and ("data" in move.changes or after.returning):
        data["data"] = data_told(after.data)
    if move.event is Event.PROMOTE:
        data["set_aside"] = after.waived_by
    data.update(move.told)
    data.update(evidence or {})
    return EventDraft(
        type=_type_of(before, move, after),
        at=now,
        actor=actor,
        model=after.model,
        deployment=after.deployment,
        release=after.id,
        version=after.version,
        data=data,
    )


def _type_of(before: Release, move: Move, after: Release) -> str:
    if move.event is Event.SHADOW:
        approved = Event.APPROVE if move.told.get("approved") else None
        return EVENT_TYPES[approved or _SHADOW_TYPES.get(before.phase, Event.ADVANCE)]
    if move.event is not None:
        event = Event.WITHDRAWN if after.phase is Phase.ABORTED else move.event
        restored = RESTORE_TYPES.get(event) if after.kind is Kind.RESTORE else None
        return restored or EVENT_TYPES[event]
    if move.alert:
        return "lastgood.guardrail.alerted"
    if "data" in move.changes and after.data is not None:
        return POSTPONED if after.data.error else DATA_EVENTS[after.data.stage]
    if "hold" in move.changes:  # held already, and from now on for another reason; or a watch goes on
        return EVENT_TYPES[Event.RESUME if after.hold is None else Event.HOLD]
    return "lastgood.release.route_published"


def _told(finding: Finding) -> dict[str, Any]:
    """Return what the record keeps of a finding: enough to compute it again from the strata."""
    return {
        "guardrail": finding.guardrail,
        "verdict": finding.verdict.value,
        "proven": finding.proven,
        "sentence": finding.sentence,
        "numbers": finding.numbers,
    }
