"""A quarantine is put back over a real gateway, while clients ask and an application writes: nothing fails and no row is lost."""

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from data_shop import CUSTOMERS, FIRST_WRITTEN, SETTINGS, Shop, Writer
from project import DEADLINE_SECONDS, SIGNATURE, Load, Project, eventually

PLAN = """\
strategy: all_at_once
data:
  source: features
watch: 10m
"""


class FolderShop:
    """A project whose versions read one file of a folder for each request."""

    def __init__(self, folder: Path) -> None:
        self.project = Project(folder)
        self.path = folder / "features"
        self.path.mkdir()
        for number in range(CUSTOMERS):
            (self.path / f"customer-{number}").write_text(str(20 + number))
        with (folder / "lastgood.toml").open("a") as file:
            file.write(SETTINGS.replace("sqlite", "folder").replace("features.db", "features"))
        (folder / "plan.yaml").write_text(PLAN)
        (folder / "signature.json").write_text(json.dumps(SIGNATURE))
        self.register("v1.2")

    def register(self, label: str) -> None:
        body = (
            f"ages = [float(open({str(self.path)!r} + '/customer-' + str(int(one))).read()) for one in x[:, 0]]\n"
            f"return {{'y': 2.0 * (np.array(ages)[:, None] - 20.0)}}  # {label}"
        )
        self.project.register(label, body)

    def keys(self) -> set[int]:
        """Return the keys of the visits in the live folder."""
        return {int(path.name.partition("-")[2]) for path in self.path.glob("visit-*")}


class FolderWriter:
    """An application that puts one file after the other into the folder, with pauses in which a capture finds it still."""

    def __init__(self, shop: FolderShop) -> None:
        self._shop = shop
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.committed: set[int] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        key, path = FIRST_WRITTEN, self._shop.path
        beside = path.with_name("being-written")
        while not self._stop.wait(0.25):
            key += 1
            beside.write_text(str(key))
            folder = os.open(
                path, os.O_RDONLY
            )  # the folder as it is now, whatever its name means a moment later
            try:
                os.rename(beside, f"visit-{key}", dst_dir_fd=folder)
            finally:
                os.close(folder)
            self.committed.add(key)


@pytest.fixture(params=["sqlite", "folder"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """v1.2 serves; v1.3 reads the same data."""
    made: Any = Shop(tmp_path) if request.param == "sqlite" else FolderShop(tmp_path)
    (tmp_path / "plan.yaml").write_text(PLAN)
    try:
        made.project.start()
        made.project.cli("release", "churn", "--version", "v1.2", "--wait")
        if isinstance(made, Shop):
            made.register("v1.3", column="age", age="age + 0")
        else:
            made.register("v1.3")
        yield made
    finally:
        made.project.stop()


def _written(shop: Any) -> set[int]:
    """Return the keys of what the application has written and is live."""
    keys = shop.live("visits") if isinstance(shop, Shop) else shop.keys()
    return {key for key in keys if key >= FIRST_WRITTEN}


def _exported(shop: Any, token: str) -> set[int]:
    """Return the keys of what a quarantine has and what took its place has not."""
    to = shop.project.folder / f"rows-{token}"
    shop.project.cli("quarantine", "export", token, "--to", str(to))
    if isinstance(shop, Shop):
        lines = (to / "visits.jsonl").read_text().splitlines() if (to / "visits.jsonl").exists() else []
        return {json.loads(line)["id"] for line in lines}
    return {int(path.name.partition("-")[2]) for path in to.rglob("visit-*")}


def _more(load: Load, version: str, count: int = 50) -> None:
    before = load.versions[version]
    eventually(lambda: load.versions[version] > before + count, f"version {version} answers")


@pytest.mark.slow
def test_a_quarantine_is_put_back_under_load(shop: Any) -> None:
    """Back by mistake, and forward again: the model stays, requests wait and none fails, each row is live or kept."""
    project = shop.project
    with Writer(shop) if isinstance(shop, Shop) else FolderWriter(shop) as writer, Load(project) as load:
        project.cli("release", "churn", "--version", "v1.3", "--plan", "plan.yaml")
        _more(load, "2")
        before = set(writer.committed)
        eventually(lambda: len(writer.committed) > len(before) + 4, "rows are written on v1.3")
        aside = set(writer.committed) - before
        project.cli("rollback", "churn", "--reason", "a mistake")
        eventually(lambda: not aside & _written(shop), "what was written on v1.3 is kept aside")
        count = len(writer.committed)
        eventually(lambda: len(writer.committed) > count + 4, "rows are written on v1.2")
        first = project.data(
            "quarantine", "restore", "r2_restore", "--yes", "--reason", "the rollback was a mistake"
        )
        _more(load, "1")
        eventually(lambda: aside <= _written(shop), "what was kept aside is live")
        more = len(writer.committed)
        eventually(lambda: len(writer.committed) > more + 4, "rows are written on what was put back")
        again = project.data(
            "quarantine", "restore", first["replaced"], "--yes", "--reason", "and back once more"
        )
        _more(load, "1")

    kept = {token: _exported(shop, token) for token in ("r2_restore", first["replaced"], again["replaced"])}
    live, everything = _written(shop), set().union(*kept.values()) | _written(shop)
    status = project.data("status", "churn")

    assert not load.failures, load.failures
    assert (first["restored"], again["restored"]) == (True, True)
    assert 0 < first["held_ms"] < 10_000, "nobody waited longer than a request may take"
    assert status["stable"]["label"] == "v1.2"
    assert writer.committed <= everything, writer.committed - everything
    assert everything <= writer.committed | getattr(writer, "unsure", set()), "nothing came from nowhere"
    assert aside <= kept[again["replaced"]], "what was put back first is kept by the second restore"
    assert not live & kept[again["replaced"]], "what was replaced is not live"
    project.cli("audit", "verify")
    kinds = [one["kind"] for one in project.data("history", "churn")["releases"]]
    assert kinds == ["restore", "restore", "release", "release"]


@pytest.mark.slow
def test_a_restore_gives_way_to_a_rollback_under_load(shop: Any) -> None:
    """Whoever takes the version back while a quarantine is being put back comes first, and nothing is lost by either."""
    project = shop.project
    with Writer(shop) if isinstance(shop, Shop) else FolderWriter(shop) as writer, Load(project) as load:
        project.cli("release", "churn", "--version", "v1.3", "--plan", "plan.yaml")
        _more(load, "2")
        project.cli("rollback", "churn", "--reason", "a mistake", "--keep")
        _more(load, "1")
        restoring = project.popen(
            "quarantine", "restore", "r2_restore", "--yes", "--reason", "put it back", "--json"
        )
        time.sleep(0.05)  # somewhere in its staging, its swap, or after it: each must end well
        project.cli("rollback", "churn", "--reason", "no", "--version", "v1.3", expect=None)
        restoring.communicate(timeout=DEADLINE_SECONDS)
        stable = project.data("status", "churn")["stable"]["number"]
        _more(load, str(stable))

    tokens = [one["token"] for one in project.data("quarantine", "list")["quarantines"]]
    everything = set().union(*(_exported(shop, token) for token in tokens)) | _written(shop)

    assert not load.failures, load.failures
    assert project.data("status", "churn")["release"] is None
    assert writer.committed <= everything, writer.committed - everything
    project.cli("audit", "verify")
