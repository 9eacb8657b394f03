"""Events and tables are bound together: no row that a decision rests on can change behind the record's back."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from store_samples import (
    Stores,
    deploy,
    digest,
    draft,
    fail,
    failure_of,
    make_stable,
    next_of,
    open_stores,
    register,
    register_many,
    verify_chain,
)

from lastgood.control.proof import prove_record, stable_at
from lastgood.domain.change import Change
from lastgood.domain.deployment import Deployment
from lastgood.errors import Code, LastgoodError


def _live(stores: Stores) -> None:
    """Three versions; 1, 2, 1, 3 stable at 10, 20, 30, 40; 2 failed and lifted, 3 failed."""
    register_many(stores, 2)
    register(stores, "v1.2", digest=digest(3))
    deploy(stores)
    for at, number in ((10.0, 1), (20.0, 2), (30.0, 1)):
        make_stable(stores, number, at=at)
    fail(stores, 2)
    _lift(stores, 2)
    make_stable(stores, 3, at=40.0)
    fail(stores, 3)


def _lift(stores: Stores, number: int) -> None:
    before = stores.releases.deployment("churn")
    assert before is not None
    stores.releases.commit(Change(deployment=next_of(before, release=4), lifted=digest(number)))


def _at(stores: Stores, moment: float) -> int | None:
    deployment = stores.releases.deployment("churn")
    assert deployment is not None
    entry = stable_at(stores.releases, stores.journal, deployment, moment)
    return None if entry is None else entry.version


def _forge(stores: Stores, statement: str) -> None:
    with closing(sqlite3.connect(stores.database.where)) as raw:
        raw.executescript(statement)
        raw.commit()


def test_a_life_of_changes_is_as_recorded(stores: Stores) -> None:
    """Serving, failing and lifting leave tables that are exactly what the events say."""
    _live(stores)
    count, last = prove_record(stores.journal)

    assert (count, last) == stores.journal.head()
    assert [_at(stores, moment) for moment in (9.0, 10.0, 25.0, 35.0, 99.0)] == [None, 1, 2, 1, 3]


@pytest.mark.parametrize(
    ("table", "row", "forgery"),
    [
        ("history", "entry 2 of 'churn'", "UPDATE history SET version = 3, latest = 0 WHERE sequence = 2"),
        ("history", "entry 1 of 'churn'", "UPDATE history SET since = 9 WHERE sequence = 1"),
        ("history", "entry 1 of 'churn'", "UPDATE history SET until = 21 WHERE sequence = 1"),
        ("history", "entry 4 of 'churn'", "UPDATE history SET good = 1"),
        ("history", "entry 3 of 'churn'", "UPDATE history SET latest = 0 WHERE sequence = 3"),
        ("history", "entry 2 of 'churn'", "UPDATE history SET event = NULL WHERE sequence = 2"),
        ("history", "entry 2 of 'churn'", "UPDATE history SET release = 9 WHERE sequence = 2"),
        ("history", "entry 1 of 'churn'", "DELETE FROM history WHERE sequence = 1"),
        (
            "history",
            "entry 0 of 'churn'",
            (
                "INSERT INTO history SELECT deployment, 0, model, 2, digest, 1, 2, 1, 1, 0, NULL FROM history "
                "WHERE sequence = 2"
            ),
        ),
        ("failures", "failure 1", "DELETE FROM failures"),
        ("failures", "failure 1", "UPDATE failures SET lifted_by = NULL WHERE id = 1"),
        ("failures", "failure 2", "UPDATE failures SET lifted_by = 4 WHERE id = 2"),
        (
            "failures",
            "failure 2",
            "UPDATE failures SET document = json_set(document, '$.cause', '') WHERE id = 2",
        ),
        ("deployments", "deployment 'churn'", "UPDATE deployments SET stable = 1"),
        ("releases", "release 2", "UPDATE releases SET phase = 'aborted' WHERE id = 2"),
        (
            "releases",
            "release 2",
            "UPDATE releases SET document = json_set(document, '$.target', 3) WHERE id = 2",
        ),
        ("releases", "release 4", "DELETE FROM releases WHERE id = 4"),
        ("versions", "version 3 of 'churn'", "UPDATE versions SET label = 'v9' WHERE number = 3"),
        ("versions", "version 2 of 'churn'", "UPDATE versions SET digest = 'x' WHERE number = 2"),
        (
            "versions",
            "version 2 of 'churn'",
            "UPDATE versions SET document = json_set(document, '$.size_bytes', 2) WHERE number = 2",
        ),
        (
            "versions",
            "version 4 of 'churn'",
            "INSERT INTO versions SELECT model, 4, 'v4', digest, format, document FROM versions WHERE number = 2",
        ),
        ("models", "model 'churn'", "UPDATE models SET newest = 7"),
    ],
)
def test_forged_row_shows(file_stores: Stores, table: str, row: str, forgery: str) -> None:
    """Whatever row is changed, removed or put in with the chain left alone, verifying fails and names it."""
    _live(file_stores)
    _forge(file_stores, forgery)
    with pytest.raises(LastgoodError) as refused:
        prove_record(file_stores.journal)

    assert refused.value.code is Code.CORRUPT
    assert (refused.value.details["table"], refused.value.details["row"]) == (table, row)


@pytest.mark.parametrize(
    "forgery",
    [
        "UPDATE history SET version = 3, latest = 0 WHERE sequence = 2",
        "UPDATE history SET event = NULL WHERE sequence = 2",
        "UPDATE history SET event = event + 1 WHERE sequence = 2",
        "UPDATE history SET event = 99 WHERE sequence = 2",
        "UPDATE history SET since = 24 WHERE sequence = 2",
        "UPDATE history SET until = 26 WHERE sequence = 2",
        "UPDATE history SET since = 26 WHERE sequence = 3",
        "DELETE FROM history WHERE sequence = 2",
        "DELETE FROM history WHERE sequence = 3",
        "DELETE FROM history",
        "DROP TRIGGER events_no_update; UPDATE events SET data = json_set(data, '$.effects.stable.version', 3)",
    ],
)
def test_forged_past_is_not_told(file_stores: Stores, forgery: str) -> None:
    """What served at a moment is told only from an entry that its sealed event confirms."""
    _live(file_stores)
    assert _at(file_stores, 25.0) == 2
    _forge(file_stores, forgery)
    with pytest.raises(LastgoodError) as refused:
        _at(file_stores, 25.0)

    assert refused.value.code is Code.CORRUPT


def test_first_entry_cannot_be_lost(file_stores: Stores) -> None:
    """With the first entries removed, a moment before the others is not told as 'nothing yet'."""
    _live(file_stores)
    _forge(file_stores, "DELETE FROM history WHERE sequence < 3")
    with pytest.raises(LastgoodError, match="history"):
        _at(file_stores, 25.0)

    assert _at(file_stores, 35.0) == 1


def test_present_cannot_be_rewound(file_stores: Stores) -> None:
    """With the newest entry removed and the one before opened again, the present is not told."""
    _live(file_stores)
    _forge(
        file_stores,
        "DELETE FROM history WHERE sequence = 4; UPDATE history SET until = NULL WHERE sequence = 3",
    )
    with pytest.raises(LastgoodError, match="entry 3") as refused:
        _at(file_stores, 99.0)

    assert refused.value.code is Code.CORRUPT


def test_change_without_an_event_gets_one(stores: Stores) -> None:
    """A caller that forgot the event cannot make a mark or an entry that the record does not know."""
    register_many(stores, 1)
    before = deploy(stores)
    stores.releases.commit(Change(deployment=next_of(before), failure=failure_of(1, at=7.0)))
    last = stores.journal.events(newest_first=True, limit=1)[0]

    assert (last.type, last.at, last.deployment) == ("lastgood.deployment.changed", 7.0, "churn")
    assert last.data["effects"]["failed"]["digest"] == digest(1)
    assert verify_chain(stores) == 2


def test_effects_are_the_stores_alone(stores: Stores) -> None:
    """An event that comes with effects is refused on every way in."""
    register_many(stores, 1)
    before = deploy(stores)
    forged = draft(data={"effects": {"lifted": {"digest": digest(1), "release": 1}}})
    with pytest.raises(LastgoodError, match="only the store"):
        stores.journal.append(forged)
    with pytest.raises(LastgoodError, match="only the store"):
        stores.releases.commit(Change(deployment=next_of(before), events=(forged,)))

    assert stores.journal.head()[0] == 1


@pytest.mark.parametrize("revision", [0, 1])
def test_stable_version_cannot_change_unsaid(stores: Stores, revision: int) -> None:
    """A change that puts another stable version in place without saying so is refused whole."""
    register_many(stores, 1)
    if revision == 1:
        deploy(stores)
    change = Change(deployment=Deployment(name="churn", model="churn", revision=revision, stable=1))
    with pytest.raises(LastgoodError, match="stable version") as refused:
        stores.releases.commit(change)

    assert refused.value.code is Code.INTERNAL
    assert verify_chain(stores) == 1


def _old_database(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a database whose first life was written before events had effects."""
    stores = open_stores(path)
    with monkeypatch.context() as patch:
        for module in ("releases", "versions"):
            patch.setattr(f"lastgood.store.{module}.with_effects", lambda drafts, _effects: drafts)
        register(stores, model="other", digest=digest(3))
        deploy(stores, "other", "other")
        make_stable(stores, 1, name="other")
        _live(stores)
    stores.database.close()
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(
            "ALTER TABLE ledger DROP COLUMN bound_from; ALTER TABLE history DROP COLUMN event;"
            "DROP TABLE traffic; DROP TABLE IF EXISTS kept;"  # of later migrations
            "UPDATE history SET good = 1 WHERE deployment = 'other';"
            "UPDATE alembic_version SET version_num = 'm0002'"
        )


