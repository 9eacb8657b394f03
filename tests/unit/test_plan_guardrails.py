"""The keys of evidence in plan files: margins, proof, ways of comparing latency, counters, dry runs, promotion."""

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.domain.plan import (
    DEFAULT_PROOF,
    LatencyTest,
    Margin,
    MarginKind,
    Metric,
    NoData,
    OnDeadline,
    OnFail,
    Plan,
    PromoteWhen,
    Strategy,
    UnitsChoice,
)
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.plan_guardrail_rules import compares
from lastgood.domain.plan_guardrails import GUARDRAIL_KINDS
from lastgood.errors import Code, LastgoodError


def guardrail(keys):
    return next(
        one for one in parse_plan(f"guardrails: [{{{keys}}}]").guardrails if one.metric is not Metric.HEALTH
    )


ODDS, POINTS = MarginKind.ODDS, MarginKind.ABSOLUTE


def test_the_keys_of_evidence_reach_the_plan():
    """How it is promoted, what is counted and what happens at the deadline are the plan's."""
    plan = parse_plan(
        "promote_when: proven\nfalse_promotion_rate: 2%\nsoak: 20m\nunits: keys\non_deadline: ask\n"
    )
    assert (plan.promote_when, plan.false_promotion_rate, plan.soak) == (PromoteWhen.PROVEN, 0.02, 1200)
    assert (plan.units, plan.on_deadline) == (UnitsChoice.KEYS, OnDeadline.ASK)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


@pytest.mark.parametrize(
    ("keys", "test", "objective", "quantiles"),
    [
        ("metric: latency, objective: 200ms", LatencyTest.OBJECTIVE, 0.2, ()),
        ("metric: latency, quantiles: [p50, p99]", LatencyTest.QUANTILES, None, (0.5, 0.99)),
        ("metric: latency, compare: quantiles", LatencyTest.QUANTILES, None, ()),
        ("metric: latency, compare: distribution, max: 1s", LatencyTest.DISTRIBUTION, None, ()),
        ("metric: latency, max: 1s", LatencyTest.NONE, None, ()),
    ],
)
def test_latency_is_compared_in_the_way_that_is_written(keys, test, objective, quantiles):
    """Each way of writing it gives its test, and only a comparison takes a share."""
    found = guardrail(keys)
    assert (found.latency_test, found.objective, found.quantiles) == (test, objective, quantiles)
    assert found.maximum == (1.0 if "max" in keys else None)
    assert found.share == (0.0 if test is LatencyTest.NONE else 1.0)


def test_a_counter_guardrail_is_called_like_its_counter():
    """Without a name its counter is its name, and two guardrails may watch one counter under two names."""
    plan = parse_plan(
        "guardrails: [{metric: counter, counter: low}, {metric: counter, counter: low, name: lower, max: 5%}]"
    )
    _, first, second = plan.guardrails
    assert (first.name, first.counter, first.metric) == ("low", "low", Metric.COUNTER)
    assert (second.name, second.counter, second.maximum) == ("lower", "low", 0.05)


@pytest.mark.parametrize(
    ("keys", "margin", "proof"),
    [
        ("metric: errors", Margin(ODDS, 1.2), DEFAULT_PROOF),
        ("metric: timeouts, margin: 0.5pp", Margin(POINTS, 0.005), DEFAULT_PROOF),
        ("metric: errors, margin: 3", Margin(ODDS, 3.0), (Margin(POINTS, 0.01),)),
        ("metric: errors, margin: 1.5pp", Margin(POINTS, 0.015), (Margin(ODDS, 2.0),)),
        ("metric: errors, proof_margin: 1.3", Margin(ODDS, 1.2), (Margin(ODDS, 1.3),)),
        ("metric: errors, proof_margin: 0.1pp", Margin(ODDS, 1.2), (Margin(POINTS, 0.001),)),
        (
            "metric: counter, counter: a, proof_margin: [2pp, 3]",
            Margin(ODDS, 1.2),
            (Margin(POINTS, 0.02), Margin(ODDS, 3.0)),
        ),
        ("metric: latency, objective: 1s, margin: 1pp", Margin(POINTS, 0.01), (Margin(ODDS, 2.0),)),
        ("metric: latency, compare: distribution, margin: 2.5", Margin(ODDS, 2.5), DEFAULT_PROOF),
        (
            "metric: latency, compare: distribution, proof_margin: 1.1",
            Margin(ODDS, 1.2),
            (Margin(ODDS, 1.1),),
        ),
    ],
)
def test_margins_are_odds_or_points(keys, margin, proof):
    """A number is odds, pp is a difference; a default proof margin that is not wider falls away."""
    found = guardrail(keys)
    assert (found.margin, found.proof) == (margin, proof)


