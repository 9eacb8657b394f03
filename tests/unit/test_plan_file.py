"""Plan files: what is accepted becomes the plan that was meant; what is not is refused at its line."""

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.domain.channel import Channel
from lastgood.domain.placed_yaml import MAX_CHARACTERS
from lastgood.domain.plan import (
    MAX_GUARDRAILS,
    MAX_STEPS,
    Metric,
    OnDeadline,
    OnFail,
    Plan,
    StepKind,
    Strategy,
)
from lastgood.domain.plan_built_in import built_in
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.plan_schema import EXAMPLES
from lastgood.errors import Code, LastgoodError

WHOLE = """\
strategy: canary
steps:
  - weight: 5%
    for: 10m
    samples: 200
  - pause: 10m
  - pause: until resumed
  - approve: "Ask the fraud team"
  - weight: 50
    for: 30m
guardrails:
  - metric: health
    misses: 5
  - metric: errors
    margin: 1.5
    min_bad: 4
    share: 70%
    max: 10%
  - metric: invalid_output
    on_fail: hold
  - metric: latency
    name: slow
    quantile: p95
    max: 200ms
    min_samples: 70
false_rollback_rate: 2%
watch: 15m
deadline: 2h
on_deadline: rollback
validate_deadline: 5m
promote_deadline: 20s
rollback_deadline: 10s
notify:
  - webhook: http://127.0.0.1:9000/hook
    secret: env:HOOK_SECRET
  - command: ["notify-send", "lastgood"]
"""


def refused(text):
    with pytest.raises(LastgoodError) as caught:
        parse_plan(text)
    assert caught.value.code is Code.INVALID
    return caught.value


def test_every_key_reaches_the_plan():
    """Each key of a plan file ends up in the plan, in the plan's units."""
    plan = parse_plan(WHOLE)
    assert [(step.kind, step.weight, step.duration, step.samples) for step in plan.steps] == [
        (StepKind.WEIGHT, 500, 600, 200),
        (StepKind.PAUSE, 0, 600, 0),
        (StepKind.PAUSE, 0, None, 0),
        (StepKind.APPROVE, 0, 0, 0),
        (StepKind.WEIGHT, 5000, 1800, 0),
    ]
    assert plan.steps[3].message == "Ask the fraud team"
    health, errors, invalid, latency = plan.guardrails
    assert health.misses == 5
    assert (errors.margin.value, errors.min_bad, errors.share, errors.maximum) == (1.5, 4, 0.7, 0.1)
    assert (invalid.on_fail, invalid.maximum) == (OnFail.HOLD, None)
    assert invalid.share == pytest.approx(0.3)
    assert (latency.name, latency.quantile, latency.maximum, latency.min_samples) == ("slow", 0.95, 0.2, 70)
    assert latency.share == 0
    assert (plan.false_rollback_rate, plan.watch, plan.deadline) == (0.02, 900, 7200)
    assert (plan.on_deadline, plan.validate_deadline) == (OnDeadline.ROLLBACK, 300)
    assert (plan.promote_deadline, plan.rollback_deadline) == (20, 10)
    assert plan.notify == (
        Channel(webhook="http://127.0.0.1:9000/hook", secret="env:HOOK_SECRET"),
        Channel(command=("notify-send", "lastgood")),
    )


def test_a_plan_survives_being_stored():
    """What a plan file gives are the plan's own plain types, so the store gives back the same plan."""
    plan = parse_plan(WHOLE)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
    assert {type(step.weight) for step in plan.steps} == {int}
    assert type(plan.watch) is float


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_plan_that_says_only_its_strategy_is_the_built_in_one(strategy):
    """Every default of a plan file is the built-in plan's."""
    assert parse_plan(f"strategy: {strategy}") == built_in(strategy)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["strategy"])
def test_the_examples_of_the_schema_are_plans(example):
    """Whoever copies an example from the schema has a plan that is accepted."""
    assert parse_plan(yaml.safe_dump(example)).strategy.value == example["strategy"]


