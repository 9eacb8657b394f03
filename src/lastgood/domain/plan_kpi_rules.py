"""The rules that span the keys of a plan file's KPI guardrails, and what they become.

A KPI of classes is kept as the rate of its wrong rows: a recall that may fall by two points is a rate of missed ones
that may rise by two points, and the tests for errors judge it.
"""

import math
from typing import Final

import msgspec

from lastgood.domain.kpi import KpiTerms, class_of
from lastgood.domain.placed_yaml import Placed
from lastgood.domain.plan import Guardrail, Margin, MarginKind, Metric, Strategy
from lastgood.domain.plan_kpis import ConfusionGuardrail, KpiDocument, MaeGuardrail, MeanDocument

_MARGIN: Final = Margin(MarginKind.ABSOLUTE, 0.01)
_PROOF_ODDS: Final = Margin(MarginKind.ODDS, 2.0)


def read_kpi(placed: Placed, document: KpiDocument, path: str, strategy: Strategy) -> Guardrail:
    """Return the guardrail but for its share of the false rollback rate.

    :raises LastgoodError: ``invalid`` with the place of the first rule that is broken.
    """
    metric = Metric(str(type(document).__struct_config__.tag))
    guardrail = Guardrail(
        name=document.name or metric.value,
        metric=metric,
        on_fail=document.on_fail,
        min_samples=document.min_samples,
        no_data=document.no_data,
        dry_run=document.dry_run,
        slices=_slices(placed, document, path, strategy),
    )
    after = 0.0 if document.after is None else float(document.after)
    if isinstance(document, ConfusionGuardrail):
        return _of_classes(placed, document, path, strategy, guardrail, after)
    if strategy is not Strategy.CANARY:
        message = f"The strategy {strategy.value} leaves no traffic on stable for {guardrail.name!r} to compare with."
        raise placed.refusal(path, message, "Use canary, or a KPI of classes with a hard limit ('min').")
    return _of_numbers(placed, document, path, guardrail, after)


def f1_of(wrong: float) -> float:
    """Return the F1 that goes with the rate of wrong rows among all that are, or are said to be, of the class."""
    right = 1.0 - wrong
    return 2.0 * right / (1.0 + right)


def wrong_of(f1: float) -> float:
    """Return the rate of wrong rows that goes with an F1; the inverse of :func:`f1_of`."""
    return 1.0 - f1 / (2.0 - f1)


def _slices(placed: Placed, document: KpiDocument, path: str, strategy: Strategy) -> tuple[str, ...]:
    if document.slices is None:
        return ()
    seen: set[str] = set()
    for index, column in enumerate(document.slices):
        if column != column.strip() or not column.isprintable():
            message = f"{column!r} names no column: it has spaces at an end, or a letter that cannot be seen."
            raise placed.refusal(
                f"{path}.slices[{index}]", message, "Write it as the model's input is called."
            )
        if column in seen:
            message = f"The column {column!r} is named twice."
            raise placed.refusal(f"{path}.slices[{index}]", message, "Name each column once.")
        seen.add(column)
    if strategy is not Strategy.CANARY:
        message = f"The strategy {strategy.value} leaves no traffic on stable to compare slices with."
        raise placed.refusal(
            f"{path}.slices", message, "Use canary, or leave the slices out: 'min' is of all rows."
        )
    return tuple(document.slices)


def _of_classes(
    placed: Placed,
    document: ConfusionGuardrail,
    path: str,
    strategy: Strategy,
    guardrail: Guardrail,
    after: float,
) -> Guardrail:
    metric = guardrail.metric
    given = _MARGIN if document.margin is None else document.margin.margin
    margin = _translated(metric, given)
    maximum = None
    if document.minimum is not None:
        least = float(document.minimum)
        maximum = wrong_of(least) if metric is Metric.F1 else 1.0 - least
    elif strategy is not Strategy.CANARY:
        message = f"The strategy {strategy.value} leaves no traffic on stable for {guardrail.name!r} to compare with."
        raise placed.refusal(path, message, "Add a hard limit such as 'min: 80%', or use canary.")
    return msgspec.structs.replace(
        guardrail,
        margin=margin,
        proof=_proof(placed, document, path, metric, margin),
        min_bad=guardrail.min_bad if document.min_bad is None else document.min_bad,
        maximum=maximum,
        kpi=KpiTerms(
            output=document.output or "",
            positive=_positive(placed, document, path, metric),
            threshold=document.threshold,
            after=after,
        ),
    )


