"""Whoever moves data at one moment, ends a release in the middle of its work, or leaves data as it is: on a real SQLite file."""

import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_data_release import AT_ONCE, DATA, Shop, _plan
from world import PLAN

from lastgood.control.starting import Order
from lastgood.domain.channel import Channel
from lastgood.domain.plan import DataPlan, OnRollback, Plan
from lastgood.domain.release import HoldReason, Phase
from lastgood.domain.snapshot import DataStage
from lastgood.errors import Code, LastgoodError
from lastgood.store.outbox import SqlOutbox

CHANNEL = Channel(webhook="http://127.0.0.1:9/x")
ONLY_KEPT = msgspec.structs.replace(PLAN, data=DataPlan(source="features", on_rollback=OnRollback.KEEP))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """v1.0 serves and reads ``age``; v1.1 is registered and reads ``born``; another model may use the same data."""
    made = Shop(tmp_path)
    made.world.register("v1.0", model="other")
    return made


def other(plan: Plan) -> Order:
    return Order(model="other", version="v1.0", plan=plan, actor="ben")


def stage(shop: Shop, release: int) -> DataStage | None:
    data = shop.world.release(release).data
    return None if data is None else data.stage


class Slow:
    """Work that begins, and ends only when a test lets it."""

    def __init__(self, then: Any = None) -> None:
        self.begun, self.go, self._then = threading.Event(), threading.Event(), then

    def __call__(self, *arguments: Any) -> Any:
        self.begun.set()
        assert self.go.wait(60.0)
        return None if self._then is None else self._then(*arguments)


def test_of_two_that_want_the_same_data_at_one_moment_one_is_refused(shop: Shop) -> None:
    """Both have passed every check before either is written; the second one to be written names the first."""
    starting = shop.world.commands._starting
    late = starting._start_of(other(ONLY_KEPT), shop.world.registry.resolve("other", "v1.0"), "other")
    first = shop.start(_plan())
    with pytest.raises(LastgoodError, match=f"Release {first} of churn is at work") as refused:
        starting._begin(late, ONLY_KEPT)

    assert refused.value.code is Code.CONFLICT
    assert shop.world.store.deployment("other") is None


def test_a_rollback_by_hand_does_not_swap_data_under_another_release(shop: Shop) -> None:
    """It would bring back data that another deployment's release has captured: refused, naming that, and nothing moves."""
    release = shop.start(msgspec.structs.replace(AT_ONCE, watch=1.0))
    shop.turns(lambda: shop.phase(release) is Phase.SUCCEEDED)
    running = shop.world.commands.start(other(ONLY_KEPT)).id
    with pytest.raises(LastgoodError, match=f"Release {running} of other is at work") as refused:
        shop.world.commands.roll_back("churn", version=None, reason="", keep=False, actor="ada")
    during = (shop.world.stable(), shop.columns())
    shop.world.commands.abort("other", reason="", actor="ben")
    shop.world.commands.roll_back("churn", version=None, reason="", keep=False, actor="ada")

    assert refused.value.code is Code.REFUSED
    assert during == ("v1.1", ["id", "born"])
    assert (shop.world.stable(), shop.columns()) == ("v1.0", ["id", "age"])


def test_what_was_being_captured_for_a_release_that_ended_is_freed(shop: Shop) -> None:
    """Nobody would know of that snapshot: it is noted when the release ends, and freed once the capture is over."""
    world = shop.world
    source = world.live.desk.source("features")
    capture = Slow(source._inner.capture)
    source._inner.capture = capture
    release = shop.start(_plan())
    while stage(shop, release) is not DataStage.CAPTURING or not capture.begun.is_set():
        world.turn(0.2)
    world.commands.abort("churn", reason="not today", actor="ada")
    world.caretaker.look()
    early = world.kept.kept(f"r{release}_snapshot")
    capture.go.set()
    world.settle_data()
    (row,) = world.caretaker.looked_after([early], 60.0)

    assert shop.phase(release) is Phase.ABORTED
    assert early.freed_at is None
    assert row.freed_at is not None
    assert "while it was being captured" in row.freed_why
    assert not list((shop.path.parent / "kept").glob(f"r{release}_snapshot*"))


def test_a_capture_that_failed_leaves_nothing_to_free(shop: Shop) -> None:
    """Its source has tidied up by itself, so the record is not troubled with it."""
    shop.path.rename(shop.path.with_suffix(".away"))
    release = shop.start(_plan())
    shop.turns(lambda: shop.world.release(release).terminal)

    assert shop.world.kept.kept(f"r{release}_snapshot") is None


