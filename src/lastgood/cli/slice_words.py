"""The slices of a KPI guardrail in words: the worst one, and a table of them."""

import math
from collections.abc import Mapping
from typing import Any

from lastgood.analysis import sentences

HEADINGS = ("slice", "candidate", "stable", "evidence", "")


def worst_told(finding: Mapping[str, Any]) -> str:
    """Name the slice whose evidence is nearest to its bound; empty for a guardrail without slices."""
    found = finding["numbers"].get("slices")
    if found is None:
        return ""
    judged = [one for one in found if one["bound"] is not None]
    if not judged:
        return "no labelled row yet"
    worst = judged[0]
    of = sentences.plural(finding["numbers"]["slices_judged"], "slice", "slices")
    other = f" against {_value(finding, worst['stable'])}" if worst["stable"]["value"] is not None else ""
    return f"worst of {of}: {worst['name']}, {_value(finding, worst['candidate'])}{other}, evidence {_bet(worst)}"


def slice_rows(finding: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Return a row for each slice that a finding tells of, the worst first, under :data:`HEADINGS`."""
    return [
        (
            one["name"],
            _arm(finding, one["candidate"]),
            _arm(finding, one["stable"]),
            "counted, not judged" if one["bound"] is None else _bet(one),
            "failed" if one["failed"] else "",
        )
        for one in finding["numbers"].get("slices") or ()
    ]


def _arm(finding: Mapping[str, Any], arm: Mapping[str, Any]) -> str:
    if arm["value"] is None:
        return f"{sentences.plural(arm['labelled'], 'labelled row', 'labelled rows')}, none that counts"
    if arm["bad"] is None:
        return f"{_value(finding, arm)} of {sentences.plural(arm['requests'], 'row', 'rows')}"
    right = f"{sentences.count(arm['requests'] - arm['bad'])} of {sentences.count(arm['requests'])} right"
    return f"{_value(finding, arm)}, {right}"


def _value(finding: Mapping[str, Any], arm: Mapping[str, Any]) -> str:
    if arm["value"] is None:
        return "nothing that counts"
    of_numbers = finding["metric"] in ("mean", "mae")
    return f"{arm['value']:.4g}" if of_numbers else sentences.percent(arm["value"])


def _bet(one: Mapping[str, Any]) -> str:
    return sentences.bet(one["log_e"], math.log(one["bound"]))
