"""Deployments, releases and histories; :meth:`SqlReleases.commit` writes a change whole or not at all."""

from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, bindparam, insert, select, update

from lastgood.domain.change import Change
from lastgood.domain.deployment import Deployment, StableEntry
from lastgood.domain.release import Phase, Release
from lastgood.domain.snapshot import restore_token
from lastgood.errors import Code, LastgoodError
from lastgood.store.database import Database
from lastgood.store.deliveries import queue
from lastgood.store.documents import FORMAT, fingerprint, from_text, to_text
from lastgood.store.effects import own_event, with_effects
from lastgood.store.history import append_entry, entry_from, lift, mark_failed
from lastgood.store.kept import write_kept
from lastgood.store.ledger import Ledger, read_ledger, record, save_ledger
from lastgood.store.schema import LATEST, UNDER_WAY, WAY_BACK, deployments, history, releases

# Built once: composing a statement costs more than SQLite takes to run it.
_DEPLOYMENTS: Final = select(deployments).order_by(deployments.c.name)
_DEPLOYMENT: Final = select(deployments).where(deployments.c.name == bindparam("name"))
_ADD_DEPLOYMENT: Final = insert(deployments)
_SAVE_DEPLOYMENT: Final = update(deployments).where(
    deployments.c.name == bindparam("of_name"), deployments.c.revision == bindparam("read_revision")
)
_RELEASE: Final = select(releases.c.document, releases.c.format).where(releases.c.id == bindparam("id"))
_RELEASES: Final = (
    select(releases.c.document, releases.c.format)
    .where(releases.c.deployment == bindparam("deployment"))
    .order_by(releases.c.id.desc())
    .limit(bindparam("limit"))
)
_UNDER_WAY: Final = (
    select(releases.c.id).where(releases.c.deployment == bindparam("deployment"), UNDER_WAY).limit(1)
)
_ADD_RELEASE: Final = insert(releases)
_SAVE_RELEASE: Final = update(releases).where(
    releases.c.id == bindparam("of_id"),
    releases.c.revision == bindparam("read_revision"),
    UNDER_WAY | (releases.c.phase == bindparam("same_phase")),
)
_ENTRIES: Final = select(history).where(history.c.deployment == bindparam("deployment"))
_ENTRY: Final = _ENTRIES.where(history.c.sequence == bindparam("sequence"))
_NEWEST: Final = _ENTRIES.order_by(history.c.sequence.desc()).limit(bindparam("limit"))
_STABLE_AT: Final = (
    _ENTRIES.where(history.c.since <= bindparam("at"))
    .order_by(history.c.since.desc(), history.c.sequence.desc())
    .limit(1)
)
_LAST_GOOD: Final = (
    _ENTRIES.where(WAY_BACK, history.c.version != bindparam("besides"))
    .order_by(history.c.sequence.desc())
    .limit(1)
)
_SERVED: Final = select(history.c.sequence).where(
    history.c.deployment == bindparam("deployment"), LATEST, history.c.version == bindparam("version")
)
_BACKWARD: Final = frozenset(
    {Phase.PAUSED, Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.ABORTED, Phase.STUCK}
)
_NO_VERSION: Final = 0  # versions count from 1


