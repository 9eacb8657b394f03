"""The contract of ReleaseStore: a change is written whole or not at all."""

import threading

import msgspec
import pytest
from store_samples import (
    Stores,
    deploy,
    digest,
    draft,
    fail,
    failure_of,
    make_stable,
    next_of,
    register_many,
    release_of,
    verify_chain,
)

from lastgood.domain.change import Change
from lastgood.domain.channel import Channel
from lastgood.domain.deployment import Deployment
from lastgood.domain.release import Event, Phase, Release
from lastgood.errors import Code, LastgoodError


def begin(stores: Stores, deployment: Deployment, version: int = 1) -> tuple[Deployment, Release]:
    change = Change(
        deployment=next_of(deployment, release=0),
        release=release_of(version),
        events=(draft(deployment="churn"),),
        failure=failure_of(version, release=0),
    )
    changed, release = stores.releases.commit(change)
    assert release is not None
    return changed, release


def everything(stores: Stores) -> list[object]:
    """All rows of all tables: to see that nothing was written."""
    with stores.database.reading() as connection:
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")
        return [
            (name, connection.exec_driver_sql(f"SELECT * FROM {name}").all())
            for name in names.scalars().all()
        ]


def test_first_commit_inserts_the_deployment(stores: Stores) -> None:
    """Revision 0 inserts, and a second insert is a conflict that changes nothing."""
    register_many(stores, 1)
    deployed = deploy(stores)

    assert deployed == Deployment(name="churn", model="churn")
    assert stores.releases.deployment("churn") == deployed
    with pytest.raises(LastgoodError, match="exists already") as refused:
        deploy(stores)
    assert refused.value.code is Code.CONFLICT
    assert stores.releases.deployment("other") is None


def test_deployments_are_listed_by_name(stores: Stores) -> None:
    """All deployments come back sorted."""
    register_many(stores, 1)
    for name in ("b", "c", "a"):
        deploy(stores, name)

    assert [deployment.name for deployment in stores.releases.deployments()] == ["a", "b", "c"]


def test_inserted_release_gets_its_id_everywhere(stores: Stores) -> None:
    """The allotted id is in the release, the deployment, the events and the failure."""
    register_many(stores, 1)
    deployment, release = begin(stores, deploy(stores))

    assert (release.id, deployment.release) == (1, 1)
    assert stores.journal.events()[-1].release == 1
    assert stores.versions.failures([digest(1)])[digest(1)].release == 1
    assert stores.releases.release(1) == release
    assert stores.releases.release(2) is None


def test_new_route_allots_one_generation_to_both(stores: Stores) -> None:
    """Generations grow by one for each new route, over all deployments, and not otherwise."""
    register_many(stores, 1)
    first, second = deploy(stores, "a"), deploy(stores, "b")
    for expected, deployment in ((1, first), (2, second)):
        change = Change(
            deployment=next_of(deployment), release=release_of(deployment=deployment.name), new_route=True
        )
        changed, release = stores.releases.commit(change)
        assert release is not None
        assert (changed.generation, release.generation) == (expected, expected)
    stores.releases.commit(Change(deployment=next_of(changed)))

    assert stores.releases.generation() == 2
    stored = stores.releases.deployment("b")
    assert stored is not None
    assert (stored.generation, stored.revision) == (2, 2)


@pytest.mark.parametrize("revision", [0, 1, 3, 9])
def test_stale_deployment_revision_writes_nothing(stores: Stores, revision: int) -> None:
    """Any revision but the stored one plus one is a conflict, and no row of any table changes."""
    register_many(stores, 2)
    deploy(stores)
    make_stable(stores, 1)
    before = everything(stores)
    change = Change(
        deployment=Deployment(name="churn", model="churn", revision=revision, stable=2),
        release=release_of(2),
        new_route=True,
        became_stable=True,
        failure=failure_of(1),
        lifted=digest(2),
        events=(draft(),),
        notify=(Channel(command=("true",)),),
    )
    with pytest.raises(LastgoodError) as refused:
        stores.releases.commit(change)

    assert refused.value.code is Code.CONFLICT
    assert everything(stores) == before


@pytest.mark.parametrize("revision", [1, 3])
def test_stale_view_of_the_stable_version_is_a_conflict(stores: Stores, revision: int) -> None:
    """A change made from an older look, before the stable version changed, is a conflict and no fault of ours."""
    register_many(stores, 2)
    deploy(stores)
    make_stable(stores, 1)
    before = everything(stores)
    with pytest.raises(LastgoodError, match="somebody else") as refused:
        stores.releases.commit(
            Change(deployment=Deployment(name="churn", model="churn", revision=revision), events=(draft(),))
        )

    assert refused.value.code is Code.CONFLICT
    assert everything(stores) == before


def test_stale_release_revision_writes_nothing(stores: Stores) -> None:
    """A release that somebody else moved is a conflict even where the deployment's revision fits."""
    register_many(stores, 1)
    deployment, release = begin(stores, deploy(stores))
    moved = release.after(Event.START, 2.0)
    deployment, _ = stores.releases.commit(Change(deployment=next_of(deployment), release=moved))
    before = everything(stores)
    with pytest.raises(LastgoodError, match="Release 1") as refused:
        stores.releases.commit(
            Change(deployment=next_of(deployment), release=release.after(Event.ABORT, 3.0), events=(draft(),))
        )

    assert refused.value.code is Code.CONFLICT
    assert everything(stores) == before


