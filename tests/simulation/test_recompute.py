"""Evidence computed again from its strata: the same bit for bit, and any change of what is kept shows."""

from typing import Any

import msgspec
import pytest
from sqlalchemy import text
from world import PLAN, World

from lastgood.control.recompute import recompute
from lastgood.domain.event import AuditEvent, EventDraft, seal
from lastgood.domain.plan import Guardrail, Metric, PromoteWhen
from lastgood.errors import Code, LastgoodError

DROP = "DROP TRIGGER events_no_update"


@pytest.fixture
def world() -> World:
    """Release 2 rolled v1.1 back; release 3 promoted v1.2, proven; both on several strata."""
    made = World()
    made.register("v1.0", "v1.1", "v1.2")
    made.serve("v1.0")
    limit = Guardrail(name="never", metric=Metric.ERRORS, share=0.5, dry_run=True)
    plan = msgspec.structs.replace(
        PLAN, guardrails=(*PLAN.guardrails, limit), promote_when=PromoteWhen.PROVEN
    )
    made.start("v1.1", plan=plan)
    for _ in range(8):
        made.turn(0.5)
        made.reports.feed(2, 0, (20, 3), (180, 2))
    made.start("v1.2", plan=plan)
    for _ in range(60):
        made.turn(0.5)
        if not made.release(3).terminal and made.release(3).step_since:
            made.reports.feed(3, max(made.release(3).step, 0), (100, 1), (900, 9))
    return made


def change(world: World, *statements: str) -> None:
    with world.database.transaction() as connection:
        for statement in statements:
            connection.execute(text(statement))


def refused(world: World, release: int) -> LastgoodError:
    with pytest.raises(LastgoodError) as caught:
        world.hindsight.recompute(release)
    assert caught.value.code is Code.CORRUPT
    return caught.value


def test_what_nobody_changed_is_the_same(world: World) -> None:
    """Rollback and promotion alike: every stratum is folded again and every sealed number compared."""
    rolled_back, promoted = world.hindsight.recompute(2), world.hindsight.recompute(3)

    assert world.release(2).phase.value == "rolled_back"
    assert rolled_back.strata == len(list(world.evidence.strata(2))) > 1
    assert rolled_back.findings >= 1
    assert promoted.strata == len(list(world.evidence.strata(3))) > 10
    assert (promoted.events, promoted.findings) == (1, 2)
    assert promoted.log is not None


def test_a_release_without_counts_has_nothing_to_differ(world: World) -> None:
    """The first version was promoted at once: no stratum, no finding."""
    found = world.hindsight.recompute(1)

    assert (found.strata, found.findings, found.log) == (0, 0, None)


def test_a_release_that_does_not_exist_is_not_found(world: World) -> None:
    """The number is named."""
    with pytest.raises(LastgoodError) as caught:
        world.hindsight.recompute(99)
    assert caught.value.code is Code.NOT_FOUND


CHANGES: dict[str, tuple[tuple[str, ...], str]] = {
    "one count of one stratum": (
        (
            (
                "UPDATE strata SET document = json_set(document, '$.candidate.errors', "
                "json_extract(document, '$.candidate.errors') + 1) WHERE release = 3 AND sequence = 4"
            ),
        ),
        "event",
    ),
    "a stratum of another time": (
        (
            "UPDATE strata SET document = json_set(document, '$.closed_at', 1.5) WHERE release = 3 AND sequence = 4",
        ),
        "event",
    ),
    "a stratum is gone": (
        ("DELETE FROM strata WHERE release = 3 AND sequence = 4",),
        "after stratum 3 comes 5",
    ),
    "the last stratum is gone": (
        (
            (
                "DELETE FROM strata WHERE release = 3 AND sequence = "
                "(SELECT sequence FROM evidence WHERE release = 3)"
            ),
        ),
        "are kept",
    ),
    "absurd counts": (
        (
            (
                "UPDATE strata SET document = json_set(document, '$.stable.errors', 100000) "
                "WHERE release = 3 AND sequence = 4"
            ),
        ),
        "stratum 4 cannot have been counted",
    ),
    "a number in the evidence": (
        (
            (
                "UPDATE evidence SET document = json_set(document, '$.states.total.candidate.errors', 1) "
                "WHERE release = 3"
            ),
        ),
        "the stored evidence is not what its",
    ),
    "the plan": (
        (
            "UPDATE releases SET document = json_set(document, '$.plan.false_rollback_rate', 0.5) WHERE id = 3",
        ),
        "its plan is not the one",
    ),
    "what was known of stable": (
        ("UPDATE releases SET document = json_set(document, '$.baseline.requests', 5) WHERE id = 3",),
        "baseline.requests",
    ),
    "no event of it is left": (
        (
            "DROP TRIGGER events_no_delete",
            "DELETE FROM events WHERE release = 3",
            "DELETE FROM strata WHERE release = 3",
            "DELETE FROM evidence WHERE release = 3",
        ),
        "no event says what it was requested with",
    ),
    "a number in an event": (
        (
            DROP,
            (
                "UPDATE events SET data = json_set(data, '$.findings[1].numbers.log_e', 9.5) "
                "WHERE release = 3 AND type = 'lastgood.release.promotion_started'"
            ),
        ),
        "its seal is broken",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_one_change_shows_and_is_named(world: World, name: str) -> None:
    """Whatever was changed, it is found, and what is told says where."""
    statements, told = CHANGES[name]
    change(world, *statements)

    assert told in refused(world, 3).message
    if name != "a number in an event":
        assert world.hindsight.recompute(2).strata > 1, "the other release is untouched"


def test_a_number_in_an_event_shows_even_under_a_new_seal(world: World) -> None:
    """Who seals the changed event again is still found out by the strata."""

    def forged(event: AuditEvent) -> AuditEvent:
        if event.type != "lastgood.release.promotion_started" or event.release != 3:
            return event
        data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(event.data))
        data["findings"][1]["numbers"]["log_e"] += 0.5
        fields = {**msgspec.structs.asdict(event), "data": data}
        draft = {name: fields[name] for name in EventDraft.__struct_fields__}
        return seal(EventDraft(**draft), event.sequence, event.previous)

    events = [forged(event) for event in world.journal.chain()]
    stored, strata = world.observer.stored(world.release(3))
    with pytest.raises(LastgoodError) as caught:
        recompute(world.release(3), stored, strata, events)

    assert "errors.log_e" in caught.value.message
