"""``serve``: start everything on this machine and keep it running."""

import logging
from typing import TYPE_CHECKING

import click

from lastgood.cli.command import command
from lastgood.cli.session import Session
from lastgood.errors import EXIT_OK, EXIT_STUCK

if TYPE_CHECKING:
    from lastgood.serving import Serving


@command("serve")
@click.option("--host", help="Where the gateway listens. Default: the settings'.")
@click.option("--port", type=click.IntRange(0, 65535), help="The gateway's port; 0 takes a free one.")
@click.option("--workers", "gateway_workers", type=click.IntRange(1, 64), help="Gateway processes.")
@click.option("--api-port", type=click.IntRange(0, 65535), help="The control API's port; 0 takes a free one.")
def serve(session: Session, **flags: str | int | None) -> int:
    """Start everything on this machine, until Ctrl-C.

    That is the gateways, the model hosts, the controller and the control API. Ctrl-C lets requests end first.
    """
    from lastgood.serving import serve as run
    from lastgood.settings import load_settings

    settings = load_settings({"home": session.home, **flags})
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    ready = True

    def announce(serving: "Serving") -> None:
        nonlocal ready
        ready = serving.ready
        told = {
            "gateway": serving.gateway,
            "api": serving.api,
            "metrics": f"{serving.api}/metrics",
            "ready": ready,
        }
        if not ready:
            session.output.note(
                "Not everything has started in time; it goes on trying. See the logs in "
                f"{settings.run / 'logs'}."
            )
        session.output.result(
            told,
            f"Listening ({settings.gateway_workers} gateway workers). Ctrl-C drains and stops.",
            f"  gateway      {serving.gateway}",
            f"  control API  {serving.api}",
            f"  metrics      {serving.api}/metrics",
        )

    run(settings, announce)
    session.output.note("Stopped.")
    return EXIT_OK if ready else EXIT_STUCK


COMMANDS = (serve,)