@pytest.mark.parametrize("pause", ["{}", "until resumed"])
def test_a_pause_without_end_waits_for_a_person(pause):
    """Both ways of writing it mean the same."""
    plan = parse_plan(f"steps:\n  - weight: 5%\n  - pause: {pause}\n")
    assert plan.steps[1].duration is None


def test_health_is_always_there_and_shares_come_to_one():
    """A list of guardrails keeps the health check, and the whole false-alarm rate is spent, no more."""
    plan = parse_plan(
        "guardrails:\n  - metric: errors\n  - metric: invalid_output\n  - {metric: errors, name: strict}"
    )
    assert plan.guardrails[0].metric is Metric.HEALTH
    assert sum(guardrail.share for guardrail in plan.guardrails) == pytest.approx(1)


def test_a_strategy_that_leaves_nothing_to_compare_with_gets_a_hard_limit():
    """Where stable has no traffic, an errors guardrail without 'max' still can fail."""
    plan = parse_plan(
        "strategy: blue_green\nguardrails: [{metric: errors}, {metric: invalid_output, max: 1%}]"
    )
    assert [guardrail.maximum for guardrail in plan.guardrails] == [None, 0.05, 0.01]


FAULTS = [
    ("stategy: canary", 1, 1, "Did you mean 'strategy'?"),
    ("strategy: canarry", 1, 11, "Did you mean 'canary'?"),
    ("steps:\n  - wieght: 5%", 2, 5, "Did you mean 'weight'?"),
    ("steps:\n  - weight: 5%\n    fro: 3m", 3, 5, "Did you mean 'for'?"),
    ("steps:\n  - weight: 5%\n    for: 10", 3, 10, "10 has no unit"),
    ("steps:\n  - weight: 5%\n    for: -10m", 3, 10, "not a duration"),
    ("steps:\n  - weight: 5%\n    samples: -1", 3, 14, "samples takes a whole number >= 0"),
    ("steps:\n  - weight: 0%", 2, 13, "0.01% to 100%"),
    ("steps:\n  - weight: 101", 2, 13, "0.01% to 100%"),
    ("steps:\n  - weight: 50%\n  - weight: 5%", 3, 13, "falls from 50% to 5%"),
    ("steps:\n  - {weight: 5%, pause: 10m}", 2, 5, "exactly one of: shadow, weight, pause, approve"),
    ("steps: [5%]", 1, 9, "exactly one of: shadow, weight, pause, approve"),
    ("steps: []", 1, 8, "list is empty"),
    ("steps: 5%", 1, 8, "steps takes a list, not text"),
    ("steps:\n  - pause: 10m", 2, 3, "nothing would be measured"),
    ("steps:\n  - weight: 5%\n  - pause: 0s", 3, 12, "until resumed"),
    ("steps:\n  - approve: ''", 2, 14, "approve takes text"),
    ("strategy: all_at_once\nsteps: [{weight: 5%}]", 2, 1, "all_at_once has no steps"),
    ("strategy: blue_green\nsteps: [{weight: 100%}, {weight: 100%}]", 2, 34, "second traffic step"),
    ("strategy: blue_green\nsteps: [{weight: 50%}]", 2, 18, "Write 100%"),
    ("guardrails: []", 1, 13, "nothing would stop a bad version"),
    ("guardrails: [{metric: erors}]", 1, 23, "Did you mean 'errors'?"),
    ("guardrails:\n  - misses: 3", 2, 5, "'metric' is missing"),
    ("guardrails:\n  - metric: latency", 2, 5, "max: 200ms"),
    ("guardrails:\n  - metric: latency\n    max: 5%", 3, 10, "not a duration"),
    ("guardrails:\n  - metric: latency\n    max: 0s", 3, 10, "200ms"),
    ("guardrails:\n  - metric: errors\n    max: 5s", 3, 10, "not a percentage"),
    ("guardrails:\n  - metric: errors\n    margin: 0.9", 3, 13, "margin takes a number >= 1"),
    ("guardrails:\n  - metric: health\n    quantile: p99", 3, 5, "Known here: metric, name, on_fail, misses"),
    ("guardrails:\n  - {metric: latency, max: 1s, quantile: p100}", 2, 42, "not a quantile"),
    ("guardrails:\n  - metric: errors\n  - metric: errors", 3, 5, "Two guardrails are called 'errors'"),
    ("guardrails:\n  - metric: errors\n    name: a b", 3, 11, "cannot name a guardrail"),
    ("guardrails: [{metric: errors, name: health}]", 1, 13, "part of every plan"),
    ("guardrails:\n  - metric: errors\n    share: 60%", 3, 12, "come to 60%"),
    ("guardrails:\n  - {metric: errors, share: 100%}\n  - metric: invalid_output", 3, 5, "come to 100%"),
    ("guardrails:\n  - {metric: errors, share: 0%}", 2, 29, "more than 0%"),
    ("false_rollback_rate: 0%", 1, 22, "at most 50%"),
    ("false_rollback_rate: 51%", 1, 22, "at most 50%"),
    ("false_rollback_rate: 0.01", 1, 22, "has no unit"),
    ("deadline: 15m", 1, 11, "steps take 900 s"),
    ("rollback_deadline: 0s", 1, 20, "above 0"),
    ("on_deadline: promote", 1, 14, "Possible: hold, rollback"),
    ("notify: [{}]", 1, 10, "exactly one"),
    ("notify: [{webhook: 'http://a/', command: [x]}]", 1, 10, "exactly one"),
    ("notify:\n  - webhook: ftp://example.org/", 2, 14, "http or https"),
    ("notify:\n  - webhook: 'http://'", 2, 14, "http or https"),
    ("notify:\n  - webhook: 'http://a:port/'", 2, 14, "not a URL"),
    ("notify:\n  - command: []", 2, 14, "command is empty"),
    ("notify:\n  - command: notify-send", 2, 14, "command takes a list, not text"),
    ("notify:\n  - command: [a]\n    secret: env:A", 3, 13, "no use for it"),
]


