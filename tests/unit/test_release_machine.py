"""The release machine, walked whole."""

import itertools

import msgspec
import pytest

from lastgood.domain.plan import Strategy
from lastgood.domain.plan_built_in import built_in
from lastgood.domain.release import TERMINAL, TRANSITIONS, Event, Phase, Release, next_phase
from lastgood.errors import Code, LastgoodError

PAIRS = list(itertools.product(Phase, Event))


def release_in(phase):
    return Release(
        id=7,
        deployment="churn",
        model="churn",
        version=2,
        previous=1,
        plan=built_in(Strategy.CANARY),
        phase=phase,
        revision=4,
        created_at=1_000.0,
        created_by="ada",
        phase_since=1_100.0,
    )


@pytest.mark.parametrize(("phase", "event"), PAIRS, ids=[f"{phase}-{event}" for phase, event in PAIRS])
def test_every_event_in_every_phase_is_in_the_table_or_changes_nothing(phase, event):
    """A legal event goes where the table says; an illegal one is a conflict and leaves the release as it was."""
    release = release_in(phase)
    before = msgspec.json.encode(release)
    goal = TRANSITIONS[phase].get(event)
    if goal is None:
        with pytest.raises(LastgoodError) as caught:
            release.after(event, 1_200.0, cause="no matter")
        assert caught.value.code is Code.CONFLICT
        assert caught.value.next_step
    else:
        after = release.after(event, 1_200.0, cause="it was time")
        assert (after.phase, after.revision, after.cause) == (goal, 5, "it was time")
        assert after.phase_since == (1_100.0 if goal is phase else 1_200.0)
        assert after.finished_at == (1_200.0 if goal in TERMINAL else None)
    assert msgspec.json.encode(release) == before
    assert release == release_in(phase)


def test_the_table_knows_every_phase():
    """No phase is left without a row, and every goal is a phase of the table."""
    assert set(TRANSITIONS) == set(Phase)
    assert {goal for row in TRANSITIONS.values() for goal in row.values()} <= set(Phase)


def test_every_event_is_legal_somewhere():
    """There is no event that nothing can cause."""
    assert {event for row in TRANSITIONS.values() for event in row} == set(Event)


def test_the_table_cannot_be_written_to():
    """Nobody adds a transition while the program runs."""
    with pytest.raises(TypeError):
        TRANSITIONS[Phase.PENDING][Event.SUCCEED] = Phase.SUCCEEDED
    with pytest.raises(TypeError):
        TRANSITIONS[Phase.SUCCEEDED] = {}


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in TERMINAL])
def test_a_rollback_can_start_from_every_phase_that_is_not_over(phase):
    """Promise 3: whatever a release is doing, it can be rolled back."""
    assert next_phase(phase, Event.ROLL_BACK) is Phase.ROLLING_BACK


@pytest.mark.parametrize("phase", sorted(TERMINAL))
def test_nothing_leaves_a_terminal_phase(phase):
    """What is over stays over, and the error says to start a new release."""
    assert not TRANSITIONS[phase]
    with pytest.raises(LastgoodError, match="start a new release"):
        next_phase(phase, Event.ROLL_BACK)


def reachable(start):
    found, border = {start}, [start]
    while border:
        for goal in TRANSITIONS[border.pop()].values():
            if goal not in found:
                found.add(goal)
                border.append(goal)
    return found


def test_every_phase_can_be_reached_and_can_end():
    """From pending every phase can be reached, and from every phase a terminal one."""
    assert reachable(Phase.PENDING) == set(Phase)
    assert all(reachable(phase) & TERMINAL for phase in Phase)


def test_every_way_to_succeed_goes_through_an_observed_promotion():
    """Promise 1: without 'served', which every gateway's acknowledgement causes, no release succeeds."""
    unobserved = {
        phase: {event: goal for event, goal in row.items() if event is not Event.SERVED}
        for phase, row in TRANSITIONS.items()
    }
    found, border = {Phase.PENDING}, [Phase.PENDING]
    while border:
        for goal in unobserved[border.pop()].values():
            if goal not in found:
                found.add(goal)
                border.append(goal)
    assert Phase.SUCCEEDED not in found


def test_rolled_back_comes_only_from_an_observed_settling():
    """Promise 5: the one event that ends in rolled_back is 'settled'."""
    ways = {event for row in TRANSITIONS.values() for event, goal in row.items() if goal is Phase.ROLLED_BACK}
    assert ways == {Event.SETTLED}


@pytest.mark.parametrize("change", ["after", "with_changes"])
def test_a_phase_cannot_be_assigned(change):
    """Only an event changes the phase, so a mistake in the code fails loudly."""
    release = release_in(Phase.PROGRESSING)
    arguments = (Event.HOLD, 1.0) if change == "after" else ()
    with pytest.raises(TypeError):
        getattr(release, change)(*arguments, phase=Phase.SUCCEEDED)


def test_a_change_within_a_phase_grows_the_revision():
    """A writer that read the release before cannot overwrite it afterwards."""
    release = release_in(Phase.PROGRESSING)
    after = release.with_changes(waived=("errors",))
    assert (after.revision, after.phase, after.waived) == (5, Phase.PROGRESSING, ("errors",))
