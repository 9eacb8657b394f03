"""``verify``: compute a release's verdicts again from what is stored, and say whether they are the same."""

from typing import Any

import click
import msgspec

from lastgood.cli.command import command
from lastgood.cli.session import Session
from lastgood.errors import Code, LastgoodError


@command("verify")
@click.argument("what", type=click.Choice(["release"]))
@click.argument("number", type=click.IntRange(1, 2**62))
@click.option(
    "--evidence", is_flag=True, help="Fold every stored stratum again and compare every verdict's numbers."
)
def verify(session: Session, what: str, number: int, evidence: bool) -> None:
    """Compute the evidence of a release again from its strata, and compare it with what is stored and recorded.

    It reads the store itself, so it needs no server. Any difference ends with exit code 1 and is named. The record
    is proven by 'lastgood audit verify'.
    """
    if not evidence:
        raise LastgoodError(
            Code.INVALID,
            f"What of {what} {number} is to be verified is not said.",
            f"Type: lastgood verify release {number} --evidence",
        )
    with session.services() as services:
        found = services.views.recompute(number)
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
    if not found.findings:
        return (
            "  no sealed event holds numbers of it, so what strata and evidence agree on has no other witness"
        )
    findings = f"{found.findings} finding{'' if found.findings == 1 else 's'}"
    events = f"{found.events} sealed event{'' if found.events == 1 else 's'}"
    return f"  {findings} in {events}: every number is the same"


COMMANDS = (verify,)
