"""What restores replaced is counted, put back and let go of: a real SQLite file, the real store, a fake page."""

import contextlib
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_data_release import AT_ONCE, Shop
from world import Crash

from lastgood.control.quarantine_views import RestoreResult
from lastgood.control.retention import Fate, Service, fates
from lastgood.domain.event import AuditEvent
from lastgood.domain.plan import Plan
from lastgood.domain.release import Kind, Phase
from lastgood.domain.snapshot import Kept, KeptKind, restore_token, snapshot_token
from lastgood.errors import Code, LastgoodError
from lastgood.sources import sqlite

DAY = 86_400.0


class Keeping(Shop):
    """A shop whose v1.2 reads what v1.0 reads: its migration adds a row."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.world.register("v1.2", needs=self.needs)
        self.world.programs.known["migrate"] = lambda: self.write(900)

    def fail(self, label: str, row: int) -> str:
        """Promote a version, let it write a row and fail; return the token of the quarantine."""
        release = self.world.start(label, plan=AT_ONCE).id
        self.turns(lambda: self.phase(release) is Phase.WATCHING)
        self.write(row)
        key = self.world.key(label)
        self.world.fleet.missed[key] = 9
        self.turns(lambda: self.phase(release) is Phase.ROLLED_BACK)
        del self.world.fleet.missed[key]
        return restore_token(release)

    def look(self, until: Callable[[], bool] = lambda: False) -> None:
        """Let the caretaker look until nothing is under way or ``until`` holds."""
        for _ in range(50):
            self.world.settle_data()
            if until() or not self.world.caretaker.look():
                return
        raise AssertionError(self.world.kept.all_kept())

    def row(self, token: str) -> Kept:
        found = self.world.kept.kept(token)
        assert found is not None
        return found

    def events(self, kind: str) -> list[AuditEvent]:
        return [event for event in self.world.journal.events(limit=1000) if event.type == kind]

    def restore(self, token: str) -> RestoreResult:
        return self.world.quarantines.restore(token, reason="needed", actor="ada")

    def tables(self) -> set[str]:
        with closing(self.connect()) as database:
            return {row[0] for row in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


@pytest.fixture
def shop(tmp_path: Path) -> Keeping:
    """v1.0 serves; v1.1 renames a column, v1.2 does not."""
    return Keeping(tmp_path)


def test_replaced_data_is_counted_and_exported_once(shop: Keeping) -> None:
    """Rows written since the snapshot are counted by table, exported, and told in one event, however often one looks."""
    token = shop.fail("v1.2", 1000)
    for _ in range(3):
        shop.look()
    row = shop.row(token)
    told = shop.events("lastgood.data.quarantined")

    assert row.quarantine is not None
    assert (row.quarantine.tables["customers"].added, row.quarantine.tables["customers"].removed) == (2, 0)
    export = shop.world.caretaker.exports(row) / str(row.quarantine.tables["customers"].export)
    assert [line[:10] for line in export.read_text().splitlines()] == ['{"id":900,', '{"id":1000']
    assert [event.data["tables"] for event in told] == [{"customers": {"added": 2, "removed": 0}}]
    assert told[0].data["rows"] == 52


def test_a_way_back_that_was_not_needed_is_freed(shop: Keeping) -> None:
    """What a release had staged goes once it has succeeded; its snapshot stays."""
    release = shop.world.start("v1.2", plan=msgspec.structs.replace(AT_ONCE, watch=1.0)).id
    shop.turns(lambda: shop.phase(release) is Phase.PROMOTING or shop.phase(release) is Phase.WATCHING)
    shop.look()
    staged = shop.row(restore_token(release))
    assert staged.freed_at is None
    assert len(shop.tables()) > 2
    shop.turns(lambda: shop.phase(release) is Phase.SUCCEEDED)
    shop.look()

    assert shop.row(restore_token(release)).freed_at is not None
    assert shop.row(snapshot_token(release)).freed_at is None
    assert shop.tables() == {"customers"}
    assert [event.data["kind"] for event in shop.events("lastgood.data.freed")] == ["staged"]


def test_a_failure_is_told_once_and_tried_again_later(shop: Keeping) -> None:
    """A source that is away is trouble in the row, one event, growing pauses, and no obstacle to a turn."""
    token = shop.fail("v1.2", 1000)
    away = shop.path.with_suffix(".away")
    shop.path.rename(away)
    asked = []
    for _ in range(40):
        shop.world.clock += 1.0
        shop.look()
        asked.append(shop.world.passed.count("before data.quarantine"))
    assert shop.row(token).trouble
    assert len(shop.events("lastgood.data.quarantine_failed")) == 1
    assert 2 <= asked[-1] <= 5
    away.rename(shop.path)
    shop.world.clock += 600.0
    shop.look()

    assert shop.row(token).trouble == ""
    assert shop.row(token).quarantine is not None


@pytest.mark.parametrize(
    "point", ["before data.quarantine", "after data.quarantine", "before kept.note", "after kept.note"]
)
def test_a_crash_while_counting_counts_once(shop: Keeping, point: str) -> None:
    """Killed before or after each effect and started again, the rows are counted and told once."""
    token = shop.fail("v1.2", 1000)
    shop.world.fault = (point, 0)
    with pytest.raises(Crash):
        shop.look()
    shop.world.restart()
    shop.look()

    counted = shop.row(token).quarantine
    assert counted is not None
    assert counted.tables["customers"].added == 2
    assert len(shop.events("lastgood.data.quarantined")) == 1


def test_a_quarantine_is_restored_and_what_it_replaces_is_kept(shop: Keeping) -> None:
    """The rows are live again, requests waited exactly for the swap, no version changed, and a new quarantine is there."""
    token = shop.fail("v1.2", 1000)
    shop.look()
    shop.write(2000)
    before = len(shop.world.router.publications)
    result = shop.restore(token)
    shop.look()
    held = [page.routes[0].held for page in shop.world.router.publications[before:] if page.routes]
    replaced = shop.row(result.replaced).quarantine

    assert result.restored
    assert shop.identifiers() == {*range(50), 900, 1000}
    assert held[:2] == [True, False]
    assert not any(held[2:])
    assert (shop.world.stable(), shop.world.routed()) == ("v1.0", "v1.0")
    assert replaced is not None
    assert (replaced.tables["customers"].added, replaced.tables["customers"].removed) == (1, 2)
    assert shop.world.release(result.release).kind is Kind.RESTORE
    assert len(shop.events("lastgood.quarantine.restored")) == 1
    assert shop.world.versions.failures(["sha256:churn-v1.0"]) == {}
    assert shop.restore(result.replaced).restored
    assert shop.identifiers() == {*range(50), 2000}


def test_a_way_back_never_waits_for_counting(shop: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a large quarantine is still being counted, model and data of another release go back."""
    token = shop.fail("v1.2", 1000)
    counting, may_end = threading.Event(), threading.Event()
    count = sqlite.SqliteSource.quarantine

    def slowly(*given: Any) -> Any:
        counting.set()
        may_end.wait(300)
        return count(*given)

    monkeypatch.setattr(sqlite.SqliteSource, "quarantine", slowly)
    monkeypatch.setattr(shop.world, "settle_data", lambda: time.sleep(0.01))
    assert shop.world.caretaker.look()
    assert counting.wait(120)
    shop.world.register("v1.3", needs=shop.needs)
    shop.world.programs.known["migrate"] = lambda: shop.write(901)
    try:
        release = shop.world.start("v1.3", plan=AT_ONCE).id
        shop.turns(lambda: shop.phase(release) is Phase.WATCHING, most=500)
        shop.world.commands.roll_back("churn", version=None, reason="", keep=True, actor="ada")
        assert shop.identifiers() == set(range(50))
        assert shop.row(token).quarantine is None
    finally:
        may_end.set()
    monkeypatch.undo()
    shop.look()

    assert shop.row(token).quarantine is not None


