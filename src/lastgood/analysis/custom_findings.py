"""What a custom guardrail says: the same verdicts as for requests, on numbers from outside.

One number has no false-alarm rate: it fails after so many measurements in a row that are out of bounds. Counts are
compared as errors are.
"""

import math
from typing import Any

from lastgood.analysis import comparisons, custom_state, sentences
from lastgood.analysis.custom_state import CustomState
from lastgood.analysis.proof_numbers import margin_numbers, proof_numbers
from lastgood.analysis.split_check import Fault
from lastgood.domain.custom import CustomTerms, Numbers
from lastgood.domain.plan import Guardrail, NoData
from lastgood.domain.traffic import Units
from lastgood.domain.verdict import Finding, Verdict


def judged(
    guardrail: Guardrail,
    state: CustomState,
    *,
    alpha: float,
    proving: bool,
    strata: int,
    log: str,
    unsplit: Fault | None = None,
) -> Finding:
    """Judge what was measured. ``strata`` and ``log`` are number and digest of the strata that this rests on.

    With ``unsplit``, a split that is not what the route says, nothing passes that compares the arms.
    """
    terms = custom_state.terms_of(guardrail)
    unsplit = None if state.test is None else unsplit
    verdict, why = _of_counts(guardrail, state, unsplit) if terms.counts else _of_numbers(terms, state)
    proven = _proven(state, proving)
    clauses = [_facts(guardrail, terms, state), why]
    if proven is not None and verdict is not Verdict.FAILED and state.total.n1:
        shown = "shown not to be worse by its proof margin"
        clauses.append(shown if proven else "not yet shown to be within its proof margin")
    told = "; ".join(clause for clause in clauses if clause)
    last = sentences.word(verdict, guardrail.on_fail, dry_run=guardrail.dry_run)
    return Finding(
        guardrail=guardrail.name,
        metric=guardrail.metric.value,
        verdict=verdict,
        on_fail=guardrail.on_fail,
        sentence=f"{guardrail.name}: {told}: {last}.",
        no_data=_no_data(guardrail, terms, state),
        proven=proven,
        dry_run=guardrail.dry_run,
        numbers={
            **_measured(terms, state),
            **(_compared(guardrail, state, alpha, proven) if terms.counts else _single(terms, state)),
            **({} if unsplit is None else {"split": unsplit.numbers()}),
            "strata": strata,
            "log": log,
        },
    )


def _of_numbers(terms: CustomTerms, state: CustomState) -> tuple[Verdict, str]:
    """Return the verdict on a number, and what stands in the way of another one."""
    if state.missing >= terms.failures:
        return _missed(terms, state)
    if state.breaches >= terms.failures:
        return Verdict.FAILED, ""
    if state.reading is None:
        return Verdict.INCONCLUSIVE, _lacking(terms, state)
    if state.breaches:
        return Verdict.INCONCLUSIVE, ""
    return Verdict.PASSED, _lacking(terms, state)


def _of_counts(guardrail: Guardrail, state: CustomState, unsplit: Fault | None) -> tuple[Verdict, str]:
    """Return the verdict on counts, and what stands in the way of another one."""
    terms, total, least = custom_state.terms_of(guardrail), state.total, max(1, guardrail.min_samples)
    if total.n1 >= least and custom_state.beyond(guardrail, total.bad1 / total.n1):
        return Verdict.FAILED, ""
    missing_bad = max(0, guardrail.min_bad - total.bad1)
    if custom_state.reached(state) and not missing_bad:
        return Verdict.FAILED, ""
    if state.fallen:
        return Verdict.ERROR, f"{state.fallen}: nothing is compared any more"
    if unsplit is not None:
        return Verdict.ERROR, unsplit.told()
    if state.missing >= terms.failures:
        return _missed(terms, state)
    if total.n1 < least:
        return Verdict.INCONCLUSIVE, _lacking(terms, state) or f"{_more(least - total.n1)} needed"
    if custom_state.reached(state):
        short = sentences.plural(missing_bad, "bad one is", "bad ones are")
        return Verdict.INCONCLUSIVE, f"{short} missing to call it worse"
    if terms.maximum is None and state.compared < least:
        return Verdict.INCONCLUSIVE, f"{_more(least - state.compared)} needed beside stable"
    return Verdict.PASSED, _lacking(terms, state)


def _missed(terms: CustomTerms, state: CustomState) -> tuple[Verdict, str]:
    verdict = Verdict.ERROR if state.error else Verdict.INCONCLUSIVE
    return verdict, _lacking(terms, state)


def _lacking(terms: CustomTerms, state: CustomState) -> str:
    """Say what the last measurements lacked, empty when the last one said something."""
    if not state.number:
        return "not measured yet"
    if not state.missing:
        return ""
    times = sentences.plural(state.missing, "time", "times in a row")
    what = f"could not be measured {times}" if state.error else f"no data {times}"
    bound = "" if state.missing >= terms.failures else f", bound {terms.failures}"
    return f"{what}{bound}{': ' if state.error else ''}{state.error.rstrip('.')}"


