"""Model and data go forward and back together: a real SQLite file, the real store, a fake fleet and page."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from world import PLAN, Crash, World

from lastgood.domain.plan import DataPlan, OnRollback, Plan, Strategy
from lastgood.domain.release import HoldReason, Phase
from lastgood.domain.snapshot import Column, DataStage, Schema, schema_of
from lastgood.errors import Code, LastgoodError
from lastgood.sources import sqlite

DATA = DataPlan(source="features", migrate=("migrate",))


class Shop:
    """A feature file, the program that migrates it, and a world that serves v1.0 from it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "features.db"
        with closing(self.connect()) as database, database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, age INTEGER)")
            database.executemany("INSERT INTO customers VALUES (?, ?)", [(n, 20 + n) for n in range(50)])
        kept = folder / "kept"
        kept.mkdir()
        self.world = World(
            {"features": lambda: sqlite.create("features", {"path": str(self.path)}, kept)}, folder / "data"
        )
        self.world.programs.known["migrate"] = self.migrate
        self.needs = {
            "features": schema_of({"customers": [Column("id", "integer"), Column("age", "integer")]})
        }
        self.world.register("v1.0", needs=self.needs)
        new = schema_of({"customers": [Column("id", "integer"), Column("born", "integer")]})
        self.world.register("v1.1", needs={"features": new})
        self.world.serve("v1.0")

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=5.0)

    def migrate(self) -> None:
        """Rename a column and rewrite it: whoever reads ``age`` fails from now on."""
        with closing(self.connect()) as database, database:
            database.execute("ALTER TABLE customers RENAME COLUMN age TO born")
            database.execute("UPDATE customers SET born = 2026 - born")

    def write(self, identifier: int) -> None:
        with closing(self.connect()) as database, database:
            database.execute("INSERT INTO customers (id) VALUES (?)", (identifier,))

    def columns(self) -> list[str]:
        with closing(self.connect()) as database:
            return [row[1] for row in database.execute("PRAGMA table_info(customers)")]

    def identifiers(self) -> set[int]:
        with closing(self.connect()) as database:
            return {row[0] for row in database.execute("SELECT id FROM customers")}

    def turn(self, seconds: float = 0.0) -> None:
        self.world.turn(seconds)
        self.world.settle_data()

    def turns(self, until: Callable[[], bool], most: int = 40) -> None:
        for _ in range(most):
            if until():
                return
            self.turn(0.2)
        raise AssertionError(f"not reached: {self.world.store.releases('churn', limit=1)}")

    def start(self, plan: Plan) -> int:
        return self.world.start("v1.1", plan=plan).id

    def phase(self, identifier: int) -> Phase:
        return self.world.release(identifier).phase


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """v1.0 serves and reads ``age``; v1.1 is registered and reads ``born``."""
    return Shop(tmp_path)


def _plan(data: DataPlan = DATA, **changes: object) -> Plan:
    return msgspec.structs.replace(PLAN, data=data, **changes)


HELD = msgspec.structs.replace(DATA, hold=True)
AT_ONCE = _plan(HELD, strategy=Strategy.ALL_AT_ONCE, steps=(), watch=60.0)


def test_data_is_captured_and_staged_before_it_is_migrated(shop: Shop) -> None:
    """Snapshot, way back, migration, traffic: in this order, each in the record, and the candidate loads last."""
    release = shop.start(_plan())
    shop.turns(lambda: shop.phase(release) is Phase.PROGRESSING)
    types = [
        event.type for event in shop.world.journal.events(deployment="churn") if event.release == release
    ]
    data = shop.world.release(release).data

    assert types[1:] == [
        "lastgood.release.started",
        "lastgood.data.capture_started",
        "lastgood.data.captured",
        "lastgood.data.staged",
        "lastgood.data.migration_started",
        "lastgood.data.migrated",
        "lastgood.release.validated",
    ]
    assert shop.columns() == ["id", "born"]
    assert data is not None
    assert data.touched
    assert data.snapshot is not None
    assert data.snapshot.rows == {"customers": 50}


