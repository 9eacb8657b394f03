"""The way back: what the history says, compared with a model of it, and that no table is scanned for it."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from store_samples import (
    Stores,
    deploy,
    digest,
    draft,
    fail,
    failure_of,
    make_stable,
    next_of,
    open_stores,
    register,
    register_many,
    release_of,
    verify_chain,
)

from lastgood.domain.change import Change
from lastgood.domain.channel import Channel
from lastgood.domain.release import Event


def last_good(stores: Stores, besides: int | None) -> int | None:
    entry = stores.releases.last_good("churn", besides=besides)
    return None if entry is None else entry.version


def lift(stores: Stores, number: int) -> None:
    before = stores.releases.deployment("churn")
    assert before is not None
    change = Change(deployment=next_of(before, release=77), lifted=digest(number))
    stores.releases.commit(change)


def test_registered_but_never_served_is_no_way_back(stores: Stores) -> None:
    """History v1.0 then v1.1 (failed), v1.2 registered and never served: the way back is v1.0."""
    register_many(stores, 3)
    deploy(stores)
    make_stable(stores, 1)
    make_stable(stores, 2)
    fail(stores, 2)

    assert last_good(stores, 2) == 1


def test_way_back_follows_history_not_version_order(stores: Stores) -> None:
    """History v1.0, v1.2, v1.1: the way back from v1.1 is v1.2."""
    register_many(stores, 3)
    deploy(stores)
    for number in (1, 3, 2):
        make_stable(stores, number)

    assert last_good(stores, 2) == 3


def test_no_good_version_left(stores: Stores) -> None:
    """With every served version failed, or none served, there is no last good."""
    register_many(stores, 2)
    deploy(stores)
    assert last_good(stores, None) is None
    make_stable(stores, 1)
    fail(stores, 1)

    assert last_good(stores, None) is None
    assert [entry.good for entry in stores.releases.history("churn")] == [False]


def test_failure_is_bound_to_the_bytes(stores: Stores) -> None:
    """All versions with the failed digest leave the way back, in all deployments of the model."""
    register_many(stores, 2)
    register(stores, digest=digest(2))  # version 3: the bytes of version 2
    deploy(stores)
    deploy(stores, "churn-eu")
    for number in (1, 2):
        make_stable(stores, number)
    for number in (1, 3):
        make_stable(stores, number, name="churn-eu")
    fail(stores, 2)

    assert last_good(stores, None) == 1
    found = stores.releases.last_good("churn-eu", besides=None)
    assert found is not None
    assert found.version == 1


def test_failure_and_lift_hold_for_the_bytes_in_every_model(stores: Stores) -> None:
    """Bytes that failed as one model are no way back of another, until a release of any model lifts the mark."""
    register_many(stores, 1)
    register(stores, model="other", digest=digest(1))
    deploy(stores)
    deploy(stores, "other", "other")
    make_stable(stores, 1)
    make_stable(stores, 1, name="other")
    fail(stores, 1)
    assert stores.releases.last_good("other", besides=None) is None
    make_stable(stores, 1, name="other")
    assert stores.releases.last_good("other", besides=None) is None
    lift(stores, 1)
    found = stores.releases.last_good("other", besides=None)

    assert found is not None
    assert [entry.good for entry in stores.releases.history("other")] == [True, True]
    mark = stores.versions.failures([digest(1)])[digest(1)]
    assert (mark.model, mark.deployment, mark.lifted_by) == ("churn", "churn", 77)  # a refusal can name it


def test_lifted_failure_is_kept_and_names_its_release(stores: Stores) -> None:
    """Lifting makes the entries good again, keeps the failure, and says which release lifted it."""
    register_many(stores, 2)
    deploy(stores)
    make_stable(stores, 1)
    fail(stores, 1)
    make_stable(stores, 1)  # an overridden second try: not a way back before it is lifted
    assert last_good(stores, None) is None
    lift(stores, 1)

    assert last_good(stores, None) == 1
    assert [entry.good for entry in stores.releases.history("churn")] == [True, True]
    assert stores.versions.failures([digest(1)])[digest(1)].lifted_by == 77


_step = st.tuples(st.sampled_from(["serve", "fail", "lift"]), st.integers(1, 4))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(_step, max_size=12))
def test_database_agrees_with_a_model_of_it(steps: list[tuple[str, int]]) -> None:
    """After any steps the look-up gives what a plain reading of the definition gives."""
    stores = open_stores(None)
    register_many(stores, 4)
    deploy(stores)
    served: list[int] = []
    failed: set[int] = set()
    for act, number in steps:
        if act == "serve":
            make_stable(stores, number)
            served.append(number)
        elif act == "fail":
            fail(stores, number)
            failed.add(number)
        else:
            lift(stores, number)
            failed.discard(number)
        for besides in (None, 1, 2, 3, 4):
            good = (one for one in reversed(served) if one not in failed and one != besides)
            assert last_good(stores, besides) == next(good, None)
    assert verify_chain(stores) > 0
    entries = stores.releases.history("churn")
    assert [entry.good for entry in entries] == [number not in failed for number in reversed(served)]
    stores.database.close()


def _roll_back(stores: Stores) -> None:
    """Read and write all that a rollback reads and writes."""
    present = stores.releases.deployment("churn")
    assert present is not None
    release = stores.releases.release(present.release or 0)
    assert release is not None
    entry = stores.releases.last_good("churn", besides=2)
    assert entry is not None
    stores.releases.served("churn", 2)
    stores.releases.history("churn", limit=5)
    stores.releases.history("churn", at=5.0)
    stores.versions.version("churn", entry.version)
    stores.versions.version_by_label("churn", "v1")
    stores.versions.versions_of_digest("churn", digest(1))
    stores.versions.failures([digest(1), digest(2)])
    stores.releases.generation()
    leaving = release.after(Event.ROLL_BACK, 9.0)
    change = Change(
        deployment=next_of(present, stable=entry.version),
        release=leaving,
        new_route=True,
        became_stable=True,
        failure=failure_of(2),
        lifted=digest(3),
        events=(draft(9.0),),
        notify=(Channel(command=("true",)),),
    )
    changed, _ = stores.releases.commit(change)
    settled = leaving.with_changes().after(Event.SETTLED, 9.5)
    settled = msgspec.structs.replace(settled, revision=leaving.revision + 1)
    done, _ = stores.releases.commit(Change(deployment=next_of(changed, release=None), release=settled))
    stores.releases.commit(Change(deployment=next_of(done, release=0), release=release_of(1, previous=1)))
    stores.outbox.sent(stores.outbox.due(99.0)[0][0].id, 99.0)
    stores.journal.head()
    stores.journal.events(newest_first=True, deployment="churn", limit=3)


def test_nothing_on_the_way_back_scans_a_table(stores: Stores) -> None:
    """Every statement that a rollback runs finds its rows by a key or an index."""
    register_many(stores, 3)
    deploy(stores)
    make_stable(stores, 1)
    present = make_stable(stores, 2)
    stores.releases.commit(Change(deployment=next_of(present, release=0), release=release_of(2, previous=1)))
    ran: dict[str, Any] = {}

    def keep(_c: Any, _cursor: Any, statement: str, parameters: Any, _x: Any, many: bool) -> None:
        ran[statement] = parameters[0] if many else parameters

    event.listen(stores.database.engine, "before_cursor_execute", keep)
    _roll_back(stores)
    event.remove(stores.database.engine, "before_cursor_execute", keep)
    plans = {}
    with stores.database.reading() as connection:
        for statement, parameters in ran.items():
            if statement.startswith(("SELECT", "UPDATE", "INSERT", "DELETE")):
                rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                plans[statement] = [row.detail for row in rows]

    assert len(plans) > 20
    scans = {statement: plan for statement, plan in plans.items() if "SCAN" in " ".join(plan)}
    assert scans == {}
    lookup = next(plan for statement, plan in plans.items() if "version !=" in statement)
    assert "way_back" in " ".join(lookup)
    other = next(
        plan for text, plan in plans.items() if text.startswith("SELECT releases.id") and "NOT IN" in text
    )
    assert "one_release_under_way" in " ".join(other)  # not every release that the deployment ever had


@pytest.mark.parametrize("returns", [3])
def test_a_version_that_kept_coming_back_stands_once(stores: Stores, returns: int) -> None:
    """However often a version came back, only its newest entry is on the way back."""
    register_many(stores, returns + 2)
    deploy(stores)
    make_stable(stores, 1)
    for number in range(3, returns + 3):
        make_stable(stores, 2)
        make_stable(stores, number)
        fail(stores, number)
    make_stable(stores, 2)
    with stores.database.reading() as connection:
        query = "SELECT version FROM history WHERE good = 1 AND latest = 1 ORDER BY sequence"
        walked = connection.exec_driver_sql(query).scalars().all()

    assert walked == [1, 2]
    assert last_good(stores, 2) == 1
