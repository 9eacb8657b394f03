"""The contract of Journal: append-only, chained, and tampering shows."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from store_samples import Stores, draft, verify_chain

from lastgood.domain.event import GENESIS
from lastgood.errors import Code, LastgoodError


def test_empty_record_begins_at_genesis(stores: Stores) -> None:
    """Without events the head is the beginning of every chain."""
    assert stores.journal.head() == (0, GENESIS)
    assert list(stores.journal.chain()) == []


def test_event_comes_back_as_it_was_sealed(stores: Stores) -> None:
    """Whatever JSON holds survives, and the seal still holds when it is read back."""
    data = {
        "rate": 0.1,
        "whole": 1.0,
        "big": 2**53 + 1,
        "text": "ü\u0000\U0001f600",
        "list": (1, None),
        "d": {},
    }
    sealed = stores.journal.append(
        draft(0.1 + 0.2, deployment="churn", release=3, version=4, data={**data, "keys": {2: "two"}})
    )

    assert stores.journal.events() == [sealed]
    assert sealed.data["list"] == [1, None]
    assert sealed.data["keys"] == {"2": "two"}
    assert verify_chain(stores) == 1


def test_whole_seconds_do_not_break_the_chain(stores: Stores) -> None:
    """A time given as an integer is sealed as it will be read: as a float."""
    stores.journal.append(draft(at=5))

    assert verify_chain(stores) == 1


def test_events_are_found_by_place_and_deployment(stores: Stores) -> None:
    """``after``, ``limit``, ``deployment`` and the order combine."""
    for number in range(1, 7):
        stores.journal.append(draft(deployment="a" if number % 2 else "b"))

    def found(**query: Any) -> list[int]:
        return [event.sequence for event in stores.journal.events(**query)]

    assert found(limit=2) == [1, 2]
    assert found(after=4) == [5, 6]
    assert found(newest_first=True, limit=2) == [6, 5]
    assert found(deployment="a", after=1) == [3, 5]
    assert found(deployment="b", newest_first=True, limit=2) == [6, 4]
    assert found(deployment="none") == []


def test_chain_is_read_in_pages(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain is whole at every page boundary, and events appended meanwhile are part of it."""
    monkeypatch.setattr("lastgood.store.journal._PAGE", 4)
    for count in range(1, 10):
        stores.journal.append(draft())
        assert verify_chain(stores) == count
    walk = stores.journal.chain()
    next(walk)
    stores.journal.append(draft())

    assert len(list(walk)) == 9


@pytest.mark.parametrize("statement", ["UPDATE events SET actor = 'eve'", "DELETE FROM events"])
def test_database_refuses_to_change_the_record(stores: Stores, statement: str) -> None:
    """Not even raw SQL through our own connection changes or removes an event."""
    stores.journal.append(draft())
    with (
        pytest.raises(LastgoodError, match="append-only") as refused,
        stores.database.transaction() as connection,
    ):
        connection.exec_driver_sql(statement)

    assert refused.value.code is Code.CONFLICT
    assert verify_chain(stores) == 1


@pytest.mark.parametrize(
    "forgery",
    [
        "UPDATE events SET actor = 'eve' WHERE sequence = 3",
        "UPDATE events SET at = at + 1 WHERE sequence = 3",
        "UPDATE events SET data = '{\"rate\":0}' WHERE sequence = 5",
        "UPDATE events SET deployment = NULL WHERE sequence = 1",
        "UPDATE events SET sequence = 99 WHERE sequence = 5",
        "DELETE FROM events WHERE sequence = 1",
        "DELETE FROM events WHERE sequence = 3",
        "DELETE FROM events WHERE sequence = 5",
        (
            "INSERT INTO events SELECT 0, type, at, actor, model, deployment, release, version, data, "
            "previous, hash FROM events WHERE sequence = 2"
        ),
        (
            "INSERT INTO events SELECT 6, type, at, actor, model, deployment, release, version, data, "
            "hash, hash FROM events WHERE sequence = 5"
        ),
    ],
)
def test_forgery_shows(file_stores: Stores, forgery: str) -> None:
    """Changing, removing, moving or adding any event behind our back breaks the chain or its head."""
    for number in range(5):
        file_stores.journal.append(draft(float(number), deployment="churn", data={"rate": number}))
    assert verify_chain(file_stores) == 5
    with closing(sqlite3.connect(file_stores.database.where)) as raw:
        raw.execute("DROP TRIGGER events_no_update")
        raw.execute("DROP TRIGGER events_no_delete")
        raw.execute(forgery)
        raw.commit()

    with pytest.raises(AssertionError):
        verify_chain(file_stores)