@pytest.mark.parametrize(("text", "line", "column", "said"), FAULTS, ids=[fault[0][:40] for fault in FAULTS])
def test_a_fault_is_told_at_its_line_with_what_to_do(text, line, column, said):
    """The error begins with file, line and column, and says what is accepted there."""
    error = refused(text)
    assert error.message.startswith(f"plan.yaml:{line}:{column}: ")
    assert said in str(error)
    assert error.next_step
    assert (error.details["line"], error.details["column"]) == (line, column)


@pytest.mark.parametrize(
    "secret", ["hunter2", "'0123456'", "0123456", "12:30:45", "yes", "2026-11-21", "env:", "file:"]
)
def test_a_secret_written_out_is_refused_and_not_shown(secret):
    """A key in a plan file would be seen by everybody; not even the error repeats it."""
    error = refused(f"notify:\n  - webhook: http://a/\n    secret: {secret}\n")
    assert secret.strip("'") not in f"{error} {error.details}".replace("env:NAME", "").replace(
        "file:PATH", ""
    )
    assert error.details["line"] == 3


def test_a_webhook_is_not_repeated_in_an_error():
    """A URL may hold a key, so a refused one is not shown."""
    error = refused("notify:\n  - webhook: ftp://user:topsecret@example.org/?key=topsecret")
    assert "topsecret" not in f"{error} {error.details}"


def test_there_are_limits_on_how_much_a_plan_may_hold():
    """One step, guardrail or channel too many is refused at the first that is too many."""
    steps = "steps:\n" + "  - weight: 5%\n" * (MAX_STEPS + 1)
    guardrails = "guardrails:\n" + "".join(
        f"  - {{metric: latency, max: 1s, name: g{index}}}\n" for index in range(MAX_GUARDRAILS + 1)
    )
    channels = "notify:\n" + "  - command: [a]\n" * 21
    assert refused(steps).details["line"] == MAX_STEPS + 2
    assert refused(guardrails).details["line"] == MAX_GUARDRAILS + 2
    assert refused(channels).details["line"] == 22


