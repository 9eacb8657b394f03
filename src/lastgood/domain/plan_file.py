"""From the text of a plan file to a :class:`~lastgood.domain.plan.Plan`, or to an error with its line.

Belongs here: reading the document, and the rules that span several keys. What a single key may hold is in
:mod:`lastgood.domain.plan_document`;
the wording of what is wrong with one is in :mod:`lastgood.domain.plan_faults`.
"""

from typing import Any, Final

from lastgood.domain.channel import check_channel
from lastgood.domain.placed_yaml import Placed, read_placed_yaml
from lastgood.domain.plan import (
    MAX_GUARDRAILS,
    MAX_STEPS,
    Channel,
    Guardrail,
    Margin,
    MarginKind,
    Metric,
    Plan,
    Step,
    StepKind,
    Strategy,
    built_in,
    default_guardrails,
)
from lastgood.domain.plan_document import (
    MAX_CHANNELS,
    STEP_KINDS,
    ApproveStep,
    ErrorsGuardrail,
    GuardrailDocument,
    HealthGuardrail,
    InvalidOutputGuardrail,
    LatencyGuardrail,
    PauseStep,
    PlanDocument,
    WeightStep,
)
from lastgood.domain.plan_faults import decode_part, unknown_key
from lastgood.domain.route import FULL_WEIGHT
from lastgood.domain.version import check_name
from lastgood.errors import LastgoodError

_STATISTICAL: Final = (ErrorsGuardrail, InvalidOutputGuardrail)


def parse_plan(text: str, *, source: str = "plan.yaml") -> Plan:
    """Return the plan that ``text`` (YAML) describes; ``source`` names it in errors.

    :raises LastgoodError: ``invalid``, the message beginning with ``source:line:column``; ``details`` holds
        ``source``, ``line``, ``column`` and ``path``. ``too_large`` for a text that no plan needs.
    """
    placed = read_placed_yaml(text, source)
    document = decode_part(placed, placed.value, PlanDocument, "$")
    fallback = built_in(document.strategy)
    steps = fallback.steps if document.steps is None else _steps(placed, document.steps)
    if document.steps is not None:
        _check_strategy(placed, document.strategy, steps)
    return Plan(
        strategy=document.strategy,
        steps=steps,
        guardrails=_guardrails(placed, document),
        false_rollback_rate=_rate(placed, document, fallback.false_rollback_rate),
        watch=fallback.watch if document.watch is None else float(document.watch),
        deadline=_deadline(placed, document, steps, fallback.deadline),
        on_deadline=document.on_deadline,
        validate_deadline=_positive(placed, document, "validate_deadline", fallback.validate_deadline),
        promote_deadline=_positive(placed, document, "promote_deadline", fallback.promote_deadline),
        rollback_deadline=_positive(placed, document, "rollback_deadline", fallback.rollback_deadline),
        notify=_channels(placed, document),
    )


# --- steps --------------------------------------------------------------------------------------------


def _steps(placed: Placed, given: list[Any]) -> tuple[Step, ...]:
    if len(given) > MAX_STEPS:
        message = f"There are {len(given)} steps; a plan has at most {MAX_STEPS}."
        raise placed.refusal(f"$.steps[{MAX_STEPS}]", message, "Use fewer, longer steps.")
    steps = tuple(_step(placed, value, f"$.steps[{index}]") for index, value in enumerate(given))
    highest = 0
    for index, step in enumerate(steps):
        if step.kind is not StepKind.WEIGHT:
            continue
        if step.weight < highest:
            message = f"The weight falls from {_percent(highest)} to {_percent(step.weight)}."
            next_step = "Weights stay or grow from step to step; going back is what a rollback does."
            raise placed.refusal(f"$.steps[{index}].weight", message, next_step)
        highest = step.weight
    return steps