def _of_numbers(
    placed: Placed, document: MeanDocument, path: str, guardrail: Guardrail, after: float
) -> Guardrail:
    low, high = document.range
    span = high - low
    if not (math.isfinite(span) and span > 0.0):
        message = f"The range goes from {low:g} to {high:g}."
        raise placed.refusal(f"{path}.range", message, "Give the least value first, such as [0, 50].")
    if guardrail.metric is Metric.MAE and low < 0.0:
        message = "An error is a distance, and none is below 0."
        raise placed.refusal(f"{path}.range", message, "Give the range of the error, such as [0, 20].")
    if not document.margin < span:
        message = f"A margin of {document.margin:g} is all of the range, so nothing could be worse."
        raise placed.refusal(f"{path}.margin", message, f"Give one below {span:g}.")
    output = document.output if isinstance(document, MaeGuardrail) else None
    return msgspec.structs.replace(
        guardrail,
        margin=Margin(MarginKind.ABSOLUTE, document.margin / span),
        proof=(),
        kpi=KpiTerms(output=output or "", after=after, low=low, high=high),
    )


def _translated(metric: Metric, margin: Margin) -> Margin:
    """Return a margin of the metric as one of its wrong rows.

    With ``wrong`` the part of wrong rows that :func:`f1_of` takes, the odds of F1 are twice those of ``1 - wrong``, so
    odds stay as they are. Points are taken at an F1 of 1, where they stand for the most wrong rows.
    """
    if metric is not Metric.F1 or margin.kind is MarginKind.ODDS:
        return margin
    return Margin(MarginKind.ABSOLUTE, wrong_of(1.0 - margin.value))


def _proof(
    placed: Placed, document: ConfusionGuardrail, path: str, metric: Metric, margin: Margin
) -> tuple[Margin, ...]:
    if document.proof is None:
        own = (margin if margin.kind is MarginKind.ABSOLUTE else _MARGIN).value
        wanted = (_PROOF_ODDS, Margin(MarginKind.ABSOLUTE, min(2.0 * own, (1.0 + own) / 2.0)))
        return tuple(one for one in wanted if one.kind is not margin.kind or one.value > margin.value)
    found = tuple(_translated(metric, one) for one in document.proof.margins)
    if any(one.kind is margin.kind and one.value <= margin.value for one in found):
        message = "The proof margin is not wider than the margin."
        next_step = "Give a wider one, or narrow 'margin': what may be promoted must not yet be rolled back."
        raise placed.refusal(f"{path}.proof_margin", message, next_step)
    if Margin(MarginKind.ODDS, 1.0) in found:
        message = "Odds of 1 leave no room in which anything could be shown."
        raise placed.refusal(f"{path}.proof_margin", message, "Give odds above 1, such as 2.")
    return found


def _positive(placed: Placed, document: ConfusionGuardrail, path: str, metric: Metric) -> str:
    if document.positive is None:
        if metric is Metric.ACCURACY and document.threshold is None:
            return ""
        message = f"Nothing says which class {metric.value} is about."
        raise placed.refusal(path, message, "Name it, such as 'positive: 1' or 'positive: fraud'.")
    found = class_of(document.positive)
    if not found:
        message = f"{str(document.positive)[:40]!r} names no class."
        raise placed.refusal(f"{path}.positive", message, "Write the class as labels do, such as 1 or fraud.")
    return found
