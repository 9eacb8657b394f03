"""The contract of TrafficStore: counts of one minute add up, come back in order, and are dropped from the old end."""

from typing import Any

import pytest
from store_samples import Stores

from lastgood.domain.traffic import ArmCounts, Counter, TrafficMinute
from lastgood.errors import LastgoodError
from lastgood.store.traffic import SqlTraffic


@pytest.fixture
def kept(stores: Stores) -> SqlTraffic:
    return SqlTraffic(stores.database)


def minute(number: int, version: int = 1, deployment: str = "churn", **counts: Any) -> TrafficMinute:
    known = {"requests": 100, "errors": 2, "timeouts": 1, "latency": {160: 98}, **counts}
    return TrafficMinute(deployment=deployment, version=version, minute=number, counts=ArmCounts(**known))


def test_minutes_come_back_in_order(kept: SqlTraffic) -> None:
    """Oldest first, whatever the order in which they were written, whole."""
    kept.add_traffic([minute(7), minute(5)])
    kept.add_traffic([minute(6, counters={"low": Counter(total=9, bad=1)})])

    found = kept.traffic("churn", since=0)

    assert found == [minute(5), minute(6, counters={"low": Counter(total=9, bad=1)}), minute(7)]


def test_counts_of_one_minute_add_up(kept: SqlTraffic) -> None:
    """A second write of the same deployment, version and minute is added; another version has its own row."""
    kept.add_traffic([minute(5), minute(5, latency={160: 2, 200: 1}), minute(5, version=2)])
    kept.add_traffic([minute(5)])

    first, second = kept.traffic("churn", since=5)

    assert (first.counts.requests, first.counts.errors) == (300, 6)
    assert first.counts.latency == {160: 198, 200: 1}
    assert second == minute(5, version=2)


def test_a_question_names_deployment_time_and_version(kept: SqlTraffic) -> None:
    """Only the deployment asked for, from the minute asked for on, of the version asked for."""
    kept.add_traffic([minute(4), minute(5), minute(6, version=2), minute(6, deployment="churn-eu")])

    assert kept.traffic("churn", since=5) == [minute(5), minute(6, version=2)]
    assert kept.traffic("churn", since=0, version=2) == [minute(6, version=2)]
    assert kept.traffic("unknown", since=0) == []


def test_the_old_end_is_dropped(kept: SqlTraffic) -> None:
    """What is before the minute goes, of every deployment; the minute itself stays."""
    kept.add_traffic([minute(4), minute(5), minute(4, deployment="churn-eu")])
    kept.drop_traffic(5)

    assert kept.traffic("churn", since=0) == [minute(5)]
    assert kept.traffic("churn-eu", since=0) == []


def test_nothing_to_add_is_no_write(
    kept: SqlTraffic, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty list begins no transaction, so it succeeds even where nothing can be written."""
    begun: list[str] = []
    begin = stores.database.transaction

    def transaction() -> Any:
        begun.append("one")
        return begin()

    monkeypatch.setattr(stores.database, "transaction", transaction)
    kept.add_traffic([])
    assert begun == []
    kept.add_traffic([minute(5)])
    assert begun == ["one"]


def test_minutes_are_added_together_or_not_at_all(kept: SqlTraffic) -> None:
    """One that cannot be stored leaves none of the others."""
    with pytest.raises((LastgoodError, OverflowError)):
        kept.add_traffic([minute(5), minute(2**70)])

    assert kept.traffic("churn", since=0) == []
