"""Computing the verdicts of a release again, from its stored strata alone. Reading only.

The same strata give the same evidence, bit for bit, so whoever changed a stratum, the evidence, the plan, what was known
of stable, or a number in the record makes a difference that shows here.
"""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from lastgood.analysis.fold import fold, log_of
from lastgood.analysis.judge import judge
from lastgood.control.history import told_of
from lastgood.domain.change import Evidence
from lastgood.domain.event import AuditEvent, seal_holds
from lastgood.domain.plan import Plan
from lastgood.domain.release import Kind, Release
from lastgood.domain.traffic import Stratum
from lastgood.errors import Code, LastgoodError
from lastgood.ports import EvidenceStore

logger = logging.getLogger(__name__)
_REQUESTED = "lastgood.release.requested"
_LATER = frozenset(("helps",))  # numbers that no event of an earlier Lastgood has


class Recomputed(msgspec.Struct, frozen=True, kw_only=True):
    """What was computed again and found to be the same.

    ``strata`` were folded from the first on, ``events`` carry ``findings`` whose numbers were compared, each at the
    stratum it was made at; ``ends`` events pin the digest of all strata until then. ``log`` is the digest of all
    strata, None without any.
    """

    release: int
    strata: int
    guardrails: int
    events: int
    findings: int
    ends: int
    log: str | None


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A guardrail's numbers as an event says them, at the stratum they were worked out at.

    Without a guardrail they are the digest of all strata up to that one.
    """

    event: int
    guardrail: str | None
    strata: int
    numbers: dict[str, Any]


def sealed_of(store: EvidenceStore, release: Release) -> dict[str, Any]:
    """Return what pins all strata of a release in its last event: the sequence of the last one, and their digest.

    Nothing, and a word in the log, when the evidence cannot be read: that keeps no release from its end.
    """
    try:
        evidence = store.evidence(release.id)
    except LastgoodError as error:
        logger.error("the evidence of release %d is not sealed: %s", release.id, error)  # noqa: TRY400
        return {}
    return {"strata": evidence.sequence, "log": log_of(evidence)}


def recompute(
    release: Release, stored: Evidence, strata: Iterable[Stratum], events: Iterable[AuditEvent]
) -> Recomputed:
    """Fold the strata from nothing, and compare with the stored evidence and with what ``events`` say.

    ``events`` are those of the release's deployment, in order; those of other releases are passed over.

    :raises LastgoodError: ``corrupt``, naming the first thing that differs.
    """
    sealed = list(_sealed(release, events))
    evidence = Evidence(release=release.id)
    _compare_sealed(release, evidence, sealed)
    for stratum in strata:
        if stratum.sequence > stored.sequence:
            break  # closed while this was going on
        evidence = _folded(release, evidence, stratum)
        _compare_sealed(release, evidence, sealed)
    if evidence.sequence != stored.sequence:
        raise _differs(
            release, f"the evidence rests on {stored.sequence} strata, and {evidence.sequence} are kept"
        )
    where = _difference("", _plain(stored.states), _plain(evidence.states))
    if where is not None:
        raise _differs(
            release, f"the stored evidence is not what its {evidence.sequence} strata give: {where}"
        )
    for one in sealed:
        if one.strata > evidence.sequence:
            what = f"event {one.event} rests on stratum {one.strata}, and {evidence.sequence} are kept"
            raise _differs(release, what)
    findings = [one for one in sealed if one.guardrail is not None]
    return Recomputed(
        release=release.id,
        strata=evidence.sequence,
        guardrails=len(release.plan.guardrails),
        events=len({one.event for one in findings}),
        findings=len(findings),
        ends=len(sealed) - len(findings),
        log=log_of(evidence) or None,
    )


def _folded(release: Release, evidence: Evidence, stratum: Stratum) -> Evidence:
    if stratum.sequence != evidence.sequence + 1:
        raise _differs(release, f"after stratum {evidence.sequence} comes {stratum.sequence}")
    try:
        return fold(release.plan, release.baseline, evidence, (stratum,))
    except (LastgoodError, ValueError, ArithmeticError) as error:
        raise _differs(release, f"stratum {stratum.sequence} cannot have been counted: {error}") from error


def _sealed(release: Release, events: Iterable[AuditEvent]) -> Iterator[Sealed]:
    """Yield the numbers in the release's events, after each event's seal and what was asked for are checked."""
    requested = False
    for event in events:
        if event.release != release.id:
            continue
        if not seal_holds(event, event.sequence, event.previous):
            raise _differs(release, f"event {event.sequence} ({event.type}) was changed: its seal is broken")
        if event.type == _REQUESTED:
            _compare_request(release, event)
            requested = True
        told = [(one["guardrail"], one["numbers"]) for one in event.data.get("findings", ())]
        ended = event.data.get("evidence") or {}
        if "guardrail" in ended:
            numbers = {key: value for key, value in ended.items() if key not in ("guardrail", "sentence")}
            told.append((ended["guardrail"], numbers))
        if "strata" in event.data:
            pinned = {"log": event.data["log"]}
            yield Sealed(event=event.sequence, guardrail=None, strata=event.data["strata"], numbers=pinned)
        for guardrail, numbers in told:
            if "strata" in numbers:
                yield Sealed(
                    event=event.sequence, guardrail=guardrail, strata=numbers["strata"], numbers=numbers
                )
    if not requested and release.kind is Kind.RELEASE:
        raise _differs(release, "no event says what it was requested with")


def _compare_request(release: Release, event: AuditEvent) -> None:
    """Compare the plan and the baseline with what the release was requested with."""
    if msgspec.convert(event.data["plan"], Plan) != release.plan:
        raise _differs(release, f"its plan is not the one of event {event.sequence}")
    known = event.data.get("baseline")  # none where an earlier Lastgood wrote the event
    where = None if known is None else _difference("baseline", _plain(told_of(release.baseline)), known)
    if where is not None:
        raise _differs(release, f"what was known of stable is not what event {event.sequence} says: {where}")


def _compare_sealed(release: Release, evidence: Evidence, sealed: list[Sealed]) -> None:
    """Compare what events say of this very stratum with what is computed at it."""
    due = [one for one in sealed if one.strata == evidence.sequence]
    if not due:
        return
    found: dict[str | None, Any] = {
        finding.guardrail: _plain(finding.numbers)
        for finding in judge(release.plan, release.baseline, evidence, misses=0, intervals=False)
    }
    found[None] = {"log": log_of(evidence)}
    for one in due:
        if one.guardrail not in found:
            raise _differs(release, f"event {one.event} speaks of {one.guardrail}, which the plan has not")
        where = _difference(one.guardrail or "", one.numbers, found[one.guardrail])
        if where is not None:
            what = f"event {one.event}, at stratum {one.strata}, is not what the strata give: {where}"
            raise _differs(release, what)


def _difference(path: str, kept: Any, again: Any) -> str | None:
    """Return the first place at which two plain values differ, with both, None when they are the same."""
    if isinstance(kept, dict) and isinstance(again, dict):
        for key in sorted(kept.keys() | again.keys()):
            place = f"{path}.{key}" if path else key
            if key in _LATER and key not in kept:
                continue
            if key not in kept or key not in again:
                return f"{place} is only {'computed' if key in again else 'kept'}"
            found = _difference(place, kept[key], again[key])
            if found is not None:
                return found
        return None
    if isinstance(kept, list) and isinstance(again, list) and len(kept) == len(again):
        pairs = enumerate(zip(kept, again, strict=True))
        places = (_difference(f"{path}[{index}]", one, other) for index, (one, other) in pairs)
        return next((place for place in places if place is not None), None)
    return None if kept == again else f"{path} is kept as {kept!r} and computed as {again!r}"


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON gives it back."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _differs(release: Release, what: str) -> LastgoodError:
    return LastgoodError(
        Code.CORRUPT,
        f"The evidence of release {release.id} cannot be computed again: {what}.",
        "Run 'lastgood audit verify', and compare the database with a backup.",
        details={"release": release.id},
    )
