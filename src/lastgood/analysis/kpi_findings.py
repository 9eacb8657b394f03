"""What a KPI guardrail says: the same verdicts as for requests, on labelled rows."""

import math
from typing import Any, Final

from lastgood.analysis import (
    comparisons,
    going_back,
    kpi_pairs,
    kpi_state,
    kpi_watch_findings,
    sentences,
    slice_findings,
)
from lastgood.analysis.kpi_state import ByMeans, KpiState
from lastgood.analysis.kpi_values import arm_numbers, both_told
from lastgood.analysis.kpi_watch_findings import over, pairs_numbers
from lastgood.analysis.proof_numbers import margin_numbers, proof_numbers
from lastgood.analysis.split_check import Fault
from lastgood.domain.kpi import KpiCounts, KpiTerms
from lastgood.domain.plan import CONFUSIONS, Guardrail, Metric
from lastgood.domain.plan_kpi_rules import f1_of
from lastgood.domain.traffic import Units
from lastgood.domain.verdict import Finding, Verdict

_COUNTED: Final = {
    Metric.RECALL: " of the class of interest",
    Metric.PRECISION: " predicted to be of the class of interest",
    Metric.F1: " that are of the class of interest, or predicted to be,",
}


def judged(
    guardrail: Guardrail,
    state: KpiState,
    *,
    alpha: float,
    proving: bool,
    units: Units,
    strata: int,
    log: str,
    unsplit: Fault | None = None,
) -> Finding:
    """Judge what labels say. ``strata`` and ``log`` are number and digest of the strata that this rests on.

    With ``unsplit``, a split that is not what the route says, nothing passes that compares the arms.
    """
    unsplit = None if state.test is None else unsplit
    blamed = _blamed(guardrail, state)
    verdict, why = _verdict(guardrail, state, unsplit, blamed=blamed)
    world = verdict is Verdict.FAILED and not blamed and _is_world(guardrail, state)
    on_fail = going_back.on_fail(guardrail.on_fail, world=world)
    proven = _proven(state, proving)
    proof = ""
    if proven is not None and verdict is not Verdict.FAILED and state.total.candidate.trials:
        shown = "shown not to be worse by its proof margin"
        proof = shown if proven else "not yet shown to be within its proof margin"
    worst = slice_findings.told(guardrail, state)
    watch = kpi_watch_findings.told(guardrail, state, blamed=blamed)
    clauses = [_facts(guardrail, state), _bet(state), _limit(guardrail, state), worst, *watch, why, proof]
    told = "; ".join(clause for clause in clauses if clause)
    last = sentences.word(verdict, on_fail, dry_run=guardrail.dry_run)
    return Finding(
        guardrail=guardrail.name,
        metric=guardrail.metric.value,
        verdict=verdict,
        on_fail=on_fail,
        sentence=f"{guardrail.name}: {told}: {last}.",
        no_data=None if state.total.candidate.trials else guardrail.no_data,
        proven=proven,
        dry_run=guardrail.dry_run,
        world=world,
        numbers={
            **_numbers(guardrail, state, alpha, proven),
            **slice_findings.numbers(guardrail, state),
            **kpi_watch_findings.numbers(guardrail, state, blamed=blamed),
            **({} if unsplit is None else {"split": unsplit.numbers()}),
            "units": units.value,
            "strata": strata,
            "log": log,
        },
    )


def _blamed(guardrail: Guardrail, state: KpiState) -> bool:
    """Return whether the candidate is found worse than what it was compared with."""
    enough = kpi_state.reached(state) and not _missing_bad(guardrail, state.total.candidate)
    slices = slice_findings.failed(guardrail, state)
    return enough or bool(slices) or kpi_watch_findings.changed(guardrail, state)


def _is_world(guardrail: Guardrail, state: KpiState) -> bool:
    """Return whether a candidate that is not blamed fails in a way that going back is not known to help."""
    if over(guardrail, state.total.candidate):
        return kpi_watch_findings.both_over(guardrail, state)
    return kpi_watch_findings.worse_than_it_was(state)


def _verdict(
    guardrail: Guardrail, state: KpiState, unsplit: Fault | None, *, blamed: bool
) -> tuple[Verdict, str]:
    """Return the verdict, and what stands in the way of another one."""
    own = state.total.candidate
    if blamed or over(guardrail, own) or kpi_watch_findings.worse_than_it_was(state):
        return Verdict.FAILED, ""
    missing_bad = _missing_bad(guardrail, own)
    if unsplit is not None:
        return Verdict.ERROR, unsplit.told()
    unusable = own.unusable + state.total.stable.unusable
    if unusable:
        rows = sentences.plural(unusable, "labelled row", "labelled rows")
        return (
            Verdict.ERROR,
            f"{rows} cannot be read as this guardrail says (its output, threshold or values)",
        )
    least = max(1, guardrail.min_samples)
    if own.trials < least:
        return Verdict.INCONCLUSIVE, _more(guardrail, least - own.trials)
    if kpi_state.reached(state):
        short = sentences.plural(missing_bad, "wrong row is", "wrong rows are")
        return Verdict.INCONCLUSIVE, f"{short} missing to call it worse"
    if lacking := slice_findings.lacking(guardrail, state):
        return Verdict.INCONCLUSIVE, lacking
    if guardrail.maximum is None and state.compared < least:
        return Verdict.INCONCLUSIVE, f"{_more(guardrail, least - state.compared)} beside stable"
    return Verdict.PASSED, ""


