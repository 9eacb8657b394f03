"""Drift in words: when a guardrail on values fails, what it rests on, and each feature as a bar."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from lastgood.analysis import sentences
from lastgood.cli.wording import moment, percent

if TYPE_CHECKING:
    from lastgood.analysis.drift_foresight import DriftForesight
    from lastgood.domain.plan import Guardrail

METRICS: Final = ("drift", "prediction_drift")
_ROWS: Final = 10
_WIDTH: Final = 400.0


def drift_when(one: "Guardrail") -> list[str]:
    """Say when a guardrail on values fails; nothing of any other."""
    terms = one.drift
    if terms is None:
        return []
    points = f"{round(100 * terms.distance, 6):g} {'point' if terms.distance == 0.01 else 'points'}"
    if one.metric.value == "drift":
        which = (
            f"one of {', '.join(terms.features)}" if terms.features else "a feature of the training reference"
        )
        return [f"any set of values of {which} is shown to be over {points} likelier than in training"]
    output = f"its output {terms.output}" if terms.output else "one of its outputs"
    return [f"any set of values of {output} is shown to be over {points} likelier than with stable"]


def drift_rate(one: "Guardrail") -> str:
    """Say how often a guardrail on inputs is wrong, which no rate of the plan does, and when one on outputs only alerts."""
    if one.metric.value == "drift":
        return " A false alarm comes once in 30 days on average, at most."
    only = one.metric.value == "prediction_drift" and one.on_fail.value != "alert"
    return " Where keys are the units it only alerts." if only else ""


def drift_foreseen(found: Sequence["DriftForesight"]) -> list[str]:
    """Say how soon a feature that has moved is noticed."""
    lines = []
    for one in found:
        far = f"{one.guardrail}: a feature that is {sentences.percent(one.distance)} from training is noticed"
        if one.minutes is None or one.rows is None:
            lines.append(f"{far} after more than ten hours.")
            continue
        minutes = sentences.plural(round(one.minutes), "minute", "minutes")
        lines.append(f"{far} after {sentences.count(round(one.rows))} rows, {minutes}, on average.")
    return lines


def drift_rows(finding: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values of what a guardrail on values rests on, the features worst first."""
    numbers = finding["numbers"]
    if not numbers:
        return []
    rows = [
        ("rows", _counted(numbers)),
        ("tolerated", f"{sentences.percent(numbers['distance'])} of distance"),
    ]
    if finding["metric"] == "prediction_drift" and numbers["log_e"] is not None:
        bets = (
            f"{one['name']} {sentences.to_one(one['log_e'])}, bound {sentences.count(round(one['bound']))} : 1"
            for one in numbers["features"][:_ROWS]
        )
        rows.append(("evidence", "; ".join(bets)))
    rows += [(one["name"], feature_told(one)) for one in numbers["features"][:_ROWS]]
    left = len(numbers["features"]) - _ROWS + numbers.get("left_out", 0)
    if left > 0:
        rows.append(("besides", sentences.plural(left, "feature that is nearer", "features that are nearer")))
    if numbers["missing"]:
        rows.append(
            (
                "missing",
                sentences.plural(numbers["missing"], "row until it may pass", "rows until it may pass"),
            )
        )
    return rows


def feature_told(one: Mapping[str, Any]) -> str:
    """Say how far one feature or output is: 31 % away, median 74 against 58."""
    told = [f"{sentences.percent(one['distance'])} away"]
    if one.get("found") is not None:
        told.append(f"{sentences.percent(one['found'])} when it was found at {moment(one['found_at'])}")
    if one.get("lately") is not None and abs(one["lately"] - one["distance"]) >= 0.01:
        told.append(f"lately {sentences.percent(one['lately'])}")
    if one["median"] is not None and one["reference_median"] is not None:
        told.append(f"median {one['median']:.3g} against {one['reference_median']:.3g}")
    if one["unseen"]:
        told.append(f"{sentences.percent(one['unseen'])} fit nothing known")
    if one["missing"] or one["reference_missing"]:
        parts = sentences.percent(one["missing"]), sentences.percent(one["reference_missing"])
        told.append(f"missing {parts[0]} against {parts[1]}")
    return ", ".join(told)


def drift_pictures(findings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the guardrails on values as a page draws them: a bar for each feature, worst first."""
    return [
        {
            "guardrail": one["guardrail"],
            "against": "training" if one["metric"] == "drift" else "stable",
            "tolerated": percent(round(100 * one["numbers"]["distance"], 2)),
            "mark": _WIDTH * one["numbers"]["distance"],
            "bars": list(_bars(one["numbers"])),
        }
        for one in findings
        if one["metric"] in METRICS and one["numbers"].get("features")
    ]


def _bars(numbers: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for one in numbers["features"]:
        yield {
            "name": one["name"],
            "reached": one["reached"],
            "width": _WIDTH * min(1.0, one["distance"]),
            "told": feature_told(one),
        }


def _counted(numbers: Mapping[str, Any]) -> str:
    if "stable_rows" not in numbers:
        return f"{sentences.count(numbers['rows'])} looked at"
    beside = sentences.count(numbers["stable_rows"])
    return f"{sentences.count(numbers['rows'])} of the candidate against {beside} of stable"
