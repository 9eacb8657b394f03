"""A release as one page: HTML that needs no network, or Markdown for an incident ticket."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lastgood.analysis import sentences
from lastgood.cli.data_words import data_rows
from lastgood.cli.drift_words import drift_pictures
from lastgood.cli.evidence import baseline_lines, evidence_rows
from lastgood.cli.slice_words import HEADINGS, slice_rows
from lastgood.cli.wording import duration, full_name_of, moment, percent, phase_name
from lastgood.domain.given_text import visible

TEMPLATES: Final = Path(__file__).with_name("templates")
COLOURS: Final = ("#0b6e99", "#b5460f", "#5b7a1d", "#7a3d8a", "#9a7b0a", "#3f4a5a", "#b02a5b", "#1f8a70")
_MARKUP: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", "|": "&#124;", **{one: f"\\{one}" for one in "\\`*[]~"}}
)
_WIDTH, _HEIGHT = 720.0, 220.0
_TOP: Final = 1.25  # of the bound: the picture ends a little above it
_BOTTOM: Final = -0.25


def render(report: Mapping[str, Any], *, as_html: bool) -> str:
    """Return the page of a report as :class:`lastgood.control.release_report.ReleaseReport` has it, as plain values."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        finalize=lambda found: visible(found) if type(found) is str else found,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": moment,
        "name": full_name_of,
        "phase": phase_name,
        "percent": percent,
        "count": sentences.count,
        "plain": _plain,
    }
    template = environment.get_template("release.html" if as_html else "release.md")
    release = report["release"]
    ended = release["finished_at"] or report["made_at"]
    return template.render(
        release=release,
        report=report,
        lasted=duration(max(0.0, ended - release["created_at"])),
        baseline=baseline_lines(release["baseline"]) if release["findings"] else [],
        guardrails=[(one, evidence_rows(one, release["baseline"])) for one in release["findings"]],
        slices=[(one, rows) for one in release["findings"] if (rows := slice_rows(one))],
        slice_headings=HEADINGS,
        data=data_rows(release),
        drifts=drift_pictures(release["findings"]),
        stages=[_stage(one, release["steps"]) for one in report["traces"]["stages"]],
        pictures=_curves(report["traces"]["points"]),
        picture={"width": _WIDTH, "height": _HEIGHT, "bound": _y(1.0), "nothing": _y(0.0)},
        requests=max((last["candidate_requests"] for last in _lasts(report["traces"]["points"])), default=0),
    )


def _plain(text: object) -> str:
    """Return text that Markdown shows as it is, in one line: no markup, link, picture or cell of a table."""
    return visible(str(text)).translate(_MARKUP)


def _stage(stage: Mapping[str, Any], steps: int) -> dict[str, Any]:
    name = "watch" if stage["stage"] >= steps else f"step {stage['stage'] + 1}"
    if stage["pairs"]:
        name = f"{name}, copies"
    return {
        **stage,
        "name": name,
        "candidate_rate": _rate(stage["candidate_bad"], stage["candidate"]),
        "stable_rate": _rate(stage["stable_bad"], stage["stable"]),
    }


def _rate(bad: int, requests: int) -> str:
    return f"{100.0 * bad / requests:.3g} %" if requests else "-"


def _curves(points: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return each guardrail's evidence as a line: candidate requests to the right, parts of the bound upwards."""
    most = max((last["candidate_requests"] for last in _lasts(points)), default=0) or 1
    curves = []
    for index, (name, trace) in enumerate(sorted(points.items())):
        places = [(one["candidate_requests"], one["part"]) for one in trace]
        line = " ".join(
            f"{_WIDTH * requests / most:.1f},{_y(part):.1f}" for requests, part in [(0, 0.0), *places]
        )
        curves.append(
            {"name": name, "colour": COLOURS[index % len(COLOURS)], "line": line, "part": trace[-1]["part"]}
        )
    return curves


def _lasts(points: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    return [trace[-1] for trace in points.values() if trace]


def _y(part: float) -> float:
    held = min(max(part if math.isfinite(part) else _TOP, _BOTTOM), _TOP)
    return _HEIGHT * (_TOP - held) / (_TOP - _BOTTOM)
