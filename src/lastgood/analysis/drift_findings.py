"""What drift guardrails say: those on the inputs, and those on the outputs."""

from lastgood.analysis import drift_input_findings, drift_output_findings
from lastgood.analysis.drift_state import DriftRecord
from lastgood.analysis.split_check import Fault
from lastgood.domain.plan import Guardrail, Metric
from lastgood.domain.traffic import Baseline, Units
from lastgood.domain.verdict import Finding


def judged(
    guardrail: Guardrail,
    record: DriftRecord,
    baseline: Baseline,
    *,
    alpha: float,
    told: bool,
    strata: int,
    log: str,
    unsplit: Fault | None = None,
) -> Finding:
    """Judge a guardrail on values. ``told`` False leaves its sentence and numbers out."""
    if guardrail.metric is Metric.DRIFT:
        return drift_input_findings.judged(guardrail, record, told=told, strata=strata, log=log)
    return drift_output_findings.judged(
        guardrail,
        record,
        alpha=alpha,
        keyed=baseline.units is Units.KEYS,
        told=told,
        strata=strata,
        log=log,
        unsplit=unsplit,
    )