def _no_data(guardrail: Guardrail, terms: CustomTerms, state: CustomState) -> NoData | None:
    """Return what the plan wants without data: there is none, or none any more. An error is not "no data"."""
    known = state.total.n1 if terms.counts else state.reading is not None
    nothing = bool(state.number) and not state.error and (state.missing or terms.counts)
    gone = state.missing >= terms.failures and not state.error
    return guardrail.no_data if gone or (not known and nothing) else None


def _facts(guardrail: Guardrail, terms: CustomTerms, state: CustomState) -> str:
    if terms.counts:
        return _counted(guardrail, terms, state)
    if not isinstance(state.reading, Numbers):
        return ""
    beside = "" if state.reading.stable is None else f" (stable {state.reading.stable:.6g})"
    value = f"{state.reading.candidate:.6g}{beside}"
    if not state.breaches:
        return f"{value}, {_bounds(terms)}"
    times = sentences.plural(state.breaches, "measurement", "measurements in a row")
    return f"{value}, {_broken(terms, state.reading.candidate)} in {times}, bound {terms.failures}"


def _counted(guardrail: Guardrail, terms: CustomTerms, state: CustomState) -> str:
    total, log_e = state.total, custom_state.log_e(state)
    if not total.n1:
        return "none counted of the candidate" if state.number else ""
    told = sentences.against(total.bad1, total.n1, total.bad0, total.n0)
    if state.test is not None and log_e is not None:
        told += f"; evidence {sentences.bet(log_e, -math.log(state.test.state.alpha))}"
    if terms.maximum is not None and total.n1 >= max(1, guardrail.min_samples):
        over = custom_state.beyond(guardrail, total.bad1 / total.n1)
        told += f"; {'over' if over else 'within'} the maximum of {sentences.percent(terms.maximum)}"
    return told


def _bounds(terms: CustomTerms) -> str:
    parts = []
    if terms.maximum is not None:
        parts.append(f"the maximum of {terms.maximum:g}")
    if terms.minimum is not None:
        parts.append(f"the minimum of {terms.minimum:g}")
    return f"within {' and '.join(parts)}"


def _broken(terms: CustomTerms, value: float) -> str:
    if terms.maximum is not None and value > terms.maximum:
        return f"over the maximum of {terms.maximum:g}"
    if terms.minimum is not None and value < terms.minimum:
        return f"under the minimum of {terms.minimum:g}"
    return "out of bounds"


def _more(missing: int) -> str:
    short = max(1, missing)
    return f"{sentences.plural(short, 'more candidate trial is', 'more candidate trials are')}"


def _proven(state: CustomState, proving: bool) -> bool | None:
    if not proving or not state.proofs:
        return None
    return not state.fallen and any(map(comparisons.reached, state.proofs))


def _measured(terms: CustomTerms, state: CustomState) -> dict[str, Any]:
    return {
        "source": terms.kind.value,
        "measurements": state.number,
        "measured_at": state.at,
        "missing_measurements": state.missing,
        "failures": terms.failures,
        "error": state.error,
    }


def _single(terms: CustomTerms, state: CustomState) -> dict[str, Any]:
    reading = state.reading if isinstance(state.reading, Numbers) else None
    return {
        "value": None if reading is None else reading.candidate,
        "stable_value": None if reading is None else reading.stable,
        "maximum": terms.maximum,
        "minimum": terms.minimum,
        "breaches": state.breaches,
    }


def _compared(guardrail: Guardrail, state: CustomState, alpha: float, proven: bool | None) -> dict[str, Any]:
    total, log_e = state.total, custom_state.log_e(state)
    bound = None if state.test is None else 1.0 / state.test.state.alpha
    arms = {"candidate": _arm(total.n1, total.bad1), "stable": _arm(total.n0, total.bad0)}
    difference = None
    if total.n1 and total.n0:
        difference = {"estimate": total.bad1 / total.n1 - total.bad0 / total.n0, "interval": None}
    reached = custom_state.reached(state)
    terms = custom_state.terms_of(guardrail)
    return {
        **arms,
        "measured": total.n1,
        "difference": difference,
        "compared_requests": state.compared,
        "left_out": state.left_out,
        "fallen": state.fallen,
        "log_e": log_e,
        "e_value": None if log_e is None else sentences.ratio(log_e),
        "bound": bound,
        "alpha": alpha,
        "margin": guardrail.margin.value,
        "margin_kind": guardrail.margin.kind.value,
        "maximum": terms.maximum,
        "units": Units.REQUESTS.value,
        "missing": max(0, guardrail.min_samples - total.n1),
        "missing_bad": max(0, guardrail.min_bad - total.bad1),
        "parts": []
        if log_e is None
        else [{"name": guardrail.name, "log_e": log_e, "bound": bound, "reached": reached}],
        "proof": _proof(guardrail, state, proven),
    }


def _arm(requests: int, bad: int) -> dict[str, Any]:
    rate = bad / requests if requests else None
    return {"requests": requests, "bad": bad, "rate": rate, "interval": None}


def _proof(guardrail: Guardrail, state: CustomState, proven: bool | None) -> dict[str, Any] | None:
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
    return proof_numbers(margins, proven=proven)
