"""Model and data go forward and back together: a real server, real clients, an application that writes all the time."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from data_shop import Shop, Writer
from project import Load, eventually

BAD = "x % 4 == 0"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """v1.2 serves from the column ``age``."""
    made = Shop(tmp_path)
    try:
        made.project.start()
        made.project.cli("release", "churn", "--version", "v1.2", "--wait")
        yield made
    finally:
        made.project.stop()


def _in_order(types: list[str], expected: list[str]) -> bool:
    left = iter(types)
    return all(one in left for one in expected)


def test_a_version_that_fails_on_live_traffic_goes_back_with_its_data(
    shop: Shop, record_property: Callable[[str, object], None]
) -> None:
    """v1.3 migrates the table, answers, and has doubts: model and data are back, no request failed, no row is lost."""
    shop.register("v1.3", implausible=BAD)
    with Writer(shop) as writer, Load(shop.project) as load:
        done = shop.project.release("v1.3", expect=4)
        eventually(lambda before=load.versions["1"]: load.versions["1"] > before + 50, "v1.2 answers again")
    data = shop.release_data(2)
    record_property("held_ms", data["held_ms"])

    assert not load.failures, load.failures
    assert load.versions["2"] >= 100, "v1.3 answered as often as its guardrail asks for"
    assert "implausible" in done.stdout + done.stderr
    assert shop.columns() == ["id", "age"]
    assert 0 < data["held_ms"] < 10_000, "nobody waited longer than a request may take"
    assert _in_order(
        [event["type"] for event in shop.events(2)],
        [
            "lastgood.release.requested",
            "lastgood.data.captured",
            "lastgood.data.staged",
            "lastgood.data.migration_started",
            "lastgood.data.migrated",
            "lastgood.release.promoted",
            "lastgood.release.rollback_started",
            "lastgood.data.hold_started",
            "lastgood.data.restored",
            "lastgood.release.rolled_back",
        ],
    )
    assert "v1.3" in shop.project.cli("history", "churn").stdout
    shop.project.cli("audit", "verify")
    shop.project.stop()
    shop.check_accounts(writer, [2])
    found, _ = shop.quarantine(2)
    assert found.tables["visits"].added > 0


@pytest.mark.slow  # the same way back; only who asks for it differs
def test_a_person_takes_model_and_data_back_together(
    shop: Shop, record_property: Callable[[str, object], None]
) -> None:
    """A healthy v1.3 is rolled back by hand while it is watched, and so is its data."""
    shop.register("v1.3")
    with Writer(shop) as writer, Load(shop.project) as load:
        shop.project.cli("release", "churn", "--version", "v1.3", "--plan", "plan.yaml")
        eventually(lambda: load.versions["2"] > 200, "v1.3 answers")
        assert shop.columns() == ["id", "born"]
        out = shop.project.cli("rollback", "churn", "--reason", "wrong ages").stdout
        eventually(lambda before=load.versions["1"]: load.versions["1"] > before + 50, "v1.2 answers again")
    record_property("held_ms", shop.release_data(2)["held_ms"])

    assert not load.failures, load.failures
    assert "Deployed model version: v1.2" in out
    assert shop.columns() == ["id", "age"]
    shop.project.cli("audit", "verify")
    shop.project.stop()
    shop.check_accounts(writer, [2])


def test_a_migration_that_fails_leaves_everything_as_it_was(shop: Shop) -> None:
    """Half a migration is undone before any request has met it; nobody waits longer for that than a request may."""
    (shop.project.folder / "migrate.py").write_text(
        "import sqlite3, sys\n"
        "with sqlite3.connect('features.db', timeout=30) as features:\n"
        "    features.execute('ALTER TABLE customers RENAME COLUMN age TO born')\n"
        "sys.exit('no more ideas')\n"
    )
    shop.register("v1.3")
    with Writer(shop) as writer, Load(shop.project) as load:
        done = shop.project.release("v1.3", expect=4)

    assert not load.failures, load.failures
    assert set(load.versions) == {"1"}
    assert "no more ideas" in done.stdout + done.stderr
    assert shop.columns() == ["id", "age"]
    shop.project.stop()
    shop.check_accounts(writer, [2])
