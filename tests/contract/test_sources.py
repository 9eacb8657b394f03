"""Every data source keeps the promises of :class:`~lastgood.ports.DataSource`. New providers join in source_rigs."""

import importlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from source_rigs import FIRST_WRITTEN, RIGS, Rig

from lastgood.domain.snapshot import Snapshot
from lastgood.errors import Code, LastgoodError

MakeRig = Callable[[], Rig]


@pytest.fixture(params=RIGS, ids=lambda entry: entry.rpartition(":")[2])
def make_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeRig]:
    module, _, name = request.param.partition(":")
    rig_type = getattr(importlib.import_module(f"source_rigs.{module}"), name)
    made: list[Rig] = []

    def make() -> Rig:
        folder = tmp_path / f"rig {len(made)}"
        folder.mkdir()
        made.append(rig_type(folder))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    return make_rig()


def refused(code: Code, act: Callable[[], object]) -> LastgoodError:
    with pytest.raises(LastgoodError) as caught:
        act()
    assert caught.value.code == code, str(caught.value)
    assert caught.value.next_step, "an error says what to do next"
    return caught.value


def restore(rig: Rig, snapshot: Snapshot, token: str) -> None:
    rig.source().stage_restore(snapshot, token)
    rig.source().swap(token)


def ids(rig: Rig) -> list[int]:
    return [row[0] for row in rig.rows(rig.tables[0])]


def test_schema_names_what_was_made(rig: Rig) -> None:
    """The schema has every table, its id changes with the columns and with nothing else."""
    before = rig.source().schema()
    assert set(before.tables) == set(rig.tables)
    rig.insert(rig.tables[0], [(901, "one more")])
    assert rig.source().schema() == before
    rig.migrate()
    after = rig.source().schema()
    assert (after.id != before.id) == rig.columns
    if rig.columns:
        assert all(column.name and column.type for columns in before.tables.values() for column in columns)


def test_capture_counts_and_digests(rig: Rig) -> None:
    """Equal content has an equal digest, other content another; rows are counted by table."""
    first, second = rig.source().capture("first"), rig.source().capture("second")
    assert first.rows == {table: len(rig.rows(table)) for table in rig.tables}
    assert (first.digest, first.rows, first.schema) == (second.digest, second.rows, second.schema)
    assert first.token == "first"
    assert first.size_bytes > 0
    rig.insert(rig.tables[0], [(902, "one more")])
    third = rig.source().capture("third")
    assert third.digest != first.digest
    assert third.rows[rig.tables[0]] == first.rows[rig.tables[0]] + 1


def test_capture_repeats(rig: Rig) -> None:
    """The same token is the same snapshot for ever, whatever live data became."""
    first = rig.source().capture("once")
    rig.insert(rig.tables[0], [(903, "later")])
    assert rig.source().capture("once") == first
    rig.source().verify(first)


def test_capture_under_writers_is_one_state(rig: Rig) -> None:
    """What was captured while rows are committed one after another has all of them up to some moment."""
    with rig.writer() as writer, rig.reader() as reader:
        writer.wait(5)
        before = len(writer.committed)
        snapshot = rig.source().capture("busy")
        at_most = len(writer.committed) + 1
        writer.wait(5)
        reader.wait(2)
    assert reader.mixed == []
    assert reader.errors == []
    restore(rig, snapshot, "back")
    written = [number for number in ids(rig) if number >= FIRST_WRITTEN]
    assert written == list(range(FIRST_WRITTEN, FIRST_WRITTEN + len(written)))
    assert before <= len(written) <= at_most


def test_verify_finds_a_lost_and_a_damaged_snapshot(make_rig: MakeRig) -> None:
    """A whole snapshot verifies; a changed byte is corrupt, a lost one not found, and neither can be staged."""
    for harm, codes in (("damage", {Code.CORRUPT}), ("lose", {Code.NOT_FOUND, Code.CORRUPT})):
        rig = make_rig()
        snapshot = rig.source().capture("kept")
        rig.source().verify(snapshot)
        getattr(rig, harm)(snapshot)
        before = rig.state()
        with pytest.raises(LastgoodError) as caught:
            rig.source().verify(snapshot)
        assert caught.value.code in codes
        with pytest.raises(LastgoodError) as caught:
            rig.source().stage_restore(snapshot, "back")
        assert caught.value.code in codes
        with pytest.raises(LastgoodError) as caught:
            rig.source().swap("back")
        assert caught.value.code == Code.NOT_FOUND
        assert rig.state() == before
        assert rig.source().release("back") == 0


