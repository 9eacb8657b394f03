"""The steps of a plan file: each by itself, then what they are together under the plan's strategy."""

from typing import Any

from lastgood.domain.placed_yaml import Placed
from lastgood.domain.plan import MAX_STEPS, Step, StepKind, Strategy
from lastgood.domain.plan_document import STEP_KINDS, ApproveStep, PauseStep, ShadowStep, WeightStep
from lastgood.domain.plan_faults import decode_part, unknown_key
from lastgood.domain.route import FULL_WEIGHT


def read_steps(placed: Placed, strategy: Strategy, given: list[Any]) -> tuple[Step, ...]:
    """Return the steps that the plan file lists.

    :raises LastgoodError: ``invalid`` with the place of what is no step, or cannot stand where it does.
    """
    if len(given) > MAX_STEPS:
        message = f"There are {len(given)} steps; a plan has at most {MAX_STEPS}."
        raise placed.refusal(f"$.steps[{MAX_STEPS}]", message, "Use fewer, longer steps.")
    steps = tuple(_step(placed, value, f"$.steps[{index}]") for index, value in enumerate(given))
    highest = 0
    for index, step in enumerate(steps):
        if step.kind is StepKind.SHADOW and highest:
            message = "This shadow step comes after a step with a weight."
            next_step = "Copies come first: what the candidate answers to callers shows more than copies do."
            raise placed.refusal(f"$.steps[{index}].shadow", message, next_step)
        if step.kind is not StepKind.WEIGHT:
            continue
        if step.weight < highest:
            message = f"The weight falls from {_percent(highest)} to {_percent(step.weight)}."
            next_step = "Weights stay or grow from step to step; going back is what a rollback does."
            raise placed.refusal(f"$.steps[{index}].weight", message, next_step)
        highest = step.weight
    _check_strategy(placed, strategy, steps)
    return steps


def _step(placed: Placed, value: object, path: str) -> Step:
    kinds = [key for key in STEP_KINDS if isinstance(value, dict) and key in value]
    if not kinds and isinstance(value, dict) and value:
        key = next(iter(value))
        raise unknown_key(placed, path, key, [*STEP_KINDS])
    if len(kinds) != 1:
        both = f"This step is {' and '.join(kinds)} at once." if kinds else "This is not a step."
        raise placed.refusal(path, both, f"Give each step exactly one of: {', '.join(STEP_KINDS)}.")
    document = decode_part(placed, value, STEP_KINDS[kinds[0]], path)
    match document:
        case ShadowStep():
            return _shadow(placed, document, path)
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


def _shadow(placed: Placed, document: ShadowStep, path: str) -> Step:
    seconds = 0.0 if document.duration is None else document.duration.seconds
    if seconds is None and document.samples:
        message = "A standing shadow ends when a person says so, so it waits for no pairs."
        raise placed.refusal(f"{path}.samples", message, "Leave 'samples' out, or give a time in 'for'.")
    if not seconds and seconds is not None and not document.samples:
        message = "This shadow step would be over before anything was copied."
        raise placed.refusal(path, message, "Give it 'for', 'samples', or both.")
    return Step(kind=StepKind.SHADOW, rate=int(document.shadow), duration=seconds, samples=document.samples)


def _check_strategy(placed: Placed, strategy: Strategy, steps: tuple[Step, ...]) -> None:
    traffic = [index for index, step in enumerate(steps) if step.kind is StepKind.WEIGHT]
    copies = [index for index, step in enumerate(steps) if step.kind is StepKind.SHADOW]
    stands = any(steps[index].duration is None for index in copies)
    if strategy is Strategy.ALL_AT_ONCE:
        if steps:
            message = "The strategy all_at_once has no steps."
            raise placed.refusal("$.steps", message, "Remove them, or use canary.", at_key=True)
        return
    if not steps:
        message = f"The strategy {strategy.value} needs steps, and the list is empty."
        next_step = "Remove the key for the built-in steps, or use all_at_once."
        raise placed.refusal("$.steps", message, next_step)
    if strategy is Strategy.CANARY and not traffic and not stands:
        message = "No step sends traffic to the candidate, so nothing would be measured before promotion."
        raise placed.refusal("$.steps", message, "Add a step such as 'weight: 5%', or use blue_green.")
    if copies and not traffic and not _ends_by_person(steps[-1]):
        message = "Nothing is promoted on copies alone, and no step after this one has a weight or waits for a person."
        next_step = (
            "Add a step such as 'weight: 5%' or 'approve', or make it stand with 'for: until resumed'."
        )
        raise placed.refusal(f"$.steps[{len(steps) - 1}]", message, next_step)
    if strategy is Strategy.BLUE_GREEN and len(traffic) > 1:
        message = "The strategy blue_green moves all traffic at once; this is its second traffic step."
        raise placed.refusal(f"$.steps[{traffic[1]}].weight", message, "Keep one, or use canary.")
    if strategy is Strategy.BLUE_GREEN and traffic and steps[traffic[0]].weight != FULL_WEIGHT:
        message = "The strategy blue_green moves all traffic at once."
        raise placed.refusal(f"$.steps[{traffic[0]}].weight", message, "Write 100%, or use canary.")


def _ends_by_person(step: Step) -> bool:
    return step.kind is StepKind.APPROVE or (step.kind is not StepKind.WEIGHT and step.duration is None)


def _percent(weight: int) -> str:
    return f"{weight / 100:g}%"
