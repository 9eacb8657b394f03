"""``plan explain``: what a plan would notice, how soon, and how often it would be wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from lastgood.analysis.sentences import count
from lastgood.cli.command import command
from lastgood.cli.drift_words import drift_foreseen
from lastgood.cli.output import styled, table
from lastgood.cli.releases import read_plan
from lastgood.cli.session import Session
from lastgood.errors import Code, LastgoodError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lastgood.analysis.foresight import Foresight, Notice
    from lastgood.control.traffic_views import TrafficView
    from lastgood.domain.plan import Guardrail, Plan

_SEED = 1  # the same plan and the same traffic give the same answer
_PER_MINUTE = 1000.0
_SKETCHED_PER_MINUTE = 1200.0  # requests of one gateway worker that are looked at for drift


@command("explain")
@click.argument("file", metavar="PLAN", type=click.Path(path_type=Path))
@click.option(
    "--deployment", help="Take rates, latencies and traffic from what its stable version did lately."
)
@click.option(
    "--rate",
    "given",
    metavar="GUARDRAIL=PERCENT",
    multiple=True,
    help="Stable's rate of bad requests (wrong rows, for a KPI), such as errors=0.5%. Default: 1 %, and 10 % for a KPI.",
)
@click.option(
    "--per-minute",
    type=click.FloatRange(1.0, 1e7),
    help=f"Requests in a minute, both versions. Default: {_PER_MINUTE:g}.",
)
def explain(
    session: Session, file: Path, deployment: str | None, given: tuple[str, ...], per_minute: float | None
) -> None:
    """Say for each comparison of a PLAN how often it would stop a harmless candidate, and how soon a worse one.

    The plan's own tests run over invented traffic that walks its steps: a candidate that is worse by 1, 2, 5 and 10 points
    (or slower, for latencies), forty times each. Needs no server without --deployment.
    """
    from lastgood.analysis.drift_foresight import foresee_inputs
    from lastgood.analysis.foresight import foresee
    from lastgood.control.traffic_views import TrafficView
    from lastgood.domain.plan_file import parse_plan
    from lastgood.stats import quantiles

    plan = parse_plan(read_plan(file), source=str(file))
    rates, latency, pace = _rates(plan, given), {}, per_minute or _PER_MINUTE
    if deployment is not None:
        data = session.read("deployments", deployment, "traffic")
        view = msgspec.convert(data, TrafficView, str_keys=True)
        if not view.minutes:
            raise LastgoodError(
                Code.REFUSED,
                f"No traffic of {deployment} is recorded in the last 24 hours.",
                "A minute counts once it is over: serve requests for a while, or leave --deployment out.",
            )
        rates = _measured(plan, view) | rates
        latency = quantiles.merged(one.counts.latency for one in view.minutes)
        pace = per_minute or sum(one.counts.requests for one in view.minutes) / len(view.minutes)
    found = foresee(plan, rates=rates, per_minute=pace, latency=latency, seed=_SEED)
    drift = foresee_inputs(plan, per_minute=min(pace, _SKETCHED_PER_MINUTE), seed=_SEED)
    session.output.result(
        {"plan": str(file), "per_minute": pace, "guardrails": found, "drift": drift},
        *_told(plan, file, pace, found),
        *drift_foreseen(drift),
    )


def _rates(plan: "Plan", given: Sequence[str]) -> dict[str, float]:
    from lastgood.domain.quantity import parse_percent

    names = [one.name for one in plan.guardrails]
    found = {}
    for one in given:
        name, _, text = one.partition("=")
        if name not in names:
            raise LastgoodError(
                Code.INVALID, f"The plan has no guardrail {name!r}.", f"It has: {', '.join(names)}."
            )
        try:
            found[name] = parse_percent(text)
        except ValueError as error:
            raise LastgoodError(Code.INVALID, f"--rate {one}: {error}", f"Write: --rate {name}=1%") from None
    return found


def _measured(plan: "Plan", view: "TrafficView") -> dict[str, float]:
    """Return stable's own rates where its minutes have them."""
    from lastgood.analysis.budget import RATES
    from lastgood.analysis.counts import bad_of, requests_of
    from lastgood.analysis.trials import name_of

    found = {}
    for one in plan.guardrails:
        if one.metric in RATES:
            requests = sum(requests_of(minute.counts, name_of(one)) for minute in view.minutes)
            bad = sum(bad_of(minute.counts, name_of(one)) for minute in view.minutes)
            if requests:
                found[one.name] = bad / requests
    return found