def test_a_dry_run_takes_no_share_and_leaves_the_others_the_whole():
    """Shares are divided over what compares and counts, and nothing is left over for a dry run."""
    plan = parse_plan(
        "guardrails: [{metric: errors}, {metric: timeouts, dry_run: true, no_data: fail}, "
        "{metric: latency, objective: 1s}, {metric: latency, name: limit, max: 2s, no_data: ignore}]"
    )
    assert [one.share for one in plan.guardrails] == [0.0, 0.5, 0.0, 0.5, 0.0]
    assert [one.dry_run for one in plan.guardrails] == [False, False, True, False, False]
    assert [one.no_data for one in plan.guardrails[2:]] == [NoData.FAIL, NoData.HOLD, NoData.IGNORE]


def test_every_rate_of_failures_gets_a_hard_limit_where_stable_keeps_no_traffic():
    """Timeouts are like errors there; a counter, of which nothing is known, must bring its own."""
    plan = parse_plan(
        "strategy: blue_green\nguardrails: [{metric: timeouts}, {metric: counter, counter: a, max: 30%}]"
    )
    assert [one.maximum for one in plan.guardrails] == [None, 0.05, 0.3]


FAULTS = [
    ("guardrails:\n  - metric: latency\n    quantile: p99", 3, 5, "there is no 'max'"),
    ("guardrails:\n  - {metric: latency, objective: 0s}", 2, 34, "no time"),
    ("guardrails:\n  - {metric: latency, objective: 1s, compare: distribution}", 2, 38, "one way only"),
    ("guardrails:\n  - {metric: latency, quantiles: [p50], compare: quantiles}", 2, 41, "one way only"),
    ("guardrails:\n  - {metric: latency, quantiles: []}", 2, 34, "1 to 10"),
    ("guardrails:\n  - {metric: latency, quantiles: [p50, p50]}", 2, 34, "each once"),
    ("guardrails:\n  - {metric: latency, quantiles: [p50, 99]}", 2, 40, "has no unit"),
    ("guardrails:\n  - {metric: latency, compare: distibution}", 2, 32, "Did you mean 'distribution'?"),
    ("guardrails:\n  - {metric: latency, max: 1s, margin: 1.5}", 2, 32, "'max' alone compares nothing"),
    ("guardrails:\n  - {metric: latency, max: 1s, share: 50%}", 2, 32, "'max' alone compares nothing"),
    ("guardrails:\n  - {metric: latency, compare: distribution, margin: 1pp}", 2, 54, "points is for rates"),
    ("guardrails:\n  - {metric: latency, quantiles: [p50], margin: 1pp}", 2, 49, "points is for rates"),
    ("guardrails:\n  - {metric: errors, margin: 5%}", 2, 30, "not a margin"),
    ("guardrails:\n  - {metric: errors, margin: 0pp}", 2, 30, "above 0pp"),
    ("guardrails:\n  - {metric: errors, margin: 100pp}", 2, 30, "below 100pp"),
    ("guardrails:\n  - {metric: errors, margin: [1.2]}", 2, 30, "a list is not a margin"),
    ("guardrails:\n  - {metric: errors, proof_margin: 1.2}", 2, 36, "not wider than the margin 1.2"),
    (
        "guardrails:\n  - {metric: errors, margin: 2pp, proof_margin: 1pp}",
        2,
        49,
        "not wider than the margin 2pp",
    ),
    ("guardrails:\n  - {metric: errors, proof_margin: [2, 3]}", 2, 36, "one of each kind"),
    ("guardrails:\n  - {metric: errors, proof_margin: []}", 2, 36, "at least one"),
    ("guardrails:\n  - {metric: errors, margin: 1pp, proof_margin: 1}", 2, 49, "odds above 1"),
    ("guardrails:\n  - metric: counter", 2, 5, "counter: low_confidence"),
    ("guardrails:\n  - {metric: counter, counter: Low}", 2, 32, "small letters"),
    ("guardrails:\n  - {metric: counter, counter: lastgood.low}", 2, 32, "cannot name a counter"),
    ("guardrails:\n  - {metric: counter, counter: a}\n  - {metric: counter, counter: a}", 3, 5, "called 'a'"),
    ("guardrails:\n  - {metric: errors, counter: a}", 2, 22, "'counter' is not known"),
    ("guardrails:\n  - {metric: errors, dry_run: true, share: 10%}", 2, 37, "takes no share"),
    ("guardrails:\n  - {metric: errors, dry_run: 1}", 2, 31, "dry_run takes true or false"),
    ("guardrails:\n  - {metric: errors, dry_run: yes}", 2, 31, "Write true or false"),
    ("guardrails:\n  - {metric: errors, no_data: ignored}", 2, 31, "Did you mean 'ignore'?"),
    ("strategy: blue_green\nguardrails:\n  - {metric: counter, counter: a}", 3, 5, "hard limit"),
    ("strategy: all_at_once\nguardrails:\n  - {metric: latency, compare: quantiles}", 3, 5, "hard limit"),
    ("promote_when: proved", 1, 15, "Did you mean 'proven'?"),
    (
        "promote_when: proven\nguardrails: [{metric: latency, max: 1s}]",
        1,
        15,
        "Add one, such as 'metric: errors'",
    ),
    (
        "promote_when: proven\nguardrails: [{metric: errors, dry_run: true}]",
        1,
        15,
        "dry runs and alerts apart",
    ),
    (
        "promote_when: proven\nguardrails: [{metric: errors, on_fail: alert}]",
        1,
        15,
        "dry runs and alerts apart",
    ),
    ("promote_when: proven\nstrategy: blue_green", 1, 15, "Use canary"),
    ("promote_when: proven\nsteps: [{weight: 100%}]", 1, 15, "weight below 100%"),
    ("false_promotion_rate: 0%", 1, 23, "5% is usual"),
    ("false_promotion_rate: 60%", 1, 23, "at most 50%"),
    ("deadline: 1h\nsoak: 1h", 2, 7, "shorter than the deadline"),
    ("soak: 8d", 1, 7, "shorter than the deadline"),
    ("strategy: all_at_once\nsoak: 1m", 2, 7, "nothing to soak"),
    ("units: key", 1, 8, "Did you mean 'keys'?"),
]