def test_staging_leaves_live_data_alone(rig: Rig) -> None:
    """Staged data can be staged again, is seen by no client and in no schema, and is freed by a release."""
    snapshot = rig.source().capture("kept")
    rig.migrate()
    before, schema = rig.state(), rig.source().schema()
    rig.source().stage_restore(snapshot, "back")
    rig.source().stage_restore(snapshot, "back")
    assert rig.source().schema() == schema
    assert rig.source().capture("between").rows == {table: len(rig.rows(table)) for table in rig.tables}
    assert not rig.source().swapped("back")
    assert rig.source().release("back") > 0
    assert rig.source().release("back") == 0
    assert rig.state() == before
    refused(Code.NOT_FOUND, lambda: rig.source().swap("back"))


def test_swap_brings_everything_back(rig: Rig) -> None:
    """Rows, schema and all that belongs to them are exactly as they were captured, strange values too."""
    rig.strange()
    before = rig.state()
    snapshot = rig.source().capture("kept")
    rig.migrate()
    rig.insert(rig.tables[0], [(904, "after the migration")])
    assert rig.state() != before
    restore(rig, snapshot, "back")
    assert rig.state() == before
    assert rig.source().schema() == snapshot.schema
    again = rig.source().capture("again")
    assert (again.digest, again.rows) == (snapshot.digest, snapshot.rows)
    rig.insert(rig.tables[0], [(905, "life goes on")])
    assert 905 in ids(rig)


def test_swap_under_load_loses_no_row(rig: Rig, tmp_path: Path) -> None:
    """Readers never see old and new together, and every committed row is live, in quarantine, or in the snapshot."""
    snapshot = rig.source().capture("kept")
    rig.migrate()
    with rig.writer() as writer, rig.reader() as reader:
        writer.wait(5)
        rig.source().stage_restore(snapshot, "back")
        writer.wait(3)
        rig.source().swap("back")
        writer.wait(5)
        reader.wait(5)
        quarantine = rig.source().quarantine(snapshot, "back", tmp_path)
        writer.wait(3)
    assert reader.mixed == []
    assert reader.errors == []
    export = quarantine.tables[rig.tables[0]].export
    assert export is not None
    replaced = rig.exported(tmp_path / export)
    assert len(replaced) == len(set(replaced)) == quarantine.tables[rig.tables[0]].added
    live = ids(rig)
    assert set(writer.committed) <= set(live) | set(replaced)
    assert {n for n in live if n >= FIRST_WRITTEN}.isdisjoint(replaced)
    assert len([n for n in live if n >= FIRST_WRITTEN]) > 0, "writers went on in the new live data"


def test_swap_twice_is_once(rig: Rig) -> None:
    """Repeating a swap changes nothing, and any new process can tell that it happened."""
    snapshot = rig.source().capture("kept")
    rig.insert(rig.tables[0], [(906, "replaced")])
    assert not rig.source().swapped("back")
    restore(rig, snapshot, "back")
    rig.insert(rig.tables[0], [(907, "after")])
    rig.source().swap("back")
    assert 907 in ids(rig)
    assert 906 not in ids(rig)
    assert rig.source().swapped("back")
    rig.source().stage_restore(snapshot, "back")
    rig.source().swap("back")
    assert 907 in ids(rig)
    rig.source().release("back")
    assert rig.source().swapped("back"), "true for ever after it"


def test_swap_needs_something_staged(rig: Rig) -> None:
    """Nothing staged is not found, and live data is as before."""
    before = rig.state()
    refused(Code.NOT_FOUND, lambda: rig.source().swap("nothing"))
    assert rig.state() == before
    assert not rig.source().swapped("nothing")