def test_model_and_data_go_back_together_and_no_row_is_lost(shop: Shop) -> None:
    """A failed guardrail after the migration: the snapshot is live again, what was written since is in quarantine."""
    release = shop.start(AT_ONCE)
    shop.turns(lambda: shop.phase(release) is Phase.WATCHING)
    assert shop.world.routed() == "v1.1"
    shop.write(1000)
    key = shop.world.key("v1.1")
    shop.world.fleet.missed[key] = 9
    shop.turns(lambda: shop.phase(release) is Phase.ROLLED_BACK)
    done = shop.world.release(release)

    assert (shop.world.stable(), shop.world.routed()) == ("v1.0", "v1.0")
    assert shop.columns() == ["id", "age"]
    assert shop.identifiers() == set(range(50))
    assert done.data is not None
    assert done.data.stage is DataStage.SWAPPED
    assert not shop.world.router.page.routes[0].held
    source = shop.world.live.desk.source("features")
    assert done.data.snapshot is not None
    exports = shop.path.parent / "exports"
    exports.mkdir()
    kept = source.quarantine(done.data.snapshot, f"r{release}_restore", exports)
    assert kept.kept.rows == {"customers": 51}
    assert '"id":1000,' in (exports / str(kept.tables["customers"].export)).read_text()


def test_requests_wait_only_while_both_change(shop: Shop) -> None:
    """Routes are held exactly from before a flip to after it, forward and back."""
    release = shop.start(AT_ONCE)
    shop.turns(lambda: shop.phase(release) is Phase.WATCHING)
    shop.world.commands.roll_back("churn", version=None, reason="", keep=False, actor="ada")
    pages = [page.routes[0] for page in shop.world.router.publications if page.routes]
    seen = [(page.held, page.stable.version if page.stable else None) for page in pages]

    forward = seen.index((True, 1))
    back = seen.index((True, 2))
    assert seen[forward + 1] == (False, 2)
    assert seen[back + 1] == (False, 1)
    assert shop.columns() == ["id", "age"]


def test_a_failed_migration_goes_back_before_any_traffic_moved(shop: Shop) -> None:
    """Half a migration is undone by the snapshot, and stable never left the route."""

    def half() -> None:
        shop.migrate()
        raise LastgoodError(Code.REFUSED, "'migrate' exited with status 1.")

    shop.world.programs.known["migrate"] = half
    release = shop.start(_plan())
    shop.turns(lambda: shop.world.release(release).terminal)
    routed = {page.routes[0].candidate for page in shop.world.router.publications if page.routes}

    assert shop.phase(release) is Phase.ROLLED_BACK
    assert "migration failed" in shop.world.release(release).reason
    assert shop.columns() == ["id", "age"]
    assert routed == {None}


def test_an_interrupted_migration_goes_back(shop: Shop) -> None:
    """A controller that dies in a migration: the next one cannot know how far it came, so it restores the snapshot."""
    shop.world.fault = ("after migration", 0)
    release = shop.start(_plan())
    with pytest.raises(Crash):
        shop.turns(lambda: shop.world.release(release).terminal)
    shop.world.restart()
    shop.turns(lambda: shop.world.release(release).terminal)

    assert "interrupted" in shop.world.release(release).reason
    assert shop.columns() == ["id", "age"]


def test_an_abort_after_the_migration_brings_the_data_back(shop: Shop) -> None:
    """Nobody is blamed, and stable finds the data that it can read."""
    release = shop.start(_plan())
    shop.turns(lambda: shop.phase(release) is Phase.PROGRESSING)
    shop.world.commands.abort("churn", reason="not today", actor="ada")

    assert shop.phase(release) is Phase.ABORTED
    assert shop.columns() == ["id", "age"]


