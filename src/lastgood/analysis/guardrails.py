"""What each guardrail says of the record: one function for each kind of metric.

A guardrail fails on evidence as soon as there is enough of it, without waiting for ``min_samples``; it passes
only on measurements; in between it is inconclusive. What could not be measured at all is an error.
"""

from collections.abc import Sequence
from typing import Any

from lastgood.analysis import sentences
from lastgood.analysis.record import Arms, Record
from lastgood.domain.plan import Guardrail, Metric, Plan
from lastgood.domain.traffic import BUCKETS_PER_OCTAVE, ArmCounts
from lastgood.domain.verdict import Finding, Verdict
from lastgood.stats import quantiles, score
from lastgood.stats.score import Score

COMPARED = (Metric.ERRORS, Metric.INVALID_OUTPUT)


def alphas(plan: Plan) -> dict[str, float]:
    """Return each comparison's part of the plan's ``false_rollback_rate``, by the guardrail's name.

    Their shares are scaled to sum 1; when all are 0 each gets the same. A part of 0 means that the guardrail
    compares nothing and only its hard maximum counts.
    """
    compared = [guardrail for guardrail in plan.guardrails if guardrail.metric in COMPARED]
    whole = sum(guardrail.share for guardrail in compared)
    return {
        guardrail.name: plan.false_rollback_rate
        * (guardrail.share / whole if whole > 0.0 else 1.0 / len(compared))
        for guardrail in compared
    }


def initial_tests(plan: Plan) -> dict[str, Score]:
    """Return the comparisons' states before any data, by the guardrail's name."""
    margins = {guardrail.name: guardrail.margin.value for guardrail in plan.guardrails}
    return {name: score.initial(alpha, margins[name]) for name, alpha in alphas(plan).items() if alpha > 0.0}


def bad(metric: Metric, counts: ArmCounts) -> int:
    """Return how many of an arm's requests went wrong in the sense of a compared metric."""
    return counts.errors if metric is Metric.ERRORS else counts.invalid


def health(guardrail: Guardrail, misses: int | None) -> Finding:
    """Judge how many health checks in a row the candidate's host has missed; None when it cannot be asked."""
    numbers: dict[str, Any] = {"misses": misses, "bound": guardrail.misses}
    name = guardrail.name
    if misses is None:
        return _finding(guardrail, Verdict.ERROR, f"{name}: the candidate's host cannot be asked.", numbers)
    if misses == 0:
        return _finding(guardrail, Verdict.PASSED, f"{name}: the candidate's host answers.", numbers)
    missed = sentences.plural(misses, "health check", "health checks in a row")
    sentence = f"{name}: the candidate's host has missed {missed}, bound {guardrail.misses}."
    verdict = Verdict.FAILED if misses >= guardrail.misses else Verdict.INCONCLUSIVE
    return _finding(guardrail, verdict, sentence, numbers)


def latency(guardrail: Guardrail, total: Arms) -> Finding:
    """Judge the candidate's latency over the whole release against the hard maximum."""
    name, measured = guardrail.name, quantiles.total(total.candidate.latency)
    missing = max(0, guardrail.min_samples - measured)
    numbers: dict[str, Any] = {
        "candidate_requests": total.candidate.requests,
        "measured": measured,
        "missing": missing,
        "quantile": guardrail.quantile,
        "maximum": guardrail.maximum,
        "candidate_seconds": _latency_quantile(guardrail, total.candidate),
        "stable_seconds": _latency_quantile(guardrail, total.stable),
    }
    if guardrail.maximum is None:
        sentence = f"{name}: the plan sets no maximum, so there is nothing to judge."
        return _finding(guardrail, Verdict.ERROR, sentence, numbers)
    if missing or not measured:
        return _finding(guardrail, Verdict.INCONCLUSIVE, _too_few(name, measured, missing), numbers)
    value = float(numbers["candidate_seconds"])
    compared = "over" if value > guardrail.maximum else "within"
    sentence = (
        f"{name}: {100.0 * guardrail.quantile:g} % of {sentences.count(measured)} candidate requests took up to "
        f"{sentences.seconds(value)}, {compared} the maximum of {sentences.seconds(guardrail.maximum)}."
    )
    verdict = Verdict.FAILED if value > guardrail.maximum else Verdict.PASSED
    return _finding(guardrail, verdict, sentence, numbers)