def test_a_quarantine_that_stable_cannot_read_is_refused(shop: Keeping) -> None:
    """The refusal names the column, and nothing is changed."""
    shop.world.programs.known["migrate"] = shop.migrate
    token = shop.fail("v1.1", 1000)
    shop.look()
    with pytest.raises(LastgoodError, match=r"customers\.age is missing") as refused:
        shop.restore(token)

    assert refused.value.code is Code.REFUSED
    assert shop.world.deployment().release is None
    assert shop.columns() == ["id", "age"]


def test_a_restore_beside_a_release_is_refused(shop: Keeping) -> None:
    """Two at work on one deployment or one source have no common way back."""
    token = shop.fail("v1.2", 1000)
    shop.look()
    shop.world.register("v1.3", needs=shop.needs)
    release = shop.world.start("v1.3", plan=AT_ONCE).id
    with pytest.raises(LastgoodError, match=f"Release {release} of churn") as refused:
        shop.restore(token)

    assert refused.value.code is Code.CONFLICT


def test_what_was_not_counted_or_was_deleted_is_not_restored(shop: Keeping) -> None:
    """Each refusal says which of the two it is."""
    token = shop.fail("v1.2", 1000)
    with pytest.raises(LastgoodError, match="not been counted"):
        shop.world.quarantines.begin(token, reason="", actor="ada")
    shop.look()
    shop.world.quarantines.delete(token, reason="old", actor="ada")
    with pytest.raises(LastgoodError, match="deleted by ada: old"):
        shop.restore(token)


