"""Fold strata into the evidence of a release."""

from collections.abc import Sequence

import msgspec

from lastgood.analysis import (
    agreement,
    custom_state,
    drift_state,
    kpi_state,
    parts,
    split_check,
    trials,
    watch,
)
from lastgood.analysis.budget import RATES, alphas
from lastgood.analysis.counts import added, without_firsts
from lastgood.analysis.parts import Comparison
from lastgood.analysis.record import Agreement, Arms, Record, chained, read
from lastgood.analysis.trials import Trials
from lastgood.domain.change import Evidence
from lastgood.domain.plan import DRIFTS, KPIS, Guardrail, Metric, Plan
from lastgood.domain.traffic import ArmCounts, Baseline, Stratum, Units
from lastgood.errors import Code, LastgoodError
from lastgood.stats import quantiles


def fold(
    plan: Plan,
    baseline: Baseline,
    evidence: Evidence,
    strata: Sequence[Stratum],
    *,
    split: bool = True,
) -> Evidence:
    """Return the evidence with the strata folded in, in order; ``baseline`` is what stable did before the release.

    The strata must follow the evidence's ``sequence`` without a gap, else ``internal``: a stratum counted twice
    or left out would make the evidence wrong. The same strata give the same evidence, bit for bit. ``split`` False is
    for traffic that was not split by the weights of ``plan``: then nobody asks whether it was.
    """
    if not strata:
        return evidence
    record = begun(plan, baseline, evidence)
    sequence = evidence.sequence
    for stratum in strata:
        if stratum.sequence != sequence + 1 or stratum.release != evidence.release:
            raise LastgoodError(
                Code.INTERNAL,
                f"Stratum {stratum.sequence} of release {stratum.release} cannot follow stratum {sequence} "
                f"of release {evidence.release}.",
                "This is a fault in Lastgood; please report it.",
            )
        record = _with_stratum(plan, baseline, record, stratum)
        if split:
            record = _with_split(plan, record, stratum)
        sequence = stratum.sequence
    return msgspec.structs.replace(evidence, sequence=sequence, states=record)


def candidate_requests(evidence: Evidence, stage: int) -> int:
    """Return how many requests of a stage the candidate was assigned, as far as strata have closed."""
    return read(evidence.states).stages.get(stage, 0)


def watched_ones(evidence: Evidence) -> set[str]:
    """Return the guardrails that the watch has held against the version before; labels apart."""
    return set((read(evidence.states).watch or watch.Watch()).guardrails)


def log_of(evidence: Evidence) -> str:
    """Return the digest of all strata that the evidence rests on; empty before the first."""
    return read(evidence.states).log


def begun(plan: Plan, baseline: Baseline, evidence: Evidence) -> Record:
    """Return the record of the evidence, with every comparison at its beginning when there is none yet."""
    if evidence.states:
        return read(evidence.states)
    shares = alphas(plan)
    comparisons = {
        guardrail.name: parts.initial(plan, baseline, guardrail, shares[guardrail.name])
        for guardrail in plan.guardrails
        if shares.get(guardrail.name, 0.0) > 0.0 and guardrail.metric not in (*KPIS, *DRIFTS, Metric.CUSTOM)
    }
    return Record(comparisons={name: one for name, one in comparisons.items() if one.parts})


