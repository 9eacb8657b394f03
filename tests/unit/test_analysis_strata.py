"""How cumulative counts of gateway workers become strata."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.analysis.counts import added
from lastgood.analysis.strata import MIN_REQUESTS, collect, forget, used_up
from lastgood.domain.change import Evidence
from lastgood.domain.traffic import ArmCounts, StageCounts, Stratum
from lastgood.errors import Code, LastgoodError

EMPTY = Evidence(release=7)


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


@pytest.mark.parametrize(
    "after", [counts(4, 20), counts(5, 19), counts(9, 20, errors=1), counts(6, 40, errors=9)]
)
def test_counts_that_shrink_or_contradict_are_an_error(after: StageCounts) -> None:
    """Counts that go down within a life, or hold more failures than requests, never become evidence."""
    evidence, strata, _ = collect(EMPTY, {"0:1": [counts(5, 20, errors=2)]}, release=7, now=1.0)

    with pytest.raises(LastgoodError) as caught:
        collect(closed(evidence, strata), {"0:1": [after]}, release=7, now=2.0)
    assert caught.value.code is Code.CORRUPT
    assert "0:1" in caught.value.message


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
    """One worker or several: the same strata, and ``seen`` survives JSON."""
    alone = shared = EMPTY
    done: list[tuple[int, bool, bool, int]] = []
    for number, batch in enumerate(batches):
        done += batch
        alone, strata_alone, _ = collect(alone, tally(done, 1), release=7, now=float(number))
        shared, strata_shared, _ = collect(shared, tally(done, workers), release=7, now=float(number))
        assert strata_alone == strata_shared
        assert json.loads(json.dumps(shared.seen)) == shared.seen
        alone, shared = closed(alone, strata_alone), closed(shared, strata_shared)
