"""How cumulative counts of gateway workers become strata."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.analysis.counts import added
from lastgood.analysis.fold import fold
from lastgood.analysis.strata import MIN_REQUESTS, collect, forget, used_up
from lastgood.domain.change import Evidence
from lastgood.domain.plan import Strategy
from lastgood.domain.plan_built_in import built_in
from lastgood.domain.traffic import ArmCounts, Baseline, Counter, Firsts, StageCounts, Stratum, Units
from lastgood.errors import Code, LastgoodError

EMPTY = Evidence(release=7)
RULES = built_in(Strategy.CANARY)
KEYS = Baseline(units=Units.KEYS)


def counts(candidate: int, stable: int, *, errors: int = 0, stage: int = 0, release: int = 7) -> StageCounts:
    return StageCounts(
        release=release,
        stage=stage,
        candidate=ArmCounts(requests=candidate, errors=errors, latency={9: candidate} if candidate else {}),
        stable=ArmCounts(requests=stable, latency={8: stable} if stable else {}),
    )


def closed(evidence: Evidence, strata: tuple[Stratum, ...]) -> Evidence:
    """What folding does to the sequence."""
    return msgspec.structs.replace(evidence, sequence=evidence.sequence + len(strata))


def test_a_stratum_closes_with_enough_requests_of_both_arms_together() -> None:
    """Nineteen requests stay open, twenty close, and the stratum holds the sum of all lives."""
    few = {"0:1": [counts(1, 8)], "1:1": [counts(1, 9)]}
    enough = {"0:1": [counts(1, 9)], "1:1": [counts(1, 9)]}

    assert collect(EMPTY, few, release=7, now=5.0) == (EMPTY, (), ())
    evidence, (stratum,), _ = collect(EMPTY, enough, release=7, now=5.0)
    assert (stratum.sequence, stratum.stage, stratum.closed_at) == (1, 0, 5.0)
    assert stratum.candidate == ArmCounts(requests=2, latency={9: 2})
    assert stratum.stable.requests == 18 == MIN_REQUESTS - 2
    assert evidence.sequence == 0


def test_a_stratum_needs_a_candidate_request() -> None:
    """Any number of stable's requests alone stays open, also on flush."""
    lives = {"0:1": [counts(0, 5000)]}

    assert collect(EMPTY, lives, release=7, now=1.0) == (EMPTY, (), ())
    assert collect(EMPTY, lives, release=7, now=1.0, flush=True) == (EMPTY, (), ())


def test_the_same_counts_are_used_once() -> None:
    """The same report again closes nothing; a later one gives only what is new."""
    evidence, strata, _ = collect(EMPTY, {"0:1": [counts(5, 20)]}, release=7, now=1.0)
    evidence = closed(evidence, strata)

    assert collect(evidence, {"0:1": [counts(5, 20)]}, release=7, now=2.0, flush=True) == (evidence, (), ())
    _, (second,), _ = collect(evidence, {"0:1": [counts(8, 60)]}, release=7, now=3.0)
    assert (second.sequence, second.candidate.requests, second.stable.requests) == (2, 3, 40)


def test_whether_a_stratum_closes_does_not_look_at_outcomes() -> None:
    """The same requests close or stay open alike, whether none or all of the candidate's failed."""
    for candidate, stable in ((1, 18), (1, 19), (19, 0), (20, 0)):
        closings = {
            len(collect(EMPTY, {"0:1": [counts(candidate, stable, errors=bad)]}, release=7, now=1.0)[1])
            for bad in (0, candidate)
        }
        assert len(closings) == 1


def test_a_flush_closes_what_is_there() -> None:
    """When a stage ends, a single candidate request becomes evidence."""
    _, (stratum,), _ = collect(EMPTY, {"0:1": [counts(1, 0, errors=1)]}, release=7, now=1.0, flush=True)

    assert stratum.candidate.errors == 1


def test_late_counts_form_strata_of_their_own_stage() -> None:
    """Counts of an earlier stage are not mixed into those of a later one."""
    lives = {"0:1": [counts(5, 95, stage=0), counts(25, 75, stage=1)]}
    evidence, strata, _ = collect(EMPTY, lives, release=7, now=1.0)
    assert [(s.sequence, s.stage, s.candidate.requests) for s in strata] == [(1, 0, 5), (2, 1, 25)]

    lives = {"0:1": [counts(7, 120, stage=0), counts(26, 80, stage=1)]}
    _, late, _ = collect(closed(evidence, strata), lives, release=7, now=2.0)
    assert [(s.sequence, s.stage, s.candidate.requests) for s in late] == [(3, 0, 2)]


