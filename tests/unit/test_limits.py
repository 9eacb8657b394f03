"""Hard limits on stable's own traffic: the replay is the walk that the plan describes, judged as a release is."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from lastgood.analysis.fold import fold
from lastgood.analysis.judge import judge
from lastgood.analysis.limits import false_alarms, measured_and_bad, over
from lastgood.analysis.traps import traps
from lastgood.domain.change import Evidence
from lastgood.domain.plan import Guardrail, Metric, Plan, Step, StepKind, Strategy
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.traffic import (
    BUCKETS_PER_OCTAVE,
    ArmCounts,
    Baseline,
    Counter,
    Stratum,
    TrafficMinute,
)
from lastgood.domain.verdict import Verdict
from lastgood.stats import quantiles


def minute(at, **counts):
    return TrafficMinute(deployment="churn", version=1, minute=at, counts=ArmCounts(**counts))


def steady(minutes, **counts):
    return [minute(1000 + at, **counts) for at in range(minutes)]


def weight_step(weight, minutes=1, samples=0):
    return Step(kind=StepKind.WEIGHT, weight=weight, duration=60.0 * minutes, samples=samples)


def plan_of(*steps, limit, **changes):
    return Plan(steps=steps, guardrails=(limit,), **changes)


ERRORS = Guardrail(name="errors", metric=Metric.ERRORS, maximum=0.02, min_samples=100)


def test_one_look_fires_as_often_as_chance_says():
    """One minute at 10 % of 1 000 requests with 2 % errors: the share of runs is the exact binomial one."""
    limit = msgspec.structs.replace(ERRORS, min_samples=1)
    (found,) = false_alarms(
        plan_of(weight_step(1000), limit=limit), steady(60, requests=1000, errors=20), seed=3, runs=20_000
    )
    good, bad = binom(980, 0.1), binom(20, 0.1)
    exact = sum(bad.pmf(k) * good.cdf(math.ceil(k / 0.02) - k - 1) for k in range(21))
    assert found.runs == 20_000
    assert abs(found.rate - exact) < 4 * math.sqrt(exact * (1 - exact) / 20_000)


def test_looking_after_every_minute_fires_more_often_than_looking_once():
    """The same limit on the same traffic: thirty looks find more false alarms than the first one alone."""
    traffic = steady(600, requests=1000, errors=15)
    limit = msgspec.structs.replace(ERRORS, min_samples=1)
    once, often = (
        false_alarms(plan_of(weight_step(1000, minutes), limit=limit), traffic, seed=1)[0].rate
        for minutes in (1, 30)
    )
    assert 0.05 < once < often < 1.0


def test_the_same_seed_gives_the_same_answer_and_another_another():
    """Chance comes from the seed alone."""
    arguments = (plan_of(weight_step(1000, 5), limit=ERRORS), steady(60, requests=300, errors=4))
    first, again, other = (false_alarms(*arguments, seed=seed) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_all_traffic_is_replayed_as_it_was():
    """At a weight of 100 % nothing is left to chance: a run fires when its own minutes are over the limit."""
    traffic = [minute(at, requests=100, errors=10 if at == 5 else 0) for at in range(10)]
    (found,) = false_alarms(
        plan_of(weight_step(10_000, 2), limit=ERRORS, strategy=Strategy.BLUE_GREEN), traffic, seed=1
    )
    # Looked at after each minute from 100 requests on: starts at 5 (10 %) and at 4 (5 % after two minutes).
    assert (found.runs, found.fired, found.unjudged, found.minutes) == (1000, 200, 0, 10)


def test_a_run_ends_when_the_steps_are_over():
    """A bad minute that lies after the last step of a run does not count against it."""
    traffic = [minute(at, requests=1000, errors=500 if at == 99 else 0) for at in range(100)]
    short, long = (
        false_alarms(plan_of(weight_step(10_000, minutes), limit=ERRORS), traffic, seed=1)[0].rate
        for minutes in (1, 10)
    )
    assert (short, long) == (0.01, 0.1)


def test_samples_keep_a_step_going():
    """With half a request a minute at 1 %, 60 samples keep the first step open until the bad hour has come."""
    traffic = [minute(at, requests=50, errors=50 if at >= 600 else 0) for at in range(660)]
    quick = plan_of(weight_step(100), limit=msgspec.structs.replace(ERRORS, min_samples=1))
    slow = plan_of(weight_step(100, 1, samples=60), limit=msgspec.structs.replace(ERRORS, min_samples=1))
    rates = [false_alarms(one, traffic, seed=2)[0].rate for one in (quick, slow)]
    assert rates[0] < 0.2 < rates[1]


def test_pauses_go_on_at_the_weight_before_them_and_approvals_take_no_time():
    """A timed pause is looked through like a step; a wait for a person, or a pause before any weight, is not."""
    traffic = [minute(at, requests=1000, errors=500 if at == 99 else 0) for at in range(100)]
    pause = Step(kind=StepKind.PAUSE, duration=240.0)
    person = Step(kind=StepKind.APPROVE, message="?")
    plan = plan_of(pause, weight_step(10_000), pause, person, limit=ERRORS)
    assert false_alarms(plan, traffic, seed=1)[0].rate == 0.05


def test_a_limit_that_is_never_looked_at_is_told_as_such():
    """Where the deadline comes before min_samples, no run fires and all are counted as not judged."""
    plan = plan_of(weight_step(100), limit=ERRORS, deadline=600.0)
    (found,) = false_alarms(plan, steady(60, requests=100, errors=100), seed=1)
    assert (found.rate, found.unjudged) == (0.0, found.runs)


@pytest.mark.parametrize("traffic", [[], steady(5), steady(5, requests=0, latency={})])
def test_without_traffic_there_is_no_rate(traffic):
    """An unknown false-alarm rate is None, never 0."""
    (found,) = false_alarms(plan_of(weight_step(1000), limit=ERRORS), traffic, seed=1)
    assert (found.rate, found.runs, found.minutes) == (None, 0, 0)


def test_a_plan_without_traffic_steps_has_no_rate():
    """All at once sends nothing before promotion, so there is nothing to replay."""
    plan = parse_plan("strategy: all_at_once\nguardrails: [{metric: errors}]")
    (found,) = false_alarms(plan, steady(5, requests=100), seed=1)
    assert (found.rate, found.minutes) == (None, 5)


def test_only_limits_are_told_of_each_from_its_own_counts():
    """Comparisons have no entry; each metric's limit looks at its own part of the counts."""
    plan = parse_plan(
        "guardrails: [{metric: errors}, {metric: timeouts, max: 1%}, {metric: invalid_output, max: 1%}, "
        "{metric: counter, counter: low, max: 1%}, {metric: latency, max: 1s}]"
    )
    counts = ArmCounts(
        requests=100,
        errors=9,
        timeouts=4,
        invalid=3,
        counters={"low": Counter(total=50, bad=7)},
        latency={300: 80, 320: 10},  # 2**20.03 microseconds is just over a second
    )
    looked = [measured_and_bad(one, counts) for one in plan.guardrails if one.maximum is not None]
    assert looked == [(100, 4), (100, 3), (50, 7), (90, 10)]
    found = false_alarms(plan, [minute(1, **msgspec.structs.asdict(counts))], seed=1)
    assert [one.guardrail for one in found] == ["timeouts", "invalid_output", "low", "latency"]
    assert [one.rate for one in found] == [1.0] * 4
    assert [one.quantile for one in found] == [None, None, None, 0.99]


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.integers(0, 400), st.integers(0, 60), max_size=8),
    st.floats(0.01, 0.999),
    st.floats(1e-6, 30.0),
    st.integers(1, 200),
)
def test_a_latency_limit_is_judged_by_the_quantile_of_the_histogram(histogram, q, maximum, fewest):
    """Counting the slow ones says the same as taking the quantile, for every histogram."""
    limit = Guardrail(name="l", metric=Metric.LATENCY, maximum=maximum, quantile=q, min_samples=fewest)
    measured, slow = measured_and_bad(limit, ArmCounts(latency=histogram))
    said = over(limit, np.array([measured]), np.array([slow]))[0]
    enough = measured >= fewest
    assert said == (enough and quantiles.quantile(histogram, q, BUCKETS_PER_OCTAVE) / 1e6 > maximum)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 500), st.integers(0, 500), st.floats(0.0, 1.0), st.integers(1, 100))