def test_a_lock_that_does_not_let_go_postpones_the_swap_and_holds_nobody(shop: Shop) -> None:
    """While somebody writes for long, requests are let go again, the old arrangement serves, and the swap is tried anew."""
    release = shop.start(AT_ONCE)
    shop.turns(lambda: shop.phase(release) is Phase.WATCHING)
    with closing(shop.connect()) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO customers (id) VALUES (2000)")
        shop.world.fleet.missed[shop.world.key("v1.1")] = 9
        shop.turns(lambda: getattr(shop.world.release(release).data, "tries", 0) > 0)
        assert not shop.world.router.page.routes[0].held
        assert shop.world.routed() == "v1.1"
        assert shop.columns() == ["id", "born"]
        writer.commit()
    shop.turns(lambda: shop.phase(release) is Phase.ROLLED_BACK)

    assert shop.columns() == ["id", "age"]
    assert shop.identifiers() == set(range(50))


def test_a_way_back_that_was_lost_is_staged_anew(shop: Shop) -> None:
    """A migration that puts a rebuilt file in the place of the live one takes what was staged in it: the snapshot is enough."""
    shop.migrate()
    rebuilt = shop.path.read_bytes()
    with closing(shop.connect()) as database, database:
        database.execute("UPDATE customers SET born = 2026 - born")
        database.execute("ALTER TABLE customers RENAME COLUMN born TO age")

    def rebuild() -> None:
        beside = shop.path.with_suffix(".new")
        beside.write_bytes(rebuilt)
        for end in ("-wal", "-shm"):
            shop.path.with_name(shop.path.name + end).unlink(missing_ok=True)
        beside.replace(shop.path)

    shop.world.programs.known["migrate"] = rebuild
    release = shop.start(AT_ONCE)
    shop.turns(lambda: shop.phase(release) is Phase.WATCHING)
    assert shop.columns() == ["id", "born"]
    shop.world.fleet.missed[shop.world.key("v1.1")] = 9
    shop.turns(lambda: shop.phase(release) is Phase.ROLLED_BACK)

    assert shop.columns() == ["id", "age"]
    assert shop.identifiers() == set(range(50))
    assert not shop.world.router.page.routes[0].held


def test_frozen_data_holds_the_release_and_nothing_moves(shop: Shop) -> None:
    """With a one-way migration a failed guardrail stops and tells: model and data stay."""
    data = msgspec.structs.replace(DATA, on_rollback=OnRollback.FREEZE)
    release = shop.start(_plan(data))
    shop.turns(lambda: shop.phase(release) is Phase.PROGRESSING)
    shop.world.reports.feed(release, 0, (100, 60), (900, 0))
    shop.turn(1.0)
    held = shop.world.release(release)

    assert held.phase is Phase.PAUSED
    assert held.hold is not None
    assert held.hold.reason is HoldReason.GUARDRAIL
    assert "one-way" in held.hold.message
    assert shop.columns() == ["id", "born"]


def test_kept_data_stays_when_the_older_version_fits_it(shop: Shop) -> None:
    """With ``keep`` only the model goes back, and rows written meanwhile stay live."""
    shop.world.programs.known["migrate"] = lambda: shop.write(3000)
    data = msgspec.structs.replace(DATA, on_rollback=OnRollback.KEEP)
    shop.world.register("v1.2", needs=shop.needs)
    release = shop.world.start("v1.2", plan=_plan(data)).id
    shop.turns(lambda: shop.phase(release) is Phase.PROGRESSING)
    shop.world.reports.feed(release, 0, (100, 60), (900, 0))
    shop.turns(lambda: shop.phase(release) is Phase.ROLLED_BACK)

    assert 3000 in shop.identifiers()


def test_a_candidate_that_does_not_fit_the_migrated_data_never_loads(shop: Shop) -> None:
    """The data contract is checked after the migration, and each column that differs is named."""
    other: dict[str, Schema] = {"features": schema_of({"customers": [Column("height", "real")]})}
    shop.world.register("v1.3", needs=other)
    release = shop.world.start("v1.3", plan=_plan()).id
    shop.turns(lambda: shop.world.release(release).terminal)

    assert "customers.height is missing" in shop.world.release(release).reason
    assert shop.columns() == ["id", "age"]


