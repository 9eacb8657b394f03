"""Judge the guardrails of a release on its evidence."""

from collections.abc import Sequence
from typing import NamedTuple

from lastgood.analysis import (
    agreement,
    custom_findings,
    custom_state,
    drift_findings,
    drift_state,
    findings,
    kpi_findings,
    kpi_state,
    parts,
    split_check,
)
from lastgood.analysis.budget import alphas, proof_alpha
from lastgood.analysis.fold import begun
from lastgood.analysis.measured import measured
from lastgood.analysis.numbers import explained
from lastgood.analysis.record import Agreement, Record
from lastgood.domain.agreement import Agreed
from lastgood.domain.change import Evidence
from lastgood.domain.plan import DRIFTS, KPIS, Guardrail, Metric, Plan
from lastgood.domain.traffic import Baseline, Units
from lastgood.domain.verdict import Finding


def judge(
    plan: Plan,
    baseline: Baseline,
    evidence: Evidence,
    *,
    misses: int | None,
    corrupt: Sequence[str] = (),
    told: bool = True,
    intervals: bool = True,
) -> tuple[Finding, ...]:
    """Return one finding for each guardrail of the plan, in its order.

    ``misses`` is how many health checks in a row the candidate's host has not answered; None when it cannot be
    asked. ``corrupt`` names the worker lives that :func:`lastgood.analysis.strata.collect` has left out: while there
    are any, a guardrail that has not failed is an error; so is one that compares the arms while their split is not what
    the plan says. Without data no guardrail passes but health.

    ``told`` False leaves sentences and numbers out: what is left is all that a decision depends on, at a fraction of
    the cost. ``intervals`` False leaves out the intervals alone, which cost more than all the rest;
    :func:`lastgood.analysis.numbers.explained` adds them later.
    """
    record = begun(plan, baseline, evidence)
    case = _Case(
        plan=plan,
        baseline=baseline,
        record=record,
        strata=evidence.sequence,
        shares=alphas(plan),
        unsplit=split_check.fault(record.split or {}),
        corrupt=corrupt,
        told=told,
    )
    found = []
    for guardrail in plan.guardrails:
        if guardrail.metric is Metric.HEALTH:
            found.append(findings.health(guardrail, misses))
            continue
        one = _finding(case, guardrail)
        has_intervals = guardrail.metric is not Metric.AGREEMENT and guardrail.metric not in DRIFTS
        found.append(explained(one) if told and intervals and has_intervals else one)
    return tuple(found)


class _Case(NamedTuple):
    """What all guardrails are judged on in one look."""

    plan: Plan
    baseline: Baseline
    record: Record
    strata: int
    shares: dict[str, float]
    unsplit: split_check.Fault | None
    corrupt: Sequence[str]
    told: bool


def _finding(case: _Case, guardrail: Guardrail) -> Finding:
    """Judge one guardrail, which is not health, by what its metric is measured from."""
    record = case.record
    alpha, proving = case.shares.get(guardrail.name, 0.0), proof_alpha(case.plan, guardrail) is not None
    if guardrail.metric in KPIS:
        labels = record.labels or kpi_state.LabelRecord()
        return kpi_findings.judged(
            guardrail,
            labels.states.get(guardrail.name) or kpi_state.initial(case.plan, guardrail),
            alpha=alpha,
            proving=proving,
            units=Units.KEYS if kpi_state.by_key(case.baseline) else Units.REQUESTS,
            strata=case.strata,
            log=record.log,
            unsplit=case.unsplit,
        )
    if guardrail.metric is Metric.CUSTOM:
        return custom_findings.judged(
            guardrail,
            (record.custom or {}).get(guardrail.name) or custom_state.initial(case.plan, guardrail),
            alpha=alpha,
            proving=proving,
            strata=case.strata,
            log=record.log,
            unsplit=case.unsplit,
        )
    if guardrail.metric is Metric.AGREEMENT:
        agreed = (record.agreement or Agreement()).guardrails.get(guardrail.name, Agreed())
        return agreement.judged(guardrail, agreed, strata=case.strata, log=record.log)
    if guardrail.metric in DRIFTS:
        return drift_findings.judged(
            guardrail,
            record.drift or drift_state.DriftRecord(),
            case.baseline,
            alpha=alpha,
            told=case.told,
            strata=case.strata,
            log=record.log,
            unsplit=case.unsplit,
        )
    return _of_requests(case, guardrail, alpha, proving=proving)


def _of_requests(case: _Case, guardrail: Guardrail, alpha: float, *, proving: bool) -> Finding:
    record = case.record
    seen = measured(
        guardrail,
        parts.units_of(guardrail, case.baseline),
        record.total,
        record.comparisons.get(guardrail.name),
        alpha=alpha,
        proving=proving,
        only_alerts=parts.only_alerts(guardrail, case.baseline),
        copied=record.copied or {},
        seen=record.watch or None,
    )
    if not case.told:
        return findings.judged(seen, corrupt=case.corrupt, unsplit=case.unsplit)
    return findings.compared(
        seen, corrupt=case.corrupt, unsplit=case.unsplit, strata=case.strata, log=record.log
    )
