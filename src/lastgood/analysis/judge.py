"""Fold strata into the evidence of a release, and judge its guardrails on it."""

from collections.abc import Sequence

import msgspec

from lastgood.analysis import guardrails
from lastgood.analysis.counts import added
from lastgood.analysis.record import Arms, Record, read, write
from lastgood.domain.change import Evidence
from lastgood.domain.plan import Guardrail, Metric, Plan
from lastgood.domain.traffic import ArmCounts, Baseline, Stratum
from lastgood.domain.verdict import Finding
from lastgood.errors import Code, LastgoodError
from lastgood.stats import score


def fold(plan: Plan, baseline: Baseline, evidence: Evidence, strata: Sequence[Stratum]) -> Evidence:
    """Return the evidence with the strata folded in, in order; ``baseline`` is what stable did before the release.

    The strata must follow the evidence's ``sequence`` without a gap, else ``internal``: a stratum counted twice
    or left out would make the evidence wrong. The same strata give the same evidence, bit for bit.
    """
    record = read(evidence.states)
    sequence = evidence.sequence
    for stratum in strata:
        if stratum.sequence != sequence + 1 or stratum.release != evidence.release:
            raise LastgoodError(
                Code.INTERNAL,
                f"Stratum {stratum.sequence} of release {stratum.release} cannot follow stratum {sequence} "
                f"of release {evidence.release}.",
                "This is a fault in Lastgood; please report it.",
            )
        record = _with_stratum(plan, record, stratum)
        sequence = stratum.sequence
    return msgspec.structs.replace(evidence, sequence=sequence, states=write(record))


def judge(
    plan: Plan,
    baseline: Baseline,
    evidence: Evidence,
    *,
    misses: int | None,
    corrupt: Sequence[str] = (),
    intervals: bool = True,
) -> tuple[Finding, ...]:
    """Return one finding for each guardrail of the plan, in its order.

    ``misses`` is how many health checks in a row the candidate's host has not answered; None when it cannot be
    asked. Without data no guardrail passes but health.
    """
    record = read(evidence.states)
    parts = guardrails.alphas(plan)

    def finding(guardrail: Guardrail) -> Finding:
        match guardrail.metric:
            case Metric.HEALTH:
                return guardrails.health(guardrail, misses)
            case Metric.LATENCY:
                return guardrails.latency(guardrail, record.total)
            case Metric.ERRORS | Metric.INVALID_OUTPUT | Metric.TIMEOUTS | Metric.COUNTER:
                return guardrails.rate(guardrail, record, parts[guardrail.name])

    return tuple(finding(guardrail) for guardrail in plan.guardrails)


def candidate_requests(evidence: Evidence, stage: int) -> int:
    """Return how many requests of a stage the candidate was assigned, as far as strata have closed."""
    return read(evidence.states).stages.get(stage, Arms()).candidate.requests


def _with_stratum(plan: Plan, record: Record, stratum: Stratum) -> Record:
    """Return the record after one more stratum. A test that has reached its bound keeps the evidence it had."""
    candidate, stable = stratum.candidate, stratum.stable
    tests = guardrails.initial_tests(plan) | record.tests
    for guardrail in plan.guardrails:
        test = tests.get(guardrail.name)
        if test is not None and not score.reached(test):
            bad1, bad0 = guardrails.bad(guardrail.metric, candidate), guardrails.bad(guardrail.metric, stable)
            tests[guardrail.name] = score.update(test, candidate.requests, bad1, stable.requests, bad0)
    stage = record.stages.get(stratum.stage, Arms())
    stages = record.stages | {
        stratum.stage: _sum(stage, _without_latency(candidate), _without_latency(stable))
    }
    return Record(
        tests=tests,
        total=_sum(record.total, candidate, stable),
        stages=stages,
        compared=record.compared + (candidate.requests if stable.requests else 0),
    )


def _sum(arms: Arms, candidate: ArmCounts, stable: ArmCounts) -> Arms:
    return Arms(candidate=added((arms.candidate, candidate)), stable=added((arms.stable, stable)))


def _without_latency(counts: ArmCounts) -> ArmCounts:
    """Return the counts alone: a histogram for each of a hundred stages would make the evidence large."""
    return msgspec.structs.replace(counts, latency={})
