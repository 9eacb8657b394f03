"""``feedback``: labels out of a file or a database."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from lastgood.analysis.sentences import plural
from lastgood.cli.command import command
from lastgood.cli.output import styled
from lastgood.cli.session import Session
from lastgood.errors import EXIT_ERROR, EXIT_OK, Code, LastgoodError

_TOGETHER: Final = 500
_REFUSED_SHOWN: Final = 20
_LARGEST_ROW: Final = 2**53  # told apart from its neighbours as a float, too


@command("feedback")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--from", "source", metavar="NAME", help="Ask the database of [feedback.NAME] in lastgood.toml."
)
@click.option("--id-column", default="id", show_default=True, help="The request's id.")
@click.option("--value-column", default="value", show_default=True, help="What was true.")
@click.option(
    "--row-column", default="row", show_default=True, help="Which row of the request; may be missing."
)
@click.option("--at-column", default="at", show_default=True, help="When it was known; may be missing.")
def feedback(
    session: Session,
    file: Path | None,
    source: str | None,
    id_column: str,
    value_column: str,
    row_column: str,
    at_column: str,
) -> int:
    """Say what was true: labels of requests, from a .csv or .parquet FILE or from a database.

    Each label meets the prediction with its id, in any order and however late. Sending one again changes nothing.
    """
    if (file is None) == (source is None):
        raise LastgoodError(
            Code.INVALID,
            "Name where the labels are: one of FILE and --from.",
            "Type: lastgood feedback labels.csv",
        )
    if file is not None:
        from lastgood.cli.replay import read_rows

        rows = read_rows(file)
    else:
        from lastgood.cli.feedback_query import query_rows

        rows = query_rows(session.settings, source or "")
    columns = {"id": id_column, "value": value_column, "row": row_column, "at": at_column}
    counts: Counter[str] = Counter()
    refused: list[dict[str, Any]] = []
    for part in _parts(_labels(rows, columns)):
        found = session.send(part, "feedback")
        counts.update(found["counts"])
        refused += [one for one in found["labels"] if one["fate"] == "refused"][
            : _REFUSED_SHOWN - len(refused)
        ]
    lines: list[Any] = [f"{plural(sum(counts.values()), 'label', 'labels')}: {_told(counts)}."]
    lines += [
        styled(f"  refused {one['id'] or '(no id)'} row {one['row']}: {one['why']}", "yellow")
        for one in refused
    ]
    session.output.result({"counts": dict(counts), "refused": refused}, *lines)
    return EXIT_ERROR if counts and counts["refused"] == sum(counts.values()) else EXIT_OK


def _labels(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield what the control API takes, row by row.

    :raises LastgoodError: ``invalid`` when a column is missing.
    """
    for row in rows:
        missing = [columns[key] for key in ("id", "value") if columns[key] not in row]
        if missing:
            raise LastgoodError(
                Code.INVALID,
                f"There is no column {missing[0]!r}; there are {', '.join(map(str, row)) or 'none'}.",
                "Name it: --id-column, --value-column.",
            )
        id_ = row[columns["id"]]
        label = {"id": "" if id_ is None else str(id_), "value": _value(row[columns["value"]])}
        if row.get(columns["row"]) not in (None, ""):
            label["row"] = _row(row[columns["row"]])
        if row.get(columns["at"]) not in (None, ""):
            label["at"] = _moment(row[columns["at"]])
        yield label


def _value(found: Any) -> Any:
    """Return a value as JSON can say it: a database's decimals as numbers."""
    from decimal import Decimal

    if found is None or isinstance(found, str | bool | int):
        return found
    return float(found) if isinstance(found, float | Decimal) else str(found)


def _row(found: Any) -> int:
    from lastgood.domain.kpi import number_of

    number = number_of(found if isinstance(found, str) else str(found))
    if number is None or not number.is_integer() or abs(number) > _LARGEST_ROW:
        return -1  # refused with the others, and told
    return int(number)


def _moment(found: Any) -> str | float:
    from datetime import date

    if isinstance(found, date):
        return found.isoformat()
    return float(found) if isinstance(found, int | float) else str(found)


def _parts(labels: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    for label in labels:
        part.append(label)
        if len(part) == _TOGETHER:
            yield part
            part = []
    if part:
        yield part


def _told(counts: Counter[str]) -> str:
    from lastgood.domain.feedback import Fate

    return ", ".join(f"{counts[fate]} {fate}" for fate in Fate if counts[fate]) or "none"


COMMANDS = (feedback,)
