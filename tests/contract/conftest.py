"""Every contract test of the store runs over each database that Lastgood supports."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from store_samples import Stores, open_stores


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