def test_a_version_that_does_not_fit_is_refused_before_anything_moves(shop: Shop) -> None:
    """Without a migration a release of v1.1 is refused, naming the column."""
    with pytest.raises(LastgoodError, match=r"customers\.born is missing") as refused:
        shop.world.start("v1.1")

    assert refused.value.code is Code.REFUSED
    assert shop.world.store.releases("churn", limit=1)[0].version == 1


def test_going_back_by_hand_long_after_brings_the_data_of_then(shop: Shop) -> None:
    """A rollback of a release that had succeeded finds the snapshot that belongs to the version gone back to."""
    release = shop.start(msgspec.structs.replace(AT_ONCE, watch=1.0))
    shop.turns(lambda: shop.phase(release) is Phase.SUCCEEDED)
    shop.write(4000)
    result = shop.world.commands.roll_back("churn", version=None, reason="", keep=False, actor="ada")

    assert result.label == "v1.0"
    assert shop.columns() == ["id", "age"]
    assert shop.identifiers() == set(range(50))


def test_two_releases_on_one_source_are_refused(shop: Shop) -> None:
    """The second names the first: two migrations of the same data have no common way back."""
    release = shop.start(_plan())
    shop.turn()
    with pytest.raises(LastgoodError, match=f"Release {release} of churn is at work") as refused:
        shop.world.start("v1.0", plan=_plan(), deployment="churn-eu")

    assert refused.value.code is Code.CONFLICT


def test_an_unknown_source_is_refused(shop: Shop) -> None:
    """The refusal says which sources there are."""
    with pytest.raises(LastgoodError, match="features") as refused:
        shop.start(_plan(DataPlan(source="elsewhere")))

    assert refused.value.code is Code.REFUSED


def test_a_snapshot_that_fails_ends_the_release_without_blame(shop: Shop) -> None:
    """No snapshot, no release: nothing was changed, and the version is not tagged."""
    shop.path.rename(shop.path.with_suffix(".away"))
    release = shop.start(_plan())
    shop.turns(lambda: shop.world.release(release).terminal)

    assert shop.phase(release) is Phase.ABORTED
    assert "could not be captured" in shop.world.release(release).cause


CRASHES = [
    "before data.capture",
    "after data.capture",
    "before data.stage_restore",
    "after data.stage_restore",
    "before migration",
    "after migration",
    "before data.swap",
    "after data.swap",
]


@pytest.mark.parametrize("point", CRASHES)
def test_a_crash_at_any_point_ends_with_both_or_neither(shop: Shop, point: str) -> None:
    """Killed at a named point and started again, model and data are both back or both forward, and every row is there."""
    shop.world.fault = (point, 0)
    release = shop.start(AT_ONCE)

    def go(until: Callable[[], bool]) -> None:
        try:
            shop.turns(until)
        except Crash:
            shop.world.restart()
            shop.turns(until)

    go(lambda: shop.phase(release) is Phase.WATCHING or shop.world.release(release).terminal)
    forward = shop.phase(release) is Phase.WATCHING
    if forward:
        shop.write(5000)
        shop.world.fleet.missed[shop.world.key("v1.1")] = 9
        go(lambda: shop.world.release(release).terminal)
    finished = shop.world.release(release)
    source = shop.world.live.desk.source("features")

    assert (shop.world.stable(), shop.columns()) == ("v1.0", ["id", "age"])
    assert shop.identifiers() == set(range(50))
    assert finished.phase in (Phase.ROLLED_BACK, Phase.ABORTED)
    if forward:
        assert finished.data is not None
        assert finished.data.snapshot is not None
        exports = shop.path.parent / "exports"
        exports.mkdir()
        kept = source.quarantine(finished.data.snapshot, f"r{release}_restore", exports)
        assert kept.kept.rows == {"customers": 51}
