"""The contract of KeptStore: one row for each token, changed with its event or not at all, and freed for good."""

import msgspec
import pytest
from store_samples import Stores, deploy, draft, next_of, register_many, release_of, verify_chain

from lastgood.domain.change import Change
from lastgood.domain.snapshot import Gained, Kept, KeptKind, Quarantine, Snapshot, restore_token, schema_of
from lastgood.errors import Code, LastgoodError
from lastgood.store.kept import SqlKept

STATE = Snapshot(
    token="r1_snapshot",
    source="features",
    provider="sqlite",
    taken_at=1.0,
    seconds=0.1,
    size_bytes=10,
    rows={"customers": 2},
    schema=schema_of({}),
    digest="sha256:00",
)
ROW = Kept(
    token="r1_snapshot",
    kind=KeptKind.SNAPSHOT,
    source="features",
    model="churn",
    deployment="churn",
    release=1,
    version=1,
    at=1.0,
    snapshot=STATE,
)


def row(token: str, **changes: object) -> Kept:
    return msgspec.structs.replace(ROW, token=token, **changes)


@pytest.fixture
def kept(stores: Stores) -> SqlKept:
    """Three rows of two sources, written with a change as releases write them."""
    register_many(stores, 1)
    rows = (row("r2_snapshot", release=2), ROW, row("a_first", source="aaa", release=9))
    stores.releases.commit(Change(deployment=next_of(deploy(stores)), events=(draft(),), kept=rows))
    return SqlKept(stores.database)


def test_rows_come_by_source_and_release(kept: SqlKept) -> None:
    """What takes room is listed in one order, and each row is found by its token, whole."""
    assert [one.token for one in kept.all_kept()] == ["a_first", "r1_snapshot", "r2_snapshot"]
    assert kept.kept("r1_snapshot") == ROW
    assert kept.kept("r9_snapshot") is None


def test_a_note_and_its_event_are_one(stores: Stores, kept: SqlKept) -> None:
    """What is noted is there with its event, and the record still holds."""
    tables = {"customers": Gained(added=1, export="customers.jsonl")}
    counted = Quarantine(token="r1_snapshot", since="r0_snapshot", kept=STATE, tables=tables)
    noted = msgspec.structs.replace(ROW, quarantine=counted)
    before, _ = stores.journal.head()
    kept.note(noted, draft(type="lastgood.data.quarantined"))

    assert kept.kept("r1_snapshot") == noted
    assert [event.type for event in stores.journal.events(after=before)] == ["lastgood.data.quarantined"]
    verify_chain(stores)


def test_what_is_freed_takes_no_room_and_stays_freed(stores: Stores, kept: SqlKept) -> None:
    """A freed row is known but not listed; a later note of it is a conflict that writes neither row nor event."""
    freed = msgspec.structs.replace(ROW, freed_at=5.0, freed_by="ada", freed_why="old")
    kept.note(freed)
    before = stores.journal.head()
    with pytest.raises(LastgoodError) as late:
        kept.note(ROW, draft())

    assert late.value.code is Code.CONFLICT
    assert [one.token for one in kept.all_kept()] == ["a_first", "r2_snapshot"]
    assert kept.kept("r1_snapshot") == freed
    assert stores.journal.head() == before


def test_a_note_of_nothing_is_refused(stores: Stores, kept: SqlKept) -> None:
    """A token that nothing was kept under is not found, and no event says otherwise."""
    before = stores.journal.head()
    with pytest.raises(LastgoodError) as unknown:
        kept.note(row("r9_snapshot"), draft())

    assert unknown.value.code is Code.NOT_FOUND
    assert stores.journal.head() == before


def test_what_a_new_release_stages_gets_its_token(stores: Stores) -> None:
    """A row with release 0 is that of the release which the same change inserts."""
    register_many(stores, 1)
    staged = row("", kind=KeptKind.STAGED, release=0)
    change = Change(
        deployment=next_of(deploy(stores), release=0),
        release=release_of(1),
        events=(draft(),),
        kept=(staged,),
    )
    _, release = stores.releases.commit(change)
    assert release is not None
    found = SqlKept(stores.database).kept(restore_token(release.id))

    assert found is not None
    assert found.release == release.id


def test_a_change_that_is_refused_keeps_nothing(stores: Stores, kept: SqlKept) -> None:
    """Rows are written with the whole change or not at all."""
    deployment = stores.releases.deployment("churn")
    assert deployment is not None
    with pytest.raises(LastgoodError):
        stores.releases.commit(Change(deployment=deployment, kept=(row("r7_snapshot", release=7),)))

    assert kept.kept("r7_snapshot") is None