@pytest.mark.parametrize("on_rollback", [OnRollback.KEEP, OnRollback.FREEZE])
def test_an_abort_ends_the_migration_before_the_release_is_over(shop: Shop, on_rollback: OnRollback) -> None:
    """The data stays as it is, but nothing goes on changing it in the dark; stable serves all the time."""
    world, migrate = shop.world, Slow()
    world.programs.known["migrate"] = migrate
    release = shop.start(_plan(msgspec.structs.replace(DATA, on_rollback=on_rollback)))
    while stage(shop, release) is not DataStage.MIGRATING or not migrate.begun.is_set():
        world.turn(0.2)
    world.programs.ended.clear()
    world.commands.abort("churn", reason="not today", actor="ada")
    ended = list(world.programs.ended)
    migrate.go.set()
    world.settle_data()

    assert shop.phase(release) is Phase.ABORTED
    assert f"release-{release}-migration" in ended
    assert world.routed() == "v1.0"
    types = [event.type for event in world.journal.events(deployment="churn") if event.release == release]
    assert types[-2:] == ["lastgood.release.rollback_started", "lastgood.release.aborted"]


def test_an_abort_before_any_traffic_asks_for_no_fit(shop: Shop) -> None:
    """Stable serves on whatever became of the data: who ends the release changes nothing for its callers."""
    world = shop.world
    world.fleet.slow.add(world.key("v1.1"))
    release = shop.start(_plan(msgspec.structs.replace(DATA, on_rollback=OnRollback.KEEP)))
    shop.turns(lambda: stage(shop, release) is DataStage.MIGRATED)
    world.commands.roll_back("churn", version=None, reason="", keep=True, actor="ada")

    assert world.release(release).terminal
    assert (world.stable(), shop.columns()) == ("v1.0", ["id", "born"])


def test_a_migration_that_the_version_before_cannot_read_does_not_lock_a_release_up(shop: Shop) -> None:
    """With ``keep`` the plan says that the data stays: readiness says no and holds nothing, a guardrail holds and tells."""
    release = shop.start(_plan(msgspec.structs.replace(DATA, on_rollback=OnRollback.KEEP)))

    def progressing() -> bool:
        shop.world.readiness.of("churn", fresh=True)
        return shop.phase(release) is Phase.PROGRESSING

    shop.turns(progressing)
    found = shop.world.readiness.of("churn", fresh=True)
    shop.turn(0.2)
    before = shop.phase(release)
    shop.world.reports.feed(release, 0, (100, 60), (900, 0))
    shop.turn(1.0)
    held = shop.world.release(release).hold

    assert [(link.name.value, link.accepted) for link in found.broken] == [("data contract", True)]
    assert before is Phase.PROGRESSING
    assert held is not None
    assert held.reason is HoldReason.GUARDRAIL
    assert "the version before does not fit it" in held.message


def test_a_rollback_by_hand_is_told_to_the_plan_that_serves(shop: Shop) -> None:
    """The channels and the deadline are those of the plan by which the version was released."""
    plan = msgspec.structs.replace(AT_ONCE, watch=1.0, notify=(CHANNEL,), rollback_deadline=77.0)
    release = shop.start(plan)
    shop.turns(lambda: shop.phase(release) is Phase.SUCCEEDED)
    result = shop.world.commands.roll_back("churn", version=None, reason="", keep=False, actor="ada")
    due = SqlOutbox(shop.world.database).due(shop.world.clock + 99.0, limit=1_000)
    told = [event.type for delivery, event in due if event.release == result.release]

    (row,) = shop.world.caretaker.looked_after([shop.world.kept.kept(f"r{result.release}_restore")], 60.0)
    shop.world.register("v1.2", needs={})
    shop.world.serve("v1.2", plan=msgspec.structs.replace(PLAN, notify=(CHANNEL,)))
    begun = shop.world.quarantines.begin(row.token, reason="", actor="ada")
    due = SqlOutbox(shop.world.database).due(shop.world.clock + 99.0, limit=1_000)

    assert [event.type for _, event in due if event.release == begun.id] == [
        "lastgood.quarantine.restore_started"
    ]
    assert shop.world.release(result.release).plan.rollback_deadline == 77.0
    assert told[0] == "lastgood.release.rollback_started"
    assert told[-1] == "lastgood.release.rolled_back"


def test_going_to_a_version_that_was_left_brings_the_data_that_it_wrote(shop: Shop) -> None:
    """v1.1 was left with its data, without blame: to go to it again brings what that rollback replaced, not the older capture."""
    release = shop.start(AT_ONCE)
    shop.turns(lambda: shop.phase(release) is Phase.WATCHING)
    shop.write(4000)
    shop.world.commands.roll_back("churn", version=None, reason="", keep=True, actor="ada")
    (row,) = shop.world.caretaker.looked_after([shop.world.kept.kept(f"r{release}_restore")], 60.0)
    left = (shop.world.stable(), shop.columns(), 4000 in shop.identifiers())
    shop.write(5000)
    result = shop.world.commands.roll_back("churn", version="v1.1", reason="", keep=True, actor="ada")

    assert row.quarantine is not None
    assert left == ("v1.0", ["id", "age"], False)
    assert (shop.world.stable(), shop.columns()) == ("v1.1", ["id", "born"])
    assert 4000 in shop.identifiers()
    (other,) = shop.world.caretaker.looked_after([shop.world.kept.kept(f"r{result.release}_restore")], 60.0)
    assert other.quarantine.tables["customers"].added >= 1


