"""Which trials evidence is made of: requests, those up to a key's first bad one, or host-minutes."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.analysis import hostunits, trials
from lastgood.analysis.counts import contradicts
from lastgood.analysis.fold import fold
from lastgood.analysis.hostunits import HostMinutes
from lastgood.analysis.record import read
from lastgood.analysis.strata import collect
from lastgood.analysis.trials import Trials, by_key, by_request
from lastgood.domain.change import Evidence
from lastgood.domain.plan import Guardrail, Metric, Plan, Step, StepKind
from lastgood.domain.traffic import ArmCounts, Baseline, Counter, Firsts, StageCounts, Units

PLAN = Plan(
    steps=(Step(kind=StepKind.WEIGHT, weight=1_000), Step(kind=StepKind.WEIGHT, weight=2_500)),
    guardrails=(
        Guardrail(name="errors", metric=Metric.ERRORS, share=0.5),
        Guardrail(name="low", metric=Metric.COUNTER, counter="low", share=0.5),
    ),
)
KEYS = Baseline(units=Units.KEYS)


def arm(requests: int, errors: int, **firsts: object) -> ArmCounts:
    first = Firsts(**firsts)  # type: ignore[arg-type]
    return ArmCounts(requests=requests, errors=errors, keyed=requests, firsts={"errors": first})


def test_nothing_of_a_key_counts_after_its_first_bad_request() -> None:
    """Of 20 requests, 6 bad: 3 keys first, one of them unlisted, 5 repeats, and 1 request without a key."""
    candidate = arm(20, 6, bad=5, repeats=5, keys=[7, 9], unlisted=1)
    counted, seen = by_key("errors", candidate, ArmCounts(requests=30), b"")

    assert counted == Trials(15, 4, 30, 0)
    assert by_request("errors", candidate, ArmCounts(requests=30)) == Trials(20, 6, 30, 0)

    again, seen = by_key("errors", arm(4, 2, bad=2, keys=[9, 8]), ArmCounts(), seen)
    assert again == Trials(3, 1, 0, 0)
    assert len(seen) == 3 * 4


def test_a_key_that_changes_its_arm_brings_no_past_along() -> None:
    """A key that failed on stable is not new evidence when it fails on the candidate, later or in the same stratum."""
    _, seen = by_key("errors", ArmCounts(requests=1), arm(10, 1, bad=1, keys=[5]), b"")
    later, _ = by_key("errors", arm(10, 1, bad=1, keys=[5]), ArmCounts(), seen)
    assert later == Trials(9, 0, 0, 0)

    both, _ = by_key("errors", arm(10, 1, bad=1, keys=[5]), arm(10, 1, bad=1, keys=[5]), b"")
    assert both == Trials(9, 0, 10, 1)


def test_the_keys_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit a first bad request still counts, but the key is not remembered."""
    monkeypatch.setattr(trials, "MAX_HASHES", 3)
    _, seen = by_key("errors", arm(9, 4, bad=4, keys=[1, 2, 3, 4]), ArmCounts(), b"")
    assert len(seen) == 3 * 4
    again, seen = by_key("errors", arm(9, 2, bad=2, keys=[4, 1]), ArmCounts(), seen)
    assert again == Trials(8, 1, 0, 0)
    assert len(seen) == 3 * 4


CALL = st.tuples(st.integers(0, 12), st.booleans(), st.booleans(), st.integers(0, 2))


def reports(calls: list[tuple[int, bool, bool, int]], workers: int) -> dict[str, list[StageCounts]]:
    """Count calls (key, candidate?, bad?, worker) as that many workers would; key 0 stands for none."""
    lives: dict[str, list[StageCounts]] = {}
    for slot in range(workers):
        arms = {True: ArmCounts(latency={}), False: ArmCounts(latency={})}
        known: set[int] = set()
        for counts in arms.values():
            counts.firsts = {"errors": Firsts(keys=[]), "counter:low": Firsts(keys=[])}
            counts.counters = {"low": Counter()}
        for key, candidate, bad, worker in calls:
            if worker % workers != slot:
                continue
            counts = arms[candidate]
            counts.requests += 1
            counts.errors += bad
            counts.latency[3] = counts.latency.get(3, 0) + 1
            counts.counters["low"].total += 1
            counts.counters["low"].bad += bad
            counts.keyed += key > 0
            for first in counts.firsts.values() if key else ():
                first.bad += bad
                first.repeats += key in known
                if bad and key not in known:
                    first.keys.append(key)
            if key and bad:
                known.add(key)
        lives[f"{slot}:1"] = [StageCounts(release=7, stage=0, candidate=arms[True], stable=arms[False])]
        assert not any(contradicts(counts) for counts in arms.values())
    return lives


