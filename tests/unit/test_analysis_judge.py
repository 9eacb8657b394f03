"""What guardrails say of evidence, in a verdict, numbers and one sentence."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.analysis import sentences
from lastgood.analysis.budget import alphas
from lastgood.analysis.fold import candidate_requests, fold
from lastgood.analysis.judge import judge
from lastgood.domain.change import Evidence
from lastgood.domain.plan import Guardrail, Metric, Plan, Strategy
from lastgood.domain.plan_built_in import built_in
from lastgood.domain.traffic import ArmCounts, Baseline, Stratum
from lastgood.domain.verdict import Finding, Verdict
from lastgood.errors import LastgoodError

EMPTY = Evidence(release=7)
BASELINE = Baseline()
ERRORS = Guardrail(name="errors", metric=Metric.ERRORS, share=1.0)


def plan(*guardrails: Guardrail, rate: float = 0.05) -> Plan:
    return Plan(guardrails=guardrails, false_rollback_rate=rate)


def arm(requests: int, errors: int = 0, invalid: int = 0, latency: dict[int, int] | None = None) -> ArmCounts:
    return ArmCounts(requests=requests, errors=errors, invalid=invalid, latency=latency or {})


def stratum(sequence: int, candidate: ArmCounts, stable: ArmCounts, stage: int = 0) -> Stratum:
    return Stratum(
        release=7, sequence=sequence, stage=stage, closed_at=0.0, candidate=candidate, stable=stable
    )


def folded(rules: Plan, *arms: tuple[ArmCounts, ArmCounts]) -> Evidence:
    return fold(rules, BASELINE, EMPTY, [stratum(number, *pair) for number, pair in enumerate(arms, start=1)])


def only(rules: Plan, evidence: Evidence, misses: int | None = 0) -> Finding:
    (finding,) = judge(rules, BASELINE, evidence, misses=misses)
    return finding


def test_without_data_nothing_passes_but_health() -> None:
    """No counts at all: every guardrail of every built-in plan is inconclusive, health says what it knows."""
    for strategy in Strategy:
        health, *others = judge(built_in(strategy), BASELINE, EMPTY, misses=None)

        assert health.verdict is Verdict.ERROR
        assert [finding.verdict for finding in others] == [Verdict.INCONCLUSIVE] * len(others)
        assert others
        assert all(finding.numbers["candidate"]["rate"] is None for finding in others)


@pytest.mark.parametrize(
    ("misses", "verdict"),
    [
        (None, Verdict.ERROR),
        (0, Verdict.PASSED),
        (2, Verdict.INCONCLUSIVE),
        (3, Verdict.FAILED),
        (9, Verdict.FAILED),
    ],
)
def test_health_counts_misses_in_a_row(misses: int | None, verdict: Verdict) -> None:
    """Three misses fail, fewer do not pass, and a host that cannot be asked is an error."""
    assert only(plan(Guardrail(name="health", metric=Metric.HEALTH)), EMPTY, misses=misses).verdict is verdict


def test_a_regression_fails_with_a_sentence_for_people() -> None:
    """Many more candidate errors: failed, with both rates, all counts, evidence and bound in the sentence."""
    rules = plan(ERRORS, rate=0.025)
    evidence = folded(rules, *[(arm(76, 4 - (number == 0)), arm(679, 6)) for number in range(8)])
    finding = only(rules, evidence)

    assert finding.verdict is Verdict.FAILED
    told = "errors: 5.1 % against 0.88 %, 31 of 608 against 48 of 5 432; evidence "
    assert finding.sentence.startswith(told)
    assert finding.sentence.endswith(" : 1, bound 40 : 1: roll back.")
    assert finding.numbers["candidate_requests"] == 608
    assert finding.numbers["alpha"] == 0.025
    assert finding.numbers["e_value"] >= finding.numbers["bound"]


def test_overwhelming_evidence_does_not_wait_for_the_sample_minimum() -> None:
    """Four failures of four requests fail long before 50 samples."""
    rules = plan(ERRORS)
    finding = only(rules, folded(rules, (arm(4, 4), arm(36))))

    assert finding.verdict is Verdict.FAILED
    assert finding.numbers["missing"] == 46


def test_evidence_waits_for_the_minimum_of_failures() -> None:
    """Evidence past the bound does not fail before ``min_bad`` failures, and fails with them."""
    rules = plan(Guardrail(name="errors", metric=Metric.ERRORS, share=1.0, min_bad=6))
    first = (arm(4, 4), arm(36))

    waiting = only(rules, folded(rules, first, (arm(60), arm(540))))
    assert waiting.verdict is Verdict.INCONCLUSIVE
    assert "2 failures are missing" in waiting.sentence
    assert only(rules, folded(rules, first, (arm(10, 2), arm(90)))).verdict is Verdict.FAILED


def test_a_failed_comparison_stays_failed() -> None:
    """Good strata after the bound was reached do not undo it, and the evidence shown is that which reached it."""
    rules = plan(ERRORS)
    before = folded(rules, (arm(4, 4), arm(36)))
    after = folded(rules, (arm(4, 4), arm(36)), *[(arm(500), arm(500, 5))] * 20)

    assert only(rules, after).verdict is Verdict.FAILED
    assert only(rules, after).numbers["log_e"] == only(rules, before).numbers["log_e"]


def test_a_good_candidate_passes_only_after_the_sample_minimum() -> None:
    """49 requests without an error are inconclusive, 50 pass."""
    rules = plan(ERRORS)

    few = only(rules, folded(rules, (arm(49), arm(400, 2))))
    assert few.verdict is Verdict.INCONCLUSIVE
    assert "1 more candidate request is needed" in few.sentence
    assert only(rules, folded(rules, (arm(50), arm(400, 2)))).verdict is Verdict.PASSED


def test_without_stable_requests_a_comparison_never_passes() -> None:
    """A candidate that takes all traffic has nothing beside it: inconclusive, unless there is a hard maximum."""
    rules = plan(ERRORS)
    finding = only(rules, folded(rules, (arm(5000), arm(0))))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "beside stable" in finding.sentence

    rules = plan(msgspec.structs.replace(ERRORS, maximum=0.05))
    assert only(rules, folded(rules, (arm(5000, 10), arm(0)))).verdict is Verdict.PASSED


def test_a_hard_maximum_is_judged_after_the_sample_minimum() -> None:
    """Over the maximum: inconclusive before ``min_samples``, failed from there on, though stable is as bad."""
    rules = plan(msgspec.structs.replace(ERRORS, maximum=0.05))

    assert only(rules, folded(rules, (arm(49, 5), arm(490, 50)))).verdict is Verdict.INCONCLUSIVE
    finding = only(rules, folded(rules, (arm(50, 5), arm(500, 50))))
    assert finding.verdict is Verdict.FAILED
    assert "over the maximum of 5.0 %" in finding.sentence


def test_invalid_output_is_compared_apart_from_errors() -> None:
    """Invalid answers fail their own guardrail and leave that of errors alone."""
    invalid = Guardrail(name="nan", metric=Metric.INVALID_OUTPUT, share=1.0)
    rules = plan(ERRORS, invalid)
    errors, nan = judge(rules, BASELINE, folded(rules, (arm(60, invalid=30), arm(540))), misses=0)

    assert (errors.verdict, nan.verdict) == (Verdict.PASSED, Verdict.FAILED)


def test_latency_is_judged_over_the_whole_release() -> None:
    """The quantile of all stages' candidate latencies is held against the maximum, in seconds."""
    rules = plan(Guardrail(name="latency", metric=Metric.LATENCY, maximum=0.1, quantile=0.9))
    quick, slow = {16 * 13: 40}, {16 * 18: 40}  # 8 ms, 262 ms

    none = only(rules, folded(rules, (arm(40, latency=quick), arm(9))))
    assert none.verdict is Verdict.INCONCLUSIVE
    good = only(rules, folded(rules, *[(arm(40, latency=quick), arm(9))] * 2))
    assert good.verdict is Verdict.PASSED
    assert "within the maximum of 100 ms" in good.sentence
    bad = only(rules, folded(rules, (arm(40, latency=quick), arm(9)), (arm(40, latency=slow), arm(9))))
    assert bad.verdict is Verdict.FAILED
    assert bad.numbers["candidate_seconds"] == pytest.approx(0.262, rel=0.03)
    assert bad.numbers["stable_seconds"] is None


