"""``init``: a folder becomes a project."""

import json
from pathlib import Path

import click

from lastgood.cli.command import command
from lastgood.cli.session import Session
from lastgood.errors import Code, LastgoodError
from lastgood.settings import FILE_NAME, described, load_settings

_OPENING = """\
# Lastgood's settings. Each line that begins with '# ' below shows a default; take the '# ' away to change it.
# What wins: a command's flag, then LASTGOOD_<NAME> in the environment, then this file, then the default.
# Durations are seconds, sizes are bytes.
"""
_NOTIFY = """
# --- notifications on every phase change; repeat for more
# [[notify]]
# webhook = "https://example.org/hook"
# secret = "env:HOOK_SECRET"     # where the signing key is: env:NAME or file:PATH, never the key itself
# [[notify]]
# command = ["notify-send", "lastgood"]

# --- live data that goes back with a model; one table for each source
# [data.features]
# provider = "sqlite"
# path = "features.db"           # from this file's folder
"""


def template() -> str:
    """Return the text of a new ``lastgood.toml``: every setting with its default and meaning, commented out."""
    parts, section = [_OPENING], ""
    for one in described():
        if one.name in ("data", "notify"):
            continue  # tables, shown by example
        if one.section != section:
            section = one.section
            parts.append(f"\n# --- {section}\n")
        given = f"# {one.name} = {json.dumps(one.default)}"
        parts.append(f"{given:<32} # {one.meaning}\n")
    return "".join([*parts, _NOTIFY])


@command("init")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
def init(session: Session, folder: Path) -> None:
    """Make FOLDER (default: here) a project. Harmless when it is one."""
    from lastgood.bootstrap import close, open_services

    place = (Path(session.home) if session.home is not None else folder).resolve()
    if place.name == ".lastgood":
        place = place.parent
    created = _write(place)
    settings = load_settings({"home": str(place)})
    close(open_services(settings))
    told = {
        "folder": str(place),
        "settings": str(place / FILE_NAME),
        "home": settings.home,
        "created": created,
    }
    if not created:
        session.output.result(told, f"{place} is a Lastgood project already; nothing was changed.")
        return
    session.output.result(
        told,
        f"{place} is a Lastgood project now: settings in {FILE_NAME}, everything else in .lastgood/.",
        "Next: lastgood register MODEL PATH --label v1.0",
    )


def _write(place: Path) -> bool:
    """Write what is missing; return whether the project is new.

    :raises LastgoodError: ``storage`` when the folder cannot be written.
    """
    file, home = place / FILE_NAME, place / ".lastgood"
    created = not file.exists()
    try:
        place.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
        ignored = home / ".gitignore"
        if not ignored.exists():
            ignored.write_text("*\n")
        if created:
            file.write_text(template())
    except OSError as error:
        raise LastgoodError(
            Code.STORAGE,
            f"{place} cannot be made a project: {error.strerror}.",
            "Choose a folder that you may write to, or free some space.",
        ) from None
    return created


COMMANDS = (init,)
