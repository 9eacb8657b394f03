"""``show``: one version, or one release, whole."""

import secrets
from pathlib import Path
from typing import Any

import click

from lastgood.cli.command import command
from lastgood.cli.data_words import data_rows
from lastgood.cli.evidence import baseline_lines, sealed_lines
from lastgood.cli.output import sheet, styled
from lastgood.cli.session import Session
from lastgood.cli.wording import (
    duration,
    full_name_of,
    moment,
    percent,
    phase_name,
    reference_told,
    short_digest,
    size,
)
from lastgood.errors import Code, LastgoodError


@command("show")
@click.argument("model", metavar="MODEL|release")
@click.argument("version", metavar="VERSION|NUMBER")
@click.option(
    "--report",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Of a release: write a page of its own, .html (needs no network) or .md (for a ticket).",
)
def show(session: Session, model: str, version: str, report: Path | None) -> None:
    """Show a version, or a release by its number.

    For example: 'lastgood show churn v1.1', 'lastgood show release 12', 'lastgood show release 12 --report out.html'.
    """
    if report is not None:
        _write(session, model, version, report)
        return
    if model == "release":
        found = session.read("releases", version, evidence=True)
        session.output.result(found, sheet(_release(found)))
        return
    found = session.read("models", model, "versions", version)
    session.output.result(found, sheet(_version(found)))


def _write(session: Session, model: str, number: str, file: Path) -> None:
    """Write the page of a release, whole or not at all."""
    from lastgood.cli.release_page import render

    if model != "release" or file.suffix not in (".html", ".md"):
        raise LastgoodError(
            Code.INVALID,
            "A report is of a release, and goes to a file that ends in .html or .md.",
            "Type: lastgood show release N --report out.html",
        )
    report = session.read("releases", number, "report")
    page = render(report, as_html=file.suffix == ".html")
    try:
        _replace(file, page)
    except OSError as error:
        raise LastgoodError(
            Code.STORAGE, f"{file} cannot be written: {error.strerror}.", "Name another file."
        ) from None
    session.output.result({"report": str(file), "release": report["release"]["id"]}, f"Wrote {file}.")


def _replace(file: Path, page: str) -> None:
    """Replace a file, or what a link names; a draft beside it has a name that nobody can have prepared."""
    place = file.resolve()
    beside = place.with_name(f".lastgood-{secrets.token_hex(8)}.part")
    try:
        with beside.open("x", encoding="utf-8") as draft:
            draft.write(page)
        beside.replace(place)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _version(found: dict[str, Any]) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [
        ("model", found["model"]),
        ("version", found["number"]),
        ("label", found["label"] or "-"),
        ("serving", ", ".join(found["serving"]) or "no"),
        ("artifact", found["digest"]),
        ("size", size(found["size_bytes"])),
        ("format", found["format"] + (f" from {found['factory']}" if found["factory"] else "")),
    ]
    failed = found["failed"]
    if failed is not None:
        where = f"release {failed['release']} of {failed['deployment']}, {moment(failed['at'])}, by {failed['by']}"
        rows += [("failed", styled(failed["cause"], "red")), ("", where)]
    signature = found["signature"] or {"inputs": [], "outputs": []}
    rows += [("input", _tensor(one)) for one in signature["inputs"]]
    rows += [("output", _tensor(one)) for one in signature["outputs"]]
    rows += [("metric", f"{name} = {value:g}") for name, value in found["metrics"].items()]
    data = found["data"]
    if data is not None:
        counted = "" if data["rows"] is None else f", {data['rows']} rows"
        rows += [("data", f"{data['uri']}{counted}"), ("", data["digest"])]
    reference = found["reference"]
    if reference is not None:
        rows.append(("reference", reference_told(reference["rows"], len(reference["features"]))))
    rows += [row for source, schema in sorted(found["needs"].items()) for row in _contract(source, schema)]
    git = found["git"]
    if git is not None:
        rows.append(("git commit", git["commit"] + (" with uncommitted changes" if git["dirty"] else "")))
    rows.append(("packages", ", ".join(f"{name} {text}" for name, text in found["dependencies"].items())))
    rows.append(("registered", f"{moment(found['created_at'])} by {found['created_by']}"))
    return rows


def _contract(source: str, schema: dict[str, Any]) -> list[tuple[str, object]]:
    """Say what a version needs of one source: the schema's id, then each table with its columns."""
    rows: list[tuple[str, object]] = [("needs", f"{source}  {short_digest(schema['id'])}")]
    for table, columns in sorted(schema["tables"].items()):
        listed = ", ".join(f"{column['name']} {column['type']}" for column in columns)
        rows.append(("", f"{table}: {listed or 'any columns'}"))
    return rows


def _tensor(tensor: dict[str, Any]) -> str:
    shape = ", ".join("any" if extent == -1 else str(extent) for extent in tensor["shape"])
    return f"{tensor['name']}: {tensor['datatype']} [{shape}]"


def _release(found: dict[str, Any]) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [
        ("release", f"{found['id']} of {found['deployment']} ({found['kind']})"),
        ("version", full_name_of(found["version"])),
        ("before", full_name_of(found["previous"])),
        ("phase", phase_name(found["phase"])),
        ("cause", found["cause"]),
    ]
    if found["target"] is not None:
        rows.append(("back to", full_name_of(found["target"])))
    if found["steps"]:
        rows.append(("plan", f"{phase_name(found['strategy'])}, step {found['step']} of {found['steps']}"))
    if found["finished_at"] is None:
        if found["phase"] != "watching":  # there it has all traffic
            rows.append(("weight", percent(found["weight_percent"])))
        if found["shadow_percent"]:
            rows.append(("copies", percent(found["shadow_percent"])))
        if found["waiting"] != found["cause"]:
            rows.append(("waiting", found["waiting"]))
    rows += data_rows(found)
    rows += [("before it", line) for line in baseline_lines(found["baseline"])]
    rows += [("guardrail", f"{one['verdict']}: {one['sentence']}") for one in found["findings"]]
    rows += [("evidence", line) for line in sealed_lines(found["evidence"])]
    rows += [("timing", f"{name} in {value:.1f} ms") for name, value in found["timings"].items()]
    rows.append(("started", f"{moment(found['created_at'])} by {found['created_by']}"))
    if found["finished_at"] is not None:
        lasted = duration(found["finished_at"] - found["created_at"])
        rows.append(("finished", f"{moment(found['finished_at'])}, after {lasted}"))
    return rows


COMMANDS = (show,)