def test_a_token_is_a_plain_word(rig: Rig) -> None:
    """A token that could be a path or a statement is refused everywhere."""
    before = rig.state()
    for token in ("", "../up", "A", 'x";', "a" * 41):
        refused(Code.INVALID, lambda token=token: rig.source().capture(token))
        refused(Code.INVALID, lambda token=token: rig.source().swap(token))
        refused(Code.INVALID, lambda token=token: rig.source().release(token))
    assert rig.state() == before


def test_quarantine_counts_and_exports(rig: Rig, tmp_path: Path) -> None:
    """Added and removed rows are counted by table and the added ones exported; untouched tables have neither."""
    first = rig.tables[0]
    snapshot = rig.source().capture("kept")
    gone = ids(rig)[:2]
    rig.delete(first, gone)
    rig.insert(first, [(908, "new"), (909, 'ne"w\n line'), (910, "größer")])
    restore(rig, snapshot, "back")
    quarantine = rig.source().quarantine(snapshot, "back", tmp_path)
    assert (quarantine.token, quarantine.since) == ("back", "kept")
    gained = quarantine.tables[first]
    assert (gained.added, gained.removed) == (3, 2)
    assert gained.export is not None
    assert sorted(rig.exported(tmp_path / gained.export)) == [908, 909, 910]
    for table in rig.tables[1:]:
        assert quarantine.tables[table].added == quarantine.tables[table].removed == 0
        assert quarantine.tables[table].export is None
    assert rig.source().quarantine(snapshot, "back", tmp_path) == quarantine


def test_quarantine_can_itself_be_restored(rig: Rig, tmp_path: Path) -> None:
    """What was replaced is a snapshot like any other: it verifies, and comes back whole."""
    rig.strange()
    snapshot = rig.source().capture("kept")
    rig.migrate()
    rig.insert(rig.tables[0], [(911, "replaced")])
    before = rig.state()
    restore(rig, snapshot, "back")
    quarantine = rig.source().quarantine(snapshot, "back", tmp_path)
    rig.source().verify(quarantine.kept)
    restore(rig, quarantine.kept, "forward")
    assert rig.state() == before
    assert rig.source().schema() == quarantine.kept.schema


def test_release_frees(rig: Rig, tmp_path: Path) -> None:
    """A released snapshot or quarantine is gone, says how much it was, and is nothing the second time."""
    snapshot = rig.source().capture("kept")
    rig.insert(rig.tables[0], [(912, "replaced")])
    restore(rig, snapshot, "back")
    kept = rig.source().quarantine(snapshot, "back", tmp_path).kept
    before = rig.state()
    for token, held in (("back", kept), ("kept", snapshot)):
        assert rig.source().release(token) > 0
        assert rig.source().release(token) == 0
        with pytest.raises(LastgoodError) as caught:
            rig.source().verify(held)
        assert caught.value.code == Code.NOT_FOUND
    assert rig.state() == before
    assert rig.source().release("never") == 0


def test_a_foreign_lock_ends_the_swap(rig: Rig) -> None:
    """A lock that does not let go is a time-out; live data is as before, and the swap works once it is gone."""
    if not rig.locks:
        pytest.skip("no client can lock this kind of data")
    snapshot = rig.source().capture("kept")
    rig.migrate()
    before = rig.state()
    rig.source().stage_restore(snapshot, "back")
    with rig.lock():
        begun = time.monotonic()
        refused(Code.TIMEOUT, lambda: rig.source().swap("back"))
        assert time.monotonic() - begun < 120, "it gives up instead of waiting for ever"
    assert rig.state() == before
    assert not rig.source().swapped("back")
    rig.source().swap("back")
    assert rig.source().swapped("back")


def test_room_is_a_number_or_unknown(rig: Rig) -> None:
    """Room is bytes, and enough for this small data, or the source says that it cannot tell."""
    room = rig.source().room()
    assert room is None or room > 1_000_000


def test_the_size_is_what_a_copy_takes_or_unknown(rig: Rig) -> None:
    """It is known before anything is captured, and is about what the capture then says."""
    size = rig.source().size()
    captured = rig.source().capture("kept").size_bytes
    assert not size or abs(size - captured) <= max(captured, 1_000_000)


class KilledError(BaseException):
    """Stands for kill -9: no provider catches it."""


