"""``drill``: rehearse the whole rollback, against copies."""

import time
from typing import Any, Final

import click

from lastgood.cli.command import command
from lastgood.cli.output import grid, styled
from lastgood.cli.session import Session
from lastgood.cli.wording import duration
from lastgood.errors import EXIT_ERROR

_POLL_SECONDS: Final = 0.1


@command("drill")
@click.argument("deployment")
def drill(session: Session, deployment: str) -> int | None:
    """Rehearse the rollback of DEPLOYMENT, and time each part.

    The artifact is read, the host of the last good version answers its golden requests, its data is staged beside the
    live data and freed again, the route is built and published to nobody. A part that fails is named, with exit code 1.
    """
    found = session.command("deployments", deployment, "drill")
    while not found["done"]:
        time.sleep(_POLL_SECONDS)
        found = session.read_from_server("deployments", deployment, "drill")
    session.output.result(found, *_told(found))
    return None if found["ok"] else EXIT_ERROR


def _told(found: dict[str, Any]) -> list[Any]:
    rows = [
        (
            styled("ok", "green") if part["ok"] else styled("failed", "red"),
            part["name"],
            duration(part["seconds"]),
            part["sentence"],
        )
        for part in found["parts"]
    ]
    to = found["label"] or f"version {found['version']}"
    end = f"The way back of {found['deployment']} to {to} was rehearsed in {duration(found['seconds'])}."
    if not found["ok"]:
        end = f"The drill of {found['deployment']} failed at {found['failed']}"
    return [grid(rows), end]


COMMANDS = (drill,)
