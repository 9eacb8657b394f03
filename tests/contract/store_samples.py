"""What the store's tests write: small, valid values with every default filled in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from lastgood.control.proof import prove_record
from lastgood.domain.change import Change
from lastgood.domain.deployment import Deployment, Failure
from lastgood.domain.event import GENESIS, EventDraft, seal_holds
from lastgood.domain.plan import Plan
from lastgood.domain.release import Phase, Release
from lastgood.domain.version import Format, Version
from lastgood.store.database import Database
from lastgood.store.evidence import SqlEvidence
from lastgood.store.journal import SqlJournal
from lastgood.store.migrate import open_store
from lastgood.store.outbox import SqlOutbox
from lastgood.store.releases import SqlReleases
from lastgood.store.versions import SqlVersions

NEVER_SERVED = "sha256:" + "0" * 64


@dataclass
class Stores:
    """All ports of one database."""

    database: Database
    versions: SqlVersions
    releases: SqlReleases
    evidence: SqlEvidence
    journal: SqlJournal
    outbox: SqlOutbox


def open_stores(path: Path | None) -> Stores:
    database = open_store(path)
    return Stores(
        database=database,
        versions=SqlVersions(database),
        releases=SqlReleases(database),
        evidence=SqlEvidence(database),
        journal=SqlJournal(database),
        outbox=SqlOutbox(database),
    )


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def draft(at: float = 1.0, **fields: Any) -> EventDraft:
    known = {"type": "lastgood.test.happened", "actor": "ann", "model": "churn", **fields}
    return EventDraft(at=at, **known)


def register(stores: Stores, label: str | None = None, *, model: str = "churn", **fields: Any) -> Version:
    known = {"digest": NEVER_SERVED, "size_bytes": 1, "format": Format.ONNX, **fields}
    version = Version(model=model, number=0, label=label, created_at=1.0, created_by="ann", **known)
    return stores.versions.add_version(version, draft(model=model))


def register_many(stores: Stores, count: int, **fields: Any) -> None:
    for number in range(1, count + 1):
        register(stores, digest=digest(number), **fields)


def deploy(stores: Stores, name: str = "churn", model: str = "churn") -> Deployment:
    return stores.releases.commit(Change(deployment=Deployment(name=name, model=model)))[0]


def release_of(version: int = 1, **fields: Any) -> Release:
    known = {"deployment": "churn", "model": "churn", "previous": None, "created_at": 1.0, **fields}
    return Release(id=0, version=version, plan=Plan(), created_by="ann", **known)


def next_of(deployment: Deployment, **changes: Any) -> Deployment:
    return msgspec.structs.replace(deployment, revision=deployment.revision + 1, **changes)


def make_stable(stores: Stores, version: int, *, at: float = 1.0, name: str = "churn") -> Deployment:
    """Put ``version`` into the history by a release that is over at once."""
    before = stores.releases.deployment(name)
    assert before is not None
    done = msgspec.structs.replace(
        release_of(version, deployment=name, model=before.model), phase=Phase.SUCCEEDED
    )
    change = Change(
        deployment=next_of(before, stable=version, release=None),
        release=done,
        new_route=True,
        became_stable=True,
        events=(draft(at, deployment=name, model=before.model, version=version),),
    )
    return stores.releases.commit(change)[0]


def failure_of(number: int, *, at: float = 2.0, **fields: Any) -> Failure:
    known = {"digest": digest(number), "model": "churn", "deployment": "churn", "release": 1, **fields}
    return Failure(version=number, at=at, by="lastgood", cause="errors", **known)


def fail(stores: Stores, number: int, *, name: str = "churn") -> Deployment:
    before = stores.releases.deployment(name)
    assert before is not None
    return stores.releases.commit(Change(deployment=next_of(before), failure=failure_of(number)))[0]


def verify_chain(stores: Stores) -> int:
    """Check every seal, that the chain ends at the head, and the tables; return how many events there are."""
    previous, count = GENESIS, 0
    for event in stores.journal.chain():
        count += 1
        assert seal_holds(event, count, previous), f"event {event.sequence} does not hold"
        previous = event.hash
    assert stores.journal.head() == (count, previous)
    assert prove_record(stores.journal, head=previous if count else None) == (count, previous)
    return count
