# ruff: noqa: INP001 - a script beside the page that it writes, not a package
"""The text of docs/cli-reference.md, from the commands themselves. ``generate.py`` writes it."""

from collections.abc import Iterator

import click

from lastgood.cli.main import root
from lastgood.errors import (
    EXIT_ERROR,
    EXIT_OK,
    EXIT_REFUSED,
    EXIT_ROLLED_BACK,
    EXIT_STUCK,
    EXIT_USAGE,
)

_OPENING = """\
# The command line

Written by `make docs` from the commands themselves. `lastgood COMMAND --help` says the same.

Every command takes `--json` (one JSON document on standard output; an error is one JSON object on standard error)
and `--home FOLDER`. `LASTGOOD_ACTOR` names who acts (default: the login name), `NO_COLOR` switches colours off,
`LASTGOOD_DEBUG=1` shows a traceback where something went wrong inside Lastgood.

| exit code | means |
|---|---|
"""
_EXIT_CODES = (
    (EXIT_OK, "done"),
    (EXIT_ERROR, "error"),
    (EXIT_USAGE, "usage: a flag, a name, a plan is wrong"),
    (EXIT_REFUSED, "refused: a failed version, no way back, not trusted, aborted"),
    (EXIT_ROLLED_BACK, "the released version was rolled back"),
    (EXIT_STUCK, "stuck, or not over in time"),
)
_EVERYWHERE = frozenset({"as_json", "home", "help"})


def cli_reference() -> str:
    """Return the page as it should be now."""
    parts = [_OPENING + "".join(f"| {code} | {words} |\n" for code, words in _EXIT_CODES)]
    for path, command in _commands(root, "lastgood"):
        parts.append(_section(path, command))
    return "\n".join(parts)


def _commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _section(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path)
    usage = " ".join(piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]")
    rows = [row for row in (_row(parameter, context) for parameter in command.params) if row]
    lines = [f"## {path}", "", "```", f"{path} {usage}".rstrip(), "```", "", _prose(command)]
    if rows:
        lines += ["", "| option | |", "|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _prose(command: click.Command) -> str:
    paragraphs = (command.help or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _row(parameter: click.Parameter, context: click.Context) -> str:
    if parameter.name in _EVERYWHERE or not isinstance(parameter, click.Option):
        return ""
    record = parameter.get_help_record(context)
    if record is None:
        return ""
    names, words = (part.replace("|", "\\|").replace("<", "&lt;") for part in record)
    return f"| `{names}` | {words} |"
