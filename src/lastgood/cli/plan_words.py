"""A plan in words, one line a fact."""

from typing import TYPE_CHECKING, Final

from lastgood.cli.drift_words import drift_rate, drift_when
from lastgood.cli.plan_custom_words import custom_asks, custom_when
from lastgood.cli.plan_data_words import data_in_words
from lastgood.cli.plan_kpi_words import WRONG, kpi_maturity, kpi_slices, kpi_worse
from lastgood.cli.watch_words import agreement_when
from lastgood.cli.wording import duration, percent

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lastgood.domain.plan import Guardrail, Margin, Plan, Step

_BAD: Final = {
    "errors": ("an error", "errors"),
    "timeouts": ("a timeout", "timeouts"),
    "invalid_output": ("an invalid output", "invalid outputs"),
}
_AFTER: Final = {
    "hold": "it is held for a person.",
    "rollback": "it is rolled back.",
    "ask": "it is held, says what is missing, and is promoted only if a person approves.",
}
_UNITS: Final = {
    "auto": "What counts as one trial (request, key or host) is chosen from stable's traffic when a release begins.",
    "requests": "Each request counts as one trial.",
    "keys": "Each request counts as one trial, but of a key nothing after its first bad one.",
    "hosts": "Each minute counts as one trial: more bad requests than usual, or not.",
}

_KEYED: Final = {
    "auto": "Should keys be chosen, the latency comparison of {names} only alerts and proves nothing: each caller has "
    "speeds of its own.",
    "keys": "With keys the latency comparison of {names} only alerts and proves nothing: each caller has speeds of its "
    "own.",
}


def in_words(plan: "Plan") -> "list[RenderableType]":
    """Say what a plan does, one line a fact."""
    lines: list[RenderableType] = [f"Strategy: {plan.strategy.value.replace('_', ' ')}."]
    lines += [f"  {index}. {_step(step)}" for index, step in enumerate(plan.steps, 1)]
    lines.append(f"  {len(plan.steps) + 1}. All traffic goes to the candidate.")
    if plan.watch:
        lines.append(
            f"  {len(plan.steps) + 2}. The guardrails that can go on for {duration(plan.watch)} more.{_watch_copies(plan)}"
        )
    lines += [] if plan.data is None else data_in_words(plan.data)
    if plan.drill is not None:
        lines.append(
            f"Rehearses the rollback once the release is over, then every {duration(plan.drill.every)}, while no release "
            "is under way; a rehearsal that fails is told."
        )
    lines.append("Guardrails:")
    lines += [f"  {_guardrail(one)}" for one in plan.guardrails]
    lines += _rates(plan)
    lines += _promotion(plan)
    if not (plan.steps and plan.stands_at(len(plan.steps) - 1)):
        lines.append(
            f"Not promoted {duration(plan.deadline)} after {_first(plan)}: {_AFTER[plan.on_deadline.value]}"
        )
    for channel in plan.notify:
        lines.append(f"Tells {channel.webhook or ' '.join(channel.command or ())}.")
    return lines


def _step(step: "Step") -> str:
    kind = step.kind.value
    if kind == "approve":
        return f"Wait for an approval: {step.message}."
    if kind == "pause":
        return "Wait until somebody resumes." if step.duration is None else f"Wait {duration(step.duration)}."
    if kind == "shadow" and step.duration is None:
        return f"Copies of {percent(step.rate / 100)} of the requests go to the candidate, until somebody promotes it."
    text = f"{percent(step.weight / 100)} of the requests go to the candidate"
    answered = f"it has answered {step.samples} requests"
    if kind == "shadow":
        text = f"Copies of {percent(step.rate / 100)} of the requests go to the candidate"
        answered = f"there are {step.samples} pairs"
    needs = []
    if step.duration:
        needs.append(f"for at least {duration(step.duration)}")
    if step.samples:
        needs.append(f"{'until' if not needs else 'and until'} {answered}")
    return f"{text} {' '.join(needs)}.".replace(" .", ".")


def _first(plan: "Plan") -> str:
    """Say when the deadline begins."""
    return "its shadow ended" if any(map(plan.stands_at, range(len(plan.steps)))) else "its first step"


def _watch_copies(plan: "Plan") -> str:
    if not plan.watch_shadow:
        return ""
    return f" The version before answers copies of {percent(plan.watch_shadow / 100)} of the requests, to nobody."


def _guardrail(one: "Guardrail") -> str:
    from lastgood.domain.plan_guardrail_rules import compares

    if one.metric.value == "health":
        return f"{one.name}: {one.on_fail.value} when {one.misses} health checks in a row fail."
    when = [_worse(one)] if compares(one) and one.kpi is None and one.drift is None else []
    when += kpi_worse(one) if one.kpi is not None else drift_when(one)
    when += custom_when(one) + agreement_when(one)
    if one.maximum is not None and one.kpi is None:
        when.append(f"{_limit(one)} (looked at from {one.min_samples} requests on)")
    does = one.on_fail.value
    if one.dry_run:
        does = f"dry run, would {'roll back' if does == 'rollback' else does}"
    text = f"{one.name}: {does} when {', or '.join(when)}.{kpi_maturity(one)}{kpi_slices(one)}"
    text += drift_rate(one) + custom_asks(one)
    if one.no_data.value == "fail":
        text += " Without any data it counts as failed."
    if one.no_data.value == "ignore":
        text += " Without any data it is not waited for."
    return text