@pytest.mark.parametrize(("text", "line", "column", "said"), FAULTS, ids=[fault[0][:60] for fault in FAULTS])
def test_a_broken_rule_is_told_at_its_line_with_what_to_do(text, line, column, said):
    """The error begins with file, line and column, and says what is accepted there."""
    with pytest.raises(LastgoodError) as caught:
        parse_plan(text)
    error = caught.value
    assert error.code is Code.INVALID
    assert error.message.startswith(f"plan.yaml:{line}:{column}: ")
    assert said in str(error)
    assert error.next_step


GUARDRAIL_KEYS = {
    "on_fail": ["rollback", "alert"],
    "margin": [1.2, 3, "0.5pp", "2pp"],
    "proof_margin": [4, 2, "1pp", [2, "1pp"], "3pp"],
    "min_bad": [1, 5],
    "share": ["10%"],
    "no_data": ["fail", "ignore"],
    "dry_run": [True, False],
    "objective": ["1s"],
    "quantiles": [["p50"], ["p50", "p99"]],
    "compare": ["distribution", "quantiles"],
    "quantile": ["p99"],
}
NEEDED = {
    Metric.COUNTER: {"counter": "low"},
    Metric.LATENCY: {"max": "1s"},
    Metric.CUSTOM: {"source": {"python": "complaints"}, "compare": "counts"},
}


def known_keys(metric):
    """Return the keys that this metric's guardrail has."""
    fields = msgspec.structs.fields(GUARDRAIL_KINDS[metric.value])
    return [field.encode_name for field in fields if field.encode_name in GUARDRAIL_KEYS]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(list(Strategy)),
    st.sampled_from(list(PromoteWhen)),
    st.lists(
        st.sampled_from(list(Metric)).flatmap(
            lambda metric: st.tuples(
                st.just(metric),
                st.dictionaries(st.sampled_from(known_keys(metric)), st.integers(0, 9), max_size=3),
            )
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_whatever_guardrails_are_written_the_rules_hold(strategy, promote_when, guardrails):
    """Every mixture of keys is refused in words, or gives a plan in which each rule across keys is true."""
    rows = [
        {"metric": metric.value, "name": f"g{at}", **NEEDED.get(metric, {})}
        | {key: GUARDRAIL_KEYS[key][pick % len(GUARDRAIL_KEYS[key])] for key, pick in keys.items()}
        for at, (metric, keys) in enumerate(guardrails)
    ]
    text = yaml.safe_dump(
        {"strategy": strategy.value, "promote_when": promote_when.value, "guardrails": rows}
    )
    try:
        plan = parse_plan(text)
    except LastgoodError as error:
        plan = error
    if isinstance(plan, LastgoodError):
        assert plan.code is Code.INVALID
        assert plan.message.startswith("plan.yaml:")
        assert plan.next_step
        return
    sharing = [one for one in plan.guardrails if compares(one) and not one.dry_run]
    assert sum(one.share for one in plan.guardrails) == pytest.approx(1.0 if sharing else 0.0)
    assert all((one.share > 0) == (one in sharing) for one in plan.guardrails)
    for one in plan.guardrails:
        assert one.proof or one.drift is not None or one.agreement is not None
        in_time = one.latency_test is LatencyTest.DISTRIBUTION
        assert in_time or all(
            way.kind is not one.margin.kind or way.value > one.margin.value for way in one.proof
        )
        assert one.metric is not Metric.LATENCY or compares(one) or one.maximum is not None
        assert (one.metric is Metric.COUNTER) == bool(one.counter)
        assert strategy is Strategy.CANARY or not compares(one) or one.maximum is not None
    if promote_when is PromoteWhen.PROVEN:
        assert any(one.on_fail is not OnFail.ALERT for one in sharing)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
