"""Every seam on one page: what the control wing needs from the outside world.

Times are seconds since the epoch. A method raises :class:`~lastgood.errors.LastgoodError` with the code that
its docstring names, and nothing else. Methods are synchronous; each is safe to call from any thread.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from lastgood.domain.change import Change, Delivery, Evidence, EvidenceStep
from lastgood.domain.deployment import Deployment, Failure, StableEntry
from lastgood.domain.event import AuditEvent, EventDraft
from lastgood.domain.plan import Channel
from lastgood.domain.release import Release
from lastgood.domain.replay import Tables
from lastgood.domain.route import RouteTable
from lastgood.domain.snapshot import Kept, Quarantine, Schema, Snapshot
from lastgood.domain.traffic import Stratum, TrafficMinute
from lastgood.domain.version import Version
from lastgood.wire.fleet import Desired, Observed
from lastgood.wire.page import WorkerAck
from lastgood.wire.reports import Look, WorkerReport


class VersionStore(Protocol):
    """Models and their immutable versions, and the marks on failed digests. Look-ups are by key."""

    def add_version(self, version: Version, event: EventDraft) -> Version:
        """Store ``version`` under the next number of its model and return it so numbered.

        The event's ``version`` is set to that number. One transaction; numbers have no gaps.

        :raises LastgoodError: ``conflict`` if the label is taken in this model.
        """

    def version(self, model: str, number: int) -> Version | None:
        """Return one version by number."""

    def version_by_label(self, model: str, label: str) -> Version | None:
        """Return one version by label."""

    def versions_of_digest(self, model: str, digest: str) -> list[Version]:
        """Return the versions of ``model`` with these bytes, oldest first."""

    def versions(self, model: str, *, limit: int = 100, before: int | None = None) -> list[Version]:
        """Return versions newest first, at most ``limit``, with numbers below ``before`` when given."""

    def models(self) -> list[str]:
        """Return the names of all models, sorted."""

    def failures(self, digests: Iterable[str]) -> dict[str, Failure]:
        """Return the newest failure of each of these digests that has one, lifted ones included.

        A mark is bound to the bytes: it holds for every model, and names the model and deployment it comes from.
        """


class ReleaseStore(Protocol):
    """Deployments, their releases and their histories."""

    def commit(self, change: Change) -> tuple[Deployment, Release | None]:
        """Write a change whole and return both as stored (ids and generations filled in).

        :raises LastgoodError: ``conflict`` when a revision is not as expected; nothing is written then.
        """

    def deployment(self, name: str) -> Deployment | None:
        """Return one deployment."""

    def deployments(self) -> list[Deployment]:
        """Return all deployments by name."""

    def release(self, identifier: int) -> Release | None:
        """Return one release."""

    def releases(self, deployment: str, *, limit: int = 20) -> list[Release]:
        """Return a deployment's releases, newest first."""

    def last_good(self, deployment: str, *, besides: int | None) -> StableEntry | None:
        """Return the newest good entry of the history whose version is not ``besides``. One indexed look-up."""

    def history(self, deployment: str, *, limit: int = 50, at: float | None = None) -> list[StableEntry]:
        """Return history entries newest first; with ``at``, only the one that was stable then."""

    def entry(self, deployment: str, sequence: int) -> StableEntry | None:
        """Return one history entry; they count 1, 2, 3 within their deployment. One look-up by key."""

    def served(self, deployment: str, version: int) -> bool:
        """Whether ``version`` was ever stable in this deployment. One indexed look-up."""

    def generation(self) -> int:
        """Return the highest route generation allotted so far."""

    def raise_generation(self, at_least: int) -> int:
        """Allot generations above ``at_least`` from now on, and return the highest: none is ever used twice."""