def _step(placed: Placed, value: object, path: str) -> Step:
    kinds = [key for key in STEP_KINDS if isinstance(value, dict) and key in value]
    if not kinds and isinstance(value, dict) and value:
        key = next(iter(value))
        raise unknown_key(placed, path, key, [*STEP_KINDS])
    if len(kinds) != 1:
        both = f"This step is {' and '.join(kinds)} at once." if kinds else "This is not a step."
        raise placed.refusal(path, both, "Give each step exactly one of: weight, pause, approve.")
    document = decode_part(placed, value, STEP_KINDS[kinds[0]], path)
    match document:
        case WeightStep():
            seconds = float(document.duration or 0.0)
            return Step(
                kind=StepKind.WEIGHT, weight=int(document.weight), duration=seconds, samples=document.samples
            )
        case PauseStep():
            if document.pause.seconds == 0:
                message = "A pause of no time is no pause."
                raise placed.refusal(f"{path}.pause", message, "Give a time, or write 'until resumed'.")
            return Step(kind=StepKind.PAUSE, duration=document.pause.seconds)
        case ApproveStep():
            return Step(kind=StepKind.APPROVE, message=document.approve)


def _check_strategy(placed: Placed, strategy: Strategy, steps: tuple[Step, ...]) -> None:
    traffic = [index for index, step in enumerate(steps) if step.kind is StepKind.WEIGHT]
    if strategy is Strategy.ALL_AT_ONCE:
        if steps:
            message = "The strategy all_at_once has no steps."
            raise placed.refusal("$.steps", message, "Remove them, or use canary.", at_key=True)
        return
    if not steps:
        message = f"The strategy {strategy.value} needs steps, and the list is empty."
        next_step = "Remove the key for the built-in steps, or use all_at_once."
        raise placed.refusal("$.steps", message, next_step)
    if strategy is Strategy.CANARY and not traffic:
        message = "No step sends traffic to the candidate, so nothing would be measured before promotion."
        raise placed.refusal("$.steps", message, "Add a step such as 'weight: 5%', or use blue_green.")
    if strategy is Strategy.BLUE_GREEN and len(traffic) > 1:
        message = "The strategy blue_green moves all traffic at once; this is its second traffic step."
        raise placed.refusal(f"$.steps[{traffic[1]}].weight", message, "Keep one, or use canary.")
    if strategy is Strategy.BLUE_GREEN and traffic and steps[traffic[0]].weight != FULL_WEIGHT:
        message = "The strategy blue_green moves all traffic at once."
        raise placed.refusal(f"$.steps[{traffic[0]}].weight", message, "Write 100%, or use canary.")


# --- guardrails ---------------------------------------------------------------------------------------


def _guardrails(placed: Placed, document: PlanDocument) -> tuple[Guardrail, ...]:
    defaults = default_guardrails(document.strategy)
    given = document.guardrails
    if given is None:
        return defaults
    if not given:
        message = "The list of guardrails is empty, so nothing would stop a bad version."
        raise placed.refusal("$.guardrails", message, "Remove the key for the built-in guardrails.")
    if len(given) > MAX_GUARDRAILS:
        message = f"There are {len(given)} guardrails; a plan has at most {MAX_GUARDRAILS}."
        raise placed.refusal(f"$.guardrails[{MAX_GUARDRAILS}]", message, "Use fewer.")
    _check_names(placed, given)
    shares = _shares(placed, given)
    limits = {guardrail.metric: guardrail.maximum for guardrail in defaults}
    found = tuple(
        _guardrail(placed, one, f"$.guardrails[{index}]", shares[index], limits)
        for index, one in enumerate(given)
    )
    written = any(guardrail.metric is Metric.HEALTH for guardrail in found)
    return found if written else (defaults[0], *found)


def _guardrail(
    placed: Placed,
    document: GuardrailDocument,
    path: str,
    share: float,
    limits: dict[Metric, float | None],
) -> Guardrail:
    metric = _metric(document)
    name = document.name or metric.value
    match document:
        case HealthGuardrail():
            return Guardrail(name=name, metric=metric, on_fail=document.on_fail, misses=document.misses)
        case LatencyGuardrail():
            if document.maximum <= 0:
                message = "A latency of no time cannot be kept."
                raise placed.refusal(f"{path}.max", message, "Give a limit such as 200ms.")
            return Guardrail(
                name=name,
                metric=metric,
                on_fail=document.on_fail,
                maximum=float(document.maximum),
                quantile=0.99 if document.quantile is None else float(document.quantile),
                min_samples=document.min_samples,
            )
        case ErrorsGuardrail() | InvalidOutputGuardrail():
            return Guardrail(
                name=name,
                metric=metric,
                on_fail=document.on_fail,
                margin=Margin(MarginKind.ODDS, document.margin),
                min_bad=document.min_bad,
                maximum=limits[metric] if document.maximum is None else float(document.maximum),
                min_samples=document.min_samples,
                share=share,
            )


