"""What the evidence of a release holds of drift, and what a stratum of it makes of that."""

import msgspec

from lastgood.analysis import drift_inputs, drift_outputs
from lastgood.analysis.budget import alphas
from lastgood.analysis.drift_inputs import InputState
from lastgood.analysis.drift_outputs import OutputState
from lastgood.domain.drift import BinCounts, DriftCounts
from lastgood.domain.plan import DRIFTS, Guardrail, Metric, Plan
from lastgood.domain.sketch import Feature, Sketch


class DriftRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence on drift: ``inputs`` and ``outputs`` by guardrail, the latter then by output.

    ``rows`` have been counted by bin, among them the counts of the present ``minute``, which is not over, in ``open``. The
    ``reference``, ``reference_rows``, ``bins``, ``looked_at`` and ``learning`` are as of :class:`~lastgood.domain.drift.DriftCounts`. Sketches
    have been read up to ``read``.
    """

    read: int = 0
    rows: int = 0
    minute: int = 0
    open: dict[str, BinCounts] = {}
    reference: dict[str, Feature] = {}
    reference_rows: int = 0
    inputs: dict[str, InputState] = {}
    bins: dict[str, Feature] = {}
    looked_at: tuple[str, ...] = ()
    learning: dict[str, Sketch] = {}
    outputs: dict[str, dict[str, OutputState]] = {}


def wants(plan: Plan, metric: Metric | None = None) -> bool:
    """Whether a plan has a guardrail that looks for drift, of one metric where given."""
    return any(one.metric in DRIFTS and metric in (None, one.metric) for one in plan.guardrails)


def counts_for(plan: Plan, guardrail: Guardrail) -> bool:
    """Whether the strata of a release by ``plan`` hold what a guardrail, perhaps of another plan, looks at."""
    counted = [
        one.drift for one in plan.guardrails if one.metric is guardrail.metric and one.drift is not None
    ]
    if guardrail.metric is Metric.PREDICTION_DRIFT:
        return bool(counted)
    asked = set() if guardrail.drift is None else set(guardrail.drift.features)
    every = any(not one.features for one in counted)
    return every or (bool(asked) and asked <= {name for one in counted for name in one.features})


def with_drift(plan: Plan, record: DriftRecord, drift: DriftCounts, stage: int) -> DriftRecord:
    """Return the record after one more stratum of drift. Values of a minute that is over count for the present one."""
    record = _with_outputs(plan, _known(record, drift), drift, stage)
    if drift.rows and drift.minute > record.minute:
        record = _minute_over(plan, record, drift.minute)
    gathered = dict(record.open)
    for name, counts in drift.inputs.items():
        gathered[name] = gathered[name].plus(counts) if name in gathered else counts
    return msgspec.structs.replace(
        record, open=gathered, rows=record.rows + drift.rows, read=drift.read or record.read
    )


def _known(record: DriftRecord, drift: DriftCounts) -> DriftRecord:
    """Return the record with what a stratum says of what is expected."""
    learning = {name: kept for name, kept in record.learning.items() if name not in drift.bins}
    for name, sketch in drift.learning.items():
        learning[name] = learning[name].plus(sketch) if name in learning else sketch
    return msgspec.structs.replace(
        record,
        reference=record.reference or drift.reference,
        reference_rows=record.reference_rows or drift.reference_rows,
        bins=record.bins | drift.bins,
        looked_at=record.looked_at or drift.looked_at,
        learning=learning,
    )


def _minute_over(plan: Plan, record: DriftRecord, minute: int) -> DriftRecord:
    """Return the record with the present minute's counts used, and ``minute`` begun."""
    inputs = dict(record.inputs)
    for guardrail in plan.guardrails:
        if guardrail.metric is Metric.DRIFT and record.minute:
            state = inputs.get(guardrail.name) or drift_inputs.initial(
                guardrail, record.reference, record.reference_rows
            )
            inputs[guardrail.name] = drift_inputs.with_minute(
                state, guardrail, record.reference, record.minute, record.open
            )
    return msgspec.structs.replace(record, inputs=inputs, minute=minute, open={})


def _with_outputs(plan: Plan, record: DriftRecord, drift: DriftCounts, stage: int) -> DriftRecord:
    if not drift.outputs:
        return record
    shares, outputs = alphas(plan), dict(record.outputs)
    for guardrail in plan.guardrails:
        alpha = shares.get(guardrail.name, 0.0)
        if guardrail.metric is not Metric.PREDICTION_DRIFT or alpha <= 0.0:
            continue
        names = drift_outputs.outputs_of(guardrail, record.looked_at)
        states = dict(outputs.get(guardrail.name, {}))
        for name in names:
            if name in drift.outputs:
                known = states.get(name) or drift_outputs.initial(
                    guardrail, record.bins[name], alpha / len(names)
                )
                states[name] = drift_outputs.with_rows(known, stage, drift.outputs[name])
        outputs[guardrail.name] = states
    return msgspec.structs.replace(record, outputs=outputs)