class EvidenceStore(Protocol):
    """The strata of each release and the evidence folded from them."""

    def evidence(self, release: int) -> Evidence:
        """Return the evidence so far, empty at the beginning."""

    def save_evidence(self, *steps: EvidenceStep) -> None:
        """Append strata and replace the evidence, each step of another release, all in one transaction.

        :raises LastgoodError: ``conflict`` if a stored sequence is not the step's ``before``; nothing is written then.
        """

    def strata(self, release: int) -> Iterator[Stratum]:
        """Yield the strata in order."""


class TrafficStore(Protocol):
    """What stable versions answered, minute by minute: a bounded history that releases and limits are judged by."""

    def add_traffic(self, minutes: Iterable[TrafficMinute]) -> None:
        """Add these counts to what is kept of the same deployment, version and minute. One transaction."""

    def traffic(self, deployment: str, *, since: int, version: int | None = None) -> list[TrafficMinute]:
        """Return the minutes from ``since`` (epoch seconds // 60) on, oldest first, of one version when given."""

    def drop_traffic(self, before: int) -> None:
        """Forget all minutes before this one."""


class Journal(Protocol):
    """The append-only, hash-chained record."""

    def append(self, event: EventDraft) -> AuditEvent:
        """Append one event that belongs to no change."""

    def events(
        self, *, after: int = 0, limit: int = 100, deployment: str | None = None, newest_first: bool = False
    ) -> list[AuditEvent]:
        """Return events with a sequence above ``after`` (or the last ones, newest first)."""

    def last(self, kind: str, deployment: str) -> AuditEvent | None:
        """Return a deployment's newest event of this type."""

    def head(self) -> tuple[int, str]:
        """Return sequence and hash of the last event; (0, GENESIS) when there is none."""

    def chain(self) -> Iterator[AuditEvent]:
        """Yield every event in order, for verification, without loading them all."""

    def bound_from(self) -> int:
        """Return the sequence from which on events carry effects: 1 unless the database is older than they are."""

    def tables(self, after: int) -> Tables:
        """Return what the tables hold, and the events above ``after``, at one moment, for verification."""


class Outbox(Protocol):
    """Notifications waiting to be sent. They are queued by :meth:`ReleaseStore.commit`."""

    def due(self, now: float, *, limit: int = 20) -> list[tuple[Delivery, AuditEvent]]:
        """Return deliveries whose time has come, oldest first."""

    def sent(self, delivery: int, now: float) -> None:
        """Mark one as delivered. Marking it twice is harmless."""

    def retry(self, delivery: int, at: float, error: str) -> None:
        """Count a failed try and plan the next one."""

    def give_up(self, delivery: int, now: float, error: str) -> None:
        """Stop trying; kept with its last error."""


class Blobs(Protocol):
    """Artifacts by content address. An artifact is a file, or a folder kept as a manifest of files."""

    def put(self, source: Path) -> tuple[str, int]:
        """Store a file or folder and return (``sha256:<hex>``, bytes). Storing it again changes nothing.

        Nothing half-written is ever visible under a digest.

        :raises LastgoodError: ``storage`` when the disk is full or the source cannot be read.
        """

    def path(self, digest: str) -> Path:
        """Return where the artifact lies, as a file or a folder, for reading only.

        :raises LastgoodError: ``not_found`` if it is not here.
        """

    def verify(self, digest: str) -> None:
        """Read the bytes back and compare.

        :raises LastgoodError: ``corrupt`` or ``not_found``.
        """


class Router(Protocol):
    """Where routes go and acknowledgements come from. On one machine: the route page."""

    def publish(self, table: RouteTable) -> bool:
        """Put the table in force everywhere; False if a later one already is. Idempotent."""

    def renew_lease(self, seconds: float) -> None:
        """Allow candidate traffic for this long from now."""

    def generation(self) -> int:
        """Return the generation in force."""

    def table(self) -> RouteTable | None:
        """Return the table in force, None when it cannot be read."""

    def workers(self) -> list[WorkerAck]:
        """Return the acknowledgement of every gateway worker whose process lives."""


