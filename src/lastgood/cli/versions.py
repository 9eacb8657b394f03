"""``register``, ``versions`` and ``diff``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lastgood.cli.command import command
from lastgood.cli.output import styled, table
from lastgood.cli.session import Session
from lastgood.cli.wording import full_name_of, moment, reference_told, short_digest
from lastgood.domain.given_text import check_given
from lastgood.errors import Code, LastgoodError

if TYPE_CHECKING:
    from lastgood.control.registry import Registered
    from lastgood.domain.golden import Golden
    from lastgood.domain.snapshot import Schema
    from lastgood.domain.version import Format, Signature

_ALWAYS_DIFFER = ("number", "label")
"""Of any two versions; a mark there would hide those that mean something."""
_FORMATS = ("onnx", "skops", "callable", "pickle", "joblib")


@command("register")
@click.argument("model")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--label", help="A name that sorts, such as v1.0. Vague ones (latest, final) are refused.")
@click.option("--data", metavar="PATH", help="The training data: a file or a folder.")
@click.option(
    "--reference",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="What drift is measured from: a .csv or .parquet with the inputs that it was trained on.",
)
@click.option(
    "--without", metavar="COLUMN", multiple=True, help="A column of FILE that is no input. Repeatable."
)
@click.option(
    "--needs",
    metavar="SOURCE",
    multiple=True,
    help="A data source that it reads while it serves: today's schema becomes its data contract. Repeatable.",
)
@click.option(
    "--metric", "metrics", metavar="NAME=VALUE", multiple=True, help="An offline metric. Repeatable."
)
@click.option("--format", "kind", type=click.Choice(_FORMATS), help="Default: from the file's name.")
@click.option("--factory", metavar="PKG.MODULE:FUNCTION", help="What makes the model, for Python code.")
@click.option(
    "--golden",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A JSON list of requests (and answers) that it must answer before it serves.",
)
@click.option(
    "--signature",
    type=click.Path(path_type=Path),
    help="A JSON file with inputs and outputs. Default: read from the artifact.",
)
def register(
    session: Session,
    model: str,
    artifact: Path,
    *,
    label: str | None,
    data: str | None,
    reference: Path | None,
    without: tuple[str, ...],
    needs: tuple[str, ...],
    metrics: tuple[str, ...],
    kind: str | None,
    factory: str | None,
    golden: Path | None,
    signature: Path | None,
) -> None:
    """Make ARTIFACT the next version of MODEL. Nothing becomes live by this. Needs no server.

    A file lastgood.yaml beside ARTIFACT, or in its folder, says which columns of live data the version reads, and may name
    its reference.
    """
    from lastgood.control.registry import Draft

    if not artifact.exists():
        raise LastgoodError(
            Code.INVALID, f"There is no file or folder {artifact}.", "Give the path of the model's artifact."
        )
    if without and reference is None:
        raise LastgoodError(
            Code.INVALID, "--without is of a reference, and none is given.", "Add: --reference train.parquet"
        )
    repeated = (*(("metric", one) for one in metrics), *(("data source", one) for one in needs))
    for what, text in (("data's path", data), ("factory", factory), *repeated):
        check_given(text or "", what)
    draft = Draft(
        model=model,
        artifact=artifact,
        format=_format(artifact, kind, factory),
        label=label,
        factory=factory,
        signature=None if signature is None else _signature(signature),
        data=data,
        metrics=dict(_metric(text) for text in metrics),
        needs=needs,
        reference=reference,
        without=without,
        golden=() if golden is None else _golden(golden),
        actor=session.actor,
    )
    with session.services() as services:
        found = services.registry.register(draft)
        twins = [services.registry.resolve(model, str(number)) for number in found.same_bytes]
    session.output.result(_told(found), *_sentences(found, [twin.full_display for twin in twins]))


@command("versions")
@click.argument("model", required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
def versions(session: Session, model: str | None, limit: int) -> None:
    """List the versions of MODEL; without MODEL, the models."""
    if model is None:
        found = session.read("models")
        lines = found["models"] or ["No model is registered yet: lastgood register MODEL PATH --label v1.0"]
        session.output.result(found, *lines)
        return
    found = session.read("models", model, "versions", limit=limit)
    rows = [
        (
            one["number"],
            one["label"] or "",
            _state(one),
            " ".join(f"{name}={value:g}" for name, value in one["metrics"].items()),
            one["format"],
            moment(one["created_at"]),
        )
        for one in found["versions"]
    ]
    headings = ("VERSION", "LABEL", "STATE", "METRICS", "FORMAT", "REGISTERED")
    session.output.result(found, table(headings, rows))


@command("diff")
@click.argument("model")
@click.argument("first")
@click.argument("second")
def diff(session: Session, model: str, first: str, second: str) -> None:
    """Put two versions of MODEL side by side. Rows that differ are marked with '*'."""
    found = session.read("models", model, "diff", first=first, second=second)
    rows = []
    for fact in found["facts"]:
        told = fact["differs"] and fact["name"] not in _ALWAYS_DIFFER
        style = "bold" if told else "dim"
        cells = ("*" if told else "", fact["name"], _cell(fact["first"]), _cell(fact["second"]))
        rows.append([styled(cell, style) for cell in cells])
    headings = ("", "FACT", full_name_of(found["first"]), full_name_of(found["second"]))
    session.output.result(found, table(headings, rows))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    text = str(value)
    return short_digest(text) if text.startswith("sha256:") else text


def _state(version: dict[str, Any]) -> "Any":
    states = [*(["failed"] if version["failed"] else []), *version["serving"]]
    return styled(", ".join(states), "red" if version["failed"] else "green")


def _format(artifact: Path, given: str | None, factory: str | None) -> "Format":
    from lastgood.domain.version import Format
    from lastgood.host.inspect import guess_format

    if given is not None:
        return Format(given)
    if factory is not None:
        return Format.CALLABLE
    found = guess_format(artifact)
    if found is None:
        raise LastgoodError(
            Code.INVALID,
            f"The name {artifact.name} does not say what format it is.",
            f"Add --format with one of: {', '.join(_FORMATS)}.",
        )
    return found


def _metric(text: str) -> tuple[str, float]:
    import math

    name, equals, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not name or not equals or not math.isfinite(number):
        raise LastgoodError(
            Code.INVALID, f"{text!r} is not a metric.", "Write a name and a number: --metric auc=0.91"
        )
    return name, number


def _signature(path: Path) -> "Signature":
    import msgspec

    from lastgood.domain.version import Signature

    try:
        return msgspec.json.decode(path.read_bytes(), type=Signature)
    except OSError as error:
        why = error.strerror
    except msgspec.DecodeError as error:
        why = str(error)
    raise LastgoodError(
        Code.INVALID,
        f"The signature {path} cannot be used: {why}.",
        'Write {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}], "outputs": [...]}.',
    )


def _golden(path: Path) -> "tuple[Golden, ...]":
    from lastgood.domain.golden import MOST_BYTES, golden_from

    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise LastgoodError(
            Code.INVALID,
            f"The golden requests {path} cannot be read: {error.strerror}.",
            "Give the path of a JSON file.",
        ) from None
    return golden_from(text)


def _told(found: "Registered") -> dict[str, Any]:
    import msgspec

    return {
        **msgspec.to_builtins(found.version),
        "created": found.created,
        "same_bytes": list(found.same_bytes),
        "failed": found.failed,
    }


def _sentences(found: "Registered", twins: list[str]) -> list[Any]:
    version = found.version
    label = f" ({version.label})" if version.label else ""
    verb = "Registered" if found.created else "Already registered:"
    lines: list[Any] = [
        f"{verb} {version.model} version {version.number}{label}  {short_digest(version.digest)}"
    ]
    if version.needs:
        listed = ", ".join(
            f"{source} ({_extent(schema)})" for source, schema in sorted(version.needs.items())
        )
        lines.append(f"Its data contract: {listed}.")
    if version.reference is not None:
        lines.append(
            f"Its reference: {reference_told(version.reference.rows, len(version.reference.features))}."
        )
    if twins:
        lines.append(f"These are the same bytes as version {', '.join(twins)}.")
    if found.failed:
        warning = "Warning: these bytes are tagged failed; a release of them will be refused."
        lines.append(styled(warning, "yellow"))
    return lines


def _extent(schema: "Schema") -> str:
    tables, columns = len(schema.tables), sum(map(len, schema.tables.values()))
    return f"{tables} {'table' if tables == 1 else 'tables'}, {columns} {'column' if columns == 1 else 'columns'}"


COMMANDS = (register, versions, diff)
