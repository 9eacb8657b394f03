"""A split between the arms that is not what the route says."""

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.analysis import split_check
from lastgood.analysis.course import course
from lastgood.analysis.fold import fold
from lastgood.analysis.judge import judge
from lastgood.domain.change import Evidence
from lastgood.domain.kpi import Kpi, KpiCounts, KpiTerms, Labels
from lastgood.domain.plan import Guardrail, LatencyTest, Metric, Plan, Step, StepKind
from lastgood.domain.traffic import ArmCounts, Baseline, Stratum
from lastgood.domain.verdict import Finding, Verdict
from lastgood.stats import shares

BASELINE = Baseline()
ERRORS = Guardrail(name="errors", metric=Metric.ERRORS, share=1.0)
HEALTH = Guardrail(name="health", metric=Metric.HEALTH)
LIMIT = Guardrail(name="slow", metric=Metric.LATENCY, maximum=0.5, latency_test=LatencyTest.NONE)


def plan(*guardrails: Guardrail, weights: tuple[int, ...] = (1000, 5000)) -> Plan:
    steps = tuple(Step(kind=StepKind.WEIGHT, weight=weight, duration=10.0) for weight in weights)
    return Plan(steps=steps, guardrails=guardrails or (HEALTH, ERRORS, LIMIT), false_rollback_rate=0.05)


def stratum(
    sequence: int,
    candidate: int,
    stable: int,
    *,
    stage: int = 0,
    errors: int = 0,
    keyed: tuple[int, int] = (0, 0),
) -> Stratum:
    return Stratum(
        release=7,
        sequence=sequence,
        stage=stage,
        closed_at=float(sequence),
        candidate=ArmCounts(requests=candidate, errors=errors, keyed=keyed[0], latency={160: candidate}),
        stable=ArmCounts(requests=stable, keyed=keyed[1], latency={160: stable}),
    )


def judged(rules: Plan, *strata: Stratum, **also: Any) -> dict[str, Finding]:
    evidence = fold(rules, BASELINE, Evidence(release=7), strata)
    return {one.guardrail: one for one in judge(rules, BASELINE, evidence, misses=0, **also)}


def test_what_compares_is_an_error_when_the_split_is_another_one() -> None:
    """With 31 % instead of 10 % nothing that compares passes, and it says why; health and a hard limit still do."""
    found = judged(plan(), stratum(1, 1240, 2760))

    errors = found["errors"]
    assert errors.verdict is Verdict.ERROR
    assert (
        "the split is not what the route says: the candidate had 31.0 % of 4 000 requests without a key, "
        "and 10 % were meant: cannot be judged." in errors.sentence
    )
    split = errors.numbers["split"]
    assert (split["candidate"], split["stable"], split["meant"], split["stage"]) == (1240, 2760, 0.1, 0)
    assert split["log_e"] > 14.5
    assert split["bound"] == pytest.approx(2e6)
    assert [found[name].verdict for name in ("health", "slow")] == [Verdict.PASSED, Verdict.PASSED]
    assert "split" not in found["slow"].numbers


def test_a_split_as_meant_passes() -> None:
    """The share that was meant in every stage passes, and no number speaks of the split."""
    found = judged(plan(), stratum(1, 400, 3600), stratum(2, 2000, 2000, stage=1), stratum(3, 40, 360))

    assert found["errors"].verdict is Verdict.PASSED
    assert "split" not in found["errors"].numbers


def test_a_failed_guardrail_stays_failed() -> None:
    """Evidence that the candidate is worse counts before and after the split is known to be wrong."""
    bad, wrong = stratum(1, 40, 360, errors=30), stratum(2, 1240, 2760)

    for strata in (
        [bad, wrong],
        [msgspec.structs.replace(wrong, sequence=1), stratum(2, 40, 360, errors=40)],
    ):
        assert judged(plan(), *strata)["errors"].verdict is Verdict.FAILED


def test_a_wrong_split_stays_wrong() -> None:
    """Later requests that are split as meant do not make what was counted before comparable."""
    again = [stratum(number, 400, 3600) for number in range(2, 30)]

    assert judged(plan(), stratum(1, 1240, 2760), *again)["errors"].verdict is Verdict.ERROR


def test_one_stage_is_enough() -> None:
    """A stage with its own share does not hide one with another, whichever was first, and late strata count."""
    strata = (stratum(1, 2000, 2000, stage=1), stratum(2, 1000, 3000, stage=0))

    assert judged(plan(), *strata)["errors"].numbers["split"]["stage"] == 0
    assert (
        judged(plan(), stratum(1, 400, 3600), stratum(2, 1300, 2700, stage=1))["errors"].verdict
        is Verdict.ERROR
    )


@pytest.mark.parametrize(
    ("weights", "counts", "keyed"),
    [
        ((1000,), (1240, 2760), (1240, 2760)),  # their keys decide
        ((10_000,), (400, 4), (0, 0)),  # nothing is left to chance
        ((1000,), (1400, 3600), (1000, 0)),  # without the keyed ones, 400 of 4 000
    ],
)
def test_only_what_chance_decides_is_looked_at(
    weights: tuple[int, ...], counts: tuple[int, int], keyed: tuple[int, int]
) -> None:
    """Requests with a key and stages without a split say nothing of it; the rest is compared with the weight."""
    assert judged(plan(weights=weights), stratum(1, *counts, keyed=keyed))["errors"].verdict is Verdict.PASSED