def test_a_guardrail_that_cannot_fail_is_an_error() -> None:
    """A latency guardrail without maximum, or a comparison without a share of the rate, measures nothing."""
    share_of_none = Guardrail(name="other", metric=Metric.ERRORS, share=0.0)
    rules = plan(Guardrail(name="latency", metric=Metric.LATENCY), ERRORS, share_of_none)
    latency, _, other = judge(rules, BASELINE, folded(rules, (arm(100), arm(900))), misses=0)

    assert latency.verdict is Verdict.ERROR
    assert other.verdict is Verdict.ERROR


def test_the_false_rollback_rate_is_shared_and_never_exceeded() -> None:
    """Shares are scaled to sum 1; when all are 0 the rate is split evenly."""
    names = ("a", "b", "c")
    some = [Guardrail(name=n, metric=Metric.ERRORS, share=s) for n, s in zip(names, (3, 1, 0), strict=True)]
    none = [Guardrail(name=n, metric=Metric.INVALID_OUTPUT) for n in names]

    assert alphas(plan(*some, rate=0.04)) == pytest.approx({"a": 0.03, "b": 0.01, "c": 0.0})
    assert alphas(plan(*none, rate=0.03)) == pytest.approx({"a": 0.01, "b": 0.01, "c": 0.01})
    assert alphas(plan(Guardrail(name="health", metric=Metric.HEALTH))) == {}


