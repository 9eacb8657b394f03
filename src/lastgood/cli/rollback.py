"""``rollback``, and ``undo``, which is the same."""

from typing import Any, Final

import click

from lastgood.cli.anywhere import command_anywhere
from lastgood.cli.command import command
from lastgood.cli.data_words import data_ended
from lastgood.cli.session import Session
from lastgood.cli.wording import number_and_label

_NOTHING_RUNS: Final = (
    "No gateway runs either: the rollback is recorded now, and takes effect when 'lastgood serve' starts."
)
_WORDS: Final = "Go back to the last good version, or to --version. Returns once every gateway has followed."


def _rollback(session: Session, deployment: str, version: str | None, reason: str, keep: bool) -> None:
    body: dict[str, Any] = {"version": version, "reason": reason, "keep": keep}
    found, here = command_anywhere(
        session, "deployments", deployment, "rollback", doing="Rolling back", unserved=_NOTHING_RUNS, **body
    )
    session.output.result({**found, "without_server": here}, *sentences(found, keep=keep))


def sentences(found: dict[str, Any], *, keep: bool) -> list[str]:
    """Say what a rollback did."""
    name = found["label"] or f"version {found['version']}"
    last = f"Deployed model version: {name}"
    if not found["changed"]:
        return [f"{found['deployment']} serves {name} already.", last]
    left = found["left_label"] or f"version {found['left']}"
    gateways = "1 gateway" if found["gateways"] == 1 else f"{found['gateways']} gateways"
    times = (
        f"route published in {found['published_ms']:.1f} ms, "
        f"verified on {gateways} in {found['verified_ms']:.1f} ms."
    )
    if not found["gateways"]:
        times = f"route published in {found['published_ms']:.1f} ms. No gateway runs now; it holds from the next start."
    lines = [f"Rolled back {found['deployment']} from {left} to {name}: {times}"]
    marked = number_and_label(found["left"], found["left_label"])
    if found["failed"]:
        lines.append(f"{marked.capitalize()} is tagged failed.")
    elif keep:
        lines.append(f"This does not tag {marked} failed (--keep).")  # an earlier release may have
    return [*lines, *data_ended(found["data"]), last]


def _make(name: str, words: str) -> click.Command:
    @command(name, help=words)
    @click.argument("deployment")
    @click.option("--version", help="The version to go back to. Default: the last good one.")
    @click.option("--reason", default="", help="Kept in the audit record, and with the failed tag.")
    @click.option("--keep", is_flag=True, help="The version left was not at fault: do not tag it failed.")
    def run(session: Session, deployment: str, version: str | None, reason: str, keep: bool) -> None:
        _rollback(session, deployment, version, reason, keep)

    return run


rollback = _make("rollback", _WORDS)
undo = _make("undo", f"The same as rollback. {_WORDS}")

COMMANDS = (rollback, undo)
