"""From new sketches to strata of drift."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from lastgood.analysis import drift_bins, drift_inputs
from lastgood.analysis.drift_state import DriftRecord, wants
from lastgood.analysis.record import read
from lastgood.domain.change import Evidence
from lastgood.domain.drift import ArmBins, DriftCounts
from lastgood.domain.plan import Metric, Plan
from lastgood.domain.sketch import FEATURES_MAX, Feature, Reference, Sketch, SketchRow
from lastgood.domain.traffic import ArmCounts, Stratum

LEARNT_FROM: Final = 200
"""Values that the bins of an output are cut by, where nothing was known of it before."""

_MINUTE: Final = 60.0
_DIGITS: Final = 6


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What rows are held against: the version's ``reference``, and what stable's outputs were ``before`` the release."""

    reference: Reference | None = None
    before: Mapping[str, Sketch] = {}


def drift_record(evidence: Evidence) -> DriftRecord:
    """Return what the evidence holds of drift."""
    return read(evidence.states).drift or DriftRecord()


def strata_of(
    plan: Plan,
    evidence: Evidence,
    rows: Sequence[SketchRow],
    known: Known,
    *,
    read_to: int,
    sequence: int,
    now: float,
) -> tuple[Stratum, ...]:
    """Return a stratum for each minute and stage that the rows are of, numbered after ``sequence``; none without rows.

    The last one says that sketches have been read up to ``read_to``, so that it is known once all of them are folded in.
    """
    groups: dict[tuple[int, int], list[SketchRow]] = {}
    for row in rows:
        if row.stage is not None and row.arm in ("candidate", "stable"):
            groups.setdefault((int(row.at // _MINUTE), row.stage), []).append(row)
    counter = _Counter(plan, drift_record(evidence), known)
    counted = [
        (stage, counter.counts(minute, stage, groups[minute, stage])) for minute, stage in sorted(groups)
    ]
    closed_at = max(now, read(evidence.states).closed_at)
    return tuple(
        Stratum(
            release=evidence.release,
            sequence=sequence + index,
            stage=stage,
            closed_at=closed_at,
            candidate=ArmCounts(),
            stable=ArmCounts(),
            drift=msgspec.structs.replace(drift, read=read_to) if index == len(counted) else drift,
        )
        for index, (stage, drift) in enumerate(counted, 1)
    )


def needs_before(plan: Plan, evidence: Evidence) -> bool:
    """Whether any output that is looked at has no bins yet."""
    known = drift_record(evidence)
    unknown = not known.looked_at or any(name not in known.bins for name in known.looked_at)
    return unknown and wants(plan, Metric.PREDICTION_DRIFT)


class _Counter:
    """Counts the rows of one look. What one stratum says of what is expected, the next ones do not repeat."""

    def __init__(self, plan: Plan, record: DriftRecord, known: Known) -> None:
        self._plan = plan
        self._known = known
        self._reference = record.reference
        self._bins = record.bins
        self._looked_at = record.looked_at
        self._learning = record.learning

    def counts(self, minute: int, stage: int, rows: Sequence[SketchRow]) -> DriftCounts:
        """Return what a stratum holds of these rows."""
        drift = DriftCounts(minute=minute)
        if wants(self._plan, Metric.DRIFT):
            drift = self._with_inputs(drift, stage, rows)
        if wants(self._plan, Metric.PREDICTION_DRIFT):
            drift = self._with_outputs(drift, rows)
        return drift

    def _with_inputs(self, drift: DriftCounts, stage: int, rows: Sequence[SketchRow]) -> DriftCounts:
        if not self._reference:
            self._reference = _looked_for(self._plan, self._known.reference)
            rows_of_it = 0 if self._known.reference is None else self._known.reference.rows
            drift = msgspec.structs.replace(drift, reference=self._reference, reference_rows=rows_of_it)
        if self._plan.pairs_at(stage):  # a request and its copy have the same inputs, which count once
            asked = "candidate" if stage == self._plan.pair_stage else "stable"
            rows = [row for row in rows if row.arm == asked]
        counted = {
            name: drift_bins.binned(feature, _sum(found))
            for name, feature in self._reference.items()
            if (found := [row.inputs[own] for row in rows for own in feature.names if own in row.inputs])
        }
        return msgspec.structs.replace(
            drift, inputs=counted, rows=sum(row.rows for row in rows if row.inputs)
        )

    def _with_outputs(self, drift: DriftCounts, rows: Sequence[SketchRow]) -> DriftCounts:
        rows = [row for row in rows if row.outputs]
        if not rows:
            return drift
        if not self._looked_at:
            self._looked_at = tuple(dict.fromkeys(name for row in rows for name in row.outputs))[
                :FEATURES_MAX
            ]
            drift = msgspec.structs.replace(drift, looked_at=self._looked_at)
        outputs, learning, bins = {}, {}, {}
        for name in self._looked_at:
            own = [row for row in rows if name in row.outputs]
            if not own:
                continue
            if name not in self._bins and (found := self._bins_for(name)) is not None:
                bins[name] = found
                self._bins = self._bins | bins
            if name in self._bins:
                outputs[name] = _by_arm(self._bins[name], name, own)
            else:
                learning[name] = _sum(row.outputs[name] for row in own)
                before = self._learning.get(name)
                self._learning = {
                    **self._learning,
                    name: learning[name] if before is None else before.plus(learning[name]),
                }
        return msgspec.structs.replace(drift, outputs=outputs, learning=learning, bins=bins)

    def _bins_for(self, name: str) -> Feature | None:
        """Return bins that no compared value has chosen; None until enough is known."""
        before = self._known.before.get(name, Sketch())
        if before.count - before.missing >= LEARNT_FROM:
            return drift_bins.bins_from(name, before)
        learnt = self._learning.get(name, Sketch())
        return drift_bins.bins_from(name, learnt) if learnt.count - learnt.missing >= LEARNT_FROM else None


def _looked_for(plan: Plan, reference: Reference | None) -> dict[str, Feature]:
    """Return the features of the reference that any guardrail looks at."""
    features = {} if reference is None else {one.name: one for one in reference.features}
    wanted = {
        name
        for guardrail in plan.guardrails
        if guardrail.metric is Metric.DRIFT
        for name in drift_inputs.features_of(guardrail, features)
    }
    return {name: _rounded(feature) for name, feature in features.items() if name in wanted}


def _rounded(feature: Feature) -> Feature:
    """Return the feature with shares of six digits: it is kept with the evidence, which is saved often."""
    shares = tuple(round(share, _DIGITS) for share in feature.shares)
    return msgspec.structs.replace(feature, shares=shares, missing=round(feature.missing, _DIGITS))


def _by_arm(bins: Feature, name: str, rows: Sequence[SketchRow]) -> ArmBins:
    arms = [_sum(row.outputs[name] for row in rows if row.arm == arm) for arm in ("candidate", "stable")]
    return ArmBins(*(drift_bins.binned(bins, sketch) for sketch in arms))


def _sum(sketches: Iterable[Sketch]) -> Sketch:
    total = Sketch()
    for sketch in sketches:
        total = total.plus(sketch)
    return total
