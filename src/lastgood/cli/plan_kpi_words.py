"""A plan's KPI guardrails in words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from lastgood.cli.wording import duration, percent

if TYPE_CHECKING:
    from lastgood.domain.plan import Guardrail

WRONG: Final = {
    "accuracy": ("a wrong class", "wrong classes"),
    "recall": ("a missed row", "missed rows"),
    "precision": ("a false alarm", "false alarms"),
    "f1": ("a missed row or a false alarm", "missed rows and false alarms"),
}


def kpi_worse(one: "Guardrail") -> list[str]:
    """Say when a guardrail that needs labels fails."""
    from lastgood.domain.kpi import KpiTerms
    from lastgood.domain.plan import Metric
    from lastgood.domain.plan_kpi_rules import f1_of

    terms, margin, name = one.kpi or KpiTerms(), one.margin.value, one.metric.value
    if one.metric in (Metric.MEAN, Metric.MAE):
        what, where = ("mean label", "below") if one.metric is Metric.MEAN else ("mean error", "above")
        unit = f"{margin * (terms.high - terms.low):g}"
        return [f"the candidate's {what} is shown to be over {unit} {where} stable's"]
    of = f" of {terms.positive!r}" if terms.positive and one.metric is not Metric.ACCURACY else ""
    least = f", with at least {one.min_bad} wrong rows" if one.min_bad > 1 else ""
    if one.margin.kind.value == "odds":
        when = [
            f"the candidate's odds of {WRONG[name][0]}{of} are shown to be over {margin:g} times stable's{least}"
        ]
    else:
        when = [
            f"the candidate's {name}{of} is shown to be over {_points(one, margin)} below stable's{least}"
        ]
    if one.maximum is not None:
        bound = percent(100 * (f1_of(one.maximum) if one.metric is Metric.F1 else 1.0 - one.maximum))
        when.append(f"its {name} is under {bound} (looked at from {one.min_samples} labelled rows on)")
    return when


def kpi_slices(one: "Guardrail") -> str:
    """Say which slices are judged beside all rows, and what part of the rate they have."""
    from lastgood.analysis.slices import MAX_VALUES, slice_part

    if not one.slices:
        return ""
    first, last = (f"{100 * slice_part(one, rank):.2g} %" for rank in (1, MAX_VALUES))
    limit = " Its hard limit is of all rows." if one.maximum is not None else ""
    return (
        f" The same is asked of the rows of each value of {_listed(one.slices)}: the first {MAX_VALUES} values of a column "
        f"that appear. All rows have half of its part of the false rollback rate, the first value of a column {first} of it, "
        f"the last {last}.{limit}"
    )


def _listed(columns: Sequence[str]) -> str:
    *most, last = columns
    return f"{', '.join(most)} and {last}" if most else last


def kpi_maturity(one: "Guardrail") -> str:
    """Say from when on a label counts."""
    if one.kpi is None:
        return ""
    if not one.kpi.after:
        return " A label counts when it comes."
    return f" A label counts once its prediction is {duration(one.kpi.after)} old."


def _points(one: "Guardrail", margin: float) -> str:
    from lastgood.domain.plan import Metric
    from lastgood.domain.plan_kpi_rules import f1_of

    points = round(100 * (1.0 - f1_of(margin) if one.metric is Metric.F1 else margin), 6)
    return f"{points:g} {'point' if points == 1 else 'points'}"
