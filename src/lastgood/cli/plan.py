"""``plan``: check a plan file before it runs, try its limits on recorded traffic, and its schema."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from lastgood.cli import lint_words
from lastgood.cli.command import command
from lastgood.cli.output import styled
from lastgood.cli.plan_explain import explain
from lastgood.cli.plan_measure import measure
from lastgood.cli.plan_words import in_words
from lastgood.cli.releases import read_plan
from lastgood.cli.session import Session
from lastgood.errors import Code, LastgoodError

if TYPE_CHECKING:
    from lastgood.analysis.traps import Trap
    from lastgood.control.traffic_views import TrafficView
    from lastgood.domain.plan import Plan

_SEED = 1  # the same plan and the same traffic give the same answer


@click.group("plan")
def plan() -> None:
    """Check plan files, try them on recorded traffic, and print their schema."""


@command("check")
@click.argument("file", type=click.Path(path_type=Path))
def check(session: Session, file: Path) -> None:
    """Check a plan FILE and say in words what it does. Needs no server."""
    from lastgood.analysis.traps import traps
    from lastgood.domain.plan_file import parse_plan

    found = parse_plan(read_plan(file), source=str(file))
    caught = traps(found, ())
    refusals = _refusals_here(session, found)
    notes = [styled(f"This project's settings would refuse it: {one}", "yellow") for one in refusals]
    told = [one.as_data() for one in refusals]
    session.output.result(
        {
            **msgspec.to_builtins(found),
            "warnings": caught,
            "refused": told[0] if told else None,
            "refusals": told,
        },
        f"{file} is a valid plan.",
        *in_words(found),
        *(styled(_warning(one), "yellow") for one in caught),
        *notes,
    )


def _refusals_here(session: Session, found: "Plan") -> list[LastgoodError]:
    """Return every reason why the settings of the project at hand would refuse a release with this plan."""
    from lastgood.control.preflight import (
        check_labels,
        check_metrics,
        check_plan_trusted,
        check_sketches,
        check_source_known,
    )

    try:
        settings = session.settings
    except LastgoodError as error:
        if error.code is Code.NOT_FOUND:
            return []  # a plan may be checked where no project is
        raise
    refusals = []
    for check in (check_plan_trusted, check_labels, check_sketches, check_metrics):
        try:
            check(found, settings)
        except LastgoodError as error:
            refusals.append(error)
    if found.data is not None:
        try:
            check_source_known(found.data, sorted(settings.data))
        except LastgoodError as error:
            refusals.append(error)
    return refusals


@command("schema")
def schema(session: Session) -> None:
    """Print the JSON Schema of plan files, for editors."""
    from lastgood.domain.plan_schema import plan_schema

    text = msgspec.json.format(msgspec.json.encode(plan_schema()), indent=2).decode()
    session.output.result(plan_schema(), *text.splitlines())


@command("lint")
@click.argument("file", metavar="PLAN", type=click.Path(path_type=Path))
@click.option("--deployment", required=True, help="Whose recorded traffic the plan is tried on.")
def lint(session: Session, file: Path, deployment: str) -> None:
    """Try a PLAN on stable's own recent traffic: how often would its hard limits stop a harmless candidate.

    The last 24 hours of the deployment's stable version are replayed as a candidate that is just like it. Limits are
    outside the plan's false_rollback_rate, so this is their false-alarm rate. Other traps are told too.
    """
    from lastgood.analysis.limits import false_alarms
    from lastgood.analysis.traps import traps
    from lastgood.control.traffic_views import TrafficView
    from lastgood.domain.plan_file import parse_plan

    found = parse_plan(read_plan(file), source=str(file))
    view = msgspec.convert(session.read("deployments", deployment, "traffic"), TrafficView, str_keys=True)
    limits = false_alarms(found, view.minutes, seed=_SEED)
    caught = (*traps(found, view.minutes), *_slice_traps(session, found, view))
    requests = sum(one.counts.requests for one in view.minutes)
    session.output.result(
        {
            "plan": str(file),
            "deployment": deployment,
            "version": view.version,
            "minutes": len(view.minutes),
            "requests": requests,
            "limits": limits,
            "warnings": caught,
        },
        *lint_words.told(found, deployment, view, limits),
        *(styled(_warning(one), "yellow") for one in caught),
    )


def _slice_traps(session: Session, found: "Plan", view: "TrafficView") -> "list[Trap]":
    """Hold the plan's slices against the signature of the stable version, where there is one."""
    from lastgood.analysis.slice_traps import slice_traps
    from lastgood.domain.version import Signature

    if view.version is None or not any(one.slices for one in found.guardrails):
        return []
    model = session.read("deployments", view.deployment)["model"]
    signature = session.read("models", model, "versions", str(view.version))["signature"]
    return (
        [] if signature is None else slice_traps(found, msgspec.convert(signature, Signature), view.version)
    )


def _warning(trap: "Trap") -> str:
    return f"Warning: {trap.sentence} {trap.next}"


for _command in (check, explain, lint, measure, schema):
    plan.add_command(_command)

COMMANDS = (plan,)
