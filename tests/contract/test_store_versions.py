"""The contract of VersionStore."""

import msgspec
import pytest
from store_samples import Stores, deploy, digest, draft, fail, failure_of, next_of, register, register_many

from lastgood.domain.change import Change
from lastgood.domain.version import DataReference, Format, GitState, Signature, Tensor, Version
from lastgood.errors import Code, LastgoodError


def test_version_comes_back_as_it_was_given(stores: Stores) -> None:
    """Every field of a version survives the round trip, by number and by label."""
    tensor = Tensor("x", "FP32", (-1, 30))
    given = Version(
        model="churn",
        number=0,
        label="v1.0",
        digest=digest(7),
        size_bytes=123,
        format=Format.CALLABLE,
        factory="package.module:factory",
        signature=Signature((tensor,), (tensor,)),
        data=DataReference("train.csv", digest(8), 569),
        git=GitState("abc", dirty=True),
        metrics={"auc": 0.91},
        dependencies={"numpy": "2.0"},
        created_at=1.5,
        created_by="ann",
    )
    stored = stores.versions.add_version(given, draft())

    assert stored == msgspec.structs.replace(given, number=1)
    assert stores.versions.version("churn", 1) == stored
    assert stores.versions.version_by_label("churn", "v1.0") == stored


def test_numbers_count_within_a_model(stores: Stores) -> None:
    """Each model counts its versions 1, 2, 3 by itself, and the event carries the number."""
    numbers = [register(stores, model=model).number for model in ("b", "a", "b", "b")]

    assert numbers == [1, 1, 2, 3]
    assert stores.versions.models() == ["a", "b"]
    assert [event.version for event in stores.journal.events()] == numbers


def test_label_names_one_version_of_a_model(stores: Stores) -> None:
    """A label that is taken is a conflict that names its holder, and costs no number and no event."""
    register(stores, "v1.0")
    with pytest.raises(LastgoodError, match="version 1") as refused:
        register(stores, "v1.0")

    assert refused.value.code is Code.CONFLICT
    assert stores.journal.head()[0] == 1
    assert register(stores, "v1.1").number == 2
    assert register(stores, "v1.0", model="other").number == 1


def test_unknown_versions_are_none(stores: Stores) -> None:
    """What was never registered is None or empty, never an error."""
    register(stores, "v1.0")

    assert stores.versions.version("churn", 2) is None
    assert stores.versions.version("other", 1) is None
    assert stores.versions.version_by_label("churn", "v9") is None
    assert stores.versions.versions_of_digest("churn", digest(99)) == []
    assert stores.versions.versions("other") == []


def test_versions_are_listed_newest_first_in_pages(stores: Stores) -> None:
    """Pages by ``before`` give every version once, newest first."""
    register_many(stores, 5)
    first = stores.versions.versions("churn", limit=2)
    rest = stores.versions.versions("churn", limit=10, before=first[-1].number)

    assert [version.number for version in first + rest] == [5, 4, 3, 2, 1]


def test_versions_of_a_digest_are_oldest_first(stores: Stores) -> None:
    """The same bytes may be registered again; all versions with them are found."""
    for number in (1, 2, 1):
        register(stores, digest=digest(number))

    assert [version.number for version in stores.versions.versions_of_digest("churn", digest(1))] == [1, 3]


def test_failures_give_the_newest_of_each_digest(stores: Stores) -> None:
    """Only digests that failed are in the answer, each with its newest failure."""
    register_many(stores, 3)
    deployment = deploy(stores)
    for cause in ("old", "new"):
        failure = msgspec.structs.replace(failure_of(1, evidence={"bad": 3}), cause=cause)
        deployment = stores.releases.commit(Change(deployment=next_of(deployment), failure=failure))[0]
    fail(stores, 2)
    found = stores.versions.failures([digest(1), digest(2), digest(3), digest(1)])

    assert sorted(found) == [digest(1), digest(2)]
    assert found[digest(1)].cause == "new"
    assert found[digest(1)].evidence == {"bad": 3}
    assert found[digest(2)].lifted_by is None


def test_fields_of_a_newer_patch_are_passed_over(stores: Stores) -> None:
    """A stored version with a field that this code does not know is still readable."""
    stored = register(stores, "v1.0")
    with stores.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE versions SET document = json_set(document, '$.colour', 'red')")

    assert stores.versions.version("churn", 1) == stored


def test_newer_format_is_refused_clearly(stores: Stores) -> None:
    """A document in a format from the future is an error that says so, not garbage."""
    register(stores, "v1.0")
    with stores.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE versions SET format = 2")
    with pytest.raises(LastgoodError, match="format 2 is newer") as refused:
        stores.versions.version("churn", 1)

    assert refused.value.code is Code.STORAGE


@pytest.mark.parametrize("odd", [-1, 0, 2**63, -(2**63) - 1, 2**200])
def test_odd_numbers_from_outside_find_nothing(stores: Stores, odd: int) -> None:
    """A number that is no id, beyond 64 bits included, is None, empty or False everywhere, never an error."""
    register_many(stores, 1)
    deploy(stores)

    assert stores.versions.version("churn", odd) is None
    assert stores.versions.versions("churn", before=odd) in ([], stores.versions.versions("churn"))
    assert stores.releases.release(odd) is None
    assert stores.releases.last_good("churn", besides=odd) is None
    assert stores.releases.entry("churn", odd) is None
    assert not stores.releases.served("churn", odd)
    assert stores.releases.history("churn", at=odd) == []
    assert stores.journal.events(after=odd, limit=1) in ([], stores.journal.events(limit=1))
    assert list(stores.evidence.strata(odd)) == []
    assert stores.evidence.evidence(odd).sequence == 0


def test_names_that_are_no_text_find_nothing(stores: Stores) -> None:
    """Text with half a surrogate pair names nothing."""
    odd = "churn\udc80"

    assert stores.versions.version(odd, 1) is None
    assert stores.versions.version_by_label("churn", odd) is None
    assert stores.versions.failures([odd]) == {}
    assert stores.releases.deployment(odd) is None


def test_numbers_that_do_not_fit_are_not_written(stores: Stores) -> None:
    """Writing what no column can hold is a clear refusal, and nothing of it stays."""
    with pytest.raises(LastgoodError, match="cannot be stored") as refused:
        stores.journal.append(draft(release=2**70))
    with pytest.raises(LastgoodError) as unknown:
        stores.outbox.sent(2**70, 1.0)

    assert refused.value.code is Code.INVALID
    assert unknown.value.code is Code.NOT_FOUND
    assert stores.journal.head()[0] == 0
