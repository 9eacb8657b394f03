"""Sources as the settings open them: tokens are one home's alone, whatever live data remembers of another's."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lastgood.data_ports import DataSource
from lastgood.errors import Code, LastgoodError
from lastgood.settings import Settings
from lastgood.sources.opening import openers
from lastgood.sources.own_tokens import home_mark


def opened(folder: Path, home: str) -> DataSource:
    options = {"provider": "sqlite", "path": str(folder / "features.db")}
    return openers(Settings(home=str(folder / home), data={"features": options}))["features"]()


def write(folder: Path, *numbers: int) -> None:
    with closing(sqlite3.connect(folder / "features.db")) as client, client:
        client.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY)")
        client.executemany("INSERT INTO t VALUES (?)", [(number,) for number in numbers])


def rows(folder: Path) -> list[int]:
    with closing(sqlite3.connect(folder / "features.db")) as client:
        return [number for (number,) in client.execute("SELECT id FROM t ORDER BY id")]


def test_a_home_that_begins_again_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    """The same tokens in another home capture and restore anew, though the live data remembers the first one's swap."""
    for home, number in (("first", 1), ("second", 3)):
        write(tmp_path, number)
        before = rows(tmp_path)
        source = opened(tmp_path, home)
        snapshot = source.capture("r1_snapshot")
        assert snapshot.rows == {"t": len(before)}
        write(tmp_path, number + 1)
        assert not source.swapped("r1_restore")
        source.stage_restore(snapshot, "r1_restore")
        source.swap("r1_restore")
        assert rows(tmp_path) == before


def test_tokens_are_plain_outside(tmp_path: Path) -> None:
    """What a source returns names the tokens that were asked for, and a new process of the home finds it all."""
    write(tmp_path, 1)
    snapshot = opened(tmp_path, "home").capture("r1_snapshot")
    assert snapshot.token == "r1_snapshot"
    assert opened(tmp_path, "home").capture("r1_snapshot") == snapshot
    write(tmp_path, 2)
    opened(tmp_path, "home").verify(snapshot)
    opened(tmp_path, "home").stage_restore(snapshot, "r1_restore")
    opened(tmp_path, "home").swap("r1_restore")
    assert opened(tmp_path, "home").swapped("r1_restore")
    found = opened(tmp_path, "home").quarantine(snapshot, "r1_restore", tmp_path / "exports")
    assert (found.token, found.since, found.kept.token) == ("r1_restore", "r1_snapshot", "r1_restore")
    opened(tmp_path, "home").verify(found.kept)
    assert opened(tmp_path, "home").release("r1_restore") > 0


def test_a_damaged_mark_is_said(tmp_path: Path) -> None:
    """A mark that was cut off is an error that names its file, instead of another mark under which nothing is found."""
    write(tmp_path, 1)
    opened(tmp_path, "home")
    kept = tmp_path / "home" / "data"
    mark = home_mark(kept)
    assert home_mark(kept) == mark
    (kept / "-home").write_text(mark[:3])
    with pytest.raises(LastgoodError, match="-home is damaged") as caught:
        opened(tmp_path, "home")
    assert caught.value.code == Code.CORRUPT


@pytest.mark.parametrize("provider", ["nobody", ["sqlite"], None])
def test_an_unknown_provider_is_named(tmp_path: Path, provider: object) -> None:
    """What no package brings, and what is no name at all, is refused with those that are known."""
    settings = Settings(home=str(tmp_path / "home"), data={"features": {"provider": provider}})
    with pytest.raises(LastgoodError, match=r"known: .*sqlite") as caught:
        openers(settings)["features"]()
    assert caught.value.code == Code.INVALID