def test_a_lock_that_stays_ends_a_restore_and_leaves_nothing(
    shop: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given up after some tries: stable serves, data is as it was, what was staged is freed, and no version is blamed."""
    token = shop.fail("v1.2", 1000)
    shop.look()
    shop.write(2000)

    def locked(_token: str) -> None:
        raise LastgoodError(Code.TIMEOUT, "somebody holds a lock")

    monkeypatch.setattr(shop.world.live.desk.source("features"), "swap", locked)
    release = _begun(shop, token)
    for _ in range(200):
        if shop.world.release(release).terminal:
            break
        shop.turn(0.5)
    shop.look()

    assert shop.phase(release) is Phase.ABORTED
    assert "somebody holds a lock" in shop.world.release(release).cause
    assert shop.world.release(release).data is not None
    assert not shop.world.router.page.routes[0].held
    assert shop.identifiers() == {*range(50), 2000}
    assert shop.row(restore_token(release)).freed_at is not None
    assert len(shop.events("lastgood.quarantine.restore_given_up")) == 1
    assert shop.world.versions.failures(["sha256:churn-v1.0"]) == {}


def test_a_rollback_comes_before_a_restore(shop: Keeping) -> None:
    """A person's rollback ends a restore that has not swapped, and then rolls back."""
    release = shop.world.start("v1.2", plan=msgspec.structs.replace(AT_ONCE, watch=1.0)).id
    shop.turns(lambda: shop.phase(release) is Phase.SUCCEEDED)
    shop.world.register("v1.3", needs=shop.needs)
    shop.world.programs.known["migrate"] = lambda: shop.write(901)
    token = shop.fail("v1.3", 1000)
    shop.look()
    restore = _begun(shop, token)
    result = shop.world.commands.roll_back("churn", version=None, reason="", keep=True, actor="bob")
    shop.look()

    assert shop.phase(restore) is Phase.ABORTED
    assert "a rollback by bob came first" in shop.world.release(restore).cause
    assert result.label == "v1.0"
    assert shop.identifiers() == set(range(50))
    assert shop.row(restore_token(restore)).freed_at is not None


def _begun(shop: Keeping, token: str) -> int:
    """Begin a restore without waiting for it; return its release."""
    return shop.world.quarantines.begin(token, reason="", actor="ada").id


POINTS = [
    "after store.commit",
    "before data.stage_restore",
    "after data.stage_restore",
    "before data.swap",
    "after data.swap",
    "before page.publish",
    "after page.publish",
]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("later", [0, 1])
def test_a_crash_in_a_restore_ends_in_the_restored_state(shop: Keeping, point: str, later: int) -> None:
    """Killed at a named point and started again, the controller goes on: the rows are live, those before are kept."""
    token = shop.fail("v1.2", 1000)
    shop.look()
    shop.write(2000)
    shop.world.fault = (point, later)
    try:
        _begun(shop, token)
        shop.turns(lambda: shop.world.deployment().release is None)
    except Crash:
        shop.world.restart()
    shop.world.fault = None
    shop.turns(lambda: shop.world.deployment().release is None)
    shop.look()
    release = shop.world.store.releases("churn", limit=1)[0]
    replaced = shop.row(restore_token(release.id)).quarantine

    assert (release.kind, release.phase) == (Kind.RESTORE, Phase.ROLLED_BACK)
    assert shop.identifiers() == {*range(50), 900, 1000}
    assert not shop.world.router.page.routes[0].held
    assert replaced is not None
    assert replaced.kept.rows == {"customers": 51}


def test_a_deleted_quarantine_leaves_who_and_why(shop: Keeping) -> None:
    """Rows and exports are gone, the row and one event say who let them go and why; live data is untouched."""
    token = shop.fail("v1.2", 1000)
    shop.look()
    exports = shop.world.caretaker.exports(shop.row(token))
    assert exports.is_dir()
    view = shop.world.quarantines.delete(token, reason="looked at", actor="ada")
    told = shop.events("lastgood.data.freed")[-1]

    assert (view.freed_by, view.freed_why) == ("ada", "looked at")
    assert view.freed_at is not None
    assert (told.actor, told.data["why"], told.data["tables"]["customers"]["added"]) == (
        "ada",
        "looked at",
        2,
    )
    assert not exports.exists()
    assert shop.world.quarantines.all() == []
    assert shop.identifiers() == set(range(50))
    with pytest.raises(LastgoodError, match="deleted by ada"):
        shop.world.quarantines.delete(token, reason="", actor="bob")


@pytest.mark.parametrize("point", ["after kept.note", "before data.release", "after data.release"])
def test_a_crash_while_deleting_is_gone_on_with(shop: Keeping, point: str) -> None:
    """Once who and why are noted, whoever starts next frees it, and tells it once, in that person's name."""
    token = shop.fail("v1.2", 1000)
    shop.look()
    freed = len(shop.events("lastgood.data.freed"))
    shop.world.fault = (point, 0)
    with contextlib.suppress(Crash):
        shop.world.quarantines.delete(token, reason="old", actor="ada")
    shop.world.died = None
    shop.world.restart()
    shop.world.clock += 10.0
    shop.look()

    assert shop.row(token).freed_at is not None
    assert [event.actor for event in shop.events("lastgood.data.freed")[freed:]] == ["ada"]


def test_gc_frees_old_snapshots_that_nothing_refers_to(shop: Keeping) -> None:
    """A snapshot goes when its versions are neither stable nor last good any more and it is old; the others stay."""
    plan = msgspec.structs.replace(AT_ONCE, watch=1.0)
    done = []
    for number, label in enumerate(("v1.2", "v1.3", "v1.4")):
        if label != "v1.2":
            shop.world.register(label, needs=shop.needs)
        shop.world.programs.known["migrate"] = _adds(shop, 900 + number)
        done.append(_succeed(shop, label, plan))
    shop.look()
    young = {one.token: one for one in shop.world.clearing.look()}
    shop.world.clock += 31 * DAY
    old = {one.token: one for one in shop.world.clearing.look()}
    first, *others = (snapshot_token(release) for release in done)
    found = shop.world.clearing.clear(tuple(old), actor="ada")

    assert [one.goes for one in young.values()] == [False, False, False]
    assert "30 days" in young[first].why
    assert old[first].goes
    assert [old[token].goes for token in others] == [False, False]
    assert {one.token: one.freed_at is not None for one in found} == {
        first: True,
        others[0]: False,
        others[1]: False,
    }
    told = shop.events("lastgood.data.freed")[-1]
    assert (told.actor, told.data["token"]) == ("ada", first)
    with pytest.raises(LastgoodError, match="The data of then is gone") as refused:
        shop.world.commands.roll_back("churn", version="v1.0", reason="", keep=True, actor="ada")
    assert refused.value.code is Code.REFUSED
    assert shop.world.stable() == "v1.4"


def _adds(shop: Keeping, row: int) -> Callable[[], None]:
    return lambda: shop.write(row)


def _succeed(shop: Keeping, label: str, plan: Plan) -> int:
    release = shop.world.start(label, plan=plan).id
    shop.turns(lambda: shop.phase(release) is Phase.SUCCEEDED)
    return release


def _fate(
    shop: Keeping, row: Kept, *, stable: int, last_good: int | None = None, others: tuple[Kept, ...] = ()
) -> Fate:
    release = shop.world.release(row.release)
    service = Service(stable=stable, last_good=last_good)
    found = fates(
        [row, *others],
        {release.id: release},
        {"churn": service},
        now=row.at + 90 * DAY,
        keep_seconds=30 * DAY,
    )
    return found[0]


def test_retention_keeps_what_is_referred_to(shop: Keeping) -> None:
    """Stable, last good, a quarantine, a release that cannot be found: each keeps a snapshot, and says so."""
    token = shop.fail("v1.2", 1000)
    snapshot, quarantine = shop.row(snapshot_token(int(token[1:].partition("_")[0]))), shop.row(token)
    assert snapshot.kind is KeptKind.SNAPSHOT

    assert _fate(shop, snapshot, stable=9, last_good=8).goes
    assert "is stable" in _fate(shop, snapshot, stable=1).why
    assert "last good" in _fate(shop, snapshot, stable=9, last_good=1).why
    assert token in _fate(shop, snapshot, stable=9, others=(quarantine,)).why
    assert not _fate(shop, quarantine, stable=9).goes
    unknown = msgspec.structs.replace(snapshot, deployment="elsewhere")
    assert "cannot be found" in _fate(shop, unknown, stable=9).why


def test_a_rollback_by_hand_stages_only_what_the_store_knows_of(shop: Keeping) -> None:
    """No token but those of stored releases is ever staged, so nothing is left behind in the live file."""
    _succeed(shop, "v1.2", msgspec.structs.replace(AT_ONCE, watch=1.0))
    shop.world.commands.roll_back("churn", version=None, reason="", keep=True, actor="ada")
    shop.look()
    with closing(shop.connect()) as database:
        tokens = {row[0] for row in database.execute('SELECT token FROM "lastgood:restores"')}
    known = {row.token for row in shop.world.kept.all_kept()}

    assert tokens <= known


def test_a_conflict_of_the_store_is_not_trouble(shop: Keeping) -> None:
    """What is freed stays freed: a note that comes late is refused and changes nothing."""
    token = shop.fail("v1.2", 1000)
    shop.look()
    late = shop.row(token)
    shop.world.quarantines.delete(token, reason="", actor="ada")
    with pytest.raises(LastgoodError) as refused:
        shop.world.kept.note(late)

    assert refused.value.code is Code.CONFLICT
    assert shop.row(token).freed_at is not None
