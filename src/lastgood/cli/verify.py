"""``verify``: whether a deployment can go back now, or whether a release's verdicts are what its strata say."""

from typing import Any

import click
import msgspec

from lastgood.cli.command import command
from lastgood.cli.output import grid, styled
from lastgood.cli.session import Session
from lastgood.errors import EXIT_REFUSED, Code, LastgoodError

_STYLES = {"ok": "green", "broken": "red", "unknown": "dim"}


@command("verify")
@click.argument("what", metavar="DEPLOYMENT")
@click.argument("number", type=click.IntRange(1, 2**62), required=False)
@click.option(
    "--evidence",
    is_flag=True,
    help="With 'release N': fold every stored stratum again and compare every verdict's numbers.",
)
def verify(session: Session, what: str, number: int | None, evidence: bool) -> int | None:
    """Say whether DEPLOYMENT can go back right now, link by link; exit code 3 when it cannot.

    Every link is proven anew: the artifact is read, the host of the last good version answers its golden requests, its
    data contract is compared with the live data, its snapshot is read and its room looked up. Without a server the hosts
    are not known.

    'lastgood verify release N --evidence' computes the evidence of release N again from its strata instead, and compares
    it with what is stored and recorded. It reads the store itself. Any difference ends with exit code 1 and is named. The
    record is proven by 'lastgood audit verify'.
    """
    if what == "release" and (number is not None or evidence):
        _evidence(session, number, evidence=evidence)
        return None
    if number is not None or evidence:
        raise LastgoodError(
            Code.INVALID,
            "A number and --evidence belong to a release.",
            "Type: lastgood verify release N --evidence, or: lastgood verify DEPLOYMENT",
        )
    found = session.read("deployments", what, "readiness", fresh=True)
    session.output.result(found, *_ways(found))
    return None if found["ready"] else EXIT_REFUSED


def _ways(found: dict[str, Any]) -> list[Any]:
    rows = []
    for link in found["links"]:
        state, then = link["state"], link["next"]
        sentence = f"{link['sentence']}." + (f" {then}" if then and state != "ok" else "")
        rows.append((styled(state, _STYLES[state]), link["name"], sentence))
    to = "" if found["version"] is None else f" to {found['label'] or 'version ' + str(found['version'])}"
    broken = [link["name"] for link in found["links"] if link["state"] == "broken"]
    if broken:
        return [grid(rows), styled(f"{found['deployment']} cannot go back now: {', '.join(broken)}.", "red")]
    unknown = [link["name"] for link in found["links"] if link["state"] == "unknown"]
    end = f" Not known: {', '.join(unknown)}." if unknown else ""
    return [grid(rows), f"{found['deployment']} can go back{to} now.{end}"]


def _evidence(session: Session, number: int | None, *, evidence: bool) -> None:
    if not evidence or number is None:
        raise LastgoodError(
            Code.INVALID,
            f"What of release {number or 'N'} is to be verified is not said.",
            f"Type: lastgood verify release {number or 'N'} --evidence",
        )
    with session.services() as services:
        found = services.hindsight.recompute(number)
    session.output.result(
        {"same": True, **msgspec.to_builtins(found)},
        f"The evidence of release {number} is intact.",
        *_told(found),
    )


def _told(found: Any) -> list[str]:
    if not found.strata:
        return ["No stratum was ever counted in it, and no evidence is stored."]
    return [
        f"  {found.strata} strata, folded again from the first: the stored evidence is the same, bit for bit",
        _sealed(found),
        "  the plan and what was known of stable are those that the release was requested with",
        *([f"  digest of the strata: {found.log}"] if found.log else []),
        "  not compared: whether a host answered (health), which no stratum holds",
    ]


def _sealed(found: Any) -> str:
    ends = f"{found.ends} sealed event{'' if found.ends == 1 else 's'}"
    if found.findings:
        findings = f"{found.findings} finding{'' if found.findings == 1 else 's'}"
        events = f"{found.events} sealed event{'' if found.events == 1 else 's'}"
        pinned = f", and the digest in {ends} too" if found.ends else ""
        return f"  {findings} in {events}: every number is the same{pinned}"
    if found.ends:
        return (
            f"  no sealed event holds numbers of it, but the digest of the strata in {ends}: it is the same"
        )
    return "  no sealed event holds numbers of it, so what strata and evidence agree on has no other witness"


COMMANDS = (verify,)
