"""``release`` and the commands that steer one: ``promote``, ``pause``, ``resume``, ``approve``, ``abort``."""

from pathlib import Path
from typing import Any

import click

from lastgood.cli.command import command
from lastgood.cli.output import styled
from lastgood.cli.progress import change_line, exit_status, follow, outcome
from lastgood.cli.session import Session
from lastgood.cli.wording import full_name_of, phase_name
from lastgood.errors import Code, LastgoodError

_STRATEGIES = ("canary", "blue_green", "all_at_once")


@command("release")
@click.argument("model")
@click.option("--version", required=True, help="The version's number or label.")
@click.option("--plan", "plan_file", type=click.Path(path_type=Path), help="A plan file (YAML).")
@click.option("--strategy", type=click.Choice(_STRATEGIES), help="The built-in plan of this kind.")
@click.option(
    "--shadow",
    metavar="SHARE",
    help="First let it answer copies of this share of the requests, such as 10%, until somebody promotes it.",
)
@click.option("--deployment", help="Where to release it. Default: the deployment named like the model.")
@click.option("--override", metavar="REASON", help="Release failed bytes again, for this reason.")
@click.option("--wait", is_flag=True, help="Stay until it is over; see the exit codes.")
@click.option("--timeout", metavar="DURATION", help="With --wait: give up waiting after, say, 30m.")
def release(
    session: Session,
    model: str,
    *,
    version: str,
    plan_file: Path | None,
    strategy: str | None,
    shadow: str | None,
    deployment: str | None,
    override: str | None,
    wait: bool,
    timeout: str | None,
) -> int:
    """Release a version of MODEL, step by step.

    It is validated, given traffic by its plan and judged all the time; then it is stable, or rolled back.
    """
    from lastgood.domain.quantity import parse_duration

    if timeout is not None and not wait:
        raise LastgoodError(Code.INVALID, "--timeout means nothing without --wait.", "Add --wait.")
    seconds = None if timeout is None else parse_duration(timeout)
    started = session.command(
        "releases",
        model=model,
        version=version,
        deployment=deployment,
        plan=None if plan_file is None else read_plan(plan_file),
        plan_source=None if plan_file is None else str(plan_file),
        strategy=strategy,
        shadow=shadow,
        override=override,
    )
    head = f"Release {started['id']} of {started['deployment']}: {full_name_of(started['version'])}"
    head += f", {phase_name(started['strategy'])}"
    if not wait:
        session.output.result(started, head, f"Follow it: lastgood status {started['deployment']} --watch")
        return 0
    session.output.say(styled(head, "bold"))
    ended = follow(session, started["id"], seconds)
    stable = session.read("deployments", ended["deployment"])["stable"]
    session.output.result({**ended, "deployed": stable}, *outcome(ended, stable))
    return exit_status(ended)


@command("promote")
@click.argument("deployment")
@click.option("--full", is_flag=True, help="Straight to all traffic, not only to the next step.")
def promote(session: Session, deployment: str, full: bool) -> None:
    """Go to the next step now, without waiting for time or samples.

    A guardrail that holds the release is set aside by it: for the rest of the release it holds no more.
    """
    _told(session, session.command("deployments", deployment, "promote", full=full))


@command("pause")
@click.argument("deployment")
@click.option("--reason", default="", help="Kept in the audit record.")
def pause(session: Session, deployment: str, reason: str) -> None:
    """Hold the release where it is. Its guardrails stay on."""
    _told(session, session.command("deployments", deployment, "pause", reason=reason))


@command("resume")
@click.argument("deployment")
def resume(session: Session, deployment: str) -> None:
    """Go on after a pause.

    A guardrail that holds the release is set aside by it: for the rest of the release it holds no more.
    """
    _told(session, session.command("deployments", deployment, "resume"))


@command("approve")
@click.argument("deployment")
def approve(session: Session, deployment: str) -> None:
    """Open the gate at which the release waits for an approval."""
    _told(session, session.command("deployments", deployment, "approve"))


@command("abort")
@click.argument("deployment")
@click.option("--reason", default="", help="Kept in the audit record.")
def abort(session: Session, deployment: str, reason: str) -> None:
    """End the release without blaming its version. All traffic goes to stable."""
    _told(session, session.command("deployments", deployment, "abort", reason=reason))


def read_plan(path: Path) -> str:
    """Return a plan file's text.

    :raises LastgoodError: ``invalid`` when it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise LastgoodError(
            Code.INVALID, f"The plan {path} cannot be read: {why}.", "Give the path of a YAML file."
        ) from None


def _told(session: Session, view: dict[str, Any]) -> None:
    head = f"Release {view['id']} of {view['deployment']}: {full_name_of(view['version'])}"
    aside = [
        f"  {guardrail} is set aside by {by}: it does not hold this release again."
        for guardrail, by in sorted(view["set_aside"].items())
    ]
    session.output.result(view, head, change_line(view), *aside)


COMMANDS = (release, promote, pause, resume, approve, abort)
