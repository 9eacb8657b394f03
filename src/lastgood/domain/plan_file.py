"""From the text of a plan file to a :class:`~lastgood.domain.plan.Plan`, or to an error with its line.

Belongs here: reading the document, and the rules that span several keys; those of guardrails are in
:mod:`lastgood.domain.plan_guardrail_rules`, those of steps in :mod:`lastgood.domain.plan_steps`, those of data in :mod:`lastgood.domain.plan_data`. What a single key may hold is in :mod:`lastgood.domain.plan_document`;
the wording of what is wrong with one is in :mod:`lastgood.domain.plan_faults`.
"""

from lastgood.domain.channel import Channel, check_channel
from lastgood.domain.placed_yaml import Placed, read_placed_yaml
from lastgood.domain.plan import (
    Guardrail,
    OnFail,
    Plan,
    PromoteWhen,
    Step,
    StepKind,
    Strategy,
)
from lastgood.domain.plan_built_in import built_in
from lastgood.domain.plan_data import read_data
from lastgood.domain.plan_document import MAX_CHANNELS, PlanDocument
from lastgood.domain.plan_drill import read_drill
from lastgood.domain.plan_faults import decode_part
from lastgood.domain.plan_guardrail_rules import compares, read_guardrails
from lastgood.domain.plan_steps import read_steps
from lastgood.domain.route import FULL_WEIGHT
from lastgood.errors import LastgoodError


def parse_plan(text: str, *, source: str = "plan.yaml") -> Plan:
    """Return the plan that ``text`` (YAML) describes; ``source`` names it in errors.

    :raises LastgoodError: ``invalid``, the message beginning with ``source:line:column``; ``details`` holds
        ``source``, ``line``, ``column`` and ``path``. ``too_large`` for a text that no plan needs.
    """
    placed = read_placed_yaml(text, source)
    document = decode_part(placed, placed.value, PlanDocument, "$")
    fallback = built_in(document.strategy)
    steps = (
        fallback.steps if document.steps is None else read_steps(placed, document.strategy, document.steps)
    )
    guardrails = read_guardrails(placed, document.strategy, document.guardrails)
    if document.promote_when is PromoteWhen.PROVEN:
        _check_provable(placed, document.strategy, steps, guardrails)
    deadline = _deadline(placed, document, steps, fallback.deadline)
    return Plan(
        strategy=document.strategy,
        steps=steps,
        guardrails=guardrails,
        false_rollback_rate=_rate(placed, document, "false_rollback_rate", fallback.false_rollback_rate),
        promote_when=document.promote_when,
        false_promotion_rate=_rate(placed, document, "false_promotion_rate", fallback.false_promotion_rate),
        soak=_soak(placed, document, deadline, fallback.soak),
        units=document.units,
        watch=fallback.watch if document.watch is None else float(document.watch),
        watch_shadow=_watch_shadow(placed, document, fallback.watch_shadow),
        watch_run_length=_positive(placed, document, "watch_run_length", fallback.watch_run_length),
        deadline=deadline,
        on_deadline=document.on_deadline,
        validate_deadline=_positive(placed, document, "validate_deadline", fallback.validate_deadline),
        promote_deadline=_positive(placed, document, "promote_deadline", fallback.promote_deadline),
        rollback_deadline=_positive(placed, document, "rollback_deadline", fallback.rollback_deadline),
        notify=_channels(placed, document),
        data=read_data(placed, document.strategy, document.data),
        drill=read_drill(placed, document.drill),
    )


def _rate(placed: Placed, document: PlanDocument, key: str, default: float) -> float:
    given = getattr(document, key)
    rate = default if given is None else float(given)
    if not 0 < rate <= 0.5:
        message = f"A {key} of {100 * rate:g}% is not possible."
        raise placed.refusal(f"$.{key}", message, f"Above 0%, at most 50%; {100 * default:g}% is usual.")
    return rate


def _check_provable(
    placed: Placed, strategy: Strategy, steps: tuple[Step, ...], guardrails: tuple[Guardrail, ...]
) -> None:
    """Refuse a promotion by proof where nothing could ever be shown."""
    beside = any(step.kind is StepKind.WEIGHT and step.weight < FULL_WEIGHT for step in steps)
    if strategy is not Strategy.CANARY or not beside:
        message = (
            "Nothing can be proven here: no step leaves traffic on stable to compare the candidate with."
        )
        next_step = "Use canary with a weight below 100%, or 'promote_when: measured'."
        raise placed.refusal("$.promote_when", message, next_step)
    proving = [one for one in guardrails if compares(one) and one.proof and not one.dry_run]
    if any(one.on_fail is not OnFail.ALERT for one in proving):
        return
    message = "Nothing can be proven here: no guardrail compares the candidate with stable (dry runs and alerts apart)."
    next_step = "Add one, such as 'metric: errors', or use 'promote_when: measured'."
    raise placed.refusal("$.promote_when", message, next_step)


def _soak(placed: Placed, document: PlanDocument, deadline: float, default: float) -> float:
    soak = default if document.soak is None else float(document.soak)
    if soak and document.strategy is Strategy.ALL_AT_ONCE:
        message = "The strategy all_at_once sends no traffic before promotion, so there is nothing to soak."
        raise placed.refusal("$.soak", message, "Remove it, or use canary.")
    if soak >= deadline:
        message = f"The soak takes {soak:g} s, the deadline comes after {deadline:g} s."
        raise placed.refusal("$.soak", message, "Make it shorter than the deadline.")
    return soak


def _deadline(placed: Placed, document: PlanDocument, steps: tuple[Step, ...], default: float) -> float:
    deadline = default if document.deadline is None else float(document.deadline)
    needed = sum(step.duration or 0.0 for step in steps)
    if deadline <= needed:
        message = f"The steps take {needed:g} s, the deadline comes after {deadline:g} s."
        path = "$.deadline" if document.deadline is not None else "$.steps"
        raise placed.refusal(path, message, "Make the deadline longer than the steps take together.")
    return deadline


def _watch_shadow(placed: Placed, document: PlanDocument, default: int) -> int:
    if document.watch_shadow is None:
        return default
    points = round(float(document.watch_shadow) * FULL_WEIGHT, 6)
    if points != int(points):
        message = f"A watch_shadow of {points / 100:g}% is not possible."
        raise placed.refusal("$.watch_shadow", message, "Write 0%, or from 0.01% to 100% with two decimals.")
    return int(points)


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