def undivided(plan: "Plan") -> str:
    """Say where a plan compares whose steps do not divide the traffic."""
    from lastgood.analysis.budget import watch_minutes

    told = "No step divides the traffic: nothing is compared before all of it is the candidate's"
    if plan.watch and plan.watch_shadow and watch_minutes(plan):
        return f"{told}. In the watch it is, with the version before, minute by minute (not in this table)."
    return f"{told}, so nothing is noticed."


def _told(plan: "Plan", file: Path, pace: float, found: "Sequence[Foresight]") -> "list[RenderableType]":
    from lastgood.analysis.foresight import divides

    if not found:
        told = "The plan compares nothing: no guardrail holds the candidate against stable."
        return [told, *(styled(note, "dim") for note in _outside(plan))]
    rows: list[list[Any]] = []
    for one in found:
        rate = "" if one.rate is None else f"{one.rate:.2%}"
        for index, notice in enumerate(one.notices):
            head = [one.guardrail, f"{one.alpha:.2%}", rate] if not index else ["", "", ""]
            rows.append([*head, _drop(notice), _requests(notice), f"{notice.in_plan:.0%}"])
    headings = [
        "guardrail",
        "false alarms",
        "stable's rate",
        "worse by",
        "candidate requests",
        "within the plan",
    ]
    compared = {one.guardrail for one in found}
    labelled = {"accuracy", "precision", "recall", "f1", "mean", "mae"}
    notes = (
        ["Labelled rows that count, for guardrails on labels."]
        if any(one.metric in labelled for one in found)
        else []
    )
    notes += [_sliced(one) for one in plan.guardrails if one.slices and one.name in compared]
    if plan.shadows:
        notes.append("In shadow steps, pairs of a request and its copy.")
    if not any(divides(step) for step in plan.steps):
        notes.append(undivided(plan))
    limits = [one.name for one in plan.guardrails if one.maximum is not None and one.name not in compared]
    notes += _outside(plan)
    if limits:
        notes.append(f"Hard limits have no known rate ({', '.join(limits)}): see 'lastgood plan lint'.")
    minutely = count(round(pace)) if pace >= 1.0 else f"{pace:g}"
    return [
        f"{file}: all comparisons together stop a harmless candidate in at most {plan.false_rollback_rate:.2%} of releases.",
        f"Requests until a worse one is noticed, on average of 40 runs, at {minutely} requests a minute:",
        table(headings, rows),
        *(styled(note, "dim") for note in notes),
    ]


def _outside(plan: "Plan") -> list[str]:
    """Say what is not known of numbers from outside."""
    custom = [one for one in plan.guardrails if one.custom is not None]
    single = [one.name for one in custom if one.custom is not None and not one.custom.counts]
    counted = [one.name for one in custom if one.name not in single]
    notes = [f"Of {', '.join(counted)}, as if each request were counted outside."] if counted else []
    if single:
        notes.append(f"One number from outside has no false-alarm rate ({', '.join(single)}).")
    return notes


def _sliced(guardrail: "Guardrail") -> str:
    """Say what a guardrail's rows say of: all rows, at half of its rate, and how many slices have the other half."""
    from lastgood.analysis.slices import MAX_VALUES

    columns = len(guardrail.slices)
    return (
        f"{guardrail.name}: what is said is of all rows, at half of its rate. The other half is for slices, at most "
        f"{columns * MAX_VALUES} of them: {MAX_VALUES} values of {'each column' if columns > 1 else guardrail.slices[0]}."
    )


def _drop(notice: "Notice") -> str:
    if notice.factor:
        return f"{notice.drop:g} times as slow"
    points = notice.drop * 100
    return f"{points:g} point" if points == 1 else f"{points:g} points"


def _requests(notice: "Notice") -> str:
    if notice.requests is None:
        return "not noticed"
    told = f"{notice.requests:,.0f}".replace(",", " ")
    return f"{told} or more" if notice.missed else told