class SqlReleases:
    """The :class:`~lastgood.ports.ReleaseStore` in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def commit(self, change: Change) -> tuple[Deployment, Release | None]:
        """Write a change whole and return both as stored (ids and generations filled in).

        A deployment with revision 0 is inserted. Afterwards each change carries the stored revision plus one.

        What it does to releases, history and marks goes into its last event; a change that has such effects and
        no event gets one. On a full disk, a change that leads back may use the room that is kept for it.

        :raises LastgoodError: ``conflict`` when a revision is not as expected or another release is under
            way, ``not_found`` when the stable version is not registered, ``internal`` when the stable version
            changes and ``became_stable`` does not say so; nothing is written then.
        """
        whole = self._database.write(
            lambda connection: _commit(connection, change), urgent=_leads_back(change)
        )
        return whole.deployment, whole.release

    def deployment(self, name: str) -> Deployment | None:
        """Return one deployment."""
        row = self._database.row(_DEPLOYMENT, {"name": name})
        return None if row is None else _deployment_from(row)

    def deployments(self) -> list[Deployment]:
        """Return all deployments by name."""
        return [_deployment_from(row) for row in self._database.rows(_DEPLOYMENTS)]

    def release(self, identifier: int) -> Release | None:
        """Return one release."""
        row = self._database.row(_RELEASE, {"id": identifier})
        return None if row is None else from_text(row.document, Release, row.format)

    def releases(self, deployment: str, *, limit: int = 20) -> list[Release]:
        """Return a deployment's releases, newest first."""
        rows = self._database.rows(_RELEASES, {"deployment": deployment, "limit": limit})
        return [from_text(row.document, Release, row.format) for row in rows]

    def last_good(self, deployment: str, *, besides: int | None) -> StableEntry | None:
        """Return the newest good entry of the history whose version is not ``besides``. One indexed look-up."""
        besides = _NO_VERSION if besides is None else besides
        row = self._database.row(_LAST_GOOD, {"deployment": deployment, "besides": besides})
        return None if row is None else entry_from(row)

    def history(self, deployment: str, *, limit: int = 50, at: float | None = None) -> list[StableEntry]:
        """Return history entries newest first; with ``at``, only the one that was stable then."""
        if at is None:
            rows = self._database.rows(_NEWEST, {"deployment": deployment, "limit": limit})
        else:
            rows = self._database.rows(_STABLE_AT, {"deployment": deployment, "at": at})
        return [entry_from(row) for row in rows]

    def served(self, deployment: str, version: int) -> bool:
        """Whether ``version`` was ever stable in this deployment. One indexed look-up."""
        return self._database.row(_SERVED, {"deployment": deployment, "version": version}) is not None

    def entry(self, deployment: str, sequence: int) -> StableEntry | None:
        """Return one history entry; they count 1, 2, 3 within their deployment."""
        row = self._database.row(_ENTRY, {"deployment": deployment, "sequence": sequence})
        return None if row is None else entry_from(row)

    def generation(self) -> int:
        """Return the highest route generation allotted so far."""
        with self._database.reading() as connection:
            return read_ledger(connection).generation

    def raise_generation(self, at_least: int) -> int:
        """Allot generations above ``at_least`` from now on, and return the highest: none is ever used twice."""
        with self._database.transaction() as connection:
            book = read_ledger(connection, lock=True)
            if book.generation >= at_least:
                return book.generation
            save_ledger(connection, book, msgspec.structs.replace(book, generation=at_least))
            return at_least


def _commit(connection: Connection, change: Change) -> Change:
    before = read_ledger(connection, lock=True)
    after, whole = _filled_in(change, before)
    _write_deployment(connection, whole)
    effects: dict[str, Any] = {}
    if whole.release is not None:
        effects["release"] = _write_release(connection, whole.release)
    effects |= _write_history(connection, whole, before.sequence + max(len(whole.events), 1))
    for one in whole.kept:
        write_kept(connection, one)
    drafts = whole.events
    if effects and not drafts:
        drafts = (own_event(whole, _moment(whole)),)
    after, sealed = record(connection, after, with_effects(drafts, effects))
    queue(connection, sealed[: len(whole.events)], whole.notify)
    save_ledger(connection, before, after)
    return whole


def _leads_back(change: Change) -> bool:
    """Whether the change takes traffic off a candidate: that must be possible when nothing else is."""
    release = change.release
    return change.failure is not None or (
        release is not None and (release.returning or release.aborting or release.phase in _BACKWARD)
    )


def _filled_in(change: Change, book: Ledger) -> tuple[Ledger, Change]:
    """Allot what the change asks for and put it in every place that waits for it."""
    deployment, release = change.deployment, change.release
    events, failure, kept = change.events, change.failure, change.kept
    replace = msgspec.structs.replace
    if change.new_route:
        book = replace(book, generation=book.generation + 1)
        deployment = replace(deployment, generation=book.generation)
        release = release and replace(release, generation=book.generation)
    if release is not None and release.revision == 0:
        book = replace(book, release=book.release + 1)
        release = replace(release, id=book.release)
        if deployment.release == 0:
            deployment = replace(deployment, release=book.release)
        events = tuple(event if event.release else replace(event, release=book.release) for event in events)
        if failure is not None and failure.release == 0:
            failure = replace(failure, release=book.release)
        new = {"release": book.release, "token": restore_token(book.release)}
        kept = tuple(one if one.release else replace(one, **new) for one in kept)
    whole = replace(change, deployment=deployment, release=release, events=events, failure=failure)
    return book, replace(whole, kept=kept)


