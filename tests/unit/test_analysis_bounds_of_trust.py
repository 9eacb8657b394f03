"""Where a comparison is not to be trusted with a decision: it only alerts, or says that it cannot be judged."""

import math

import msgspec
import pytest

from lastgood.analysis import sentences
from lastgood.analysis.fold import fold
from lastgood.analysis.judge import judge
from lastgood.domain.change import Evidence
from lastgood.domain.plan import Guardrail, LatencyTest, Metric, NoData, OnFail, Plan, PromoteWhen
from lastgood.domain.traffic import ArmCounts, Baseline, Stratum, Units
from lastgood.domain.verdict import Finding, Verdict

KEYS = Baseline(units=Units.KEYS, latency={200: 900, 230: 100})
SLOW = Guardrail(name="slow", metric=Metric.LATENCY, share=1.0, objective=0.05)
ERRORS = Guardrail(name="errors", metric=Metric.ERRORS, share=1.0)
KINDS = [LatencyTest.OBJECTIVE, LatencyTest.QUANTILES, LatencyTest.DISTRIBUTION]


def timed(requests: int, bucket: int) -> ArmCounts:
    return ArmCounts(requests=requests, latency={bucket: requests})


def found(
    guardrail: Guardrail,
    pairs: list[tuple[ArmCounts, ArmCounts]],
    baseline: Baseline = KEYS,
    *,
    rate: float = 0.05,
) -> Finding:
    plan = Plan(guardrails=(guardrail,), false_rollback_rate=rate, promote_when=PromoteWhen.PROVEN)
    strata = [
        Stratum(release=7, sequence=number, stage=0, closed_at=1.0, candidate=one, stable=other)
        for number, (one, other) in enumerate(pairs, start=1)
    ]
    evidence = fold(plan, baseline, Evidence(release=7), strata)
    (finding,) = judge(plan, baseline, evidence, misses=0, intervals=False)
    return finding


@pytest.mark.parametrize("test", KINDS)
def test_a_latency_comparison_under_keys_only_alerts_and_proves_nothing(test: LatencyTest) -> None:
    """Slower by far: failed, but alert and never roll back, with the reason; no proof is asked of it, shown or not."""
    guardrail = msgspec.structs.replace(SLOW, latency_test=test)
    finding = found(guardrail, [(timed(10, 270), timed(90, 200))] * 8)

    assert (finding.verdict, finding.on_fail) == (Verdict.FAILED, OnFail.ALERT)
    assert "each caller has speeds of its own" in finding.sentence
    assert finding.sentence.endswith(": alert.")
    assert (finding.proven, finding.numbers["proof"]) == (None, None)
    good = found(guardrail, [(timed(10, 200), timed(90, 200))] * 20)
    assert (good.verdict, good.on_fail, good.proven) == (Verdict.PASSED, OnFail.ALERT, None)
    requests = msgspec.structs.replace(KEYS, units=Units.REQUESTS)
    elsewhere = found(guardrail, [(timed(10, 270), timed(90, 200))] * 8, requests)
    assert elsewhere.on_fail is OnFail.ROLLBACK


@pytest.mark.parametrize("test", KINDS)
def test_the_maximum_of_such_a_guardrail_keeps_its_own_consequence(test: LatencyTest) -> None:
    """Over the maximum it rolls back; failed by comparison alone it alerts, once the maximum has been looked at."""
    guardrail = msgspec.structs.replace(SLOW, latency_test=test, maximum=0.1)
    pairs = [(timed(10, 255), timed(90, 200))] * 8  # 64 ms against 6 ms

    compared = found(guardrail, pairs)
    assert (compared.verdict, compared.on_fail) == (Verdict.FAILED, OnFail.ALERT)
    early = found(guardrail, pairs[:4])
    assert (early.verdict, early.on_fail) == (Verdict.INCONCLUSIVE, OnFail.ROLLBACK)
    limited = found(msgspec.structs.replace(guardrail, maximum=0.02), pairs)
    assert (limited.verdict, limited.on_fail) == (Verdict.FAILED, OnFail.ROLLBACK)
    assert limited.sentence.endswith(": roll back.")


def test_without_any_data_such_a_guardrail_does_what_the_plan_says() -> None:
    """``no_data: fail`` still means its own on_fail."""
    guardrail = msgspec.structs.replace(SLOW, latency_test=LatencyTest.OBJECTIVE, no_data=NoData.FAIL)
    finding = found(guardrail, [])

    assert (finding.on_fail, finding.no_data) == (OnFail.ROLLBACK, NoData.FAIL)


@pytest.mark.parametrize(
    "guardrail", [ERRORS, msgspec.structs.replace(SLOW, latency_test=LatencyTest.OBJECTIVE)]
)
def test_an_interval_too_large_to_compare_is_an_error_and_never_passes(guardrail: Guardrail) -> None:
    """All of ten thousand million candidate requests bad: not compared, so cannot be judged, also with good ones after."""
    many = 10**10
    bad = ArmCounts(requests=many, errors=many, latency={270: many})
    good = ArmCounts(requests=many, latency={200: many})
    small = (timed(100, 200), timed(900, 200))
    requests = msgspec.structs.replace(KEYS, units=Units.REQUESTS)
    finding = found(guardrail, [(bad, good), small, small], requests)

    assert finding.verdict is Verdict.ERROR
    assert "1 interval held more than 10 000 000 000 requests" in finding.sentence
    assert finding.sentence.endswith(": cannot be judged.")
    assert found(guardrail, [small], requests).verdict is Verdict.PASSED
    limited = msgspec.structs.replace(guardrail, maximum=0.04)
    assert found(limited, [(bad, good)], requests).verdict is Verdict.FAILED


def test_an_objective_is_told_as_it_was_set() -> None:
    """50 ms are 50 ms in the sentence; where the bucket begins is among the numbers."""
    requests = msgspec.structs.replace(KEYS, units=Units.REQUESTS)
    guardrail = msgspec.structs.replace(SLOW, latency_test=LatencyTest.OBJECTIVE)
    finding = found(guardrail, [(timed(10, 250), timed(90, 249))] * 8, requests)

    assert "slower than the objective (50 ms):" in finding.sentence
    assert finding.numbers["slower_than_seconds"] > 0.05


def test_a_failed_sentence_speaks_of_no_missing_proof() -> None:
    """It is worse: that it is not shown to be no worse is not worth a word."""
    requests = Baseline()
    bad = [(ArmCounts(requests=10, errors=9), ArmCounts(requests=90))]
    good = [(ArmCounts(requests=60), ArmCounts(requests=90))]

    assert "not yet shown" not in found(ERRORS, bad, requests).sentence
    assert "not yet shown" in found(ERRORS, good, requests).sentence


@pytest.mark.parametrize(
    ("evidence", "bound", "told"),
    [
        (240.9, 166.7, "240 : 1, bound 167 : 1"),
        (166.9, 166.7, "167 : 1, bound 167 : 1"),
        (166.6, 166.7, "166 : 1, bound 167 : 1"),
        (40.0, 40.0, "40 : 1, bound 40 : 1"),
        (0.01, 2.5, "under 0.1 : 1, bound 2.5 : 1"),
        (1e9, 100.0, "over 1 000 000 : 1, bound 100 : 1"),
    ],
)
def test_evidence_is_told_against_its_bound_in_one_way(evidence: float, bound: float, told: str) -> None:
    """What reached its bound never looks smaller than it, and what did not never looks as large."""
    assert sentences.bet(math.log(evidence), math.log(bound)) == told
