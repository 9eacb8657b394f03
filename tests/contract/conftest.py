"""Every contract test of the store runs over each database that Lastgood supports."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from store_samples import Stores, open_stores

# One process for each step, or a catalog with a synchronous commit for each: a kill at every point takes long there.
SLOW_KILLS = ("CommandRig", "IcebergRig", "PostgresRig")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the kills of slow rigs to ``make test-slow``; their other properties are looked at every time."""
    for item in items:
        if item.name.startswith("test_a_kill_anywhere") and any(rig in item.name for rig in SLOW_KILLS):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=["memory", "file"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    opened = open_stores(None if request.param == "memory" else tmp_path / "lastgood.db")
    yield opened
    opened.database.close()


@pytest.fixture
def file_stores(tmp_path: Path) -> Iterator[Stores]:
    """For what only a file can show: other processes, raw access, restarts."""
    opened = open_stores(tmp_path / "lastgood.db")
    yield opened
    opened.database.close()
