"""Who stands in for stable: the last good version, only while it finds in the live data what it needs."""

from pathlib import Path

import msgspec
import pytest
from test_data_release import AT_ONCE, DATA, Shop, _plan

from lastgood.domain.plan import OnRollback
from lastgood.domain.release import Phase


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """v1.0 serves and reads ``age``; v1.1 is registered and reads ``born``."""
    return Shop(tmp_path)


def standby(shop: Shop) -> str | None:
    route = shop.world.router.page.routes[0]
    return None if route.standby is None else route.standby.label


def look(shop: Shop) -> None:
    """Look at what the live data looks like now, as is done every few seconds, and take a turn."""
    schemas = shop.world.live.schemas
    schemas._found = {source: (at - 2.0, found) for source, (at, found) in schemas._found.items()}
    shop.world.readiness.look()
    shop.turn()


def succeeded(shop: Shop, on_rollback: OnRollback) -> None:
    data = msgspec.structs.replace(AT_ONCE.data or DATA, on_rollback=on_rollback)
    plan = msgspec.structs.replace(AT_ONCE, data=data, watch=1.0)
    release = shop.start(plan)
    shop.turns(lambda: shop.phase(release) is Phase.SUCCEEDED)
    look(shop)


def link(shop: Shop, name: str) -> tuple[str, str]:
    found = shop.world.readiness.of("churn", fresh=True)
    one = next(one for one in found.links if one.name.value == name)
    return one.state.value, f"{one.sentence}. {one.next}"


@pytest.mark.parametrize("on_rollback", list(OnRollback))
def test_a_version_that_cannot_read_the_migrated_data_does_not_stand_in(
    shop: Shop, on_rollback: OnRollback
) -> None:
    """Whatever the plan does on a rollback: after the release it is resident, is not asked, and readiness says so."""
    succeeded(shop, on_rollback)
    state, said = link(shop, "data contract")

    assert shop.world.routed() == "v1.1"
    assert standby(shop) is None
    assert shop.world.key("v1.0") in {spec.key for spec in shop.world.fleet.desired.hosts}
    assert state == ("ok" if on_rollback is OnRollback.RESTORE else "broken")
    assert "when stable's host is away" in said
    assert "customers.age is missing" in said


def test_it_stands_in_again_once_the_data_is_as_it_needs_it(shop: Shop) -> None:
    """Somebody adds the column that it reads: the next look brings it back into the route."""
    succeeded(shop, OnRollback.KEEP)
    with shop.connect() as database:
        database.execute("ALTER TABLE customers ADD COLUMN age INTEGER")
    look(shop)

    assert standby(shop) == "v1.0"
    assert link(shop, "data contract")[0] == "ok"


def test_a_column_that_goes_away_by_another_hand_takes_the_standby_out(shop: Shop) -> None:
    """No release moves, and still nobody is sent to a version that would fail."""
    shop.world.register("v1.2", needs={})
    shop.world.serve("v1.2")
    look(shop)
    before = standby(shop)
    shop.migrate()
    look(shop)

    assert (before, standby(shop)) == ("v1.0", None)


def test_a_source_that_cannot_be_asked_changes_nothing(shop: Shop) -> None:
    """Nobody knows of a change, so who stood in goes on to."""
    shop.world.register("v1.2", needs={})
    shop.world.serve("v1.2")
    look(shop)
    shop.path.rename(shop.path.with_suffix(".away"))
    look(shop)

    assert standby(shop) == "v1.0"


def test_after_a_restart_nobody_stands_in_before_the_data_was_seen(shop: Shop) -> None:
    """A controller that starts does not know what the data looks like; the first look brings the standby back."""
    shop.world.register("v1.2", needs={})
    shop.world.serve("v1.2")
    look(shop)
    shop.world.restart()
    after_restart = standby(shop)
    look(shop)

    assert (after_restart, standby(shop)) == (None, "v1.0")


def test_nobody_who_reads_the_data_stands_in_while_it_is_being_changed(shop: Shop) -> None:
    """In the middle of a migration neither the old schema nor the new one is there."""
    shop.world.register("v0.9", needs=shop.needs)
    shop.world.serve("v0.9")
    look(shop)
    before, seen = standby(shop), []

    def migrate() -> None:
        shop.world.readiness.look()
        seen.append(shop.world.live.schemas.fits(shop.world.registry.resolve("churn", "v1.0")))
        shop.migrate()

    shop.world.programs.known["migrate"] = migrate
    release = shop.start(_plan())
    shop.turns(lambda: shop.phase(release) is Phase.PROGRESSING)

    assert before == "v1.0"
    assert seen == [False]
    assert standby(shop) is None
