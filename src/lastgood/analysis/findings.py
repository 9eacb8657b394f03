"""What each guardrail says: a verdict, one sentence, and the numbers.

A guardrail fails on evidence as soon as there is enough of it, without waiting for ``min_samples``; it passes
only on measurements; in between it is inconclusive. What cannot be measured at all is an error.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from lastgood.analysis import comparisons, going_back, latency, numbers, sentences, watch_findings
from lastgood.analysis.measured import Measured, seconds_at
from lastgood.analysis.split_check import Fault
from lastgood.domain.plan import Guardrail, LatencyTest, Metric, OnFail
from lastgood.domain.traffic import Units
from lastgood.domain.verdict import Finding, Verdict
from lastgood.stats import quantiles
from lastgood.stats.hypergeometric import MAX_TRIALS


def health(guardrail: Guardrail, misses: int | None) -> Finding:
    """Judge how many health checks in a row the candidate's host has missed; None when it cannot be asked."""
    found: dict[str, Any] = {"misses": misses, "bound": guardrail.misses}
    name = guardrail.name
    if misses is None:
        return _finding(guardrail, Verdict.ERROR, f"{name}: the candidate's host cannot be asked.", found)
    if misses == 0:
        return _finding(guardrail, Verdict.PASSED, f"{name}: the candidate's host answers.", found)
    missed = sentences.plural(misses, "health check", "health checks in a row")
    sentence = f"{name}: the candidate's host has missed {missed}, bound {guardrail.misses}."
    verdict = Verdict.FAILED if misses >= guardrail.misses else Verdict.INCONCLUSIVE
    return _finding(guardrail, verdict, sentence, found)


def judged(measured: Measured, *, corrupt: Sequence[str], unsplit: Fault | None = None) -> Finding:
    """Judge what was measured of requests, without a word: all that a decision depends on.

    ``corrupt`` are the worker lives whose counts are left out: without them nothing passes. With ``unsplit``, a split
    that is not what the route says, nothing passes that compares the arms.
    """
    verdict, _ = _verdict(measured, corrupt, unsplit)
    return _wordless(measured, verdict)


def compared(
    measured: Measured, *, corrupt: Sequence[str], unsplit: Fault | None = None, strata: int, log: str
) -> Finding:
    """Judge as :func:`judged` does, and tell it in a sentence and in numbers.

    ``strata`` and ``log`` are the number and the digest of the strata that this rests on.
    """
    guardrail = measured.guardrail
    verdict, why = _verdict(measured, corrupt, unsplit)
    finding = _wordless(measured, verdict)
    proof = [] if verdict is Verdict.FAILED else _proof(measured)
    watch = watch_findings.told(measured)
    clauses = [_facts(measured), *_evidence(measured), *_limit(measured), *watch, why(), *proof]
    told = "; ".join(clause for clause in clauses if clause)
    last = sentences.word(verdict, finding.on_fail, dry_run=guardrail.dry_run)
    split = {} if unsplit is None or measured.comparison is None else {"split": unsplit.numbers()}
    return msgspec.structs.replace(
        finding,
        sentence=f"{guardrail.name}: {told}: {last}.",
        numbers={
            **numbers.of(measured),
            **watch_findings.numbers(measured),
            **split,
            "strata": strata,
            "log": log,
        },
    )


def _wordless(measured: Measured, verdict: Verdict) -> Finding:
    guardrail = measured.guardrail
    return Finding(
        guardrail=guardrail.name,
        metric=guardrail.metric.value,
        verdict=verdict,
        on_fail=_on_fail(measured, verdict),
        sentence="",
        no_data=None if measured.requests.n1 else guardrail.no_data,
        proven=measured.proven(),
        dry_run=guardrail.dry_run,
        world=verdict is Verdict.FAILED and measured.no_better(),
    )


def _verdict(
    measured: Measured, corrupt: Sequence[str], unsplit: Fault | None
) -> tuple[Verdict, Callable[[], str]]:
    """Return the verdict, and what says what stands in the way of another one."""
    guardrail, requests = measured.guardrail, measured.requests
    limit = measured.limited()
    if limit is not None and limit[1]:
        return Verdict.FAILED, _nothing
    if measured.changed():
        return Verdict.FAILED, _nothing
    # An alert must not take the place of a hard maximum that has not been looked at yet.
    waits = measured.only_alerts and guardrail.maximum is not None and limit is None
    if measured.fails() and not waits:
        return Verdict.FAILED, _nothing
    wrong = _wrong(measured, corrupt, unsplit)
    if wrong:
        return Verdict.ERROR, lambda: wrong
    least = max(1, guardrail.min_samples)
    if requests.n1 - measured.copies < least:
        return Verdict.INCONCLUSIVE, lambda: _more(measured, least)
    if measured.reached() and not measured.only_alerts:
        return Verdict.INCONCLUSIVE, lambda: _missing_bad(measured)
    if limit is not None or measured.comparison is None:
        return Verdict.PASSED, _nothing
    no_bet = measured.no_bet()
    if no_bet is not None:
        return Verdict.INCONCLUSIVE, lambda: no_bet
    lacking = least - measured.comparison.compared
    if lacking > 0:
        return Verdict.INCONCLUSIVE, lambda: f"{sentences.more(lacking)} beside stable"
    return Verdict.PASSED, _nothing


def _nothing() -> str:
    return ""


def _more(measured: Measured, least: int) -> str:
    """Say how many requests of the candidate are missing, and why copies of requests are none of them."""
    told = sentences.more(least - (measured.requests.n1 - measured.copies))
    return f"{told}, of callers: copies meet a host with little to do" if measured.copies else told


