"""The plans that run when a person gives none."""

import msgspec

from lastgood.domain.plan import Guardrail, Metric, Plan, Step, StepKind, Strategy
from lastgood.domain.route import FULL_WEIGHT


def _canary_steps() -> tuple[Step, ...]:
    return tuple(
        Step(kind=StepKind.WEIGHT, weight=percent * 100, duration=minutes * 60.0, samples=samples)
        for percent, minutes, samples in ((5, 5, 200), (25, 5, 500), (50, 5, 500))
    )


def _switch_steps() -> tuple[Step, ...]:
    return (Step(kind=StepKind.WEIGHT, weight=FULL_WEIGHT, duration=300.0, samples=200),)


def default_guardrails(strategy: Strategy) -> tuple[Guardrail, ...]:
    """Return the guardrails of a plan that names none.

    A strategy that leaves stable without traffic has nothing to compare with, so it adds a hard limit on
    the error rate.
    """
    limit = None if strategy is Strategy.CANARY else 0.05
    return (
        Guardrail(name="health", metric=Metric.HEALTH),
        Guardrail(name="errors", metric=Metric.ERRORS, share=0.6, maximum=limit),
        Guardrail(name="invalid_output", metric=Metric.INVALID_OUTPUT, share=0.4, maximum=limit),
    )


def built_in(strategy: Strategy) -> Plan:
    """Return the plan that runs when a person gives none."""
    steps: dict[Strategy, tuple[Step, ...]] = {
        Strategy.CANARY: _canary_steps(),
        Strategy.BLUE_GREEN: _switch_steps(),
        Strategy.ALL_AT_ONCE: (),
    }
    return Plan(
        strategy=strategy, steps=steps[strategy], guardrails=default_guardrails(strategy), watch=600.0
    )


def standing_shadow(strategy: Strategy, rate: int) -> Plan:
    """Return the built-in plan behind a shadow of ``rate`` basis points that stays until a person promotes it."""
    plan = built_in(strategy)
    stands = Step(kind=StepKind.SHADOW, rate=rate, duration=None)
    return msgspec.structs.replace(plan, steps=(stands, *plan.steps))