def test_going_to_a_version_whose_data_is_gone_is_refused(shop: Shop) -> None:
    """Before what it wrote is counted, or once somebody has deleted it, the model does not go without its data."""
    release = shop.start(AT_ONCE)
    shop.turns(lambda: shop.phase(release) is Phase.WATCHING)
    shop.world.commands.roll_back("churn", version=None, reason="", keep=True, actor="ada")
    with pytest.raises(LastgoodError, match=r"customers\.born is missing") as early:
        shop.world.commands.roll_back("churn", version="v1.1", reason="", keep=True, actor="ada")
    shop.world.caretaker.looked_after([shop.world.kept.kept(f"r{release}_restore")], 60.0)
    shop.world.quarantines.delete(f"r{release}_restore", reason="of no use", actor="ada")
    with pytest.raises(LastgoodError, match="The data of then is gone") as late:
        shop.world.commands.roll_back("churn", version="v1.1", reason="", keep=True, actor="ada")

    assert (early.value.code, late.value.code) == (Code.REFUSED, Code.REFUSED)
    assert (shop.world.stable(), shop.columns()) == ("v1.0", ["id", "age"])


def _held(shop: Shop) -> bool:
    return shop.world.router.page.routes[0].held


def test_a_gateway_that_does_not_hold_requests_stops_a_migration_before_it_begins(shop: Shop) -> None:
    """Requests of all the others do not wait for it: after ten seconds the release ends, with nothing changed."""
    shop.world.fleet.slow.add(shop.world.key("v1.1"))
    release = shop.start(AT_ONCE)
    shop.turns(lambda: stage(shop, release) is DataStage.STAGED)
    shop.world.router.deaf = True
    shop.world.fleet.slow.clear()
    shop.turns(lambda: stage(shop, release) is DataStage.MIGRATING)
    held = _held(shop)
    shop.turn(9.0)
    during = (_held(shop), shop.phase(release))
    shop.turn(2.0)
    done = shop.world.release(release)

    assert held
    assert during == (True, Phase.VALIDATING)
    assert done.phase is Phase.ABORTED
    assert "gateways did not acknowledge within 10 s that requests wait" in done.cause
    assert not _held(shop)
    assert (shop.world.routed(), shop.columns()) == ("v1.0", ["id", "age"])
    assert shop.world.registry.failures([shop.world.registry.resolve("churn", "v1.1")]) == {}


def test_a_gateway_that_does_not_hold_requests_puts_a_swap_off(shop: Shop) -> None:
    """They are let go to the version that can read the data, and once it hears, model and data go back together."""
    release = shop.start(AT_ONCE)
    shop.turns(lambda: shop.phase(release) is Phase.WATCHING)
    shop.world.router.deaf = True
    shop.world.fleet.missed[shop.world.key("v1.1")] = 9
    shop.turns(lambda: stage(shop, release) is DataStage.HOLDING)
    held = _held(shop)
    shop.turn(11.0)
    let_go = (_held(shop), shop.world.routed(), shop.columns(), stage(shop, release))
    shop.world.router.deaf = False
    shop.world.router.hear()
    shop.turns(lambda: shop.phase(release) is Phase.ROLLED_BACK)

    assert held
    assert let_go == (False, "v1.1", ["id", "born"], DataStage.STAGED)
    assert (shop.world.routed(), shop.columns()) == ("v1.0", ["id", "age"])


def test_another_process_lets_nobody_go(shop: Shop) -> None:
    """Who finds a hold of a process that died cannot know whether its swap was made: requests wait until gateways hear."""
    release = shop.start(AT_ONCE)
    shop.turns(lambda: shop.phase(release) is Phase.WATCHING)
    shop.world.router.deaf = True
    shop.world.fleet.missed[shop.world.key("v1.1")] = 9
    shop.turns(lambda: stage(shop, release) is DataStage.HOLDING)
    shop.world.restart()
    shop.turn(60.0)
    shop.turn(60.0)
    held = (_held(shop), stage(shop, release))
    shop.world.router.deaf = False
    shop.world.router.hear()
    shop.turns(lambda: shop.phase(release) is Phase.ROLLED_BACK)

    assert held == (True, DataStage.HOLDING)
    assert (shop.world.routed(), shop.columns()) == ("v1.0", ["id", "age"])
