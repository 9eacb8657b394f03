"""The numbers of a finding, for machines: plain JSON values under keys that stay."""

from functools import lru_cache
from typing import Any

import msgspec

from lastgood.analysis import comparisons, latency, sentences
from lastgood.analysis.comparisons import Proof, Test
from lastgood.analysis.measured import Measured, seconds_at
from lastgood.analysis.parts import Part
from lastgood.domain.plan import LatencyTest, Metric
from lastgood.domain.traffic import Units
from lastgood.domain.verdict import Finding
from lastgood.stats import sequences


def of(measured: Measured) -> dict[str, Any]:
    """Return the numbers of a guardrail that measures requests, without any interval."""
    guardrail, lead, counted = measured.guardrail, measured.lead, measured.counted()
    requests = measured.requests
    numbers: dict[str, Any] = {
        "candidate_requests": measured.total.candidate.requests,
        "measured": requests.n1,
        "units": measured.units.value,
        "candidate": _arm(requests.n1, None) if counted is None else _arm(counted.n1, counted.bad1),
        "stable": _arm(requests.n0, None) if counted is None else _arm(counted.n0, counted.bad0),
        "difference": None,
        "compared_requests": 0 if measured.comparison is None else measured.comparison.compared,
        **_evidence(None if lead is None else lead.test),
        "alpha": measured.alpha,
        "margin": guardrail.margin.value,
        "margin_kind": guardrail.margin.kind.value,
        "maximum": guardrail.maximum,
        "missing": max(0, guardrail.min_samples - (requests.n1 - measured.copies)),
        "missing_bad": measured.missing_bad(),
        "parts": [{"name": part.name, **_reached(part.test)} for part in measured.tested if part.test],
        "proof": _proof(measured),
    }
    if counted is not None and counted.n1 and counted.n0:
        estimate = counted.bad1 / counted.n1 - counted.bad0 / counted.n0
        numbers["difference"] = {"estimate": estimate, "interval": None}
    if lead is not None and lead.hosts is not None:
        numbers["host_minutes"] = {
            "candidate": _arm(lead.hosts.units.n1, lead.hosts.units.bad1),
            "stable": _arm(lead.hosts.units.n0, lead.hosts.units.bad0),
        }
    if guardrail.metric is Metric.LATENCY:
        numbers |= _seconds(measured, lead)
    return numbers


def explained(finding: Finding) -> Finding:
    """Return the finding with its intervals, which hold at every look at once with a chance of 95 %.

    They take some hundredths of a second, so they are for showing and for the record, not for each look. Where
    requests come in bursts an interval from requests would promise too much, and there is none.
    """
    numbers = finding.numbers
    if "candidate" not in numbers or numbers["units"] == Units.HOSTS.value:
        return finding
    arms = {name: dict(numbers[name]) for name in ("candidate", "stable")}
    for arm in arms.values():
        if arm["bad"] is not None and arm["requests"]:
            arm["interval"] = list(_rate(arm["bad"], arm["requests"]))
    difference = numbers["difference"]
    if difference is not None:
        one, other = arms["candidate"], arms["stable"]
        interval = list(_difference(one["bad"], one["requests"], other["bad"], other["requests"]))
        difference = {**difference, "interval": interval}
    return msgspec.structs.replace(finding, numbers={**numbers, **arms, "difference": difference})


_rate = lru_cache(maxsize=1024)(sequences.rate)
_difference = lru_cache(maxsize=1024)(sequences.difference)


def _arm(requests: int, bad: int | None) -> dict[str, Any]:
    rate = None if bad is None or not requests else bad / requests
    return {"requests": requests, "bad": bad, "rate": rate, "interval": None}


def _evidence(test: Test | None) -> dict[str, Any]:
    if test is None:
        return {"log_e": None, "e_value": None, "bound": None}
    log_e = comparisons.log_e(test)
    return {"log_e": log_e, "e_value": sentences.ratio(log_e), "bound": 1.0 / test.state.alpha}


def _reached(test: Test | Proof) -> dict[str, Any]:
    return {
        "log_e": comparisons.log_e(test),
        "bound": 1.0 / test.state.alpha,
        "reached": comparisons.reached(test),
    }


def _proof(measured: Measured) -> dict[str, Any] | None:
    """Return how far the proof is: the best margin of the part that lacks most, and every margin."""
    proven = measured.proven()
    if proven is None or measured.comparison is None:
        return None
    margins, best = [], []
    for part in measured.comparison.parts:
        told = [
            {"part": part.name, "kind": margin.kind.value, "value": margin.value, **_reached(proof)}
            for margin, proof in zip(measured.guardrail.proof, part.proofs, strict=False)
        ]
        margins += told
        best += [max(told, key=lambda one: (one["reached"], one["log_e"]))] if told else []
    worst = min(best, key=lambda one: (one["reached"], one["log_e"]), default=None)
    return {
        "log_e": None if worst is None else worst["log_e"],
        "bound": None if worst is None else worst["bound"],
        "reached": proven,
        "margins": margins,
    }


def _seconds(measured: Measured, lead: Part | None) -> dict[str, Any]:
    guardrail = measured.guardrail
    numbers: dict[str, Any] = {
        "quantile": guardrail.quantile,
        "candidate_seconds": seconds_at(measured.shown(), guardrail.quantile),
        "stable_seconds": seconds_at(measured.total.stable, guardrail.quantile),
    }
    if guardrail.latency_test is not LatencyTest.NONE:
        slow = None if lead is None or lead.bucket is None else latency.lower_edge(lead.bucket)
        numbers["slower_than_seconds"] = slow
    return numbers
