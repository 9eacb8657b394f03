"""Every kind of guardrail through judging: verdicts, proof, budget, and what is shown of them."""

import json
import math

import msgspec
import pytest

from lastgood.analysis.budget import alphas
from lastgood.analysis.fold import fold
from lastgood.analysis.judge import judge
from lastgood.analysis.numbers import explained
from lastgood.domain.change import Evidence
from lastgood.domain.plan import (
    Guardrail,
    LatencyTest,
    Margin,
    MarginKind,
    Metric,
    NoData,
    OnFail,
    Plan,
    PromoteWhen,
)
from lastgood.domain.traffic import ArmCounts, Baseline, Counter, Firsts, Stratum, Units
from lastgood.domain.verdict import Finding, Verdict

EMPTY = Evidence(release=7)
REQUESTS = Baseline(latency={200: 900, 230: 100})
ERRORS = Guardrail(name="errors", metric=Metric.ERRORS, share=1.0)
LOW = Guardrail(name="low", metric=Metric.COUNTER, counter="low", share=1.0)
SLOW = Guardrail(name="latency", metric=Metric.LATENCY, share=1.0, objective=0.05)
KINDS = [LatencyTest.OBJECTIVE, LatencyTest.QUANTILES, LatencyTest.DISTRIBUTION]

Pair = tuple[ArmCounts, ArmCounts]


def plan(*guardrails: Guardrail, proven: bool = False) -> Plan:
    return Plan(
        guardrails=guardrails,
        false_rollback_rate=0.05,
        promote_when=PromoteWhen.PROVEN if proven else PromoteWhen.MEASURED,
    )


def folded(rules: Plan, pairs: list[Pair], baseline: Baseline = REQUESTS, *, every: float = 1.0) -> Evidence:
    strata = [
        Stratum(release=7, sequence=number, stage=0, closed_at=every * number, candidate=one, stable=other)
        for number, (one, other) in enumerate(pairs, start=1)
    ]
    return fold(rules, baseline, EMPTY, strata)


def found(
    guardrail: Guardrail,
    pairs: list[Pair],
    baseline: Baseline = REQUESTS,
    *,
    proven: bool = False,
    every: float = 1.0,
    corrupt: tuple[str, ...] = (),
) -> Finding:
    rules = plan(guardrail, proven=proven)
    evidence = folded(rules, pairs, baseline, every=every)
    (finding,) = judge(rules, baseline, evidence, misses=0, corrupt=corrupt)
    assert json.loads(json.dumps(finding.numbers)) == finding.numbers
    return finding


def errors(requests: int, bad: int = 0) -> ArmCounts:
    return ArmCounts(requests=requests, errors=bad)


def low(total: int, bad: int) -> ArmCounts:
    return ArmCounts(requests=2 * total, counters={"low": Counter(total=total, bad=bad)})


def timed(requests: int, bucket: int) -> ArmCounts:
    return ArmCounts(requests=requests, latency={bucket: requests})


def timeouts(requests: int, bad: int) -> ArmCounts:
    return ArmCounts(requests=requests, errors=bad, timeouts=bad)


def test_a_counter_of_the_versions_own_is_compared_over_the_requests_that_reported_it() -> None:
    """Totals are the counter's, not the requests; a counter that stable does not report passes nothing."""
    bad = found(LOW, [(low(10, 6), low(90, 5))] * 3)
    assert bad.verdict is Verdict.FAILED
    assert (bad.numbers["candidate"]["requests"], bad.numbers["candidate"]["bad"]) == (30, 18)
    assert found(LOW, [(low(10, 1), low(90, 9))] * 5).verdict is Verdict.PASSED

    alone = found(LOW, [(low(50, 1), errors(90))] * 5)
    assert alone.verdict is Verdict.INCONCLUSIVE
    assert "beside stable" in alone.sentence