def way_back(rig: Rig, snapshot: Snapshot, exports: Path, reached: Callable[[str], None]) -> None:
    """Go the whole way back, with a new source for each step."""
    rig.source(reached).stage_restore(snapshot, "back")
    rig.source(reached).swap("back")
    rig.source(reached).quarantine(snapshot, "back", exports)


def prepared(rig: Rig) -> Snapshot:
    snapshot = rig.source().capture("kept")
    rig.migrate()
    rig.insert(rig.tables[0], [(913, "replaced")])
    return snapshot


def kill_at(point: int) -> Callable[[str], None]:
    left = point

    def reached(name: str) -> None:
        nonlocal left
        if left == 0:
            raise KilledError(name)
        left -= 1

    return reached


def points(rig: Rig, exports: Path) -> list[str]:
    """Return the names of the points of one whole way back, in order; each may come more than once."""
    names: list[str] = []
    way_back(rig, prepared(rig), exports, names.append)
    assert names, "a provider names its points"
    return names


def test_a_kill_anywhere_then_again_ends_swapped(make_rig: MakeRig, tmp_path: Path) -> None:
    """Killed at any point, the same calls end in the whole restored state, with what was replaced kept."""
    for number, name in enumerate(points(make_rig(), tmp_path)):
        rig = make_rig()
        before = rig.state()
        snapshot = prepared(rig)
        replaced = rig.state()
        with pytest.raises(KilledError):
            way_back(rig, snapshot, tmp_path, kill_at(number))
        seen = rig.state()
        assert seen in (before, replaced), f"neither state whole after a kill at {name}"
        assert rig.source().swapped("back") == (seen == before), name
        way_back(rig, snapshot, tmp_path, lambda _: None)
        assert rig.state() == before, name
        kept = rig.source().quarantine(snapshot, "back", tmp_path).kept
        rig.source().verify(kept)
        restore(rig, kept, "forward")
        assert rig.state() == replaced, name


def test_a_kill_anywhere_then_release_ends_whole(make_rig: MakeRig, tmp_path: Path) -> None:
    """Killed at any point, a release leaves one whole state and nothing else, and the token's snapshot is untouched."""
    for number, name in enumerate(points(make_rig(), tmp_path)):
        rig = make_rig()
        before = rig.state()
        snapshot = prepared(rig)
        replaced = rig.state()
        with pytest.raises(KilledError):
            way_back(rig, snapshot, tmp_path, kill_at(number))
        seen = rig.state()
        rig.source().release("back")
        assert rig.source().release("back") == 0, name
        assert rig.state() == seen, name
        assert seen in (before, replaced), name
        rig.source().verify(snapshot)
        restore(rig, snapshot, "later")
        assert rig.state() == before, name


def test_a_killed_release_goes_on(make_rig: MakeRig, tmp_path: Path) -> None:
    """A release killed at any of its points is finished by the next one."""
    counting = make_rig()
    snapshot = prepared(counting)
    way_back(counting, snapshot, tmp_path, lambda _: None)
    names: list[str] = []
    counting.source(names.append).release("back")
    for number, name in enumerate(names):
        rig = make_rig()
        snapshot = prepared(rig)
        way_back(rig, snapshot, tmp_path, lambda _: None)
        before = rig.state()
        with pytest.raises(KilledError):
            rig.source(kill_at(number)).release("back")
        rig.source().release("back")
        assert rig.source().release("back") == 0, name
        assert rig.state() == before
        assert rig.source().swapped("back"), name


def test_a_killed_capture_goes_on(make_rig: MakeRig) -> None:
    """A capture killed at any point is taken by the next call with its token, or released."""
    counting = make_rig()
    names: list[str] = []
    counting.source(names.append).capture("kept")
    assert names, "a provider names its points"
    for number, name in enumerate(names):
        rig = make_rig()
        before = rig.state()
        with pytest.raises(KilledError):
            rig.source(kill_at(number)).capture("kept")
        assert rig.state() == before, name
        snapshot = rig.source().capture("kept")
        rig.source().verify(snapshot)
        rig.source().release("kept")
        assert rig.source().release("kept") == 0, name
        assert rig.state() == before, name
