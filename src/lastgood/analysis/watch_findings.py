"""What the watch says of a metric that needs no labels: in words, in numbers, and whether going back would help."""

from typing import Any

from lastgood.analysis import changes, sentences
from lastgood.analysis.counts import measured_of
from lastgood.analysis.going_back import Answer, Helps, rate
from lastgood.analysis.measured import Measured
from lastgood.analysis.trials import Trials, name_of
from lastgood.domain.plan import Metric
from lastgood.stats import quantiles


def told(measured: Measured) -> list[str]:
    """Return clauses about the watch, none without pairs."""
    clauses = []
    seen = _seen(measured)
    if seen.n1 and seen.n0:
        rates = sentences.against(seen.bad1, seen.n1, seen.bad0, seen.n0)
        worse = ", so it has become worse" if measured.changed() else ""
        clauses.append(f"in the watch {rates} of the version before on the same requests{worse}")
    if measured.no_better():
        other = "stable" if measured.before is None or not _before(measured) else "the version before"
        value, _ = measured.beside() or (0.0, False)
        said = sentences.seconds if measured.guardrail.metric is Metric.LATENCY else sentences.percent
        clauses.append(f"{other} is over it too ({said(value)}): going back would not help")
    return clauses


def numbers(measured: Measured) -> dict[str, Any]:
    """Return ``watch`` where there were pairs, and ``helps`` where that or stable says something of it."""
    found: dict[str, Any] = {}
    watched, seen = measured.watched, _seen(measured)
    if watched is not None:
        found["watch"] = {
            "candidate": {"requests": seen.n1, "bad": seen.bad1, "rate": rate(seen.bad1, seen.n1)},
            "stable": {"requests": seen.n0, "bad": seen.bad0, "rate": rate(seen.bad0, seen.n0)},
            "parts": [
                {
                    "name": measured.guardrail.name,
                    "log_e": changes.log_e(watched.change),
                    "bound": watched.change.state.run_length,
                    "reached": changes.reached(watched.change),
                }
            ],
        }
    if watched is not None or measured.no_better():
        found["helps"] = _answer(measured, seen).numbers()
    return found


def _answer(measured: Measured, seen: Trials) -> Answer:
    verdict = Helps.UNKNOWN
    limit, beside = measured.limited(), measured.beside()
    if measured.no_better():
        verdict = Helps.NO
    elif measured.changed() or measured.fails():
        verdict = Helps.YES
    elif limit is not None and limit[1] and _before(measured) and beside is not None:
        verdict = Helps.YES  # the version before keeps the limit on the same requests
    return Answer(
        verdict=verdict,
        pairs=None if measured.watched is None else min(seen.n1, seen.n0),
        candidate_wrong=rate(seen.bad1, seen.n1),
        stable_wrong=rate(seen.bad0, seen.n0),
    )


def _seen(measured: Measured) -> Trials:
    """Return what the watch counted of both versions."""
    return Trials() if measured.watched is None else measured.watched.trials


def _before(measured: Measured) -> bool:
    """Return whether the version before has answered enough copies for the hard maximum."""
    guardrail, counts = measured.guardrail, measured.before
    if counts is None:
        return False
    if guardrail.metric is Metric.LATENCY:
        return quantiles.total(counts.latency) >= max(1, guardrail.min_samples)
    return measured_of(counts, name_of(guardrail))[0] >= max(1, guardrail.min_samples)