def test_a_rate_limit_is_broken_above_it_and_not_at_it(good, bad, maximum, fewest):
    """The rule is the plain one: enough requests, and more than the part allowed."""
    limit = Guardrail(name="e", metric=Metric.ERRORS, maximum=maximum, min_samples=fewest)
    n = good + bad
    said = over(limit, np.array([n]), np.array([bad]))[0]
    assert said == (n >= fewest and bad / n > maximum)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(
        ["errors", "timeouts", "invalid_output", "counter, counter: low", "latency, quantile: p90"]
    ),
    st.integers(0, 120),
    st.integers(0, 15),
    st.integers(1, 60),
)
def test_the_replay_judges_as_a_release_is_judged(metric, good, bad, fewest):
    """For every metric and all counts the replay's rule and the guardrail's own verdict agree."""
    limit = "1s" if metric.startswith("latency") else "10%"
    plan = parse_plan(f"guardrails: [{{metric: {metric}, max: {limit}, min_samples: {fewest}}}]")
    counts = ArmCounts(
        requests=good + bad,
        errors=bad if metric in ("errors", "timeouts") else 0,
        timeouts=bad if metric == "timeouts" else 0,
        invalid=bad if metric == "invalid_output" else 0,
        counters={"low": Counter(total=good + bad, bad=bad)},
        latency={200: good, 400: bad},
    )
    stratum = Stratum(release=1, sequence=1, stage=0, closed_at=1.0, candidate=counts, stable=counts)
    evidence = fold(plan, Baseline(), Evidence(release=1), (stratum,))
    _, finding = judge(plan, Baseline(), evidence, misses=0)
    measured, over_it = measured_and_bad(plan.guardrails[1], counts)
    said = over(plan.guardrails[1], np.array([measured]), np.array([over_it]))[0]
    assert said == (finding.verdict is Verdict.FAILED)


