"""``replay``: what a plan would have done with traffic that is over."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from lastgood.analysis.sentences import count
from lastgood.cli.command import command
from lastgood.cli.output import styled
from lastgood.cli.releases import read_plan
from lastgood.cli.session import Session
from lastgood.cli.wording import duration, moment
from lastgood.domain.kpi import UNKNOWN
from lastgood.errors import Code, LastgoodError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lastgood.analysis.course import Course, Turn
    from lastgood.domain.plan import Plan

_ROUNDED = 1e8  # epoch seconds lie above, seconds from a table's own beginning below


@command("replay")
@click.option(
    "--plan", "file", metavar="PLAN", required=True, type=click.Path(path_type=Path), help="The plan to try."
)
@click.option("--release", "number", type=click.IntRange(1, 2**62), help="Try it on what this release saw.")
@click.option(
    "--outcomes",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Try it on a .csv or .parquet with a row for each request.",
)
def replay(session: Session, file: Path, number: int | None, outcomes: Path | None) -> None:
    """Say when a PLAN would have rolled back, on which guardrail, after how many candidate requests.

    With --release the traffic is what that release recorded: its guardrails are judged again by this plan, after every
    stratum. With --outcomes it is a table of your own with the columns arm (candidate or stable) and, as far as there
    are any, time, error, timeout, invalid, latency, prediction, label, label_time, and one for each counter and each
    column of slices that the plan names.

    Nothing is released or written. Recorded traffic is what it was: the plan's weights and times move nothing.
    """
    from lastgood.domain.plan_file import parse_plan

    plan = parse_plan(read_plan(file), source=str(file))
    if (number is None) == (outcomes is None):
        raise LastgoodError(
            Code.INVALID,
            "Name the traffic to replay: one of --release and --outcomes.",
            "Type: lastgood replay --plan PLAN --release N",
        )
    if outcomes is not None:
        found, of = _over_table(plan, outcomes), str(outcomes)
        for column in _absent(plan, outcomes):
            session.output.note(
                f"{outcomes} has no column {column!r}: by it all rows are the slice {UNKNOWN}."
            )
    else:
        with session.services() as services:
            found = services.hindsight.replay(number or 0, plan)
        of = f"release {number}"
    session.output.result(msgspec.to_builtins(found), *_told(found, file, of, plan))


def _over_table(plan: "Plan", file: Path) -> "Course":
    from lastgood.analysis.course import course
    from lastgood.analysis.outcome_rows import rows_of, strata_of
    from lastgood.domain.traffic import Baseline

    strata = strata_of(rows_of(read_rows(file), plan), plan)
    return course(plan, Baseline(), strata, release=0, recorded=plan)


def _absent(plan: "Plan", file: Path) -> list[str]:
    """Return the columns of the plan's slices that a table does not have."""
    known = next(read_rows(file), {})
    return sorted(
        {column for one in plan.guardrails for column in one.slices if known and column not in known}
    )


def read_rows(file: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a .csv or .parquet file by column.

    :raises LastgoodError: ``not_found``, or ``invalid`` when it is no such file, or pyarrow is not installed.
    """
    import csv

    try:
        if not file.is_file():
            raise LastgoodError(Code.NOT_FOUND, f"There is no file {file}.", "Check the path.")
        if file.suffix == ".parquet":
            yield from _parquet(file)
            return
        with file.open(encoding="utf-8-sig", newline="") as lines:
            yield from csv.DictReader(lines)
    except (csv.Error, UnicodeDecodeError) as error:
        raise LastgoodError(
            Code.INVALID, f"{file} is not a CSV file: {error}.", "Write UTF-8 with a head line."
        ) from None
    except OSError as error:
        raise LastgoodError(
            Code.INVALID,
            f"{file} cannot be read: {error.strerror or error}.",
            "Check the path and its rights.",
        ) from None


def _parquet(file: Path) -> Iterator[Mapping[str, Any]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise LastgoodError(
            Code.INVALID, f"Reading {file} needs pyarrow.", "Install it, or give a .csv file."
        ) from None
    try:
        for batch in ParquetFile(file).iter_batches():
            yield from batch.to_pylist()
    except (ArrowException, OSError) as error:
        raise LastgoodError(
            Code.INVALID, f"{file} is not a Parquet file: {error}.", "Check the file."
        ) from None


def _told(found: "Course", file: Path, of: str, plan: "Plan") -> "list[RenderableType]":
    if not found.strata:
        return [styled(f"Nothing to replay: {of} holds no traffic of a candidate.", "yellow")]
    counted = (
        f"{count(found.candidate_requests)} candidate and {count(found.stable_requests)} stable requests"
    )
    lines: list[RenderableType] = [_turn(one, found, plan) for one in found.turns]
    if found.rolled_back:
        last = found.turns[-1]
        labels = "" if last.labelled_rows is None else f" and {count(last.labelled_rows)} labelled rows"
        end = f"{file} would have rolled back on {last.guardrail} after {count(last.candidate_requests)} candidate requests{labels}."
        lines.append(styled(end, "red"))
    else:
        lines.append(f"{file} would not have rolled back on what {of} holds: {counted}.")
        lines += [f"  {one.verdict.value}: {one.sentence}" for one in found.findings]
    lines += [
        styled(f"  not replayed: {name}, {why}", "dim") for name, why in sorted(found.not_replayed.items())
    ]
    return lines


def _turn(turn: "Turn", found: "Course", plan: "Plan") -> "RenderableType":
    began = turn.at if found.began is None else found.began
    when = f"after {duration(turn.at - began)}"
    if turn.at > _ROUNDED:
        when = f"{moment(turn.at)}, {when}"
    stage = "watch" if 0 < plan.watch_stage <= turn.stage else f"step {turn.stage + 1}"
    if plan.pairs_at(turn.stage):
        stage = f"{stage}, copies"
    return f"  {when}, {stage}, {count(turn.candidate_requests)} candidate requests: {turn.sentence}"


COMMANDS = (replay,)
