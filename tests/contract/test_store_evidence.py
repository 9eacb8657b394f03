"""The contract of EvidenceStore: strata and what was folded from them move together."""

import msgspec
import pytest
from store_samples import Stores, deploy, next_of, register_many, release_of

from lastgood.domain.change import Change, Evidence, EvidenceStep
from lastgood.domain.traffic import ArmCounts, Stratum
from lastgood.errors import Code, LastgoodError


def stratum(sequence: int) -> Stratum:
    counts = ArmCounts(requests=sequence, errors=1, latency={160: 2})
    return Stratum(
        release=1, sequence=sequence, stage=0, closed_at=float(sequence), candidate=counts, stable=ArmCounts()
    )


def step_of(release: int, before: int, after: int) -> EvidenceStep:
    one = step(before, after)
    return EvidenceStep(
        before=before,
        evidence=msgspec.structs.replace(one.evidence, release=release),
        strata=tuple(msgspec.structs.replace(each, release=release) for each in one.strata),
    )


def step(before: int, after: int, **states: object) -> EvidenceStep:
    return EvidenceStep(
        before=before,
        evidence=Evidence(release=1, sequence=after, seen={"0-1": {"requests": after}}, states=states),
        strata=tuple(stratum(number) for number in range(before + 1, after + 1)),
    )


@pytest.fixture
def running(stores: Stores) -> Stores:
    register_many(stores, 1)
    stores.releases.commit(Change(deployment=next_of(deploy(stores), release=0), release=release_of()))
    return stores


def test_evidence_is_empty_at_the_beginning(running: Stores) -> None:
    """A release without strata has empty evidence of its own."""
    assert running.evidence.evidence(1) == Evidence(release=1)
    assert list(running.evidence.strata(1)) == []


def test_evidence_and_strata_come_back(running: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was saved last is the evidence; the strata come in order, over page boundaries."""
    monkeypatch.setattr("lastgood.store.evidence._PAGE", 2)
    running.evidence.save_evidence(step(0, 1))
    running.evidence.save_evidence(step(1, 4, errors={"score": 0.5}))

    assert running.evidence.evidence(1) == step(1, 4, errors={"score": 0.5}).evidence
    assert list(running.evidence.strata(1)) == [stratum(number) for number in (1, 2, 3, 4)]


def test_states_may_change_without_a_stratum(running: Stores) -> None:
    """Evidence may be replaced at the same sequence, also before the first stratum."""
    for states in ({"a": 1}, {"a": 2}):
        running.evidence.save_evidence(step(0, 0, **states))

    assert running.evidence.evidence(1).states == {"a": 2}


@pytest.mark.parametrize("before", [0, 1, 3])
def test_second_controller_is_a_conflict(running: Stores, before: int) -> None:
    """A step from anywhere but the stored sequence is refused and adds no stratum."""
    running.evidence.save_evidence(step(0, 2))
    with pytest.raises(LastgoodError) as refused:
        running.evidence.save_evidence(step(before, before + 1))

    assert refused.value.code is Code.CONFLICT
    assert running.evidence.evidence(1).sequence == 2
    assert len(list(running.evidence.strata(1))) == 2


@pytest.fixture
def two_running(running: Stores) -> Stores:
    register_many(running, 1, model="fraud")
    other = release_of(deployment="fraud", model="fraud")
    deployment = deploy(running, "fraud", "fraud")
    running.releases.commit(Change(deployment=next_of(deployment, release=0), release=other))
    return running


def test_the_evidence_of_many_releases_is_one_transaction(two_running: Stores) -> None:
    """Steps of several releases are stored together, those that begin and those that go on."""
    two_running.evidence.save_evidence(step_of(1, 0, 2))
    two_running.evidence.save_evidence(step_of(1, 2, 3), step_of(2, 0, 2))

    for release, sequence in ((1, 3), (2, 2)):
        assert two_running.evidence.evidence(release) == step_of(release, 0, sequence).evidence
        assert tuple(two_running.evidence.strata(release)) == step_of(release, 0, sequence).strata


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_one_conflict_among_many_writes_nothing(two_running: Stores, order: tuple[int, int]) -> None:
    """When the evidence of one release has moved on, that of the others stays as it was."""
    two_running.evidence.save_evidence(step_of(2, 0, 1))
    steps = (step_of(1, 0, 2), step_of(2, 0, 2))
    with pytest.raises(LastgoodError, match="release 2") as refused:
        two_running.evidence.save_evidence(*(steps[place] for place in order))

    assert refused.value.code is Code.CONFLICT
    assert [two_running.evidence.evidence(release).sequence for release in (1, 2)] == [0, 1]
    assert [len(list(two_running.evidence.strata(release))) for release in (1, 2)] == [0, 1]


def test_step_with_a_gap_is_refused(running: Stores) -> None:
    """Strata that do not lead to the evidence's sequence are a bug and are not stored."""
    whole = step(0, 3)
    broken = EvidenceStep(before=0, evidence=whole.evidence, strata=whole.strata[::2])
    with pytest.raises(LastgoodError) as refused:
        running.evidence.save_evidence(broken)

    assert refused.value.code is Code.INTERNAL
    assert running.evidence.evidence(1).sequence == 0
