"""``plan measure``: ask every custom metric of a plan once, before a release depends on the answers."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lastgood.cli.command import command
from lastgood.cli.output import table
from lastgood.cli.releases import read_plan
from lastgood.cli.session import Session
from lastgood.errors import Code, LastgoodError

if TYPE_CHECKING:
    from lastgood.domain.custom import Reading, Subject
    from lastgood.domain.plan import Guardrail
    from lastgood.integrations.metrics import OutsideMetrics

_HOUR = 3600.0


@command("measure")
@click.argument("file", metavar="PLAN", type=click.Path(path_type=Path))
@click.option("--deployment", required=True, help="About whose versions the metrics are asked.")
def measure(session: Session, file: Path, deployment: str) -> int:
    """Ask every custom metric of a PLAN once, and show what each answers. Nothing is judged or kept.

    They are asked from here, with this shell's environment, about the release under way; without one about the stable
    version in the place of both, and the last hour. Exits with 1 when one cannot be measured.
    """
    from lastgood.domain.plan_file import parse_plan
    from lastgood.integrations.metrics import OutsideMetrics

    plan = parse_plan(read_plan(file), source=str(file))
    guardrails = [one for one in plan.guardrails if one.custom is not None]
    if not guardrails:
        raise LastgoodError(
            Code.INVALID, f"{file} has no custom metric.", "Add a guardrail with 'metric: custom'."
        )
    subject = _subject(session.read("deployments", deployment), time.time())
    metrics = OutsideMetrics(session.settings, os.environ)
    found = [_asked(metrics, one, subject) for one in guardrails]
    rows = [[one["guardrail"], one["source"], one["says"], f"{one['seconds']:.2f} s"] for one in found]
    session.output.result(
        {"plan": str(file), "about": subject.context(), "measured": found},
        _about(subject),
        table(["guardrail", "source", "answer", "took"], rows),
    )
    return int(any(one["error"] for one in found))


def _subject(view: Mapping[str, Any], now: float) -> "Subject":
    from lastgood.domain.custom import Subject

    release, stable = view["release"], view["stable"]
    if stable is None:
        raise LastgoodError(
            Code.REFUSED, f"{view['deployment']} serves nothing yet.", "Release a version first."
        )
    candidate = stable if release is None else release["version"]
    return Subject(
        model=view["model"],
        deployment=view["deployment"],
        release=0 if release is None else release["id"],
        candidate=candidate["number"],
        candidate_label=candidate["label"] or "",
        stable=stable["number"],
        stable_label=stable["label"] or "",
        since=now - _HOUR if release is None else min(now, release["created_at"]),
        now=now,
    )


def _about(subject: "Subject") -> str:
    stable = subject.stable_label or f"version {subject.stable}"
    if not subject.release:
        return f"No release of {subject.deployment} is under way, so {stable} stands for both versions:"
    candidate = subject.candidate_label or f"version {subject.candidate}"
    return f"About {candidate} beside {stable}, in {subject.deployment}:"


def _asked(metrics: "OutsideMetrics", guardrail: "Guardrail", subject: "Subject") -> dict[str, Any]:
    terms = guardrail.custom
    assert terms is not None
    began, reading, error = time.monotonic(), None, ""
    try:
        reading = metrics.measure(terms, subject)
    except LastgoodError as problem:
        error = problem.message
    return {
        "guardrail": guardrail.name,
        "source": terms.kind.value,
        "reading": reading,
        "error": error,
        "seconds": round(time.monotonic() - began, 3),
        "says": f"error: {error}" if error else _said(guardrail, reading),
    }


def _said(guardrail: "Guardrail", reading: "Reading | None") -> str:
    from lastgood.analysis.custom_state import beyond
    from lastgood.domain.custom import Counts

    if reading is None:
        return f"no data: the plan says {guardrail.no_data.value}"
    if isinstance(reading, Counts):
        own, other = reading.candidate, reading.stable
        return f"{own.bad} bad of {own.total}, stable {other.bad} of {other.total}"
    beside = "" if reading.stable is None else f", stable {reading.stable:g}"
    bounds = "out of bounds" if beyond(guardrail, reading.candidate) else "within bounds"
    return f"{reading.candidate:g}{beside}: {bounds}"