def _missing_bad(measured: Measured) -> str:
    short = sentences.plural(measured.missing_bad(), "failure is", "failures are")
    return f"{short} missing to call it worse"


def _wrong(measured: Measured, corrupt: Sequence[str], unsplit: Fault | None) -> str:
    """Return why a guardrail cannot be judged, nothing when it can."""
    if corrupt:
        return f"the counts of gateway worker {', '.join(corrupt)} cannot be used and are left out"
    if measured.comparison is None:
        limited = measured.guardrail.maximum is not None
        return (
            "" if limited else "it has no part of the false rollback rate and no maximum, so it cannot fail"
        )
    if unsplit is not None:
        return unsplit.told()
    strata = measured.comparison.too_large
    if not strata:
        return ""
    held = f"{sentences.plural(strata, 'interval', 'intervals')} held more than {sentences.count(MAX_TRIALS)} requests"
    return f"{held}, more than can be compared at once, and were not compared"


def _on_fail(measured: Measured, verdict: Verdict) -> OnFail:
    """Return what follows from a failure: no more than an alert of a comparison that may not do more.

    Such a comparison stands in the way of no promotion either, unless its hard maximum is still to be looked at.
    """
    guardrail, limit = measured.guardrail, measured.limited()
    if verdict is Verdict.FAILED and (measured.changed() or measured.no_better()):
        return going_back.on_fail(guardrail.on_fail, world=measured.no_better())
    if not measured.only_alerts or not measured.requests.n1:
        return guardrail.on_fail
    if guardrail.maximum is None:
        return OnFail.ALERT
    compared = verdict is Verdict.FAILED and limit is not None and not limit[1]
    return OnFail.ALERT if compared else guardrail.on_fail


def _facts(measured: Measured) -> str:
    """Return what happened, in both arms' counts."""
    guardrail, requests, counted = measured.guardrail, measured.requests, measured.counted()
    if not requests.n1:
        return "0 candidate requests so far"
    if counted is not None and not counted.n1:
        return "no candidate request that still counts"
    if counted is not None:
        told = sentences.against(counted.bad1, counted.n1, counted.bad0, counted.n0)
        lead = measured.lead
        if lead is not None and lead.bucket is not None:
            return f"{lead.name} ({_slow(guardrail, lead.bucket)}): {told}"
        return f"{told}, up to each key's first" if measured.units is Units.KEYS else told
    both = (measured.shown(), measured.total.stable)
    n1, n0 = (quantiles.total(counts.latency) for counts in both)
    if guardrail.latency_test is LatencyTest.NONE:
        return f"{sentences.plural(n1, 'candidate request', 'candidate requests')} measured"
    times = []
    for q, part in ((0.5, "half"), (guardrail.quantile, f"{100.0 * guardrail.quantile:g} %")):
        own, other = (seconds_at(counts, q) for counts in both)
        beside = "" if other is None else f" against {sentences.seconds(other)}"
        times.append(f"{part} took up to {sentences.seconds(own or 0.0)}{beside}")
    return f"{', '.join(times)}, of {sentences.count(n1)} against {sentences.count(n0)} requests"


def _evidence(measured: Measured) -> list[str]:
    lead = measured.lead
    if lead is None or lead.test is None or not measured.requests.n1:
        return []
    bet = sentences.bet(comparisons.log_e(lead.test), comparisons.log_bound(lead.test))
    told = [f"evidence {bet}"]
    if measured.only_alerts:
        told.append(
            "with the units keys each caller has speeds of its own, so this comparison can only alert"
        )
    if lead.hosts is not None and lead.hosts.units.n1:
        units = lead.hosts.units
        told.insert(
            0, f"unusual minutes of a host {units.bad1} of {units.n1} against {units.bad0} of {units.n0}"
        )
    return told


def _slow(guardrail: Guardrail, bucket: int) -> str:
    """Return what is slow: more than the objective as it was set, or than a quantile of the past."""
    if guardrail.latency_test is LatencyTest.OBJECTIVE and guardrail.objective is not None:
        return sentences.as_given(guardrail.objective)
    return sentences.seconds(latency.lower_edge(bucket))


def _limit(measured: Measured) -> list[str]:
    limit, maximum = measured.limited(), measured.guardrail.maximum
    if limit is None or maximum is None:
        return []
    value, over = limit
    place = "over" if over else "within"
    if measured.guardrail.metric is Metric.LATENCY:
        part = f"{100.0 * measured.guardrail.quantile:g} % took up to {sentences.seconds(value)}"
        return [f"{part}, {place} the maximum of {sentences.as_given(maximum)}"]
    told = f"{place} the maximum of {sentences.percent(maximum)}"
    return [f"{sentences.percent(value)} of all, {told}" if measured.units is Units.KEYS else told]


def _proof(measured: Measured) -> list[str]:
    proven = measured.proven()
    if proven is None or not measured.requests.n1:
        return []
    return [
        "shown not to be worse by its proof margin"
        if proven
        else "not yet shown to be within its proof margin"
    ]


def _finding(guardrail: Guardrail, verdict: Verdict, sentence: str, found: dict[str, Any]) -> Finding:
    return Finding(
        guardrail=guardrail.name,
        metric=guardrail.metric.value,
        verdict=verdict,
        on_fail=guardrail.on_fail,
        sentence=sentence,
        dry_run=guardrail.dry_run,
        numbers=found,
    )
