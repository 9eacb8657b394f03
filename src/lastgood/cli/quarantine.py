"""``quarantine``: what restores replaced. Look at it, copy its rows, put it back, or let it go."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from lastgood.cli.anywhere import command_anywhere
from lastgood.cli.command import command
from lastgood.cli.output import sheet, table
from lastgood.cli.session import Session
from lastgood.cli.wording import moment, number_and_label, size
from lastgood.errors import EXIT_ERROR, EXIT_OK, Code, LastgoodError


@click.group("quarantine")
def quarantine() -> None:
    """Look at data that a restore replaced, put it back, or delete it: it is kept whole and counted."""


@command("list")
def list_all(session: Session) -> None:
    """List what is in quarantine: from where, since when, and how many rows only it has."""
    found = session.read("quarantines")
    rows = [
        (
            one["token"],
            one["source"],
            one["deployment"],
            one["release"],
            number_and_label(one["version"], one["label"]),
            moment(one["at"]),
            _difference(one),
            size(one["size_bytes"]) if one["counted"] else "",
        )
        for one in found["quarantines"]
    ]
    headings = ("TOKEN", "SOURCE", "DEPLOYMENT", "RELEASE", "WRITTEN BY", "SINCE", "ROWS", "SIZE")
    part = table(headings, rows, fold="ROWS") if rows else "Nothing is in quarantine."
    session.output.result(found, part)


@command("show")
@click.argument("token")
def show(session: Session, token: str) -> None:
    """Show one quarantine: its rows by table, its exports, and whether it was deleted."""
    found = session.read("quarantines", token)
    facts = [
        ("quarantine", found["token"]),
        ("source", found["source"]),
        ("deployment", f"{found['deployment']} (release {found['release']})"),
        ("written by", number_and_label(found["version"], found["label"])),
        ("replaced", f"{moment(found['at'])}, by {found['since']}"),
        ("size", size(found["size_bytes"]) if found["counted"] else "not counted yet"),
    ]
    if not found["freed_by"]:
        facts.append(("exports", found["exports"]))
    if found["trouble"]:
        facts.append(("trouble", found["trouble"]))
    if found["freed_by"]:
        when = moment(found["freed_at"]) or "not gone yet"
        facts.append(("deleted", f"by {found['freed_by']}: {found['freed_why']} ({when})"))
    rows = [
        (name, found["rows"].get(name, 0), one["added"], one["removed"], one["export"] or "")
        for name, one in found["tables"].items()
    ]
    parts = [table(("TABLE", "ROWS", "ADDED", "REMOVED", "EXPORT"), rows)] if rows else []
    session.output.result(found, sheet(facts), *parts)


@command("export")
@click.argument("token")
@click.option("--to", required=True, metavar="FOLDER", help="A new or an empty folder.")
def export(session: Session, token: str, to: str) -> None:
    """Copy the rows that only this quarantine has to FOLDER.

    They are JSON lines, a file for each table; of a folder of files, the files themselves.
    """
    found = session.read("quarantines", token)
    if found["freed_by"] or not found["counted"]:
        why = (
            f"it was deleted by {found['freed_by']}" if found["freed_by"] else "its rows are not counted yet"
        )
        raise LastgoodError(
            Code.CONFLICT, f"{token} cannot be exported: {why}.", "See 'lastgood quarantine list'."
        )
    folder = Path(to).resolve()
    files = _copy(Path(found["exports"]), folder)
    told = {"token": token, "folder": str(folder), "files": files, "rows": _added(found)}
    session.output.result(told, f"{_added(found)} rows in {len(files)} files: {folder}", *files)


@command("restore")
@click.argument("token")
@click.option("--reason", default="", help="Kept in the audit record.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def restore(session: Session, token: str, reason: str, yes: bool) -> int:
    """Make the quarantined state live again. What it replaces goes into quarantine itself; no version changes.

    Requests wait for the milliseconds of the swap. Refused while a release is under way on the same deployment or data,
    and when the stable version could not read it.
    """
    found = session.read("quarantines", token)
    question = (
        f"{token} ({sum(found['rows'].values())} rows) becomes the live data of {found['source']}; what is live now "
        "goes into quarantine. Restore it?"
    )
    _confirm(session, question, yes)
    done, here = command_anywhere(
        session, "quarantines", token, "restore", doing="Restoring", following=_restore_of, reason=reason
    )
    if not done["restored"]:
        lines = [f"{token} was not restored: {done['cause']}"]
    else:
        held = "" if done["held_ms"] is None else f"; requests waited {done['held_ms']:.1f} ms"
        lines = [
            f"{token} is live again in {found['source']}{held}.",
            f"What it replaced: lastgood quarantine show {done['replaced']}",
        ]
    session.output.result({**done, "without_server": here}, *lines)
    return EXIT_OK if done["restored"] else EXIT_ERROR


@command("delete")
@click.argument("token")
@click.option("--reason", default="", help="Kept in the audit record.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(session: Session, token: str, reason: str, yes: bool) -> int:
    """Let a quarantine go for good. The rows that only it has are lost; who deleted it and why stays in the record."""
    found = session.read("quarantines", token)
    lost = _difference(found) if found["counted"] else "rows that were never counted"
    _confirm(session, f"{token} of {found['source']} is deleted for good. Lost: {lost}. Delete it?", yes)
    done, here = command_anywhere(session, "quarantines", token, "delete", doing="Deleting", reason=reason)
    gone = done["freed_at"] is not None
    text = (
        f"{token} is deleted. Lost: {lost}."
        if gone
        else f"{token} is not gone yet; the controller goes on with it."
    )
    lines = [text, *([f"So far: {done['trouble']}"] if done["trouble"] else [])]
    session.output.result({**done, "without_server": here}, *lines)
    return EXIT_OK if gone else EXIT_ERROR


def _restore_of(found: Any) -> tuple[object, ...] | None:
    if found["restored"] is not None:
        return None
    return ("quarantines", found["token"], "restores", found["release"])


def _confirm(session: Session, question: str, yes: bool) -> None:
    if yes:
        return
    if session.output.as_json:
        raise LastgoodError(Code.INVALID, "With --json nobody can be asked.", "Add --yes.")
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        sys.stderr.write("\n")
        raise LastgoodError(
            Code.INVALID, "Nobody is there to answer. Nothing was changed.", "Add --yes."
        ) from None
    if not agreed:
        session.output.note("Nothing was changed.")
        raise click.Abort


def _added(found: Any) -> int:
    return sum(one["added"] for one in found["tables"].values())


def _difference(found: Any) -> str:
    if not found["counted"]:
        return found["trouble"] or "being counted"
    said = [
        f"{name} +{one['added']} -{one['removed']}"
        for name, one in found["tables"].items()
        if one["added"] or one["removed"]
    ]
    return ", ".join(said) or "no difference"


def _copy(source: Path, to: Path) -> list[str]:
    """Copy the folder whole to a name that nobody has, then give it its own; return its files."""
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise LastgoodError(
            Code.INVALID, f"{to} is there already, and not an empty folder.", "Name another one."
        )
    part = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, part, symlinks=True)
        files = sorted(str(path.relative_to(part)) for path in part.rglob("*") if not path.is_dir())
        for name in files:
            _sync(part / name)
        part.replace(to)
        _sync(to.parent)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise LastgoodError(
            Code.STORAGE,
            f"The rows could not be copied: {error}.",
            "Check the disk and the rights of both folders.",
        ) from None
    return files


def _sync(path: Path) -> None:
    if path.is_symlink():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


for _command in (list_all, show, export, restore, delete):
    quarantine.add_command(_command)

COMMANDS = (quarantine,)