def test_one_release_at_a_time(stores: Stores) -> None:
    """A second release is refused, naming the first, until that one is over."""
    register_many(stores, 1)
    deployment, release = begin(stores, deploy(stores))
    with pytest.raises(LastgoodError, match=r"Release 1 .* under way") as refused:
        stores.releases.commit(Change(deployment=next_of(deployment), release=release_of()))
    assert refused.value.code is Code.CONFLICT
    ended = Change(deployment=next_of(deployment, release=None), release=release.after(Event.ABORT, 2.0))
    deployment, _ = stores.releases.commit(ended)
    _, second = stores.releases.commit(
        Change(deployment=next_of(deployment, release=0), release=release_of())
    )

    assert second is not None
    assert second.id == 2
    assert [one.id for one in stores.releases.releases("churn")] == [2, 1]
    assert [one.id for one in stores.releases.releases("churn", limit=1)] == [2]


def test_database_itself_refuses_a_second_release(stores: Stores) -> None:
    """Even a raw insert cannot put two releases under way in one deployment."""
    register_many(stores, 1)
    begin(stores, deploy(stores))
    copy = (
        "INSERT INTO releases (id, deployment, revision, phase, format, document) "
        "SELECT 99, deployment, revision, 'watching', format, document FROM releases"
    )
    with (
        pytest.raises(LastgoodError, match="UNIQUE") as refused,
        stores.database.transaction() as connection,
    ):
        connection.exec_driver_sql(copy)

    assert refused.value.code is Code.CONFLICT


def test_release_that_is_over_stays_over(stores: Stores) -> None:
    """A terminal phase is never left, even with the right revision; other fields may still change."""
    register_many(stores, 1)
    deployment, release = begin(stores, deploy(stores))
    over = release.after(Event.ABORT, 2.0)
    deployment, _ = stores.releases.commit(Change(deployment=next_of(deployment, release=None), release=over))
    back = msgspec.structs.replace(over, phase=Phase.WATCHING, revision=over.revision + 1)
    with pytest.raises(LastgoodError) as refused:
        stores.releases.commit(Change(deployment=next_of(deployment), release=back))
    noted = over.with_changes(timings={"verified": 3.0})
    stores.releases.commit(Change(deployment=next_of(deployment), release=noted))

    assert refused.value.code is Code.CONFLICT
    assert stores.releases.release(1) == noted


def test_history_closes_the_former_entry(stores: Stores) -> None:
    """Entries follow each other without a gap, and ``at`` finds the one that was stable then."""
    register_many(stores, 3)
    deploy(stores)
    for version, at in ((1, 10.0), (2, 20.0), (1, 30.0), (3, 25.0)):  # the clock was set back at the end
        make_stable(stores, version, at=at)
    entries = stores.releases.history("churn")

    assert [(one.version, one.since, one.until) for one in reversed(entries)] == [
        (1, 10.0, 20.0),
        (2, 20.0, 30.0),
        (1, 30.0, 30.0),
        (3, 30.0, None),
    ]
    assert [one.sequence for one in entries] == [4, 3, 2, 1]
    assert [one.version for one in stores.releases.history("churn", limit=2)] == [3, 1]
    moments = {at: [one.version for one in stores.releases.history("churn", at=at)] for at in (9, 10, 20, 99)}
    assert moments == {9: [], 10: [1], 20: [2], 99: [3]}


def test_served_knows_the_history_only(stores: Stores) -> None:
    """A version counts as served once it was stable there, also after it failed; registered is not served."""
    register_many(stores, 2)
    deploy(stores)
    deploy(stores, "other")
    make_stable(stores, 1)
    fail(stores, 1)

    assert stores.releases.served("churn", 1)
    assert not stores.releases.served("churn", 2)
    assert not stores.releases.served("other", 1)


def test_unregistered_version_cannot_become_stable(stores: Stores) -> None:
    """A change that makes an unknown version stable is refused whole."""
    register_many(stores, 1)
    deploy(stores)
    before = everything(stores)
    with pytest.raises(LastgoodError, match="no version 7") as refused:
        make_stable(stores, 7)

    assert refused.value.code is Code.NOT_FOUND
    assert everything(stores) == before


@pytest.mark.parametrize(
    "change",
    [
        Change(deployment=Deployment(name="churn", model="churn", revision=1, stable=1), became_stable=True),
        Change(deployment=Deployment(name="churn", model="churn", revision=1, release=1), became_stable=True),
        Change(deployment=Deployment(name="churn", model="churn", revision=1), lifted=digest(1)),
    ],
    ids=["stable without release", "stable without version", "lifted without release"],
)
def test_history_needs_release_and_version(stores: Stores, change: Change) -> None:
    """A change of the history that does not say by which release, or which version, is refused whole."""
    register_many(stores, 1)
    deploy(stores)
    before = everything(stores)
    with pytest.raises(LastgoodError) as refused:
        stores.releases.commit(change)

    assert refused.value.code is Code.INTERNAL
    assert everything(stores) == before


def test_threads_get_one_winner_for_each_revision(stores: Stores) -> None:
    """Threads that commit the same next revision: one wins, the others see a conflict, nothing is lost."""
    register_many(stores, 1)
    deploy(stores)
    wins, losses = [], []

    def work() -> None:
        for _ in range(10):
            present = stores.releases.deployment("churn")
            assert present is not None
            try:
                won, _ = stores.releases.commit(Change(deployment=next_of(present), events=(draft(),)))
                wins.append(won.revision)
            except LastgoodError as error:
                losses.append(error.code)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(wins) == list(range(1, len(wins) + 1))
    assert len(wins) + len(losses) == 40
    assert set(losses) <= {Code.CONFLICT}
    assert verify_chain(stores) == 1 + len(wins)
