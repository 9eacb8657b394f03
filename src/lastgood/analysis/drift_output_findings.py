"""What a guardrail on the outputs says: how far the candidate's are from stable's."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from lastgood.analysis import drift_outputs, sentences
from lastgood.analysis.drift_bins import median
from lastgood.analysis.drift_outputs import OutputState
from lastgood.analysis.drift_state import DriftRecord
from lastgood.analysis.split_check import Fault
from lastgood.domain.drift import BinCounts, DriftTerms
from lastgood.domain.plan import Guardrail, OnFail
from lastgood.domain.sketch import Feature
from lastgood.domain.verdict import Finding, Verdict
from lastgood.stats import shift


def judged(
    guardrail: Guardrail,
    record: DriftRecord,
    *,
    alpha: float,
    keyed: bool,
    told: bool,
    strata: int,
    log: str,
    unsplit: Fault | None = None,
) -> Finding:
    """Judge how far the candidate's outputs are from stable's. ``told`` False leaves sentence and numbers out.

    ``keyed`` says that keys are the units: each caller has outputs of its own, so that a comparison can only alert. With
    ``unsplit``, a split that is not what the route says, nothing passes. ``strata`` and ``log`` are as of
    :func:`lastgood.analysis.kpi_findings.judged`.
    """
    states = record.outputs.get(guardrail.name, {})
    verdict, why = _verdict(guardrail, record, states, unsplit)
    finding = Finding(
        guardrail=guardrail.name,
        metric=guardrail.metric.value,
        verdict=verdict,
        on_fail=OnFail.ALERT if keyed else guardrail.on_fail,
        sentence="",
        no_data=None if _rows(states) else guardrail.no_data,
        dry_run=guardrail.dry_run,
    )
    if not told:
        return finding
    distance = (guardrail.drift or DriftTerms()).distance
    clauses = [
        *_facts(record, states),
        f"{sentences.percent(distance)} tolerated",
        "with the units keys each caller has outputs of its own, so this comparison can only alert"
        if keyed
        else "",
        why,
    ]
    said = "; ".join(clause for clause in clauses if clause)
    last = sentences.word(verdict, finding.on_fail, dry_run=guardrail.dry_run)
    split = {} if unsplit is None else {"split": unsplit.numbers()}
    numbers = {**_numbers(guardrail, record, states, alpha), **split, "strata": strata, "log": log}
    return msgspec.structs.replace(finding, sentence=f"{guardrail.name}: {said}: {last}.", numbers=numbers)


def _verdict(
    guardrail: Guardrail, record: DriftRecord, states: Mapping[str, OutputState], unsplit: Fault | None
) -> tuple[Verdict, str]:
    """Return the verdict, and what stands in the way of another one."""
    if drift_outputs.reached(states):
        return Verdict.FAILED, ""
    if unsplit is not None:
        return Verdict.ERROR, unsplit.told()
    if record.looked_at and not drift_outputs.outputs_of(guardrail, record.looked_at):
        given = ", ".join(record.looked_at[: drift_outputs.OUTPUTS_MAX])
        asked = "" if guardrail.drift is None else guardrail.drift.output
        return Verdict.ERROR, f"the model gives no output {asked!r}, but {given}"
    least = max(1, guardrail.min_samples)
    rows, compared = _rows(states), max((one.compared for one in states.values()), default=0)
    if rows < least:
        learnt = max((one.count for one in record.learning.values()), default=0)
        first = f"{learnt} values so far, which only set the bins; " if learnt and not rows else ""
        return Verdict.INCONCLUSIVE, f"{first}{_more(least - rows)} needed"
    if compared < least:
        return Verdict.INCONCLUSIVE, f"{_more(least - compared)} needed beside stable"
    return Verdict.PASSED, ""


def _rows(states: Mapping[str, OutputState]) -> int:
    return max((one.total.candidate.all for one in states.values()), default=0)


def _more(missing: int) -> str:
    return sentences.plural(missing, "more candidate row is", "more candidate rows are")


def _facts(record: DriftRecord, states: Mapping[str, OutputState]) -> list[str]:
    """Say how far the output with the most evidence is: score is 22 % away (median 0.61 against 0.48 of stable)."""
    if not _rows(states):
        return ["0 candidate rows so far"]
    name = max(states, key=lambda one: _key(states[one]))
    one = states[name]
    distance, own, other = drift_outputs.distance_of(one.total), one.total.candidate, one.total.stable
    counts = f"of {sentences.count(own.all)} against {sentences.count(other.all)} rows"
    if distance is None:
        return [f"{name}: {counts}, with nothing to compare"]
    between = _between(record.bins[name], own, other)
    bet = sentences.bet(shift.log_e(one.test), -math.log(one.test.alpha))
    return [f"{name} is {sentences.percent(distance)} away{between}, {counts}", f"evidence {bet}"]


def _between(feature: Feature, own: BinCounts, other: BinCounts) -> str:
    here, there = median(feature, own), median(feature, other)
    if here is None or there is None:
        return ""
    return f" (median {here:.3g} against {there:.3g} of stable)"


def _key(state: OutputState) -> float:
    return shift.log_e(state.test) + math.log(state.test.alpha)


def _numbers(
    guardrail: Guardrail, record: DriftRecord, states: Mapping[str, OutputState], alpha: float
) -> dict[str, Any]:
    ranked = sorted(
        states, key=lambda name: (shift.reached(states[name].test), _key(states[name])), reverse=True
    )
    lead = states[ranked[0]].test if ranked else None
    rows = _rows(states)
    told = [_output(record.bins[name], states[name]) for name in ranked]
    return {
        "rows": rows,
        "stable_rows": max((one.total.stable.all for one in states.values()), default=0),
        "compared_rows": max((one.compared for one in states.values()), default=0),
        "distance": (guardrail.drift or DriftTerms()).distance,
        "log_e": None if lead is None else shift.log_e(lead),
        "e_value": None if lead is None else sentences.ratio(shift.log_e(lead)),
        "bound": None if lead is None else 1.0 / lead.alpha,
        "alpha": alpha,
        "features": told,
        "parts": [{key: one[key] for key in ("name", "log_e", "bound", "reached")} for one in told],
        "missing": max(0, guardrail.min_samples - rows),
    }


def _output(feature: Feature, state: OutputState) -> dict[str, Any]:
    own, other = state.total.candidate, state.total.stable
    return {
        "name": feature.name,
        "distance": drift_outputs.distance_of(state.total) or 0.0,
        "reached": shift.reached(state.test),
        "rows": own.all,
        "missing": own.missing / own.all if own.all else 0.0,
        "reference_missing": other.missing / other.all if other.all else 0.0,
        "unseen": own.bins[-1] / own.present if own.present else 0.0,
        "median": median(feature, own),
        "reference_median": median(feature, other),
        "log_e": shift.log_e(state.test),
        "bound": 1.0 / state.test.alpha,
    }