def folded(calls: list[list[tuple[int, bool, bool, int]]], workers: int) -> tuple[Evidence, Evidence]:
    """Return the evidence after each batch was collected and folded, and that of a replay of all strata at once."""
    evidence, log, done = Evidence(release=7), [], []
    for number, batch in enumerate(calls):
        done += batch
        opened, strata, faults = collect(
            evidence, reports(done, workers), release=7, now=30.0 * number, keys=True
        )
        assert faults == ()
        evidence = fold(PLAN, KEYS, opened, strata)
        log += strata
    return evidence, fold(PLAN, KEYS, Evidence(release=7), log)


@given(st.lists(st.lists(CALL, max_size=40), max_size=5), st.integers(2, 3))
@settings(max_examples=40, deadline=None)
def test_a_replay_of_the_strata_gives_the_same_evidence(
    calls: list[list[tuple[int, bool, bool, int]]], workers: int
) -> None:
    """Evidence gathered look by look equals that of the stored strata, byte for byte, keys and all."""
    evidence, replayed = folded(calls, workers)

    assert msgspec.json.encode(evidence.states) == msgspec.json.encode(replayed.states)


@given(st.lists(CALL, min_size=20, max_size=60), st.permutations(range(3)))
@settings(max_examples=40, deadline=None)
def test_evidence_does_not_depend_on_how_workers_share_the_keys(
    calls: list[tuple[int, bool, bool, int]], order: list[int]
) -> None:
    """Workers in another order, each key at one of them as when callers are sticky: the same evidence, also the log."""
    sticky = [(key, key % 2 == 0, bad, key % 3) for key, _, bad, _ in calls]
    moved = [(key, candidate, bad, order[worker]) for key, candidate, bad, worker in sticky]
    whole = [(key, candidate, bad, 0) for key, candidate, bad, _ in sticky]
    states = [folded([some], workers)[0].states for some, workers in ((sticky, 3), (moved, 3), (whole, 1))]

    assert states[0] == states[1] == states[2]


def closed_minutes(seed: str, requests: list[Trials]) -> tuple[HostMinutes, list[Trials]]:
    state, found = HostMinutes(), []
    for minute, counts in enumerate(requests):
        state, unit = hostunits.add(state, minute, counts, seed)
        found += [unit] if unit is not None else []
    return state, found


def test_a_host_counts_once_a_minute() -> None:
    """A minute is bad for the host with more failures than four fifths of the minutes before; the first only fills."""
    usual = [Trials(10, 0, 10, 0)] * 4
    _, found = closed_minutes("1:errors", [*usual, Trials(10, 5, 10, 0), Trials(10, 0, 10, 9), Trials()])

    assert found == [Trials(1, 0, 1, 0)] * 3 + [Trials(1, 1, 1, 0), Trials(1, 0, 1, 1)]


def test_both_hosts_are_thinned_to_the_same_size_by_a_lot_that_can_be_drawn_again() -> None:
    """The same seed gives the same minutes, another one others; a minute without one arm is no trial."""
    busy = [Trials(5, 1, 500, 100 + minute % 7) for minute in range(60)]

    assert closed_minutes("1:errors", busy) == closed_minutes("1:errors", busy)
    assert closed_minutes("1:errors", busy) != closed_minutes("2:errors", busy)
    state, found = closed_minutes("1:errors", [Trials(0, 0, 500, 9), Trials(5, 0, 0, 0)] * 9)
    assert (found, state.zeros, state.rates) == ([], 0, {})
    _, found = closed_minutes("1:errors", [Trials(2 * 10**9, 0, 5, 5)] * 5)
    assert found == []


def test_counts_of_one_minute_come_together_and_time_never_goes_back() -> None:
    """Strata of the same minute, or of one before it, belong to the minute that is open."""
    state = HostMinutes()
    for minute in (5, 5, 4):
        state, unit = hostunits.add(state, minute, Trials(3, 1, 9, 2), "seed")
        assert unit is None

    assert (state.minute, state.open) == (5, Trials(9, 3, 27, 6))


def test_a_stage_that_reports_late_keeps_its_own_stratum_and_spends_no_new_alpha() -> None:
    """Late strata of an older stage go into the same test; the candidate's requests count for their stage."""

    def lives(early: int, late: int) -> dict[str, list[StageCounts]]:
        stages = [
            StageCounts(
                release=7, stage=stage, candidate=ArmCounts(requests=n), stable=ArmCounts(requests=9 * n)
            )
            for stage, n in ((0, early), (1, late))
        ]
        return {"0:1": stages}

    evidence = Evidence(release=7)
    for early, late in ((5, 10), (9, 30)):
        opened, strata, _ = collect(evidence, lives(early, late), release=7, now=1.0)
        evidence = fold(PLAN, Baseline(), opened, strata)
    record = read(evidence.states)

    assert record.stages == {0: 9, 1: 30}
    (part,) = record.comparisons["errors"].parts
    assert part.test is not None
    assert part.test.state.strata == 4  # type: ignore[union-attr]
    assert part.trials == Trials(39, 0, 351, 0)
