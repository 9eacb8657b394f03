"""``plan``: check a plan file before it runs, and its schema."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from lastgood.cli.command import command
from lastgood.cli.output import styled
from lastgood.cli.releases import read_plan
from lastgood.cli.session import Session
from lastgood.cli.wording import duration, percent
from lastgood.errors import Code, LastgoodError

if TYPE_CHECKING:
    from lastgood.domain.plan import Guardrail, Plan, Step

_BAD = {"errors": "an error", "invalid_output": "an invalid output"}


@click.group("plan")
def plan() -> None:
    """Check plan files and print their schema."""


@command("check")
@click.argument("file", type=click.Path(path_type=Path))
def check(session: Session, file: Path) -> None:
    """Check a plan FILE and say in words what it does. Needs no server."""
    from lastgood.domain.plan_file import parse_plan

    found = parse_plan(read_plan(file), source=str(file))
    refused = _refused_here(session, found)
    notes = (
        [] if refused is None else [styled(f"This project's settings would refuse it: {refused}", "yellow")]
    )
    session.output.result(
        {**msgspec.to_builtins(found), "refused": None if refused is None else refused.as_data()},
        f"{file} is a valid plan.",
        *in_words(found),
        *notes,
    )


def _refused_here(session: Session, found: "Plan") -> LastgoodError | None:
    """Return why a release with this plan would be refused in the project at hand, None when it would not."""
    from lastgood.control.preflight import check_plan_trusted

    try:
        settings = session.settings
    except LastgoodError as error:
        if error.code is Code.NOT_FOUND:
            return None  # a plan may be checked where no project is
        raise
    try:
        check_plan_trusted(found, settings)
    except LastgoodError as error:
        return error
    return None


@command("schema")
def schema(session: Session) -> None:
    """Print the JSON Schema of plan files, for editors."""
    from lastgood.domain.plan_schema import plan_schema

    text = msgspec.json.format(msgspec.json.encode(plan_schema()), indent=2).decode()
    session.output.result(plan_schema(), *text.splitlines())


def in_words(plan: "Plan") -> list[str]:
    """Say what a plan does, one line a fact."""
    lines = [f"Strategy: {plan.strategy.value.replace('_', ' ')}."]
    lines += [f"  {index}. {_step(step)}" for index, step in enumerate(plan.steps, 1)]
    lines.append(f"  {len(plan.steps) + 1}. All traffic goes to the candidate.")
    if plan.watch:
        lines.append(
            f"  {len(plan.steps) + 2}. The guardrails that can go on for {duration(plan.watch)} more."
        )
    lines.append("Guardrails:")
    lines += [f"  {_guardrail(one)}" for one in plan.guardrails]
    lines.append(
        f"A harmless candidate is rolled back by chance in at most {percent(plan.false_rollback_rate * 100)} "
        "of releases."
    )
    lines.append(
        f"Not promoted {duration(plan.deadline)} after its first traffic: "
        + ("it is held for a person." if plan.on_deadline.value == "hold" else "it is rolled back.")
    )
    for channel in plan.notify:
        lines.append(f"Tells {channel.webhook or ' '.join(channel.command or ())}.")
    return lines


def _step(step: "Step") -> str:
    kind = step.kind.value
    if kind == "approve":
        return f"Wait for an approval: {step.message}."
    if kind == "pause":
        return "Wait until somebody resumes." if step.duration is None else f"Wait {duration(step.duration)}."
    text = f"{percent(step.weight / 100)} of the requests go to the candidate"
    needs = []
    if step.duration:
        needs.append(f"for at least {duration(step.duration)}")
    if step.samples:
        needs.append(f"{'until' if not needs else 'and until'} it has answered {step.samples} requests")
    return f"{text} {' '.join(needs)}.".replace(" .", ".")


def _guardrail(one: "Guardrail") -> str:
    metric = one.metric.value
    if metric == "health":
        what = f"{one.misses} health checks in a row fail"
    elif metric == "latency":
        what = f"p{one.quantile * 100:g} latency is over {duration(one.maximum or 0)}"
    else:
        what = (
            f"the candidate's odds of {_BAD[metric]} are shown to be over {one.margin.value:g} times stable's"
        )
        if one.maximum is not None:
            what += f", or the rate is over {percent(one.maximum * 100)}"
    return f"{one.name}: {one.on_fail.value} when {what}."


for _command in (check, schema):
    plan.add_command(_command)

COMMANDS = (plan,)
