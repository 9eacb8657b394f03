"""All that is to be told of one release: for a page that explains it to whoever was not there."""

from collections.abc import Iterator

import msgspec

from lastgood.analysis import sentences
from lastgood.analysis.traces import Traces
from lastgood.control.views import ReleaseView
from lastgood.domain.event import AuditEvent


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the release's timeline."""

    sequence: int
    at: float
    type: str
    actor: str
    cause: str


class ReleaseReport(msgspec.Struct, frozen=True, kw_only=True):
    """A release with its timeline, the traces of its evidence, and what is left to do."""

    release: ReleaseView
    timeline: list[TimelineEntry]
    traces: Traces
    follow_up: list[str]
    made_at: float


def moment_of(event: AuditEvent) -> TimelineEntry:
    """Return an event as the timeline shows it."""
    cause = event.data.get("cause") or event.data.get("reason") or ""
    return TimelineEntry(
        sequence=event.sequence, at=event.at, type=event.type, actor=event.actor, cause=str(cause)
    )


def what_is_left(release: ReleaseView, *, with_data: bool) -> Iterator[str]:
    """Yield what a person should do next; ``with_data`` says that data goes back with it."""
    name = release.deployment
    version = release.version.label or f"version {release.version.number}"
    if release.phase == "stuck":
        yield f"It is stuck: 'lastgood status {name}' says on what; see the page on stuck rollbacks."
    if release.phase == "rolled_back" and release.version.failed:
        yield (
            f"{version} is tagged failed. Find out why, and register what mends it as a new "
            "version; these bytes are released again only with --override and a reason."
        )
    if release.phase == "rolled_back" and with_data:
        yield "Where its data went back with it, 'lastgood quarantine list' names what was replaced, to be exported or deleted."
    for guardrail, who in sorted(release.set_aside.items()):
        yield f"{guardrail} was set aside by {who}: decide whether its bound is right."
    unsettled = {"succeeded": ("inconclusive", "error"), "rolled_back": ("error",)}.get(release.phase, ())
    for one in release.findings:
        if one["dry_run"] and one["verdict"] == "failed":
            yield f"{one['guardrail']} failed on a dry run: nothing followed. Decide whether it should."
        elif one["verdict"] in unsettled:
            said = one["sentence"].removeprefix(f"{one['guardrail']}: ")
            yield f"{one['guardrail']} ended {one['verdict']}: {said}"
        waiting = {arm: number for arm, number in (one.get("pending") or {}).items() if number}
        if waiting:
            told = " and ".join(f"{sentences.count(number)} {arm}" for arm, number in waiting.items())
            yield f"{one['guardrail']}: labels are still pending ({told}); what they say may differ."
    if release.finished_at is None:
        yield f"It is not over: 'lastgood status {name} --watch' follows it."