@pytest.mark.parametrize("no_data", list(NoData))
def test_a_guardrail_without_any_data_says_so(no_data: NoData) -> None:
    """Nothing measured: inconclusive, with what the plan wants then; one request that reports it ends that."""
    guardrail = msgspec.structs.replace(LOW, no_data=no_data)

    empty = found(guardrail, [(errors(100), errors(900))])
    assert (empty.verdict, empty.no_data) == (Verdict.INCONCLUSIVE, no_data)
    assert found(guardrail, [(low(1, 0), low(9, 0))]).no_data is None
    assert found(msgspec.structs.replace(SLOW, maximum=0.1, no_data=no_data), []).no_data is no_data


def test_timeouts_are_compared_apart() -> None:
    """Requests that ran out of time fail their own guardrail; other errors do not."""
    guardrail = Guardrail(name="timeouts", metric=Metric.TIMEOUTS, share=1.0)

    assert found(guardrail, [(timeouts(10, 5), timeouts(90, 1))] * 3).verdict is Verdict.FAILED
    assert found(guardrail, [(errors(10, 5), errors(90, 1))] * 6).verdict is Verdict.PASSED


def test_an_absolute_margin_is_a_difference_of_rates() -> None:
    """From 1 to 30 % is worse by more than 20 points' margin; from 1 to 15 % is not, though the odds are 17 times."""
    guardrail = msgspec.structs.replace(ERRORS, margin=Margin(MarginKind.ABSOLUTE, 0.2))
    bad = found(guardrail, [(errors(100, 45), errors(900, 9))] * 5)

    assert bad.verdict is Verdict.FAILED
    assert bad.numbers["margin_kind"] == "absolute"
    assert found(guardrail, [(errors(100, 15), errors(900, 9))] * 5).verdict is Verdict.PASSED


@pytest.mark.parametrize("test", KINDS)
def test_slower_latencies_fail_and_equal_ones_pass(test: LatencyTest) -> None:
    """All of the candidate's requests in a slower bucket: failed, and the sentence ends with what follows."""
    guardrail = msgspec.structs.replace(SLOW, latency_test=test)
    bad = found(guardrail, [(timed(10, 255), timed(90, 200))] * 8)
    good = found(guardrail, [(timed(10, 200), timed(90, 200))] * 8)

    assert bad.verdict is Verdict.FAILED
    assert bad.sentence.endswith(": roll back.")
    assert good.verdict is Verdict.PASSED
    assert bad.numbers["candidate_seconds"] > good.numbers["candidate_seconds"]
    assert len(bad.numbers["parts"]) == (4 if test is LatencyTest.QUANTILES else 1)
    assert math.fsum(1.0 / part["bound"] for part in bad.numbers["parts"]) == pytest.approx(0.05)


def test_an_objective_is_rounded_up_to_a_bucket_and_told() -> None:
    """50 ms lie within a bucket: what is slower begins at the next edge, within 4.5 % of it."""
    guardrail = msgspec.structs.replace(SLOW, latency_test=LatencyTest.OBJECTIVE)
    finding = found(guardrail, [(timed(10, 250), timed(90, 249))] * 8)

    assert 0.05 <= finding.numbers["slower_than_seconds"] <= 0.05 * 1.045
    assert finding.numbers["candidate"]["bad"] == 80
    assert finding.numbers["stable"]["bad"] == 0
    exact = msgspec.structs.replace(guardrail, objective=0.001 * 2.0**6)  # 64 ms are an edge but for rounding
    assert found(exact, [(timed(10, 250), timed(90, 249))]).numbers["slower_than_seconds"] == pytest.approx(
        0.064, rel=0.045
    )


def test_a_margin_on_a_distribution_is_a_factor_of_time() -> None:
    """Five buckets slower (1.24 times) are tolerated by a margin of 1.2, and not by none."""
    pairs = [(timed(10, 205), timed(90, 200))] * 8
    tolerant = msgspec.structs.replace(SLOW, latency_test=LatencyTest.DISTRIBUTION, margin=Margin(value=1.2))

    assert found(tolerant, pairs).verdict is Verdict.PASSED
    strict = msgspec.structs.replace(tolerant, margin=Margin(value=1.0))
    assert found(strict, pairs).verdict is Verdict.FAILED


