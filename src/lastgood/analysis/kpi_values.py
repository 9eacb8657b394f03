"""What labelled rows come to, in a KPI's own unit: as numbers, and in words."""

from typing import Any

from lastgood.analysis import sentences
from lastgood.domain.kpi import Kpi, KpiCounts
from lastgood.domain.plan import CONFUSIONS, Guardrail, Metric
from lastgood.domain.plan_kpi_rules import f1_of


def value_of(guardrail: Guardrail, counts: KpiCounts) -> float | None:
    """Return one arm's metric in its own unit; None, never 0, without trials."""
    if not counts.trials:
        return None
    if guardrail.metric not in CONFUSIONS:
        return counts.total / counts.trials
    wrong = counts.bad / counts.trials
    return f1_of(wrong) if guardrail.metric is Metric.F1 else 1.0 - wrong


def arm_numbers(guardrail: Guardrail, counts: KpiCounts) -> dict[str, Any]:
    """Return an arm's numbers: ``value`` in the metric's own unit, ``bad`` and ``rate`` of wrong rows."""
    classes = guardrail.metric in CONFUSIONS
    return {
        "requests": counts.trials,
        "bad": counts.bad if classes else None,
        "rate": counts.bad / counts.trials if classes and counts.trials else None,
        "interval": None,
        "value": value_of(guardrail, counts),
        "labelled": counts.rows,
        "left_out": counts.repeated,
    }


def both_told(guardrail: Guardrail, kpi: Kpi) -> str:
    """Return both arms' values and counts: 71.0 % against 84.0 %, 71 of 100 against 84 of 100 right.

    The candidate must have a row that counts.
    """
    own, other = kpi.candidate, kpi.stable
    if guardrail.metric not in CONFUSIONS:
        values = _beside(guardrail, kpi, "{:.4g}")
        return f"{values}, of {sentences.count(own.trials)} against {sentences.count(other.trials)} labelled rows"
    right = f"{sentences.count(own.trials - own.bad)} of {sentences.count(own.trials)}"
    if other.trials:
        right += f" against {sentences.count(other.trials - other.bad)} of {sentences.count(other.trials)}"
    return f"{_beside(guardrail, kpi, '')}, {right} right"


def _beside(guardrail: Guardrail, kpi: Kpi, form: str) -> str:
    """Return both arms' values: 71.0 % against 84.0 %."""
    said = form.format if form else sentences.percent
    values = [value_of(guardrail, one) for one in (kpi.candidate, kpi.stable)]
    told = [said(value) for value in values if value is not None]
    return " against ".join(told) if len(told) == 2 else f"{told[0]}, with nothing to compare"