def test_counts_of_other_releases_are_left_out() -> None:
    """A worker may still report a release of before."""
    lives = {"0:1": [counts(50, 50, release=6)]}

    assert collect(EMPTY, lives, release=7, now=1.0, flush=True) == (EMPTY, (), ())
    with pytest.raises(LastgoodError, match="release 7"):
        collect(EMPTY, lives, release=6, now=1.0)


FIRST = Firsts(bad=2, keys=[5, 6], repeats=1)


def changed(**changes: Any) -> StageCounts:
    """Return sound counts with some of the candidate's changed."""
    base = ArmCounts(
        requests=30,
        errors=2,
        keyed=9,
        latency={9: 30},
        counters={"low": Counter(total=4, bad=1)},
        firsts={"errors": FIRST},
    )
    arm = msgspec.structs.replace(base, **changes)
    return StageCounts(release=7, stage=0, candidate=arm, stable=ArmCounts(requests=20))


def first(**changes: Any) -> dict[str, Firsts]:
    return {"errors": msgspec.structs.replace(FIRST, **changes)}


@pytest.mark.parametrize(
    "after",
    [
        changed(requests=4),
        changed(requests=-1),
        changed(errors=1),
        changed(errors=31),
        changed(timeouts=3),
        changed(invalid=29),
        changed(requests=10**12 + 31),
        changed(requests=float("nan")),
        changed(errors=2.5),
        changed(keyed=31),
        changed(keyed=8),
        changed(latency={9: 29}),
        changed(latency={9: 29, 10: -1}),
        changed(latency={9: 31}),
        changed(counters={"low": Counter(total=4)}),
        changed(counters={}),
        changed(counters={"low": Counter(total=4, bad=5)}),
        changed(counters={"low": Counter(total=31, bad=1)}),
        changed(counters={str(number): Counter(total=1) for number in range(17)}),
        changed(firsts=first(keys=[5])),
        changed(firsts=first(keys=[5, 6, 7])),
        changed(errors=3, firsts=first(bad=3, keys=[5, 6, 2**32])),
        changed(firsts=first(bad=3)),
        changed(firsts=first(repeats=10)),
        changed(firsts=first(unlisted=1)),
        changed(firsts={"latency": Firsts()}),
    ],
)
def test_a_life_with_counts_that_cannot_be_true_is_left_out(after: StageCounts) -> None:
    """Shrinking, contradicting and absurd counts never become evidence; one error names the life, others go on."""
    opened, strata, faults = collect(EMPTY, {"0:1": [changed()]}, release=7, now=1.0, keys=True)
    evidence = fold(RULES, KEYS, opened, strata)
    assert faults == ()
    lives = {"0:1": [after, counts(3, 20, stage=1)], "1:1": [counts(6, 30)]}

    _, (stratum,), (fault,) = collect(evidence, lives, release=7, now=2.0, keys=True)
    assert (stratum.candidate.requests, stratum.stable.requests) == (6, 30)
    assert fault.code is Code.CORRUPT
    assert "0:1" in fault.message
    assert fault.details == {"life": "0:1", "stage": 0, "release": 7}
    assert used_up(evidence, "0:1", lives["0:1"])


def test_a_stage_that_a_life_reports_twice_is_left_out() -> None:
    """Which of two counts of the same stage holds, nobody can say."""
    evidence, strata, faults = collect(EMPTY, {"0:1": [counts(5, 20), counts(6, 21)]}, release=7, now=1.0)

    assert (evidence, strata, len(faults)) == (EMPTY, (), 1)


def test_the_gain_of_a_list_of_keys_is_its_tail() -> None:
    """Keys that strata hold are not listed again, and what was seen holds no key at all."""
    evidence, (one,), _ = collect(EMPTY, {"0:1": [changed()]}, release=7, now=1.0, keys=True)
    later = changed(
        requests=60, errors=3, keyed=10, firsts={"errors": Firsts(bad=3, keys=[5, 6, 4], repeats=1)}
    )
    evidence = fold(RULES, KEYS, evidence, [one])
    evidence, (two,), faults = collect(evidence, {"0:1": [later]}, release=7, now=2.0, keys=True)

    assert faults == ()
    assert one.candidate.firsts == {"errors": FIRST}
    assert two.candidate.firsts == {"errors": Firsts(bad=1, keys=[4])}
    assert two.candidate.counters == {}
    evidence = fold(RULES, KEYS, evidence, [two])
    assert used_up(evidence, "0:1", [later])
    more = msgspec.structs.replace(later.candidate, requests=61)
    assert not used_up(evidence, "0:1", [msgspec.structs.replace(later, candidate=more)])
    assert b'"keys":[5' not in msgspec.json.encode(evidence.seen)