def test_candidate_requests_are_known_by_stage() -> None:
    """Each stage has its own count; a stage without strata has none."""
    rules = plan(ERRORS)
    evidence = fold(rules, BASELINE, EMPTY, [stratum(1, arm(5), arm(95), 0), stratum(2, arm(25), arm(75), 2)])

    assert [candidate_requests(evidence, stage) for stage in (0, 1, 2)] == [5, 0, 25]
    assert evidence.sequence == 2


def test_strata_are_folded_in_order_and_once() -> None:
    """A stratum that is folded twice, out of order, or from another release is refused."""
    rules = plan(ERRORS)
    one = stratum(1, arm(5), arm(95))
    evidence = fold(rules, BASELINE, EMPTY, [one])

    for wrong in (one, stratum(3, arm(5), arm(95))):
        with pytest.raises(LastgoodError, match="cannot follow"):
            fold(rules, BASELINE, evidence, [wrong])
    with pytest.raises(LastgoodError, match="cannot follow"):
        fold(rules, BASELINE, Evidence(release=8), [one])


ARMS = st.builds(
    lambda n, bad, bucket: arm(n, min(n, bad), latency={bucket: n} if n else {}),
    st.integers(0, 40),
    st.integers(0, 6),
    st.integers(0, 300),
)


@given(st.lists(st.tuples(ARMS, ARMS), max_size=8), st.integers(0, 8))
@settings(max_examples=60, deadline=None)
def test_evidence_is_the_same_however_it_is_batched_and_stored(
    arms: list[tuple[ArmCounts, ArmCounts]], cut: int
) -> None:
    """Folding all at once equals folding in two parts with JSON in between, bit for bit; findings are plain."""
    rules = built_in(Strategy.BLUE_GREEN)
    strata = [stratum(number, *pair) for number, pair in enumerate(arms, start=1)]
    whole = fold(rules, BASELINE, EMPTY, strata)
    first = fold(rules, BASELINE, EMPTY, strata[:cut])
    stored = msgspec.json.decode(json.dumps(msgspec.to_builtins(first)), type=Evidence)

    again = fold(rules, BASELINE, stored, strata[cut:])
    assert msgspec.json.encode(again) == msgspec.json.encode(whole)
    for finding in judge(rules, BASELINE, whole, misses=0):
        assert json.loads(json.dumps(finding.numbers)) == finding.numbers
        assert finding.sentence.startswith(f"{finding.guardrail}: ")
        assert finding.sentence.endswith(".")


@given(
    st.lists(st.tuples(ARMS, ARMS), max_size=8),
    st.sampled_from([(), ("0:1",)]),
    st.sampled_from([None, 0, 3]),
    st.sampled_from(list(Strategy)),
)
@settings(max_examples=60, deadline=None)
def test_findings_without_words_are_the_same_findings(
    arms: list[tuple[ArmCounts, ArmCounts]],
    corrupt: tuple[str, ...],
    misses: int | None,
    strategy: Strategy,
) -> None:
    """Left out are sentences and numbers, nothing that anybody decides by."""
    rules = built_in(strategy)
    strata = [stratum(number, *pair) for number, pair in enumerate(arms, start=1)]
    evidence = fold(rules, BASELINE, EMPTY, strata)
    seen = {"misses": misses, "corrupt": corrupt}

    def bare(findings: tuple[Finding, ...]) -> list[Finding]:
        return [msgspec.structs.replace(one, sentence="", numbers={}) for one in findings]

    assert bare(judge(rules, BASELINE, evidence, told=False, **seen)) == bare(
        judge(rules, BASELINE, evidence, **seen)
    )


def test_numbers_read_well() -> None:
    """Counts, rates, evidence and durations are written for people, and small ones are never shown as zero."""
    assert sentences.count(1234567) == "1 234 567"
    assert [sentences.percent(rate) for rate in (0, 0.051, 0.00052, 1.0)] == [
        "0.0 %",
        "5.1 %",
        "0.052 %",
        "100.0 %",
    ]
    told = [sentences.to_one(log) for log in (-9.0, 0.0, 3.6888794541139363, 5.5, 99999.0)]
    assert told == ["under 0.1 : 1", "1.0 : 1", "40 : 1", "244 : 1", "over 1 000 000 : 1"]
    assert [sentences.seconds(value) for value in (0.00085, 0.0123, 1.5)] == ["850 us", "12.3 ms", "1.50 s"]
