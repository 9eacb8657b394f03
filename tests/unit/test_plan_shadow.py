"""Shadow steps in a plan file: what is read, what is refused where, and which stage counts are of."""

import pytest

from lastgood.domain.plan import StepKind, Strategy
from lastgood.domain.plan_built_in import built_in, default_guardrails, standing_shadow
from lastgood.domain.plan_file import parse_plan
from lastgood.errors import LastgoodError

WHOLE = """\
steps:
  - {shadow: 10%, for: 1h, samples: 500}
  - {pause: 5m}
  - {shadow: 0.5%, for: until resumed}
  - {approve: Ask}
  - {weight: 5%, for: 10m}
  - {weight: 50%, for: 10m}
watch_shadow: 0.25%
watch_run_length: 7d
"""


def test_shadow_steps_reach_the_plan():
    """Rate, time and pairs are read, a standing one has no end, and none of them has a weight."""
    plan = parse_plan(WHOLE)
    first, _, stands, *_ = plan.steps
    assert (first.kind, first.rate, first.weight) == (StepKind.SHADOW, 1000, 0)
    assert (first.duration, first.samples) == (3600.0, 500)
    assert (stands.rate, stands.duration) == (50, None)
    assert (plan.watch_shadow, plan.watch_run_length) == (25, 7 * 86_400.0)


def test_a_stage_is_the_step_in_force_and_copies_end_with_the_first_weight():
    """Pauses and gates keep the copies of the shadow step before them; from the first weight on there are none."""
    plan = parse_plan(WHOLE)
    steps = range(len(plan.steps))
    assert [plan.stage_at(step) for step in steps] == [0, 0, 2, 2, 4, 5]
    assert [plan.shadow_at(step) for step in steps] == [1000, 1000, 50, 50, 0, 0]
    assert [plan.weight_at(step) for step in steps] == [0, 0, 0, 0, 500, 5000]
    assert [plan.stands_at(step) for step in steps] == [False, False, True, False, False, False]
    pairs = [stage for stage in range(10) if plan.pairs_at(stage)]
    assert (plan.watch_stage, plan.pair_stage, pairs) == (6, 7, [0, 2, 7])


@pytest.mark.parametrize("strategy", [Strategy.CANARY, Strategy.BLUE_GREEN])
def test_a_standing_shadow_comes_before_the_built_in_steps(strategy):
    """Whoever promotes out of it goes on with the built-in plan."""
    plan = standing_shadow(strategy, 1000)
    assert plan.stands_at(0)
    assert plan.steps[1:] == built_in(strategy).steps
    assert plan.guardrails == built_in(strategy).guardrails


@pytest.mark.parametrize(
    "text",
    [
        "steps:\n  - {shadow: 10%, for: until resumed}",
        "strategy: blue_green\nsteps:\n  - {shadow: 10%, for: 1h}\n  - {weight: 100%}",
        "strategy: blue_green\nsteps:\n  - {shadow: 10%, samples: 100}\n  - {approve: Ask}",
        "watch_shadow: 0%",
        "watch_shadow: 100%",
    ],
)
def test_what_a_person_ends_needs_no_weight(text):
    """A standing shadow alone is a plan, and so is a blue_green one whose last word is a person's."""
    assert parse_plan(text).guardrails == default_guardrails(parse_plan(text).strategy)


FAULTS = [
    ("steps:\n  - shadow: 0%\n    for: 1h", 2, 13, "0.01% to 100%"),
    ("steps:\n  - shadow: 101%\n    for: 1h", 2, 13, "0% to 100%"),
    ("steps:\n  - shadow: 10%\n    for: 10", 3, 10, "10 has no unit"),
    ("steps:\n  - shadow: 10%\n    fro: 1h", 3, 5, "Did you mean 'for'?"),
    ("steps:\n  - shadow: 10%", 2, 5, "over before anything was copied"),
    ("steps:\n  - {shadow: 10%, for: until resumed, samples: 5}", 2, 48, "waits for no pairs"),
    ("steps:\n  - weight: 5%\n  - {shadow: 10%, for: 1h}", 3, 14, "after a step with a weight"),
    ("steps:\n  - {shadow: 10%, for: 1h}", 2, 3, "No step sends traffic"),
    ("steps:\n  - {shadow: 10%, for: 1h}\n  - {approve: Ask}", 2, 3, "No step sends traffic"),
    ("strategy: blue_green\nsteps:\n  - {shadow: 10%, for: 1h}", 3, 5, "promoted on copies alone"),
    (
        "steps:\n  - {shadow: 9%, for: until resumed}\n  - {shadow: 10%, for: 1h}",
        3,
        5,
        "promoted on copies alone",
    ),
    ("strategy: all_at_once\nsteps:\n  - {shadow: 10%, for: 1h}", 2, 1, "has no steps"),
    ("watch_shadow: 0.001%", 1, 15, "0.001% is not possible"),
    ("watch_shadow: 1", 1, 15, "1 has no unit"),
    ("watch_run_length: 0s", 1, 19, "must be above 0"),
]


@pytest.mark.parametrize(("text", "line", "column", "said"), FAULTS, ids=[fault[0][:50] for fault in FAULTS])
def test_a_fault_in_a_shadow_step_is_told_at_its_place(text, line, column, said):
    """The error begins with file, line and column, says what is wrong, and what to do."""
    with pytest.raises(LastgoodError) as caught:
        parse_plan(text)
    assert caught.value.message.startswith(f"plan.yaml:{line}:{column}: ")
    assert said in str(caught.value) + caught.value.next_step
    assert caught.value.next_step
