"""The history of a deployment and its good and bad entries: SQL that runs inside a change.

Each step returns its effect, which goes into the change's event.

An entry is good exactly while there is no unlifted failure of its digest, whichever model and deployment it
failed in: a mark is bound to the bytes. So all entries of one version
in one deployment are good or bad together, and the newest of them (``latest``) stands for the rest when the
way back is looked for: the look-up passes over one entry at most, however often a version came back.
"""

from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, bindparam, insert, select, update

from lastgood.domain.deployment import Deployment, Failure, StableEntry
from lastgood.errors import Code, LastgoodError
from lastgood.store.documents import FORMAT, fingerprint, to_text
from lastgood.store.schema import LATEST, OPEN, STANDING, failures, history, versions

_PLACE: Final = (  # all that a new entry needs to know: its bytes, whether they are failed, the entry before
    select(
        versions.c.digest,
        history.c.sequence,
        history.c.since,
        select(failures.c.id)
        .where(failures.c.digest == versions.c.digest, STANDING)
        .exists()
        .label("failed"),
    )
    .join_from(versions, history, (history.c.deployment == bindparam("deployment")) & OPEN, isouter=True)
    .where(versions.c.model == bindparam("model"), versions.c.number == bindparam("version"))
)
_CLOSE: Final = update(history).where(history.c.deployment == bindparam("of_deployment"), OPEN)
_OUTDATE: Final = update(history).where(
    history.c.deployment == bindparam("of_deployment"), history.c.version == bindparam("of_version"), LATEST
)
_APPEND: Final = insert(history)
_RECORDED: Final = ("deployment", "sequence", "model", "version", "digest", "since", "release")
_FAIL: Final = insert(failures)
_LIFT: Final = update(failures).where(failures.c.digest == bindparam("of_digest"), STANDING)
_JUDGE: Final = update(history).where(history.c.digest == bindparam("of_digest"))


def append_entry(
    connection: Connection, deployment: Deployment, release: int, at: float, event: int
) -> dict[str, Any]:
    """Write that the deployment's stable version became so at ``at``, and close the entry before.

    ``event`` is the sequence that the event with the returned effect will have.

    :raises LastgoodError: ``not_found`` when the version is not registered.
    """
    version = {"model": deployment.model, "version": deployment.stable}
    place = connection.execute(_PLACE, {**version, "deployment": deployment.name}).one_or_none()
    if place is None:
        raise LastgoodError(
            Code.NOT_FOUND,
            f"{deployment.model!r} has no version {deployment.stable}, so it cannot be stable.",
            "Register it first.",
        )
    since, sequence = at, 1
    if place.sequence is not None:
        since = max(at, place.since)  # a clock set back must not turn time around
        sequence = place.sequence + 1
        connection.execute(_CLOSE, {"of_deployment": deployment.name, "until": since})
        same = {"of_deployment": deployment.name, "of_version": deployment.stable}
        connection.execute(_OUTDATE, {**same, "latest": False})
    entry = {
        **version,
        "deployment": deployment.name,
        "sequence": sequence,
        "digest": place.digest,
        "since": since,
        "until": None,
        "release": release,
        "good": not place.failed,
        "latest": True,
        "event": event,
    }
    connection.execute(_APPEND, entry)
    return {name: entry[name] for name in _RECORDED}


def mark_failed(connection: Connection, failure: Failure) -> dict[str, Any]:
    """Keep the failure, and take every entry of its digest, in every model, out of the way back."""
    row = {
        "digest": failure.digest,
        "model": failure.model,
        "lifted_by": failure.lifted_by,
        "format": FORMAT,
        "document": to_text(failure),
    }
    key = connection.execute(_FAIL, row).inserted_primary_key
    assert key is not None
    connection.execute(_JUDGE, {"of_digest": failure.digest, "good": False})
    return {
        "id": key[0],
        "digest": failure.digest,
        "model": failure.model,
        "document": fingerprint(str(row["document"])),
    }


def lift(connection: Connection, digest: str, release: int) -> dict[str, Any]:
    """Say that ``release`` proved these bytes good after all, in every model.

    Failures stay; the entries of their bytes are good again.
    """
    connection.execute(_LIFT, {"of_digest": digest, "lifted_by": release})
    connection.execute(_JUDGE, {"of_digest": digest, "good": True})
    return {"digest": digest, "release": release}


def entry_from(row: Row[Any]) -> StableEntry:
    """Return the entry of a row that holds all columns of ``history``."""
    fields = row._mapping  # noqa: SLF001 - the documented name of a row's mapping
    return msgspec.convert({name: fields[name] for name in StableEntry.__struct_fields__}, StableEntry)
