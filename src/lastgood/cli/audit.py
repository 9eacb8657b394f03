"""``audit``: the record of everything that happened."""

from typing import Any

import click

from lastgood.cli.command import command
from lastgood.cli.output import table
from lastgood.cli.request import show_request
from lastgood.cli.session import Session
from lastgood.cli.wording import full_name_of, moment
from lastgood.errors import Code, LastgoodError


@command("audit")
@click.argument("action", type=click.Choice(["verify"]), required=False)
@click.option(
    "--head", metavar="HASH", help="With verify: a hash noted earlier, which must be in the record."
)
@click.option(
    "--at",
    "time",
    metavar="TIME",
    help="Say what served then: 2026-11-21T14:30, local unless it names a zone.",
)
@click.option(
    "--request",
    "request",
    metavar="ID",
    help="Say which version answered that request: the id is in the answer's lastgood-id header.",
)
@click.option("--deployment", help="Only this deployment.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many events.")
def audit(
    session: Session,
    action: str | None,
    head: str | None,
    time: str | None,
    request: str | None,
    deployment: str | None,
    limit: int,
) -> None:
    """List the last events. 'audit verify' proves that none was changed.

    --at says what served at a time, --request which version answered a request, with what.
    """
    if head is not None and action is None:
        raise LastgoodError(
            Code.INVALID, "--head belongs to 'audit verify'.", "Type: lastgood audit verify --head HASH"
        )
    if action is not None:
        if time is not None or deployment is not None or request is not None:
            raise LastgoodError(
                Code.INVALID, "'audit verify' takes the whole record.", "Leave the other options out."
            )
        _verify(session, head)
    elif request is not None:
        if time is not None or deployment is not None:
            raise LastgoodError(
                Code.INVALID, "--request takes one id and nothing else.", "Leave --at and --deployment out."
            )
        show_request(session, request)
    elif time is not None:
        _at(session, time, deployment)
    else:
        _list(session, deployment, limit)


def _verify(session: Session, head: str | None) -> None:
    with session.services() as services:
        count, last = services.views.verify_chain(head=head)
    session.output.result(
        {"intact": True, "events": count, "head": last},
        f"The audit record is intact: {count} events.",
        f"Head: {last}",
    )


def _at(session: Session, text: str, deployment: str | None) -> None:
    from lastgood.web.moment import parse_moment

    seconds = parse_moment(text)
    names = [deployment]
    if deployment is None:
        names = [one["deployment"] for one in session.read("deployments")["deployments"]]
    found = [session.read("deployments", name, "at", time=f"{seconds:.6f}") for name in names]
    lines = []
    for one in found:
        served = "nothing yet" if one["stable"] is None else _served(one["stable"])
        lines.append(f"{one['deployment']} at {moment(seconds)}: {served}")
    session.output.result({"at": seconds, "deployments": found}, *(lines or ["Nothing was deployed yet."]))


def _served(entry: dict[str, Any]) -> str:
    until = "now" if entry["until"] is None else moment(entry["until"])
    return (
        f"{full_name_of(entry['version'])}, stable from {moment(entry['since'])} to {until} "
        f"(release {entry['release']})"
    )


def _list(session: Session, deployment: str | None, limit: int) -> None:
    found = session.read("events", limit=limit, deployment=deployment, newest_first=True)
    rows = [
        (
            one["sequence"],
            moment(one["at"]),
            _kind(one["type"]),
            one["actor"],
            _what(one),
        )
        for one in found["events"]
    ]
    if not rows:
        session.output.result(found, "The audit record has no such event yet.")
        return
    session.output.result(found, table(("EVENT", "WHEN", "WHAT", "WHO", "DETAILS"), rows, fold="DETAILS"))


def _kind(event_type: str) -> str:
    """Return ``promotion started`` for a release's events and ``version registered`` for others."""
    return event_type.removeprefix("lastgood.").removeprefix("release.").replace(".", " ").replace("_", " ")


def _what(event: dict[str, Any]) -> str:
    label = event["data"].get("label")
    name = event["deployment"] or event["model"]
    number = f" version {event['version']}" if event["version"] else ""
    version = f"{name} {label}" if label else f"{name}{number}".strip()
    cause = event["data"].get("cause")
    return f"{version}: {cause}" if cause else version


COMMANDS = (audit,)