def test_the_source_is_named():
    """The error names the file that the person gave."""
    with pytest.raises(LastgoodError, match=r"^plans/mine\.yaml:1:1: "):
        parse_plan("", source="plans/mine.yaml")


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.one_of(st.text(max_size=8), st.integers(), st.floats(), st.booleans(), st.none(), st.dates()),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["steps", "weight", "for", "guardrails", "metric", "max", "notify", "share", "watch"]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_is_written_gives_a_plan_or_a_plain_refusal(value):
    """No YAML document ends in anything but a plan or an error with its place."""
    try:
        outcome = parse_plan(yaml.safe_dump(value))
    except LastgoodError as error:
        outcome = error
    if isinstance(outcome, Plan):
        assert sum(guardrail.share for guardrail in outcome.guardrails) <= 1 + 1e-9
    else:
        assert outcome.code is Code.INVALID
        assert outcome.message.startswith("plan.yaml:")


YAML_TRAPS = [
    ("", 1, 1, "empty"),
    ("# only a comment", 1, 1, "empty"),
    ("- a", 1, 1, "not a mapping"),
    ("strategy: [", 1, 12, "not valid YAML"),
    ("watch: 5m\n\tdeadline: 2h", 2, 1, "not valid YAML"),
    ("watch: 5m\n---\nwatch: 5m", 2, 1, "not valid YAML"),
    ("watch: 5m\nwatch: \x01", 2, 8, "not valid YAML"),
    ("watch: 5m\nwatch: 6m", 2, 1, "given twice"),
    ("watch:", 1, 7, "value is missing"),
    ("watch: ~", 1, 8, "value is missing"),
    ("watch: on", 1, 8, "true or false"),
    ("watch: 010", 1, 8, "another number"),
    ("watch: 0x10", 1, 8, "another number"),
    ("watch: 10:30", 1, 8, "another number"),
    ("watch: .inf", 1, 8, "another number"),
    ("watch: 2026-11-21", 1, 8, "a date"),
    ("yes: 5m", 1, 1, "not plain text"),
    ("? [a]\n: 5m", 1, 3, "not plain text"),
    ("watch: &a 5m\n<<: {deadline: 2h}", 2, 1, "Merge keys"),
    ("watch: !!python/object/apply:os.system ['true']", 1, 8, "tag"),
    ("watch: !mine 5m", 1, 8, "tag"),
    ("watch: !!binary aGk=", 1, 8, "tag"),
    ("notify: !!set {a: b}", 1, 9, "tag"),
    ("steps: &a [*a]", 1, 8, "stands in"),
    ("steps: *nowhere", 1, 8, "not valid YAML"),
    ("steps: " + "[" * 25 + "]" * 25, 1, 27, "inside each other"),
]


@pytest.mark.parametrize(
    ("text", "line", "column", "said"), YAML_TRAPS, ids=[trap[0][:30] for trap in YAML_TRAPS]
)
def test_a_trap_of_yaml_is_closed(text, line, column, said):
    """What YAML would read as something else, or would build, is refused at its place."""
    error = refused(text)
    assert error.message.startswith(f"plan.yaml:{line}:{column}: ")
    assert said in error.message


def test_an_alias_bomb_is_refused_early():
    """Aliases of aliases that would make billions of values end after a few thousand."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "more than 10000 values" in refused("\n".join(levels)).message


def test_an_alias_may_save_typing():
    """An alias that repeats a small value is read as that value."""
    plan = parse_plan("watch: &t 20m\nvalidate_deadline: *t")
    assert plan.watch == plan.validate_deadline == 1200


def test_a_text_that_no_plan_needs_is_not_read():
    """The size is limited before anything is parsed."""
    with pytest.raises(LastgoodError) as caught:
        parse_plan("#" * (MAX_CHARACTERS + 1))
    assert caught.value.code is Code.TOO_LARGE