@pytest.mark.parametrize("test", [LatencyTest.QUANTILES, LatencyTest.DISTRIBUTION])
def test_nothing_is_compared_before_the_past_is_known(test: LatencyTest) -> None:
    """With fewer than 1 000 earlier latencies there is no bet and no pass, however slow the candidate is."""
    guardrail = msgspec.structs.replace(SLOW, latency_test=test)
    finding = found(guardrail, [(timed(10, 255), timed(90, 200))] * 9, Baseline())

    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "1 000 earlier latencies" in finding.sentence
    assert finding.numbers["log_e"] == pytest.approx(0.0, abs=1e-9)
    assert found(guardrail, [(timed(10, 255), timed(90, 200))] * 20, Baseline()).verdict is Verdict.FAILED


@pytest.mark.parametrize("test", [LatencyTest.NONE, *KINDS])
def test_the_maximum_of_a_latency_is_judged_beside_any_comparison(test: LatencyTest) -> None:
    """Both arms are as slow as each other, and slower than the maximum: failed on the maximum."""
    guardrail = msgspec.structs.replace(SLOW, latency_test=test, maximum=0.02)
    finding = found(guardrail, [(timed(10, 255), timed(90, 255))] * 8)

    assert finding.verdict is Verdict.FAILED
    assert "over the maximum of 20 ms" in finding.sentence


def test_host_minutes_are_counted_where_they_are_the_units() -> None:
    """Requests of a minute are one trial for each host: a bad candidate takes minutes, and the sentence says so."""
    hosts = Baseline(units=Units.HOSTS, latency=REQUESTS.latency)
    pairs = [(errors(100, 30), errors(900, 9))] * 20
    finding = found(ERRORS, pairs, hosts, every=60.0)

    assert finding.verdict is Verdict.FAILED
    assert finding.numbers["units"] == "hosts"
    assert finding.numbers["candidate"]["interval"] is None
    units = finding.numbers["host_minutes"]
    assert units["candidate"]["requests"] == units["candidate"]["bad"] == 18
    assert units["stable"]["bad"] < 9
    assert "unusual minutes of a host" in finding.sentence
    same = found(ERRORS, pairs, hosts)
    assert same.verdict is Verdict.INCONCLUSIVE
    assert "no minute of both hosts is complete yet" in same.sentence


@pytest.mark.parametrize("test", KINDS)
def test_latencies_count_host_minutes_too(test: LatencyTest) -> None:
    """A slower candidate is found by host-minutes; a distribution then becomes four quantiles."""
    hosts = Baseline(units=Units.HOSTS, latency=REQUESTS.latency)
    guardrail = msgspec.structs.replace(SLOW, latency_test=test, margin=Margin(value=1.0))
    pairs = [(timed(100, 270), timed(900, 200))] * 20
    finding = found(guardrail, pairs, hosts, every=60.0)

    assert finding.verdict is Verdict.FAILED
    assert len(finding.numbers["parts"]) == (1 if test is LatencyTest.OBJECTIVE else 4)


def test_keys_do_not_reach_latencies() -> None:
    """With keys as units a latency guardrail counts requests, an errors guardrail what comes before a key's first."""
    keys = Baseline(units=Units.KEYS, latency=REQUESTS.latency)
    once = ArmCounts(
        requests=10,
        errors=10,
        keyed=10,
        latency={200: 10},
        firsts={"errors": Firsts(bad=10, repeats=9, keys=[3])},
    )
    pairs = [(once, ArmCounts(requests=90, latency={200: 90}))] * 6
    latency = found(msgspec.structs.replace(SLOW, latency_test=LatencyTest.OBJECTIVE), pairs, keys)
    finding = found(ERRORS, pairs, keys)

    assert latency.numbers["units"] == "requests"
    assert latency.numbers["candidate"]["requests"] == 60
    assert finding.verdict is Verdict.INCONCLUSIVE  # of 60 requests, one says something
    assert (finding.numbers["candidate"]["requests"], finding.numbers["candidate"]["bad"]) == (1, 1)
    assert "up to each key's first" in finding.sentence
    limited = found(msgspec.structs.replace(ERRORS, maximum=0.5), pairs, keys)
    assert limited.verdict is Verdict.FAILED
    assert "100.0 % of all, over the maximum of 50.0 %" in limited.sentence


