"""Data that a release migrates, and a candidate that answers only copies on it."""

from pathlib import Path

import msgspec
import pytest
from test_data_release import DATA, Shop
from world import PLAN

from lastgood.domain.plan import DataPlan, Step, StepKind
from lastgood.domain.release import Phase

SHADOW = Step(kind=StepKind.SHADOW, rate=1000, duration=10.0, samples=50)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """v1.0 serves and reads ``age``; v1.1 is registered and reads ``born``."""
    return Shop(tmp_path)


def _begun(shop: Shop, data: DataPlan) -> int:
    plan = msgspec.structs.replace(PLAN, data=data, steps=(SHADOW, *PLAN.steps))
    release = shop.start(plan)
    shop.turns(lambda: shop.phase(release) is Phase.SHADOWING)
    return release


def test_a_migration_goes_back_from_the_shadow(shop: Shop) -> None:
    """The candidate was asked on migrated data; when it fails there, model and data are as they were."""
    release = _begun(shop, DATA)
    assert shop.columns() == ["id", "born"]
    route = shop.world.router.page.routes[0]
    assert route.shadow is not None
    assert route.shadow.target.label == "v1.1"
    shop.world.reports.feed(release, 0, (200, 90), (200, 0))
    shop.turns(lambda: shop.phase(release) is Phase.ROLLED_BACK)
    assert shop.columns() == ["id", "age"]
    assert shop.world.routed() == "v1.0"


def test_copies_alone_leave_data_that_nothing_migrated(shop: Shop) -> None:
    """Without a migration a rollback from the shadow swaps nothing: what was written since stays live."""
    shop.world.register("v1.2", needs=shop.needs)
    plan = msgspec.structs.replace(
        PLAN, data=msgspec.structs.replace(DATA, migrate=()), steps=(SHADOW, *PLAN.steps)
    )
    release = shop.world.start("v1.2", plan=plan).id
    shop.turns(lambda: shop.phase(release) is Phase.SHADOWING)
    data = shop.world.release(release).data
    assert data is not None
    assert not data.touched
    shop.write(1000)
    shop.world.reports.feed(release, 0, (200, 90), (200, 0))
    shop.turns(lambda: shop.phase(release) is Phase.ROLLED_BACK)
    assert 1000 in shop.identifiers()