def _facts(guardrail: Guardrail, state: KpiState) -> str:
    own = state.total.candidate
    if not own.trials:
        rows = sentences.plural(own.rows, "labelled candidate row", "labelled candidate rows")
        return f"{rows} so far" if not own.rows else f"{rows} so far, none that counts for it"
    return both_told(guardrail, state.total) + (" overall" if guardrail.slices else "")


def _bet(state: KpiState) -> str:
    if state.test is None or not state.total.candidate.trials:
        return ""
    log_e, log_bound = kpi_state.log_e(state), -math.log(state.test.state.alpha)
    pairs, own, other = kpi_state.pairs_of_steps(state), state.paired, ""
    if not own or not pairs.pairs:
        return f"evidence {sentences.bet(log_e, log_bound)}"
    if log_e:
        other = f", of split traffic {sentences.bet(log_e, log_bound)}"
    alone = f"just the candidate was wrong in {sentences.count(pairs.only1)}, just stable in {sentences.count(pairs.only0)}"
    bet = sentences.bet(kpi_pairs.log_e(own), kpi_pairs.log_bound(own))
    return f"of {sentences.plural(pairs.pairs, 'pair', 'pairs')} {alone}; evidence {bet}{other}"


def _limit(guardrail: Guardrail, state: KpiState) -> str:
    own = state.total.candidate
    if guardrail.maximum is None or own.trials < max(1, guardrail.min_samples):
        return ""
    place = "under" if over(guardrail, own) else "not under"
    return f"{place} the minimum of {sentences.percent(_least(guardrail))}"


def _least(guardrail: Guardrail) -> float:
    """Return the hard limit in the metric's own unit."""
    wrong = 1.0 if guardrail.maximum is None else guardrail.maximum
    return f1_of(wrong) if guardrail.metric is Metric.F1 else 1.0 - wrong


def _missing_bad(guardrail: Guardrail, counts: KpiCounts) -> int:
    return max(0, guardrail.min_bad - counts.bad) if guardrail.metric in CONFUSIONS else 0


def _more(guardrail: Guardrail, missing: int) -> str:
    short, which = max(1, missing), _COUNTED.get(guardrail.metric, "")
    rows = "labelled candidate row" if short == 1 else "labelled candidate rows"
    return f"{sentences.count(short)} more {rows}{which} {'is' if short == 1 else 'are'} needed"


def _proven(state: KpiState, proving: bool) -> bool | None:
    if not proving or not state.proofs:
        return None
    return any(proof.state.stopped for proof in (*state.proofs, *(state.paired_proofs or ())))


def _numbers(guardrail: Guardrail, state: KpiState, alpha: float, proven: bool | None) -> dict[str, Any]:
    own, terms = state.total.candidate, guardrail.kpi or KpiTerms()
    arms = {
        name: arm_numbers(guardrail, counts)
        for name, counts in (("candidate", own), ("stable", state.total.stable))
    }
    rates = [one["rate"] for one in arms.values()]
    both = [rate for rate in rates if rate is not None]
    parts = _parts(guardrail, state)
    lead = max(parts, key=lambda one: (one["reached"], one["log_e"] / math.log(one["bound"])), default=None)
    log_e = None if lead is None else lead["log_e"]
    points = not isinstance(state.test, ByMeans)
    return {
        "candidate_rows": own.rows,
        "measured": own.trials,
        **arms,
        "difference": {"estimate": both[0] - both[1], "interval": None} if len(both) == 2 else None,
        "compared_rows": state.compared,
        "log_e": log_e,
        "e_value": None if log_e is None else sentences.ratio(log_e),
        "bound": None if lead is None else lead["bound"],
        "alpha": alpha,
        "margin": guardrail.margin.value if points else guardrail.margin.value * (terms.high - terms.low),
        "margin_kind": guardrail.margin.kind.value if points else "value",
        "maximum": guardrail.maximum,
        "minimum": None if guardrail.maximum is None else _least(guardrail),
        "after": terms.after,
        "missing": max(0, guardrail.min_samples - own.trials),
        "missing_bad": _missing_bad(guardrail, own),
        "unusable": own.unusable + state.total.stable.unusable,
        "parts": parts,
        "proof": _proof(guardrail, state, proven),
        **({"pairs": pairs_numbers(kpi_state.pairs_of_steps(state))} if state.paired else {}),
    }


def _parts(guardrail: Guardrail, state: KpiState) -> list[dict[str, Any]]:
    """Return the evidence of each test of the steps."""
    if state.test is None:
        return []
    name, test = guardrail.name, state.test.state
    parts = [
        {"name": name, "log_e": kpi_state.log_e(state), "bound": 1.0 / test.alpha, "reached": test.stopped}
    ]
    if state.paired:
        log_e, paired = kpi_pairs.log_e(state.paired), state.paired.state
        parts.append(
            {"name": f"{name}, pairs", "log_e": log_e, "bound": 1.0 / paired.alpha, "reached": paired.stopped}
        )
    return parts


def _proof(guardrail: Guardrail, state: KpiState, proven: bool | None) -> dict[str, Any] | None:
    if proven is None:
        return None
    margins = [
        margin_numbers(
            guardrail.name,
            margin,
            log_e=comparisons.log_e(proof),
            log_bound=comparisons.log_bound(proof),
            reached=comparisons.reached(proof),
        )
        for margin, proof in zip(guardrail.proof, state.proofs, strict=True)
    ]
    margins += [
        margin_numbers(
            f"{guardrail.name}, pairs",
            margin,
            log_e=kpi_pairs.log_e(proof),
            log_bound=kpi_pairs.log_bound(proof),
            reached=kpi_pairs.reached(proof),
        )
        for margin, proof in zip(guardrail.proof, state.paired_proofs or (), strict=False)
    ]
    return proof_numbers(margins, proven=proven)
