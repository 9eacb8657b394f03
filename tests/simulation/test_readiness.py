"""Whether the way back is open: links, what losing one does to a release, golden requests, drills; on a real SQLite file."""

import shutil
import time
from pathlib import Path

import msgspec
import pytest
from test_data_release import Shop
from world import PLAN, World

from lastgood.control.drill import FINISHED
from lastgood.domain.golden import Golden
from lastgood.domain.plan import DataPlan, OnRollback
from lastgood.domain.readiness import LinkState, Readiness
from lastgood.domain.release import HoldReason, Phase
from lastgood.domain.snapshot import DataTask
from lastgood.errors import Code, LastgoodError
from lastgood.wire.frames import Status

DATA = msgspec.structs.replace(PLAN, data=DataPlan(source="features", migrate=("migrate",)))
ASKED = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [1.0]}]}
GOLDEN = (Golden(ASKED), Golden(ASKED, {"outputs": [{"name": "y", "data": [0.25, 3]}]}))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """v1.0 serves and reads ``age``; v1.1 is registered and reads ``born``."""
    return Shop(tmp_path)


@pytest.fixture
def world() -> World:
    """v1.0 serves; v1.1 is registered."""
    made = World()
    made.register("v1.0", "v1.1")
    made.serve("v1.0")
    return made


def states(found: Readiness) -> dict[str, str]:
    return {link.name.value: link.state.value for link in found.links}


def progressing(world: World) -> int:
    release = world.start("v1.1").id
    world.turn()
    assert world.release(release).phase is Phase.PROGRESSING
    return release


def progressing_with_data(shop: Shop) -> int:
    release = shop.start(DATA)
    shop.turns(lambda: shop.phase(release) is Phase.PROGRESSING)
    return release


def drilled(world: World, name: str = "churn") -> None:
    world.drills.start(name, actor="ada")
    while not world.drills.latest(name).done:
        time.sleep(0.001)


def test_a_first_version_has_no_way_back_and_says_so(world: World) -> None:
    """Nothing was good before it, so nothing else is looked at and the answer is no."""
    found = world.readiness.of("churn", fresh=True)

    assert not found.ready
    assert states(found)["last good version"] == "broken"


def test_every_link_of_a_way_back_with_data_is_proven(shop: Shop) -> None:
    """After a migration the way back is the old version with its snapshot, read just now."""
    progressing_with_data(shop)
    found = shop.world.readiness.of("churn", fresh=True)

    assert found.ready
    assert found.label == "v1.0"
    assert states(found) == {
        "last good version": "ok",
        "artifact": "ok",
        "host": "ok",
        "answers": "ok",
        "data contract": "ok",
        "snapshot": "ok",
        "room": "ok",
        "last drill": "unknown",
    }


def test_what_was_known_of_another_way_back_is_not_shown(world: World) -> None:
    """Once a release has made another version stable, the look before it says nothing of the way back of today."""
    world.readiness.of("churn", fresh=True)
    assert world.readiness.current("churn") is not None
    progressing(world)
    stale = world.readiness.last("churn")
    told = world.views.deployment("churn").readiness

    assert stale is not None
    assert stale.version is None
    assert told is None


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_snapshot_that_is_lost_holds_the_release(shop: Shop, damage: str) -> None:
    """One changed byte or a deleted file is found by reading, the release is held, and the link is named."""
    release = progressing_with_data(shop)
    kept = next((shop.path.parent / "kept").rglob("data*"))
    if damage == "gone":
        kept.unlink()
    else:
        content = bytearray(kept.read_bytes())
        content[-1] ^= 1
        kept.chmod(0o600)
        kept.write_bytes(content)
    found = shop.world.readiness.of("churn", fresh=True)
    shop.turn()
    held = shop.world.release(release)

    assert states(found)["snapshot"] == "broken"
    assert held.phase is Phase.PAUSED
    assert held.hold is not None
    assert held.hold.reason is HoldReason.READINESS
    assert "snapshot" in held.hold.message


def test_a_reading_that_was_over_before_somebody_asked_is_no_fresh_one(shop: Shop) -> None:
    """A look in the background read the snapshot, and nobody took that in: what happened to it since is found all the same."""
    progressing_with_data(shop)
    desk = shop.world.live.desk
    shop.world.readiness.look()
    while not desk.idle():
        time.sleep(0.001)
    assert desk.knows("features", DataTask.VERIFY, "r2_snapshot")
    shutil.rmtree(next(shop.path.parent.rglob("r2_snapshot*")))

    assert states(shop.world.readiness.of("churn", fresh=True))["snapshot"] == "broken"


