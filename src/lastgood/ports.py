"""The seams on one page: what the control wing needs from the outside world.

Live data has :mod:`lastgood.data_ports`, what models are judged by beside requests :mod:`lastgood.quality_ports`.
Times are seconds since the epoch. A method raises :class:`~lastgood.errors.LastgoodError` with the code that
its docstring names, and nothing else. Methods are synchronous; each is safe to call from any thread.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from lastgood.domain.change import Change, Delivery, Evidence, EvidenceStep
from lastgood.domain.channel import Channel
from lastgood.domain.deployment import Deployment, Failure, StableEntry
from lastgood.domain.event import AuditEvent, EventDraft
from lastgood.domain.release import Release
from lastgood.domain.replay import Tables
from lastgood.domain.route import RouteTable
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

    def append(self, event: EventDraft, notify: Iterable[Channel] = ()) -> AuditEvent:
        """Append one event that belongs to no change, and queue its delivery to these channels. One transaction."""

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
    """Notifications waiting to be sent. :meth:`ReleaseStore.commit` and :meth:`Journal.append` queue them."""

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


class Notifier(Protocol):
    """Sends one notification on one kind of channel."""

    def send(self, channel: Channel, event: AuditEvent, key: str) -> None:
        """Deliver ``event`` as a CloudEvent. ``key`` is the idempotency key.

        :raises LastgoodError: ``unavailable`` or ``timeout`` when another try may help, ``refused`` when not.
        """