def test_a_candidate_that_met_only_known_keys_has_shown_nothing() -> None:
    """Its one request is of a key that failed before, on stable: told as such, with nothing divided by nothing."""
    keys = Baseline(units=Units.KEYS)
    known = ArmCounts(requests=20, errors=1, keyed=20, firsts={"errors": Firsts(bad=1, keys=[3])})
    again = ArmCounts(requests=1, errors=1, keyed=1, firsts={"errors": Firsts(bad=1, keys=[3])})
    finding = found(ERRORS, [(again, known)], keys)

    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "no candidate request that still counts" in finding.sentence
    assert finding.numbers["candidate"] == {"requests": 0, "bad": 0, "rate": None, "interval": None}


@pytest.mark.parametrize(
    ("on_fail", "word"), [(OnFail.ROLLBACK, "roll back"), (OnFail.HOLD, "hold"), (OnFail.ALERT, "alert")]
)
def test_the_last_word_is_what_follows(on_fail: OnFail, word: str) -> None:
    """Roll back, hold or alert; a dry run says that it only would."""
    guardrail = msgspec.structs.replace(ERRORS, on_fail=on_fail)
    pairs = [(errors(10, 9), errors(90))]

    assert found(guardrail, pairs).sentence.endswith(f" : 1: {word}.")
    dry = found(msgspec.structs.replace(guardrail, dry_run=True), pairs)
    assert dry.sentence.endswith(f": would {word} (dry run).")
    assert dry.dry_run
    assert dry.verdict is Verdict.FAILED
    assert found(guardrail, [(errors(10), errors(90))]).sentence.endswith("needed: not enough yet.")
    assert found(guardrail, [(errors(60), errors(90))]).sentence.endswith(": passed.")


def test_a_dry_run_takes_no_share_of_the_rate() -> None:
    """It is judged at the whole rate; what the others get sums to the rate, also over a guardrail's own tests."""
    dry = msgspec.structs.replace(ERRORS, name="dry", dry_run=True, share=5.0)
    quantiles = msgspec.structs.replace(SLOW, latency_test=LatencyTest.QUANTILES, share=3.0)
    none = msgspec.structs.replace(SLOW, name="none")
    rules = plan(dry, ERRORS, quantiles, none)

    assert alphas(rules) == pytest.approx({"dry": 0.05, "errors": 0.0125, "latency": 0.0375})
    evidence = folded(rules, [(timed(10, 200), timed(90, 200))])
    spent = [
        1.0 / part["bound"]
        for finding in judge(rules, REQUESTS, evidence, misses=0)
        if not finding.dry_run
        for part in finding.numbers.get("parts", [])
    ]
    assert len(spent) == 5
    assert math.fsum(spent) == pytest.approx(0.05)


def test_corrupt_counts_are_an_error_of_all_that_has_not_failed() -> None:
    """What failed stays failed; nothing passes while a worker's counts are left out; the sentence names it."""
    good, bad = [(errors(60), errors(90))], [(errors(10, 9), errors(90))]

    left_out = found(ERRORS, good, corrupt=("0:17",))
    assert left_out.verdict is Verdict.ERROR
    assert "0:17" in left_out.sentence
    assert found(ERRORS, bad, corrupt=("0:17",)).verdict is Verdict.FAILED