class Fleet(Protocol):
    """The model hosts of this machine."""

    def want(self, desired: Desired) -> None:
        """Say which hosts should run. Idempotent; returns at once."""

    def observe(self) -> Observed:
        """Return what runs, as last seen."""

    def misses(self, socket: str) -> int:
        """Return how many health checks in a row this host has missed; the check runs elsewhere."""


class Reports(Protocol):
    """What the gateways have counted."""

    def read(self) -> list[WorkerReport]:
        """Return each worker life's latest report, as far as they can be read."""

    def look(self) -> Look:
        """Return the same, and those that cannot be read."""

    def forget(self, slot: int, epoch: int) -> None:
        """Drop the report of a worker that is gone and whose counts have been used."""


class KeptStore(Protocol):
    """What is kept of live data. :meth:`ReleaseStore.commit` writes it together with the release it belongs to."""

    def kept(self, token: str) -> Kept | None:
        """Return what is, or was, kept under ``token``."""

    def all_kept(self) -> list[Kept]:
        """Return everything that still takes room, by source and release."""

    def note(self, one: Kept, event: EventDraft | None = None) -> None:
        """Replace what is known of a token, with the event that says so, in one transaction.

        :raises LastgoodError: ``not_found`` for a token that nothing was kept under, ``conflict`` when that is freed.
        """


class DataSource(Protocol):
    """One place of live data, and a way back for it. Applications read and write it all the time, by themselves.

    A ``token`` (``[a-z0-9_]{1,40}``) names one capture or one restore; repeating a call with the same token continues
    or confirms what an interrupted call began, and does nothing twice. Every call may be the first one of a new
    process. Errors and what is returned name no credentials.
    """

    def schema(self) -> Schema:
        """Return what the live data looks like now. Cheap.

        :raises LastgoodError: ``not_found`` or ``unavailable``, as any method may.
        """

    def capture(self, token: str) -> Snapshot:
        """Capture one consistent state while others read and write, and read it back.

        :raises LastgoodError: ``storage`` without room, ``corrupt`` when what was read back differs.
        """

    def verify(self, snapshot: Snapshot) -> None:
        """Prove that the snapshot is there, whole, and could be restored: its content has its digest.

        :raises LastgoodError: ``not_found`` or ``corrupt``, naming what is missing or differs.
        """

    def stage_restore(self, snapshot: Snapshot, token: str) -> None:
        """Build the snapshot's state beside the live data, verified; live data and its users notice nothing.

        :raises LastgoodError: ``corrupt``, ``not_found``, ``storage``; what was begun is removed then.
        """

    def swap(self, token: str) -> None:
        """Make what was staged under ``token`` the live data, at once and whole; what was live is kept under ``token``.

        Every row committed before is in what is kept, every later one in the new live data. Takes milliseconds.

        :raises LastgoodError: ``timeout`` when somebody's lock did not let go, ``not_found`` when nothing is staged;
            live data is as before then.
        """

    def swapped(self, token: str) -> bool:
        """Whether the swap of ``token`` has happened, read from the data itself: true for ever after it."""

    def quarantine(self, snapshot: Snapshot, token: str, exports: Path) -> Quarantine:
        """Describe what the swap of ``token`` replaced, against ``snapshot``; write added rows to files in ``exports``.

        JSON lines, one object a row (for folders: the added files themselves).
        """

    def release(self, token: str) -> int:
        """Free what is kept under ``token``: a snapshot, something staged, or replaced data. Return the bytes.

        Nothing kept is 0 bytes. Live data is never touched.
        """

    def room(self) -> int | None:
        """Return how many bytes a restore may still use, None when the source cannot tell."""


class Notifier(Protocol):
    """Sends one notification on one kind of channel."""

    def send(self, channel: Channel, event: AuditEvent, key: str) -> None:
        """Deliver ``event`` as a CloudEvent. ``key`` is the idempotency key.

        :raises LastgoodError: ``unavailable`` or ``timeout`` when another try may help, ``refused`` when not.
        """
