"""What a guardrail on the inputs says: which features moved, how far, the worst first."""

import math
from typing import Any, Final

import msgspec

from lastgood.analysis import drift_inputs, sentences
from lastgood.analysis.drift_bins import Shape, reference_median, shape
from lastgood.analysis.drift_inputs import FeatureState, InputState
from lastgood.analysis.drift_state import DriftRecord
from lastgood.domain.drift import DriftTerms
from lastgood.domain.plan import Guardrail
from lastgood.domain.sketch import Feature
from lastgood.domain.verdict import Finding, Verdict

NAMED_MAX: Final = 10
"""Features that a sentence names."""

TOLD_MAX: Final = 50
"""Features whose numbers are kept with a verdict, the worst ones."""


def judged(guardrail: Guardrail, record: DriftRecord, *, told: bool, strata: int, log: str) -> Finding:
    """Judge how far the inputs are from the reference. ``told`` False leaves sentence and numbers out.

    ``strata`` and ``log`` are number and digest of the strata that this rests on.
    """
    state = record.inputs.get(guardrail.name) or drift_inputs.initial(
        guardrail, record.reference, record.reference_rows
    )
    verdict, why = _verdict(guardrail, record, state)
    finding = Finding(
        guardrail=guardrail.name,
        metric=guardrail.metric.value,
        verdict=verdict,
        on_fail=guardrail.on_fail,
        sentence="",
        no_data=None if record.rows else guardrail.no_data,
        dry_run=guardrail.dry_run,
        world=verdict is Verdict.FAILED,  # whoever answers gets these inputs
    )
    return _told(finding, guardrail, record, state, why, strata, log) if told else finding


def _verdict(guardrail: Guardrail, record: DriftRecord, state: InputState) -> tuple[Verdict, str]:
    """Return the verdict, and what stands in the way of another one."""
    if any(one.reached for one in state.features.values()):
        return Verdict.FAILED, ""
    least = max(1, guardrail.min_samples)
    if record.rows < least:
        short = sentences.plural(least - record.rows, "more row is", "more rows are")
        return Verdict.INCONCLUSIVE, f"{short} needed"
    if guardrail.name not in record.inputs:
        return Verdict.INCONCLUSIVE, "the first minute is not over"
    if not any(one.total.all for one in state.features.values()):
        return Verdict.ERROR, "no request has any feature of the reference by its name"
    return Verdict.PASSED, ""


def _told(
    finding: Finding,
    guardrail: Guardrail,
    record: DriftRecord,
    state: InputState,
    why: str,
    strata: int,
    log: str,
) -> Finding:
    terms = guardrail.drift or DriftTerms()
    shapes = {name: shape(record.reference[name], one.total) for name, one in state.features.items()}
    seen = {
        name: _seen(record.reference[name], one, shapes[name], terms.distance)
        for name, one in state.features.items()
    }
    ranked = sorted(state.features, key=lambda name: _rank(state.features[name], seen[name]), reverse=True)
    absent = [record.reference[name].shown for name in ranked if not shapes[name].rows]
    clauses = [
        *_moved(record, state, ranked, seen),
        _rows(record, state, ranked, shapes, moved=finding.verdict is Verdict.FAILED),
        f"{sentences.percent(terms.distance)} tolerated",
        f"never came: {_listed(absent)}"
        if absent and record.minute and finding.verdict is not Verdict.ERROR
        else "",
        why,
    ]
    said = "; ".join(clause for clause in clauses if clause)
    last = sentences.word(finding.verdict, guardrail.on_fail, dry_run=guardrail.dry_run)
    numbers: dict[str, Any] = {
        "rows": record.rows,
        "distance": terms.distance,
        "run_length": drift_inputs.RUN_LENGTH * 60.0,
        "features": [
            _numbers(record.reference[name], state.features[name], shapes[name]) for name in ranked[:TOLD_MAX]
        ],
        "left_out": max(0, len(ranked) - TOLD_MAX),
        "absent": absent[:TOLD_MAX],
        "missing": max(0, guardrail.min_samples - record.rows),
        "strata": strata,
        "log": log,
    }
    return msgspec.structs.replace(finding, sentence=f"{guardrail.name}: {said}: {last}.", numbers=numbers)