def test_a_lost_way_back_holds_and_the_release_goes_on_by_itself_when_it_is_back(world: World) -> None:
    """Held while the host of stable is gone, told as a pause; two good looks later it goes on."""
    release = progressing(world)
    world.fleet.sick[world.key("v1.0")] = ("unavailable", "it exited")
    world.readiness.look()
    world.turn()
    held = world.release(release)
    with pytest.raises(LastgoodError, match="no way back") as refused:
        world.commands.resume("churn", actor="ada")
    world.fleet.sick.clear()
    world.readiness.look()
    world.turn()
    after_one = world.release(release).phase
    world.readiness.look()
    world.turn()

    assert held.hold is not None
    assert held.hold.reason is HoldReason.READINESS
    assert refused.value.code is Code.REFUSED
    assert after_one is Phase.PAUSED
    assert world.release(release).phase is Phase.PROGRESSING
    types = [event.type for event in world.journal.events(deployment="churn") if event.release == release]
    assert types[-2:] == ["lastgood.release.paused", "lastgood.release.resumed"]


def test_a_held_release_stays_held_while_nobody_has_looked(world: World) -> None:
    """A controller that has just started knows nothing of the way back: that opens nothing."""
    release = progressing(world)
    world.blobs.damaged.add("sha256:churn-v1.0")
    world.readiness.of("churn", fresh=True)
    world.turn()
    world.blobs.damaged.clear()
    world.restart()
    world.turn(1.0)

    assert world.release(release).phase is Phase.PAUSED


def test_an_old_result_says_nothing(world: World) -> None:
    """When the thread that looks hangs, what it found last neither holds nor opens."""
    release = progressing(world)
    world.fleet.sick[world.key("v1.0")] = ("unavailable", "it exited")
    world.readiness.look()
    world.fleet.sick.clear()
    world.clock += 61.0

    assert world.readiness.last("churn") is None
    assert world.readiness.standing(world.release(release)).lost == ""


def test_a_promoted_version_that_loses_its_way_back_is_told_of_once(world: World) -> None:
    """It cannot be held any more; the record says it one time."""
    release = progressing(world)
    world.commands.promote("churn", full=True, actor="ada")
    world.turn()
    world.blobs.damaged.add("sha256:churn-v1.0")
    world.readiness.of("churn", fresh=True)
    world.turn()
    world.turn()
    told = [
        one for one in world.journal.events(deployment="churn") if one.data.get("guardrail") == "readiness"
    ]

    assert world.release(release).phase is Phase.WATCHING
    assert len(told) == 1


@pytest.mark.parametrize("link", ["artifact", "host", "data contract", "answers"])
def test_a_release_does_not_start_without_a_way_back(shop: Shop, link: str) -> None:
    """The refusal names the broken link, and nothing was written."""
    shop.world.register("v0.9", needs=shop.needs, golden=GOLDEN)
    shop.world.register("v1.2", needs={})
    if link == "answers":
        shop.world.answer = lambda *_: (Status.OK, b'{"outputs": [{"name": "y", "data": [0.25, 3]}]}')
        shop.world.serve("v0.9")
        shop.world.answer = lambda *_: (Status.MODEL_ERROR, b'{"error": "no"}')
        shop.world.clock += 31.0
    if link == "artifact":
        shop.world.blobs.damaged.add("sha256:churn-v1.0")
    if link == "host":
        shop.world.fleet.slow.add(shop.world.key("v1.0"))
    if link == "data contract":
        shop.migrate()
        shop.world.restart()  # what a schema is like is remembered for a second
    before = len(shop.world.journal.events(deployment="churn", limit=1000))
    with pytest.raises(LastgoodError, match=rf"no way back \({link}\)") as refused:
        shop.world.start("v1.2")

    assert refused.value.code is Code.REFUSED
    assert len(shop.world.journal.events(deployment="churn", limit=1000)) == before


