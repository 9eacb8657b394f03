"""Who may be wrong how often: the plan's rates, divided before the release over what compares."""

from typing import Final

from lastgood.domain.plan import CONFUSIONS, KPIS, Guardrail, LatencyTest, Metric, Plan, PromoteWhen

RATES: Final = frozenset((Metric.ERRORS, Metric.TIMEOUTS, Metric.INVALID_OUTPUT, Metric.COUNTER))
"""Metrics that are a number of bad requests of a total."""

_WATCHED: Final = RATES | CONFUSIONS


def compares(guardrail: Guardrail) -> bool:
    """Return whether a guardrail holds the candidate against stable, beside any hard maximum."""
    if guardrail.metric is Metric.LATENCY:
        return guardrail.latency_test is not LatencyTest.NONE
    if guardrail.custom is not None:
        return guardrail.custom.counts
    return (
        guardrail.metric in RATES or guardrail.metric in KPIS or guardrail.metric is Metric.PREDICTION_DRIFT
    )


def alphas(plan: Plan) -> dict[str, float]:
    """Return each comparison's part of the plan's ``false_rollback_rate``, by the guardrail's name.

    It is spent once in a release, over all its stages. Shares are scaled to sum 1; when all are 0 each gets the
    same. A part of 0 means that the guardrail compares nothing and only its hard maximum counts. Nothing follows
    from a dry run, so it takes no share and is judged at the whole rate.
    """
    compared = [guardrail for guardrail in plan.guardrails if compares(guardrail)]
    sharing = [guardrail for guardrail in compared if not guardrail.dry_run]
    whole = sum(guardrail.share for guardrail in sharing)
    parts = {
        guardrail.name: guardrail.share / whole if whole > 0.0 else 1.0 / len(sharing)
        for guardrail in sharing
    }
    return {
        guardrail.name: plan.false_rollback_rate * parts.get(guardrail.name, 1.0) for guardrail in compared
    }


def watch_minutes(plan: Plan) -> dict[str, float]:
    """Return the run length, in minutes, of each detector of a guardrail in the watch, by the guardrail's name.

    All of them together raise a false alarm once in the plan's ``watch_run_length`` on average, so each one's is as
    many times as long as there are detectors: two of a KPI (against the version before, and against what it was), one of
    a bad/total metric, none of latencies. What is on a dry run is left out of the count.
    """
    shares = alphas(plan)
    each = {
        one.name: 2 if one.metric in CONFUSIONS else 1
        for one in plan.guardrails
        if shares.get(one.name, 0.0) > 0.0 and one.metric in _WATCHED
    }
    dry = {one.name for one in plan.guardrails if one.dry_run}
    together = sum(count for name, count in each.items() if name not in dry)
    minutes = max(2.0, plan.watch_run_length / 60.0)
    return {name: minutes * (count if name in dry else together) for name, count in each.items()}


def proof_alpha(plan: Plan, guardrail: Guardrail) -> float | None:
    """Return the false promotion rate of each proof margin of a guardrail; None where no proof is asked for.

    Any one margin is enough, so they share the rate. All guardrails must show theirs: a harmful candidate has at
    least one that must not, so that each may spend the whole rate.
    """
    if plan.promote_when is not PromoteWhen.PROVEN:
        return None
    return plan.false_promotion_rate / max(1, len(guardrail.proof))