def _seen(feature: Feature, state: FeatureState, total: Shape, distance: float) -> Shape:
    """Return how a feature is told: as it is lately, or once it is back within the distance as it was found."""
    if state.found is None:
        return total
    late = shape(feature, state.lately())
    beyond = max(late.distance, late.unseen, late.missing - feature.missing) > distance
    return late if beyond else state.found


def _rank(state: FeatureState, seen: Shape) -> tuple[bool, float]:
    return state.reached, max(seen.distance, seen.unseen, seen.missing if state.missing else 0.0)


def _moved(record: DriftRecord, state: InputState, ranked: list[str], shapes: dict[str, Shape]) -> list[str]:
    """Say what was found: monthly_charges moved by 31 % (median 74 against 58 in training)."""
    clauses: list[str] = []
    found = [name for name in ranked if state.features[name].reached]
    for name in found[:NAMED_MAX]:
        one, feature, seen = state.features[name], record.reference[name], shapes[name]
        if one.moved:
            verb = "" if any(" moved by " in clause for clause in clauses) else " moved"
            clauses.append(
                f"{feature.shown}{verb} by {sentences.percent(seen.distance)}{_how(feature, seen, verb)}"
            )
        if one.unseen:
            what = "unseen classes" if feature.categorical else "values that are no numbers"
            clauses.append(f"{what} of {feature.shown} in {sentences.percent(seen.unseen)} of rows")
        if one.missing:
            then = f"({sentences.percent(feature.missing)} in training)"
            clauses.append(f"{feature.shown} missing in {sentences.percent(seen.missing)} of rows {then}")
    if len(found) > NAMED_MAX:
        clauses.append(f"and {len(found) - NAMED_MAX} more features")
    return clauses


def _how(feature: Feature, seen: Shape, verb: str) -> str:
    """Return where the worst feature went to, in brackets."""
    known = reference_median(feature)
    if not verb:
        return ""
    if seen.most is not None and seen.most[1] > seen.most[2]:
        value, part, share = seen.most
        return f" ({value} in {sentences.percent(part)} against {sentences.percent(share)} in training)"
    if seen.median is None or known is None:
        return ""
    return f" (median {seen.median:.3g} against {known:.3g} in training)"


def _rows(
    record: DriftRecord, state: InputState, ranked: list[str], shapes: dict[str, Shape], *, moved: bool
) -> str:
    if not record.rows:
        return "0 rows so far"
    rows = f"{sentences.plural(record.rows, 'row', 'rows')} looked at"
    if moved or not ranked or not shapes[ranked[0]].rows:
        return rows
    furthest = max(ranked, key=lambda name: shapes[name].distance)
    seen = shapes[furthest]
    far = f"{record.reference[furthest].shown} by {sentences.percent(seen.distance)} of {sentences.count(seen.rows)}"
    return f"{rows}; of {sentences.plural(len(state.features), 'feature', 'features')} {far} is the furthest"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return ", ".join(names[:NAMED_MAX]) + more


def _numbers(feature: Feature, state: FeatureState, now: Shape) -> dict[str, Any]:
    late = shape(feature, state.lately())
    return {
        "name": feature.shown,
        "distance": now.distance,
        "lately": late.distance,
        "reached": state.reached,
        "found": None if state.found is None else state.found.distance,
        "found_at": state.found_at * 60.0 if state.reached else None,
        "rows": now.rows,
        "missing": now.missing,
        "reference_missing": feature.missing,
        "unseen": now.unseen,
        "median": now.median,
        "reference_median": reference_median(feature),
        "log_e": _finite(drift_inputs.log_e(state)),
    }


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