def rate(guardrail: Guardrail, record: Record, alpha: float) -> Finding:
    """Judge a bad/total metric: the comparison with stable, then the hard maximum, then whether it is enough."""
    total, test = record.total, record.tests.get(guardrail.name)
    n1, n0 = total.candidate.requests, total.stable.requests
    bad1, bad0 = bad(guardrail.metric, total.candidate), bad(guardrail.metric, total.stable)
    if test is None and alpha > 0.0:
        test = score.initial(alpha, guardrail.margin.value)
    numbers = _rate_numbers(guardrail, record, test, alpha, (n1, bad1, n0, bad0))
    if not n1:
        text = _too_few(guardrail.name, 0, guardrail.min_samples)
        return _finding(guardrail, Verdict.INCONCLUSIVE, text, numbers)
    told = f"{guardrail.name}: {sentences.against(bad1, n1, bad0, n0)}"
    if test is not None:
        told += (
            f"; evidence {sentences.to_one(score.log_e(test))}, bound {sentences.to_one(score.bound(test))}"
        )
    worse = test is not None and score.reached(test)
    if worse and bad1 >= guardrail.min_bad:
        return _finding(guardrail, Verdict.FAILED, f"{told}.", numbers)
    missing = max(0, guardrail.min_samples - n1)
    if guardrail.maximum is not None and not missing and bad1 / n1 > guardrail.maximum:
        sentence = f"{told}; over the maximum of {sentences.percent(guardrail.maximum)}."
        return _finding(guardrail, Verdict.FAILED, sentence, numbers)
    verdict, rest = _undecided(guardrail, record, test, (n1, bad1))
    return _finding(guardrail, verdict, f"{told}{rest}.", numbers)


def _undecided(
    guardrail: Guardrail, record: Record, test: Score | None, candidate: tuple[int, int]
) -> tuple[Verdict, str]:
    """Return the verdict of a rate that has not failed, and what to add to its sentence."""
    n1, bad1 = candidate
    if test is None and guardrail.maximum is None:
        return Verdict.ERROR, "; it has no part of the false rollback rate and no maximum, so it cannot fail"
    if n1 < guardrail.min_samples:
        return Verdict.INCONCLUSIVE, f"; {_more(guardrail.min_samples - n1)}"
    if test is not None and score.reached(test):
        more = sentences.plural(guardrail.min_bad - bad1, "failure is", "failures are")
        return Verdict.INCONCLUSIVE, f"; {more} missing to call it worse"
    if guardrail.maximum is not None:
        return Verdict.PASSED, f"; within the maximum of {sentences.percent(guardrail.maximum)}"
    if record.compared < max(1, guardrail.min_samples):
        short = max(1, guardrail.min_samples) - record.compared
        return Verdict.INCONCLUSIVE, f"; {_more(short)} beside stable"
    return Verdict.PASSED, ""


def _rate_numbers(
    guardrail: Guardrail, record: Record, test: Score | None, alpha: float, counts: Sequence[int]
) -> dict[str, Any]:
    n1, bad1, n0, bad0 = counts
    log_e = None if test is None else score.log_e(test)
    return {
        "candidate_requests": n1,
        "candidate": sentences.arm(bad1, n1),
        "stable": sentences.arm(bad0, n0),
        "compared_requests": record.compared,
        "log_e": log_e,
        "e_value": None if log_e is None else sentences.ratio(log_e),
        "bound": None if test is None else 1.0 / test.alpha,
        "alpha": alpha,
        "margin": guardrail.margin.value,
        "maximum": guardrail.maximum,
        "missing": max(0, guardrail.min_samples - n1),
        "missing_bad": max(0, guardrail.min_bad - bad1),
    }


def _latency_quantile(guardrail: Guardrail, counts: ArmCounts) -> float | None:
    """Return the guardrail's quantile in seconds; None, never 0, without measurements."""
    if not quantiles.total(counts.latency):
        return None
    return quantiles.quantile(counts.latency, guardrail.quantile, BUCKETS_PER_OCTAVE) / 1e6


def _too_few(name: str, have: int, missing: int) -> str:
    return f"{name}: {sentences.plural(have, 'candidate request', 'candidate requests')} so far; {_more(missing)}."


def _more(missing: int) -> str:
    short = max(1, missing)
    return f"{sentences.plural(short, 'more candidate request is', 'more candidate requests are')} needed"


def _finding(guardrail: Guardrail, verdict: Verdict, sentence: str, numbers: dict[str, Any]) -> Finding:
    return Finding(
        guardrail=guardrail.name,
        metric=guardrail.metric.value,
        verdict=verdict,
        on_fail=guardrail.on_fail,
        sentence=sentence,
        numbers=numbers,
    )