def test_the_watch_has_no_split() -> None:
    """The promoted version alone answers in the watch: that is no wrong split."""
    found = judged(plan(), stratum(1, 400, 3600), stratum(2, 5000, 0, stage=2))

    assert found["errors"].verdict is Verdict.PASSED


def test_kpi_guardrails_that_compare_are_errors_too() -> None:
    """Labels of arms whose split is wrong compare nothing; a failed one stays failed; a minimum alone does not care."""
    terms = KpiTerms(output="prediction")
    accuracy = Guardrail(name="accuracy", metric=Metric.ACCURACY, share=1.0, kpi=terms)
    least = Guardrail(name="least", metric=Metric.ACCURACY, share=0.0, maximum=0.5, kpi=terms)
    rules = plan(ERRORS, accuracy, least)

    def labels(sequence: int, bad: int) -> Stratum:
        arms = Kpi(
            candidate=KpiCounts(rows=200, trials=200, bad=bad),
            stable=KpiCounts(rows=1800, trials=1800, bad=90),
        )
        return Stratum(
            release=7,
            sequence=sequence,
            stage=0,
            closed_at=9.0,
            candidate=ArmCounts(),
            stable=ArmCounts(),
            labels=Labels(kpis={"accuracy": arms, "least": arms}),
        )

    off = stratum(1, 1240, 2760)
    found = judged(rules, off, labels(2, 10))
    assert found["accuracy"].verdict is Verdict.ERROR
    assert "the split is not what the route says" in found["accuracy"].sentence
    assert found["accuracy"].numbers["split"]["candidate"] == 1240
    assert found["least"].verdict is Verdict.PASSED
    assert judged(rules, stratum(1, 400, 3600), labels(2, 10))["accuracy"].verdict is Verdict.PASSED
    assert judged(rules, off, labels(2, 80))["accuracy"].verdict is Verdict.FAILED


def test_the_same_counts_say_the_same_stored_or_not_told_or_not() -> None:
    """Evidence that went through the store goes on bit for bit, and findings without words have the same verdicts."""
    rules = plan()
    strata = [stratum(number, 20 + number, 180, stage=number % 2) for number in range(1, 40)]
    whole = fold(rules, BASELINE, Evidence(release=7), strata)
    first = fold(rules, BASELINE, Evidence(release=7), strata[:11])
    stored = msgspec.json.decode(json.dumps(msgspec.to_builtins(first)), type=Evidence)

    assert msgspec.json.encode(fold(rules, BASELINE, stored, strata[11:])) == msgspec.json.encode(whole)
    told = judge(rules, BASELINE, whole, misses=0)
    bare = judge(rules, BASELINE, whole, misses=0, told=False)
    assert [one.verdict for one in told] == [one.verdict for one in bare]
    assert Verdict.ERROR in {one.verdict for one in bare}


def test_a_replay_by_other_weights_does_not_ask_for_them() -> None:
    """Traffic split at 50 % passes a plan with 10 %, as nothing was sent by that; by its own plan it is an error."""
    recorded, other = plan(ERRORS, weights=(5000,)), plan(ERRORS, weights=(1000,))
    strata = [stratum(1, 2000, 2000)]

    def verdicts(rules: Plan, of: Plan, release: int) -> list[Verdict]:
        found = course(rules, BASELINE, strata, release=release, recorded=of)
        return [one.verdict for one in found.findings]

    assert verdicts(other, recorded, 7) == [Verdict.PASSED]
    assert verdicts(recorded, recorded, 7) == [Verdict.PASSED]
    assert verdicts(other, other, 7) == [Verdict.ERROR]


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=40),
    st.sampled_from([100, 1000, 5000, 9900]),
)
@settings(max_examples=30, deadline=None)
def test_the_quick_way_is_the_whole_test(batches: list[tuple[int, int]], weight: int) -> None:
    """What is kept of any batches is what the test itself keeps, also when it is not asked each time."""
    rules = plan(ERRORS, weights=(weight, 5000))
    splits: split_check.Splits = {}
    whole = shares.initial(split_check.ALPHA / 2, (weight / 10_000, 1.0 - weight / 10_000))
    for number, counts in enumerate(batches, start=1):
        splits = split_check.with_stratum(rules, splits, stratum(number, *counts))
        whole = shares.update(whole, counts)

    assert splits.get(0, shares.initial(whole.alpha, whole.shares)) == whole


def test_a_right_split_is_hardly_ever_called_wrong() -> None:
    """Looked at after every small stratum, two hundred releases of chance alone are never called wrong."""
    chance = random.Random(8)
    rules = plan(ERRORS, weights=(500, 5000))
    wrong = 0
    for _ in range(200):
        splits: split_check.Splits = {}
        for number in range(60):
            weight = 0.05 if number < 30 else 0.5
            candidate = sum(chance.random() < weight for _ in range(25))
            splits = split_check.with_stratum(
                rules, splits, stratum(number + 1, candidate, 25 - candidate, stage=int(number >= 30))
            )
        wrong += split_check.fault(splits) is not None
    assert wrong == 0
