"""``gc``: show what of the kept data nothing needs any more, and remove it when told to."""

import click

from lastgood.cli.anywhere import command_anywhere
from lastgood.cli.command import command
from lastgood.cli.output import table
from lastgood.cli.session import Session
from lastgood.cli.wording import moment, size
from lastgood.errors import EXIT_ERROR, EXIT_OK


@command("gc")
@click.option("--yes", is_flag=True, help="Remove it. Without this, gc only shows.")
def gc(session: Session, yes: bool) -> int:
    """Show which snapshots and staged copies of live data may go, what stays and why; with --yes, remove them.

    Kept is whatever belongs to a version that is stable or last good, to a release under way, to a quarantine, and
    what is younger than the setting keep_snapshots. Quarantines and artifacts of versions are never removed by it.
    """
    found = session.read("kept")
    going = [one for one in found["kept"] if one["goes"]]
    here = False
    if yes and going:
        tokens = [one["token"] for one in going]
        done, here = command_anywhere(session, "kept", "clear", doing="Removing", tokens=tokens)
        after = {one["token"]: one for one in done["kept"]}
        found = {"kept": [after.get(one["token"], one) for one in found["kept"]]}
    rows = [
        (
            _fate(one, yes),
            one["kind"],
            one["token"],
            one["source"],
            moment(one["at"]),
            size(one["size_bytes"]),
            one["why"],
        )
        for one in found["kept"]
    ]
    parts = [table(("", "KIND", "TOKEN", "SOURCE", "SINCE", "SIZE", "WHY"), rows, fold="WHY")] if rows else []
    session.output.result(
        {**found, "removed": yes, "without_server": here}, *parts, _summary(found["kept"], yes)
    )
    left = [one for one in found["kept"] if one["goes"] and one["freed_at"] is None]
    return EXIT_ERROR if yes and left else EXIT_OK


def _fate(one: dict[str, object], yes: bool) -> str:
    if not one["goes"]:
        return "stays"
    if not yes:
        return "would go"
    return "gone" if one["freed_at"] is not None else f"not gone yet: {one['trouble'] or 'it takes longer'}"


def _summary(kept: list[dict[str, object]], yes: bool) -> str:
    going = [one for one in kept if one["goes"]]
    if not going:
        return "There is nothing to remove." if kept else "Nothing is kept of live data."
    room = size(sum(int(str(one["size_bytes"])) for one in going))
    if yes:
        return f"{sum(one['freed_at'] is not None for one in going)} of {len(going)} removed: {room}."
    return f"{len(going)} would go: {room}. Remove them with 'lastgood gc --yes'."


COMMANDS = (gc,)
