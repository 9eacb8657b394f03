"""Who answers copies, by the route of a release: nobody who would only fail, and nobody once it goes back."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from plights import CANARY, SHADOW, STANDS, WEIGHT, release, serving, with_steps

from lastgood.control.routes import route_for, without_candidate
from lastgood.domain.plan import DataPlan, OnRollback, Plan
from lastgood.domain.release import Phase, Release
from lastgood.domain.route import Route
from lastgood.domain.snapshot import DataProgress, DataStage
from lastgood.domain.version import Format, Version


def _version(number: int) -> Version:
    return Version(
        model="churn",
        number=number,
        digest=f"sha256:{number:064x}",
        size_bytes=1,
        format=Format.ONNX,
        created_at=0.0,
        created_by="ada",
    )


def _route(now: Release, *, stable: int = 1, standby: int | None = 1) -> Route:
    return route_for(serving(stable), now, standby, _version, Path("/run"))


def _answers_copies(route: Route) -> int | None:
    return None if route.shadow is None else route.shadow.target.version


STEPS = with_steps(SHADOW, WEIGHT)
PHASES = [
    (release(Phase.VALIDATING, STEPS), 1, None),
    (release(Phase.SHADOWING, STEPS), 1, 2),
    (release(Phase.SHADOWING, with_steps(STANDS, WEIGHT)), 1, 2),
    (release(Phase.PAUSED, STEPS), 1, 2),
    (release(Phase.PROGRESSING, STEPS, step=1), 1, None),
    (release(Phase.ROLLING_BACK, STEPS, returning=True, target=1), 1, None),
    (release(Phase.ABORTED, STEPS), 1, None),
    (release(Phase.PROMOTING, STEPS, step=1), 2, None),
    (release(Phase.WATCHING, STEPS, step=1), 2, 1),
    (release(Phase.STUCK, STEPS, step=1), 2, None),
    (release(Phase.ROLLING_BACK, STEPS, step=1, returning=True, target=1), 2, None),
    (release(Phase.SUCCEEDED, STEPS, step=1), 2, None),
    (release(Phase.WATCHING, msgspec.structs.replace(STEPS, watch_shadow=0)), 2, None),
    (release(Phase.WATCHING, STEPS, previous=None), 2, None),
]


@pytest.mark.parametrize(("now", "stable", "copies"), PHASES)
def test_copies_go_to_one_version_or_to_nobody(now: Release, stable: int, copies: int | None) -> None:
    """The candidate in its shadow steps, the version before in the watch, else nobody; and never beside a split."""
    route = _route(now, stable=stable)

    assert _answers_copies(route) == copies
    assert route.shadow is None or route.weight == 0
    assert _answers_copies(without_candidate(route)) is None


def _migrated(data: DataPlan, **more: Any) -> Release:
    plan: Plan = msgspec.structs.replace(CANARY, data=data)
    progress = {"source": "features", "stage": DataStage.MIGRATED, "touched": True} | more
    return release(Phase.WATCHING, plan, step=1, data=DataProgress(**progress))


@pytest.mark.parametrize("on_rollback", OnRollback)
def test_a_version_that_cannot_read_the_data_is_asked_nothing(on_rollback: OnRollback) -> None:
    """Requests waited because stable could not read what the migration left: it answers no copies and stands in for nobody."""
    data = DataPlan(source="features", on_rollback=on_rollback, migrate=("migrate",), hold=True)
    route = _route(_migrated(data), stable=2)
    assert (route.standby, route.shadow) == (None, None)

    both_read = _route(_migrated(msgspec.structs.replace(data, hold=False)), stable=2)
    assert _answers_copies(both_read) == 1