def test_proof_is_shown_by_any_margin_and_by_all_parts() -> None:
    """By difference where nothing fails, by odds where much does; asked only of a plan that promotes by proof."""
    clean, busy = [(errors(500), errors(500))] * 8, [(errors(500, 100), errors(500, 100))] * 8

    assert found(ERRORS, clean).proven is None
    assert found(ERRORS, clean).numbers["proof"] is None
    for pairs, by in ((clean, "absolute"), (busy, "odds")):
        finding = found(ERRORS, pairs, proven=True)
        assert finding.proven is True
        assert "shown not to be worse" in finding.sentence
        assert [one["kind"] for one in finding.numbers["proof"]["margins"] if one["reached"]] == [by]
        assert [one["bound"] for one in finding.numbers["proof"]["margins"]] == [40.0, 40.0]
    early = found(ERRORS, clean[:1], proven=True)
    assert early.proven is False
    assert "not yet shown" in early.sentence
    assert found(ERRORS, [], proven=True).proven is False
    unprovable = msgspec.structs.replace(ERRORS, proof=())
    assert found(unprovable, clean, proven=True).proven is False


@pytest.mark.parametrize("test", KINDS)
def test_latencies_are_proven_by_the_shares_of_slower_requests(test: LatencyTest) -> None:
    """Equal latencies are shown not to be slower, at the objective or at each quantile; slower ones never."""
    guardrail = msgspec.structs.replace(SLOW, latency_test=test)
    laws = {200: 340, 230: 150, 260: 10}
    equal = [(ArmCounts(requests=500, latency=laws), ArmCounts(requests=500, latency=laws))] * 20
    baseline = Baseline(latency={200: 680, 230: 300, 260: 20})
    finding = found(guardrail, equal, baseline, proven=True)

    assert finding.proven is True
    parts = {one["part"] for one in finding.numbers["proof"]["margins"]}
    assert (
        len(parts) == {LatencyTest.OBJECTIVE: 1, LatencyTest.QUANTILES: 3, LatencyTest.DISTRIBUTION: 3}[test]
    )
    slower = ArmCounts(requests=500, latency={230: 340, 260: 150, 290: 10})
    assert found(guardrail, [(slower, equal[0][1])] * 20, baseline, proven=True).proven is False


def test_intervals_are_filled_in_later_without_changing_anything_else() -> None:
    """Judging without intervals and explaining gives what judging with them gives."""
    rules = plan(ERRORS, msgspec.structs.replace(SLOW, maximum=1.0))
    evidence = folded(rules, [(errors(60, 2), errors(90, 1))])
    bare = judge(rules, REQUESTS, evidence, misses=0, intervals=False)

    assert bare[0].numbers["candidate"]["interval"] is None
    assert tuple(map(explained, bare)) == judge(rules, REQUESTS, evidence, misses=0)
    numbers = explained(bare[0]).numbers
    low_end, high_end = numbers["difference"]["interval"]
    assert low_end < numbers["difference"]["estimate"] < high_end
    assert numbers["candidate"]["interval"][0] < 2 / 60 < numbers["candidate"]["interval"][1]


def test_the_log_digest_pins_every_stratum() -> None:
    """One request more or less in any stratum gives another digest; without strata there is none."""
    pairs = [(errors(60, 2), errors(90, 1))] * 3
    digests = {found(ERRORS, pairs[:length]).numbers["log"] for length in range(4)}
    other = found(ERRORS, [(errors(61, 2), errors(90, 1)), *pairs[1:]])

    assert len(digests) == 4
    assert "" in digests
    assert other.numbers["log"] not in digests
    assert other.numbers["strata"] == 3


def test_more_requests_at_once_than_any_law_is_computed_for_are_no_bet() -> None:
    """A stratum of a hundred thousand million requests is counted and changes no evidence."""
    finding = found(ERRORS, [(errors(10**11, 10**10), errors(10**11, 10))])

    assert finding.numbers["candidate"]["requests"] == 10**11
    assert finding.numbers["log_e"] == pytest.approx(0.0, abs=1e-12)