def test_old_database_still_verifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows from before effects are taken as they are, changes since are bound, and marks hold for all models."""
    path = tmp_path / "lastgood.db"
    _old_database(path, monkeypatch)
    stores = open_stores(path)
    since = stores.journal.head()[0] + 1

    assert stores.journal.bound_from() == since
    assert prove_record(stores.journal)[0] == since - 1
    assert stores.releases.last_good("other", besides=None) is None  # its bytes failed as another model
    assert _at(stores, 25.0) == 2
    _lift(stores, 3)
    make_stable(stores, 2, at=50.0)
    fail(stores, 2)
    assert verify_chain(stores) > since
    assert [_at(stores, moment) for moment in (25.0, 45.0, 55.0)] == [2, 3, 2]
    stores.database.close()


@pytest.mark.parametrize(
    "forgery",
    [
        "DELETE FROM failures WHERE id = 3",
        "DELETE FROM history WHERE deployment = 'churn' AND sequence = 5",
        "UPDATE ledger SET bound_from = 1",
        "UPDATE ledger SET bound_from = 9999",
        "UPDATE failures SET lifted_by = NULL WHERE id = 2",
        (
            "INSERT INTO history SELECT deployment, 9, model, 3, digest, 60, 61, 1, 1, 0, NULL FROM history "
            "WHERE version = 3 AND deployment = 'churn'"
        ),
    ],
)
def test_old_database_is_bound_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgery: str) -> None:
    """Neither what was written since can be forged, nor the mark that says since when."""
    path = tmp_path / "lastgood.db"
    _old_database(path, monkeypatch)
    stores = open_stores(path)
    _lift(stores, 3)
    make_stable(stores, 2, at=50.0)
    fail(stores, 2)
    _forge(stores, forgery)
    with pytest.raises(LastgoodError) as refused:
        prove_record(stores.journal)

    assert refused.value.code is Code.CORRUPT
    stores.database.close()


def test_record_is_proved_while_it_grows(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes made during the walk are part of what is proved."""
    _live(stores)
    real = stores.journal.tables

    def late(after: int) -> object:
        make_stable(stores, 2, at=60.0)
        return real(after)

    monkeypatch.setattr(stores.journal, "tables", late)
    before = stores.journal.head()[0]

    assert prove_record(stores.journal)[0] == before + 1