def _with_stratum(plan: Plan, baseline: Baseline, record: Record, stratum: Stratum) -> Record:
    """Return the record after one more stratum; one of the watch has nothing that could be compared."""
    if stratum.labels:
        return msgspec.structs.replace(
            record,
            labels=kpi_state.with_labels(
                plan,
                record.labels or kpi_state.LabelRecord(),
                stratum.labels,
                stratum.stage,
                stratum.closed_at,
            ),
            closed_at=max(record.closed_at, stratum.closed_at),
            log=chained(record.log, stratum),
        )
    if stratum.custom:
        return msgspec.structs.replace(
            record,
            custom=custom_state.with_measurement(plan, record.custom or {}, stratum.custom, stratum.stage),
            closed_at=max(record.closed_at, stratum.closed_at),
            log=chained(record.log, stratum),
        )
    if stratum.drift:
        return msgspec.structs.replace(
            record,
            drift=drift_state.with_drift(
                plan, record.drift or drift_state.DriftRecord(), stratum.drift, stratum.stage
            ),
            closed_at=max(record.closed_at, stratum.closed_at),
            log=chained(record.log, stratum),
        )
    if stratum.agreement:
        return msgspec.structs.replace(
            record,
            agreement=agreement.with_agreement(record.agreement or Agreement(), stratum.agreement),
            closed_at=max(record.closed_at, stratum.closed_at),
            log=chained(record.log, stratum),
        )
    if stratum.stage == plan.pair_stage:
        return _with_pairs(plan, baseline, record, stratum)
    watched = stratum.stage >= plan.watch_stage and not stratum.stable.requests
    taken, keys = ({}, record.keys) if watched else _trials(plan, baseline, record, stratum)
    copies = plan.pairs_at(stratum.stage)

    def after(guardrail: Guardrail, comparison: Comparison) -> Comparison:
        if guardrail.metric is Metric.LATENCY:
            return parts.with_latencies(comparison, guardrail, stratum, copies=copies)
        return parts.with_rates(comparison, guardrail, stratum, taken[trials.name_of(guardrail)])

    comparisons = record.comparisons
    if not watched:
        comparisons = {
            guardrail.name: after(guardrail, record.comparisons[guardrail.name])
            for guardrail in plan.guardrails
            if guardrail.name in record.comparisons
        }
    copied = record.copied
    if copies:
        copied = quantiles.merged((copied or {}, stratum.candidate.latency))
    known = msgspec.structs.replace(record, comparisons=comparisons, keys=keys, copied=copied)
    return _counted(known, stratum)


def _with_pairs(plan: Plan, baseline: Baseline, record: Record, stratum: Stratum) -> Record:
    """Return the record after one more stratum of the watch's pairs: the comparisons of the steps stay as they are."""
    taken, keys = _trials(plan, baseline, record, stratum)
    seen = watch.after(plan, baseline, record.watch or watch.Watch(), stratum, taken)
    # The version before has little to do: its latencies are no measure of stable's.
    stable = msgspec.structs.replace(stratum.stable, latency={})
    return _counted(msgspec.structs.replace(record, watch=seen, keys=keys), stratum, stable)


def _counted(record: Record, stratum: Stratum, stable: ArmCounts | None = None) -> Record:
    """Return the record with the requests of a stratum in its sums, of stable with ``stable`` if that is given."""
    here = record.stages.get(stratum.stage, 0)
    return msgspec.structs.replace(
        record,
        total=Arms(
            candidate=_sum(record.total.candidate, stratum.candidate),
            stable=_sum(record.total.stable, stable or stratum.stable),
        ),
        stages=record.stages | {stratum.stage: here + stratum.candidate.requests},
        closed_at=max(record.closed_at, stratum.closed_at),
        log=chained(record.log, stratum),
    )


def _with_split(plan: Plan, record: Record, stratum: Stratum) -> Record:
    before = record.split or {}
    after = split_check.with_stratum(plan, before, stratum)
    return record if after is before else msgspec.structs.replace(record, split=after)


def _trials(
    plan: Plan, baseline: Baseline, record: Record, stratum: Stratum
) -> tuple[dict[str, Trials], dict[str, bytes]]:
    """Return what each bad/total metric takes from a stratum, and the keys that have gone bad since."""
    taken: dict[str, Trials] = {}
    keys = dict(record.keys)
    arms = (stratum.candidate, stratum.stable)
    for metric in sorted({trials.name_of(one) for one in plan.guardrails if one.metric in RATES}):
        if baseline.units is Units.KEYS:
            taken[metric], keys[metric] = trials.by_key(metric, *arms, keys.get(metric, b""))
        else:
            taken[metric] = trials.by_request(metric, *arms)
    return taken, keys


def _sum(total: ArmCounts, counts: ArmCounts) -> ArmCounts:
    return added((total, without_firsts(counts)))