def test_without_keys_as_units_no_hash_of_a_key_is_kept() -> None:
    """Neither the stratum nor the evidence tells one key from another."""
    evidence, (stratum,), _ = collect(EMPTY, {"0:1": [changed()]}, release=7, now=1.0)

    assert stratum.candidate.firsts == {}
    assert stratum.candidate.counters == {"low": Counter(total=4, bad=1)}
    assert b'"repeats":1' not in msgspec.json.encode(evidence.seen)


def test_a_clock_that_goes_back_moves_no_stratum_back() -> None:
    """A stratum closes no earlier than the one before it, whatever the clock says."""
    opened, strata, _ = collect(EMPTY, {"0:1": [counts(5, 20)]}, release=7, now=500.0)
    evidence = fold(RULES, Baseline(), opened, strata)
    _, (late,), _ = collect(evidence, {"0:1": [counts(9, 40)]}, release=7, now=100.0)

    assert late.closed_at == 500.0


def test_a_life_is_forgotten_when_it_is_used_up() -> None:
    """A dead worker's counts are used up first, then forgotten; its successor counts from zero."""
    life = [counts(5, 20)]
    assert not used_up(EMPTY, "0:1", life)

    evidence, strata, _ = collect(EMPTY, {"0:1": life}, release=7, now=1.0)
    evidence = closed(evidence, strata)
    assert used_up(evidence, "0:1", life)
    assert not used_up(evidence, "0:1", [counts(5, 21)])

    evidence = forget(evidence, "0:1")
    assert evidence.seen == {}
    _, (stratum,), _ = collect(evidence, {"0:2": [counts(2, 30)]}, release=7, now=2.0)
    assert stratum.candidate.requests == 2


def test_a_dead_lifes_open_counts_still_count() -> None:
    """What a life counted before it died joins its successor's counts in the next stratum."""
    lives = {"0:1": [counts(2, 10)], "0:2": [counts(1, 10)]}
    _, (stratum,), _ = collect(EMPTY, lives, release=7, now=1.0)

    assert (stratum.candidate.requests, stratum.stable.requests) == (3, 20)


REQUEST = st.tuples(st.integers(0, 2), st.booleans(), st.booleans(), st.integers(0, 3))


def tally(requests: list[tuple[int, bool, bool, int]], workers: int) -> dict[str, list[StageCounts]]:
    """Count requests (worker, candidate?, failed?, bucket) as that many workers would."""
    lives: dict[str, list[StageCounts]] = {}
    for worker in range(workers):
        own = [request for request in requests if request[0] % workers == worker]
        arms = [
            added(
                ArmCounts(requests=1, errors=int(failed), latency={bucket: 1})
                for _, candidate, failed, bucket in own
                if candidate is wanted
            )
            for wanted in (True, False)
        ]
        lives[f"{worker}:1"] = [StageCounts(release=7, stage=0, candidate=arms[0], stable=arms[1])]
    return lives


@given(st.lists(st.lists(REQUEST, max_size=25), max_size=5), st.integers(2, 3))
@settings(max_examples=60, deadline=None)
def test_strata_do_not_depend_on_how_workers_share_the_requests(
    batches: list[list[tuple[int, bool, bool, int]]], workers: int
) -> None:
    """One worker or several, with the evidence in memory or out of JSON: the same strata."""
    alone = shared = EMPTY
    done: list[tuple[int, bool, bool, int]] = []
    for number, batch in enumerate(batches):
        done += batch
        alone, strata_alone, _ = collect(alone, tally(done, 1), release=7, now=float(number))
        shared, strata_shared, _ = collect(shared, tally(done, workers), release=7, now=float(number))
        assert strata_alone == strata_shared
        alone, shared = closed(alone, strata_alone), closed(shared, strata_shared)
        stored = msgspec.json.encode(shared)
        shared = msgspec.json.decode(stored, type=Evidence)
        assert msgspec.json.encode(shared) == stored


def test_counts_that_go_on_growing_change_no_evidence() -> None:
    """A worker that counts on in the same values gives its next requests, not what evidence holds of it already."""
    growing = counts(5, 20)
    growing.candidate.counters["low"] = Counter(total=5, bad=1)
    evidence, strata, _ = collect(EMPTY, {"0:1": [growing]}, release=7, now=1.0)
    evidence = closed(evidence, strata)
    growing.candidate.requests += 3
    growing.candidate.latency[9] += 3
    growing.candidate.counters["low"].total += 3
    growing.stable.requests += 20
    _, (stratum,), faults = collect(evidence, {"0:1": [growing]}, release=7, now=2.0)

    assert faults == ()
    assert (stratum.candidate.requests, stratum.stable.requests) == (3, 20)
    assert stratum.candidate.latency == {9: 3}
    assert stratum.candidate.counters == {"low": Counter(total=3, bad=0)}