def _limit(one: "Guardrail") -> str:
    if one.metric.value == "latency":
        return f"p{one.quantile * 100:g} latency is over {duration(one.maximum or 0)}"
    return f"the rate is over {percent((one.maximum or 0) * 100)}"


def _worse(one: "Guardrail") -> str:
    if one.latency_test.value == "distribution":
        return f"the candidate is shown to be over {one.margin.value:g} times as slow as stable"
    least = f", with at least {one.min_bad} of them" if one.min_bad > 1 else ""
    return f"{_difference(one, one.margin, 'over')}{least}"


def _difference(one: "Guardrail", margin: "Margin", side: str) -> str:
    each, all_of_them = _bad(one, side)
    if margin.kind.value == "odds":
        return f"the candidate's odds of {each} are shown to be {side} {margin.value:g} times stable's"
    points = f"{margin.value * 100:g} {'point' if margin.value == 0.01 else 'points'}"
    return f"the candidate's rate of {all_of_them} is shown to be {side} {points} above stable's"


def _bad(one: "Guardrail", side: str) -> tuple[str, str]:
    """Return what a guardrail counts, one and many of them."""
    if one.kpi is not None:
        return WRONG[one.metric.value]
    if one.custom is not None:
        return "a bad one", "bad ones"
    if one.metric.value == "counter":
        return f"a {one.counter} request", f"{one.counter} requests"
    if one.metric.value != "latency":
        return _BAD[one.metric.value]
    objective = one.latency_test.value == "objective"
    than = duration(one.objective or 0) if objective else f"{_quantiles(one, side)} of both arms' past"
    return f"a request slower than {than}", f"requests slower than {than}"


def _quantiles(one: "Guardrail", side: str) -> str:
    """Name the quantiles: any of them makes it worse, all of them make the proof."""
    from lastgood.analysis.latency import PROOF_QUANTILES
    from lastgood.domain.plan import DEFAULT_QUANTILES

    worse = side == "over"
    *rest, last = (
        f"p{q * 100:g}" for q in one.quantiles or (DEFAULT_QUANTILES if worse else PROOF_QUANTILES)
    )
    if not rest:
        return last
    return f"{', '.join(rest)} or {last}" if worse else f"each of {', '.join(rest)} and {last}"


def _rates(plan: "Plan") -> "list[RenderableType]":
    from lastgood.analysis.traps import only_health

    rate = percent(plan.false_rollback_rate * 100)
    by_chance = f"A harmless candidate is rolled back by chance in at most {rate} of releases."
    lines: list[RenderableType] = [] if only_health(plan) else [by_chance]
    shares = [f"{one.name} {percent(round(one.share * 100, 2))}" for one in plan.guardrails if one.share]
    if len(shares) > 1:
        lines.append(f"Of that chance: {', '.join(shares)}.")
    if any(one.maximum is not None and not one.dry_run for one in plan.guardrails):
        lines.append("Hard limits ('over' without 'shown') come on top: see lastgood plan lint.")
    if shares:
        lines.append(_UNITS[plan.units.value])
    slow = [one.name for one in plan.guardrails if one.latency_test.value != "none"]
    if slow and plan.units.value in _KEYED:
        lines.append(_KEYED[plan.units.value].format(names=", ".join(slow)))
    return lines


def _promotion(plan: "Plan") -> list[str]:
    from lastgood.domain.plan_guardrail_rules import compares

    soak = f", not before {duration(plan.soak)} after its first traffic" if plan.soak else ""
    if plan.shadows and not any(step.weight for step in plan.steps):
        return ["Promoted when a person ends the last step: nothing is promoted on copies alone."]
    if plan.promote_when.value == "measured":
        return [f"Promoted when the steps are over and every guardrail has passed{soak}."]
    lines = [
        f"Promoted as soon as it is proven not to be worse{soak}; never past an approval or a pause without end.",
        "Proven means all of these:",
    ]
    for one in plan.guardrails:
        keyed = plan.units.value == "keys" and one.metric.value == "latency"
        if one.dry_run or one.on_fail.value == "alert":
            continue
        if not one.proof:
            lines.append(f"  {one.name}: it has passed.")
        elif compares(one) and not keyed:
            ways = [_difference(one, margin, "under") for margin in one.proof]
            lines.append(f"  {one.name}: {', or '.join(ways)}.")
    wrong = percent(plan.false_promotion_rate * 100)
    lines.append(
        f"A candidate that is worse by such a margin is proven by chance in at most {wrong} of releases."
    )
    return lines
