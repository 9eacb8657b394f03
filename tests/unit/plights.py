"""Releases in every plight, and what is seen of them: the values that the tests of decisions share."""

from typing import Any

import msgspec

from lastgood.control.moves import HostView, Situation, TakenOut
from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import (
    Guardrail,
    Metric,
    NoData,
    OnFail,
    Plan,
    PromoteWhen,
    Step,
    StepKind,
    Strategy,
)
from lastgood.domain.release import Hold, HoldReason, Phase, Release
from lastgood.domain.verdict import Finding, Verdict

NOW = 1_000.0
READY, STARTING = HostView(ready=True, starts=1), HostView(starts=1)
WEIGHT = Step(kind=StepKind.WEIGHT, weight=1000, duration=10.0, samples=50)
SHADOW = Step(kind=StepKind.SHADOW, rate=1000, duration=10.0, samples=50)
STANDS = Step(kind=StepKind.SHADOW, rate=1000, duration=None)
PAUSE = Step(kind=StepKind.PAUSE, duration=60.0)
FOREVER = Step(kind=StepKind.PAUSE, duration=None)
APPROVE = Step(kind=StepKind.APPROVE, message="ask the fraud team")
CANARY = Plan(
    steps=(WEIGHT, WEIGHT),
    guardrails=(Guardrail(name="errors", metric=Metric.ERRORS, share=1.0),),
    watch=100.0,
    deadline=5_000.0,
)
DUE = {"step_since": NOW - 11.0}


def finding(
    verdict: Verdict = Verdict.FAILED, on_fail: OnFail = OnFail.ROLLBACK, name: str = "errors", **more: Any
) -> Finding:
    """Return what a guardrail says."""
    return Finding(
        guardrail=name,
        metric="errors",
        verdict=verdict,
        on_fail=on_fail,
        sentence=f"{name} says so",
        numbers={"n": 9},
        **more,
    )


PASSED, OPEN = finding(Verdict.PASSED), finding(Verdict.INCONCLUSIVE)
BROKEN, HOLDING, ALERTING = finding(), finding(on_fail=OnFail.HOLD), finding(on_fail=OnFail.ALERT)


def release(phase: Phase, plan: Plan = CANARY, **more: Any) -> Release:
    """Return version 2 on its way, with version 1 stable before it."""
    facts: dict[str, Any] = {"previous": 1, "step_since": NOW, "phase_since": NOW, **more}
    return Release(
        id=7,
        deployment="churn",
        model="churn",
        version=2,
        plan=plan,
        phase=phase,
        created_at=0.0,
        created_by="ada",
        **facts,
    )


def seen(**more: Any) -> Situation:
    """Return a calm sight: both hosts ready, nobody has acknowledged anything, nothing measured."""
    facts: dict[str, Any] = {"candidate": READY, "target": READY, "last_good": 1, "acknowledged": False}
    return Situation(now=NOW, **{**facts, **more})


def serving(stable: int | None = 1) -> Deployment:
    """Return the deployment with its stable version."""
    return Deployment(name="churn", model="churn", stable=stable, release=7, generation=3)


def with_steps(*steps: Step, **more: Any) -> Plan:
    """Return the canary plan with other steps."""
    return msgspec.structs.replace(CANARY, steps=steps, **more)


def held(until: float | None = None, reason: HoldReason = HoldReason.PAUSE) -> dict[str, Any]:
    """Return the hold of a paused release."""
    return {"hold": Hold(reason, "held", until)}


OUT = TakenOut(slot=0, failures=5, requests=7, log_likelihood=19.6)
PROVING = msgspec.structs.replace(CANARY, promote_when=PromoteWhen.PROVEN)
SHOWN, NOT_SHOWN = finding(Verdict.PASSED, proven=True), finding(Verdict.PASSED, proven=False)
UNMEASURED = finding(Verdict.INCONCLUSIVE, no_data=NoData.FAIL)
LATE, TIMELY = NOW - 1.0, NOW + 1.0
AT_ONCE = Plan(strategy=Strategy.ALL_AT_ONCE)
WAY_BACK = {"returning": True, "target": 1, "generation": 3, "reason": "bad", "cause": "bad"}
BROKEN_HOST = HostView(failed=True, error="it raised", code="refused")
OTHERS_FAULT = HostView(failed=True, error="changed on disk", code="corrupt")
