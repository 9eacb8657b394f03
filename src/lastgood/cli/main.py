"""``lastgood``: the command."""

import click

from lastgood.cli import (
    audit,
    doctor,
    drill,
    feedback,
    gc,
    plan,
    project,
    quarantine,
    releases,
    replay,
    rollback,
    serve,
    show,
    status,
    verify,
    versions,
)
from lastgood.cli.command import Root


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done; 1 error; 2 usage; 3 refused; 4 released version was rolled back; 5 stuck or timed out.",
)
@click.version_option(package_name="lastgood", message="lastgood %(version)s")
def root() -> None:
    """Keep a deployed model on its last good version."""


for _module in (
    project,
    versions,
    show,
    releases,
    status,
    rollback,
    quarantine,
    audit,
    verify,
    drill,
    plan,
    replay,
    feedback,
    serve,
    gc,
    doctor,
):
    for _command in _module.COMMANDS:
        root.add_command(_command)


def main() -> None:
    """Run the command line."""
    root()