@pytest.mark.parametrize(("on_rollback", "copies"), [(OnRollback.RESTORE, 2), (OnRollback.KEEP, 1)])
def test_a_release_does_not_start_without_room_for_its_snapshot(
    shop: Shop, on_rollback: OnRollback, copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room is known before anything is captured: by the live size, for the copies that the plan asks for."""
    data = msgspec.structs.replace(DATA.data, on_rollback=on_rollback)
    source = shop.world.live.desk.source("features", aside=True)
    size = source.size()
    free = copies * size - 1
    monkeypatch.setattr(source._inner, "room", lambda: free)
    with pytest.raises(LastgoodError, match=rf"no way back \(room\): .*{copies * size} bytes") as refused:
        shop.start(msgspec.structs.replace(DATA, data=data))
    free += 1

    assert size >= shop.path.stat().st_size
    assert refused.value.code is Code.REFUSED
    assert refused.value.details == {"link": "room"}
    assert len(shop.world.store.releases("churn", limit=5)) == 1
    assert shop.start(msgspec.structs.replace(DATA, data=data))


def test_a_source_that_cannot_tell_its_room_is_no_reason_to_refuse(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody knows is no reason to say no: the capture itself will."""
    source = shop.world.live.desk.source("features", aside=True)
    monkeypatch.setattr(source._inner, "room", lambda: None)

    assert shop.start(DATA)


def test_a_one_way_migration_is_no_reason_to_hold(shop: Shop) -> None:
    """With ``freeze`` the plan says that nothing goes back: the answer is no, and the release goes on."""
    data = DataPlan(source="features", migrate=("migrate",), on_rollback=OnRollback.FREEZE)
    release = shop.start(msgspec.structs.replace(PLAN, data=data))
    shop.turns(lambda: shop.phase(release) is Phase.PROGRESSING)
    found = shop.world.readiness.of("churn", fresh=True)
    shop.turn()

    assert [link.accepted for link in found.broken] == [True]
    assert shop.phase(release) is Phase.PROGRESSING


def test_golden_requests_fail_a_candidate_that_answers_otherwise(world: World) -> None:
    """The cause names the request and the first value that differs, and the version is tagged."""
    world.register("v1.2", golden=GOLDEN)
    world.answer = lambda *_: (Status.OK, b'{"outputs": [{"name": "y", "data": [0.2501, 3]}]}')
    release = world.start("v1.2").id
    for _ in range(5):
        world.turn()
        world.settle_data()

    assert world.release(release).phase is Phase.ROLLED_BACK
    assert "golden request 2 of 2: 'y'[0] is 0.2501, not 0.25" in world.release(release).reason


def test_golden_requests_are_answered_within_the_tolerance(world: World) -> None:
    """One part in a million more is the same answer."""
    world.register("v1.2", golden=GOLDEN)
    world.answer = lambda *_: (Status.OK, b'{"outputs": [{"name": "y", "data": [0.25000025, 3]}]}')
    release = world.start("v1.2").id
    for _ in range(3):
        world.turn()
        world.settle_data()

    assert world.release(release).phase is Phase.PROGRESSING


def test_a_drill_goes_the_whole_way_and_leaves_nothing(shop: Shop) -> None:
    """Each part is timed and recorded; the live data and what is kept are as before, and it is the newest link."""
    progressing_with_data(shop)
    columns, page = shop.columns(), shop.world.router.page
    drilled(shop.world)
    event = shop.world.journal.last(FINISHED, "churn")
    source = shop.world.live.desk.source("features")
    shop.world.settle_data()

    assert event is not None
    assert event.data["ok"] is True
    assert [part["name"] for part in event.data["parts"]] == ["way back", "artifact", "host", "data", "route"]
    assert all(part["seconds"] >= 0 for part in event.data["parts"])
    assert (shop.columns(), shop.world.router.page) == (columns, page)
    assert set(source.schema().tables) == {"customers"}
    assert states(shop.world.readiness.of("churn", fresh=True))["last drill"] == "ok"


def test_a_drill_that_fails_names_the_part_and_breaks_the_way_back(shop: Shop) -> None:
    """The snapshot is gone: the drill stops at the data, also for whoever starts after it."""
    progressing_with_data(shop)
    next((shop.path.parent / "kept").rglob("data*")).unlink()
    drilled(shop.world)
    shop.world.restart()
    drill = shop.world.drills.latest("churn")
    found = shop.world.readiness.of("churn", fresh=True)

    assert not drill.ok
    assert drill.failed.startswith("data: ")
    assert {link.name.value for link in found.links if link.state is LinkState.BROKEN} >= {"last drill"}