def _metric(document: GuardrailDocument) -> Metric:
    return Metric(str(type(document).__struct_config__.tag))


def _check_names(placed: Placed, given: list[GuardrailDocument]) -> None:
    seen = set()
    for index, one in enumerate(given):
        path = f"$.guardrails[{index}]"
        name = _metric(one).value if one.name is None else one.name
        try:
            check_name(name, "guardrail")
        except LastgoodError as error:
            next_step = "Choose a name such as 'errors' or 'slow-answers'."
            raise placed.refusal(f"{path}.name", error.message, next_step) from None
        if name in seen:
            message = f"Two guardrails are called {name!r}."
            raise placed.refusal(f"{path}.name", message, "Give this one a 'name' of its own.")
        seen.add(name)
    if all(one.name != "health" or isinstance(one, HealthGuardrail) for one in given):
        return
    message = "The name 'health' belongs to the guardrail that is part of every plan."
    raise placed.refusal("$.guardrails", message, "Choose another name.")


def _shares(placed: Placed, given: list[GuardrailDocument]) -> list[float]:
    """Divide the false-alarm rate: what is given stays, the rest is split evenly, the sum is 1."""
    statistical = [index for index, one in enumerate(given) if isinstance(one, _STATISTICAL)]
    shares = [0.0] * len(given)
    open_ones = []
    for index in statistical:
        share = getattr(given[index], "share", None)
        if share is None:
            open_ones.append(index)
        elif share <= 0:
            message = "A share of 0% would never let this guardrail fail."
            raise placed.refusal(f"$.guardrails[{index}].share", message, "Give it more than 0%.")
        else:
            shares[index] = float(share)
    rest = 1.0 - sum(shares)
    too_much, too_little = rest < -1e-9, bool(statistical) and not open_ones and rest > 1e-9
    if too_much or too_little or (open_ones and rest <= 1e-9):
        path = f"$.guardrails[{statistical[-1]}].share"
        message = f"The shares given come to {100 * sum(shares):g}% of false_rollback_rate."
        next_step = "Together they are 100%; leave a share out to give that guardrail the rest."
        raise placed.refusal(path, message, next_step)
    for index in open_ones:
        shares[index] = rest / len(open_ones)
    return shares


# --- the rest -----------------------------------------------------------------------------------------


def _rate(placed: Placed, document: PlanDocument, default: float) -> float:
    rate = default if document.false_rollback_rate is None else float(document.false_rollback_rate)
    if not 0 < rate <= 0.5:
        message = f"A false_rollback_rate of {100 * rate:g}% is not possible."
        raise placed.refusal("$.false_rollback_rate", message, "Above 0%, at most 50%; 1% is usual.")
    return rate


def _deadline(placed: Placed, document: PlanDocument, steps: tuple[Step, ...], default: float) -> float:
    deadline = default if document.deadline is None else float(document.deadline)
    needed = sum(step.duration or 0.0 for step in steps)
    if deadline <= needed:
        message = f"The steps take {needed:g} s, the deadline comes after {deadline:g} s."
        path = "$.deadline" if document.deadline is not None else "$.steps"
        raise placed.refusal(path, message, "Make the deadline longer than the steps take together.")
    return deadline


def _positive(placed: Placed, document: PlanDocument, key: str, default: float) -> float:
    given = getattr(document, key)
    if given is not None and given <= 0:
        raise placed.refusal(f"$.{key}", f"{key} must be above 0.", "Give a time such as 30s.")
    return default if given is None else float(given)


def _channels(placed: Placed, document: PlanDocument) -> tuple[Channel, ...]:
    if len(document.notify) > MAX_CHANNELS:
        message = f"There are {len(document.notify)} channels; a plan has at most {MAX_CHANNELS}."
        raise placed.refusal(f"$.notify[{MAX_CHANNELS}]", message, "Use fewer.")
    found = []
    for index, one in enumerate(document.notify):
        try:
            found.append(check_channel(webhook=one.webhook, command=one.command, secret=one.secret))
        except LastgoodError as error:
            field = error.details.get("field")
            path = f"$.notify[{index}]" + (f".{field}" if field else "")
            raise placed.refusal(path, error.message, error.next_step) from None
    return tuple(found)


def _percent(weight: int) -> str:
    return f"{weight / 100:g}%"
