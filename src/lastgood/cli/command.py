"""What every command shares: ``--json``, ``--home``, and one way to end."""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from lastgood.cli.output import fail, fail_unexpectedly
from lastgood.cli.session import Session
from lastgood.errors import EXIT_ERROR, Code, LastgoodError

_INTERRUPTED = 130


def command(name: str | None = None, **settings: Any) -> Callable[[Callable[..., int | None]], click.Command]:
    """Make a command of a function whose first argument is the :class:`Session`; it may return an exit status."""

    def decorate(function: Callable[..., int | None]) -> click.Command:
        @functools.wraps(function)
        def run(as_json: bool, home: str | None, **given: Any) -> int | None:
            return function(Session(as_json=as_json, home=home), **given)

        described = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(run)
        described = click.option(
            "--home",
            metavar="FOLDER",
            help="The project's folder, or its .lastgood. Default: found from here up.",
        )(described)
        made: click.Command = click.command(name, cls=click.Command, **settings)(described)
        return made

    return decorate


class Root(click.Group):
    """The group of all commands: turns every error into a sentence and an exit status, in one place."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's signature
        """Return the commands in the order in which one meets them, not by alphabet."""
        return list(self.commands)

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, *_rest: Any, **extra: Any
    ) -> Any:
        """Run and exit."""
        given = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        as_json = "--json" in given
        try:
            status = super().main(given, prog_name or "lastgood", **extra)
        except LastgoodError as error:
            status = fail(error, as_json=as_json)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            status = error.exit_code
        except click.UsageError as error:
            status = fail(_usage(error), as_json=as_json)
        except click.ClickException as error:
            status = fail(LastgoodError(Code.INVALID, _sentence(error.format_message())), as_json=as_json)
        except (click.Abort, KeyboardInterrupt):
            status = _INTERRUPTED
        except BrokenPipeError:
            # Whoever read our output has gone (head, a pager); nothing is wrong, and nothing more can be said.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = EXIT_ERROR
        except Exception as error:  # noqa: BLE001 - the edge: a bug is said in words too
            status = fail_unexpectedly(error, as_json=as_json)
        sys.exit(status if isinstance(status, int) else 0)


def _usage(error: click.UsageError) -> LastgoodError:
    path = error.ctx.command_path if error.ctx is not None else "lastgood"
    return LastgoodError(Code.INVALID, _sentence(error.format_message()), f"See '{path} --help'.")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