def _write_deployment(connection: Connection, change: Change) -> None:
    """Insert at revision 0, else replace the row that has exactly one revision less."""
    deployment = change.deployment
    fields = msgspec.structs.asdict(deployment)
    present = connection.execute(_DEPLOYMENT, {"name": deployment.name}).one_or_none()
    if deployment.revision == 0 and present is not None:
        raise _changed(f"The deployment {deployment.name!r} exists already.")
    if deployment.revision > 0 and (present is None or present.revision != deployment.revision - 1):
        raise _changed(f"The deployment {deployment.name!r} was changed by somebody else meanwhile.")
    stable = None if present is None else present.stable
    if deployment.stable != stable and not change.became_stable:
        raise _nameless(deployment, "new stable version, although it changes")
    if deployment.revision == 0:
        connection.execute(_ADD_DEPLOYMENT, fields)
        return
    guard = {"of_name": fields.pop("name"), "read_revision": deployment.revision - 1}
    if connection.execute(_SAVE_DEPLOYMENT, {**fields, **guard}).rowcount != 1:
        raise _changed(f"The deployment {deployment.name!r} was changed by somebody else meanwhile.")


def _write_release(connection: Connection, release: Release) -> dict[str, Any]:
    """Insert at revision 0, else replace the row with one revision less; one that is over stays over."""
    document = to_text(release)
    effect = {"id": release.id, "phase": release.phase.value, "document": fingerprint(document)}
    columns = {
        "deployment": release.deployment,
        "revision": release.revision,
        "phase": release.phase.value,
        "format": FORMAT,
        "document": document,
    }
    if release.revision == 0:
        if not release.terminal:
            _check_none_under_way(connection, release)
        connection.execute(_ADD_RELEASE, {"id": release.id, **columns})
        return effect
    guard = {
        "of_id": release.id,
        "read_revision": release.revision - 1,
        "same_phase": release.phase.value,
    }
    if connection.execute(_SAVE_RELEASE, {**columns, **guard}).rowcount != 1:
        raise _changed(
            f"Release {release.id} of {release.deployment!r} was changed by somebody else meanwhile."
        )
    return effect


def _check_none_under_way(connection: Connection, release: Release) -> None:
    """Say which release stands in the way; the index ``one_release_under_way`` holds in any case."""
    other = connection.scalar(_UNDER_WAY, {"deployment": release.deployment})
    if other is not None:
        raise LastgoodError(
            Code.CONFLICT,
            f"Release {other} of {release.deployment!r} is under way, and only one can be.",
            "Wait for it, abort it, or roll it back.",
            details={"release": other},
        )


def _write_history(connection: Connection, change: Change, event: int) -> dict[str, Any]:
    """Lift, mark, then append, and return the effects: an entry made now sees the marks of the same change."""
    effects: dict[str, Any] = {}
    deployment = change.deployment
    release = change.release.id if change.release is not None else deployment.release
    if release is None and (change.lifted is not None or change.became_stable):
        raise _nameless(deployment, "release")
    if change.lifted is not None and release is not None:
        effects["lifted"] = lift(connection, change.lifted, release)
    if change.failure is not None:
        effects["failed"] = mark_failed(connection, change.failure)
    if change.became_stable and release is not None:
        if deployment.stable is None:
            raise _nameless(deployment, "stable version")
        effects["stable"] = append_entry(connection, deployment, release, _moment(change), event)
    return effects


def _moment(change: Change) -> float:
    """When it happened: the time of the change's last event, else of the release's phase."""
    if change.events:
        return change.events[-1].at
    if change.failure is not None:
        return change.failure.at
    return change.release.phase_since if change.release is not None else 0.0


def _deployment_from(row: Row[Any]) -> Deployment:
    fields = row._mapping  # noqa: SLF001 - the documented name of a row's mapping
    return Deployment(**{name: fields[name] for name in Deployment.__struct_fields__})


def _changed(message: str) -> LastgoodError:
    return LastgoodError(Code.CONFLICT, message, "Look at the present state, then try again.")


def _nameless(deployment: Deployment, what: str) -> LastgoodError:
    return LastgoodError(
        Code.INTERNAL,
        f"A change of the history of {deployment.name!r} names no {what}; nothing was written.",
        "Please report this.",
    )