# --- traps ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("metric: errors, max: 1%, min_samples: 50", "Raise min_samples to 100"),
        ("metric: errors, max: 1%, min_samples: 100", None),
        ("metric: errors, max: 0.3%, min_samples: 333", "Raise min_samples to 334"),
        ("metric: errors, max: 0%", "above 0 %"),
        ("metric: errors, max: 100%, min_samples: 1", None),
        ("metric: counter, counter: a, max: 1%", "Raise min_samples to 100"),
        ("metric: latency, max: 1s, min_samples: 99", "Raise min_samples to 100"),
        ("metric: latency, max: 1s, min_samples: 100", None),
        ("metric: latency, max: 1s, quantile: p90", None),
        ("metric: errors", None),
    ],
)
def test_a_limit_that_one_request_breaks_is_a_trap(keys, said):
    """One bad request among the fewest looked at is told with the number that would mend it."""
    found = traps(parse_plan(f"guardrails: [{{{keys}}}]"), ())
    assert [said in one.next for one in found] == ([] if said is None else [True])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999]), st.integers(1, 3000))
def test_the_trap_of_a_latency_limit_is_where_one_slow_request_breaks_it(q, fewest):
    """It is told exactly when one slow request of min_samples is enough."""
    limit = Guardrail(name="l", metric=Metric.LATENCY, maximum=1.0, quantile=q, min_samples=fewest)
    breaks = bool(over(limit, np.array([fewest]), np.array([1]))[0])
    assert bool(traps(Plan(guardrails=(limit,)), ())) == breaks


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([0.001, 0.003, 0.01, 0.05, 0.07, 0.3, 1.0]), st.integers(1, 3000))
def test_the_trap_of_a_rate_limit_is_where_one_bad_request_breaks_it(maximum, fewest):
    """It is told exactly when one bad request of min_samples is enough."""
    limit = Guardrail(name="e", metric=Metric.ERRORS, maximum=maximum, min_samples=fewest)
    breaks = bool(over(limit, np.array([fewest]), np.array([1]))[0])
    assert bool(traps(Plan(guardrails=(limit,)), ())) == breaks


def test_a_sample_minimum_that_the_traffic_cannot_reach_is_a_trap():
    """At 10 requests a minute and 5 %, 500 samples take 16.7 hours: told with the step, the time and the deadline."""
    plan = parse_plan("steps: [{weight: 1%, for: 1h}, {weight: 5%, samples: 500}]\ndeadline: 12h")
    (found,) = traps(plan, steady(60, requests=10))
    assert found.sentence.startswith("Step 2 waits for 500 requests at 5.0 % of 10 requests a minute")
    assert "17.7 hours" in found.sentence
    assert traps(plan, steady(60, requests=20)) == ()


def test_a_guardrails_own_minimum_that_the_traffic_cannot_reach_is_a_trap():
    """The steps end in time, but the candidate will not have answered min_samples by the deadline."""
    plan = parse_plan(
        "steps: [{weight: 10%, for: 1m}]\ndeadline: 2h\nguardrails: [{metric: errors, min_samples: 200}]"
    )
    (found,) = traps(plan, steady(60, requests=10))
    assert found.guardrail == "errors"
    assert "answers about 120 before the deadline" in found.sentence
    assert traps(plan, steady(60, requests=20)) == ()


def test_minutes_without_requests_count_in_the_rate():
    """A request an hour is not a request a minute: gaps between recorded minutes are minutes too."""
    plan = parse_plan("steps: [{weight: 50%, samples: 100}]\ndeadline: 10h\nguardrails: [{metric: errors}]")
    assert traps(plan, [minute(0, requests=1), minute(1, requests=1)]) == ()
    assert len(traps(plan, [minute(0, requests=1), minute(60, requests=1)])) == 1
