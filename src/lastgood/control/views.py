"""What a person or a program is shown: the present state and the past, as plain data."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from lastgood.control.data_views import DataView, data_view
from lastgood.control.execute import Executor
from lastgood.control.history import told_of
from lastgood.control.labels import with_pending
from lastgood.control.lookup import deployment_named
from lastgood.control.observe import Observer
from lastgood.control.promotion import waiting_for
from lastgood.control.proof import prove_record, stable_at
from lastgood.control.routes import host_key
from lastgood.domain.deployment import Deployment, StableEntry
from lastgood.domain.event import AuditEvent
from lastgood.domain.plan import OnFail
from lastgood.domain.readiness import Readiness
from lastgood.domain.release import IN_STEPS, Kind, Phase, Release
from lastgood.domain.verdict import Finding, Verdict
from lastgood.domain.version import Version
from lastgood.errors import Code, LastgoodError
from lastgood.ports import Fleet, Journal, ReleaseStore, Router, VersionStore


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """A version as named in answers. ``host`` is the state of its host, ``failed`` the cause of its tag."""

    number: int
    label: str | None
    digest: str
    host: str | None = None
    failed: str | None = None


class ReleaseView(msgspec.Struct, frozen=True, kw_only=True):
    """A release as shown. ``weight_percent`` is the candidate's share now, ``waiting`` what it waits for, ``hold`` why it is held.

    ``shadow_percent`` of the requests are copied now: to the candidate in a shadow step, to the version before in the
    watch. ``pairs`` is how many of those copies are counted, ``copies_dropped`` how many the gateways could not make, of
    all deployments since they started.

    ``findings`` say how the guardrails stand, or how they stood at the end, and who has set them aside if anybody
    has (``set_aside_by``); ``baseline`` what stable had done before.
    """

    id: int
    deployment: str
    model: str
    kind: str
    version: VersionView
    previous: VersionView | None
    target: VersionView | None
    phase: str
    cause: str
    strategy: str
    step: int
    steps: int
    weight_percent: float
    waiting: str
    created_at: float
    created_by: str
    phase_since: float
    finished_at: float | None
    requests: int = 0
    findings: list[dict[str, Any]] = []
    evidence: dict[str, Any] = {}
    timings: dict[str, float] = {}
    baseline: dict[str, Any] = {}
    tries: int = 0
    set_aside: dict[str, str] = {}
    hold: str | None = None
    shadow_percent: float = 0.0
    pairs: int = 0
    copies_dropped: int = 0
    data: DataView | None = None


class DeploymentView(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment as shown by ``status``. ``readiness`` is of its way back, None where nobody has looked lately."""

    deployment: str
    model: str
    stable: VersionView | None
    last_good: VersionView | None
    release: ReleaseView | None
    last_release: ReleaseView | None
    generation: int
    gateways: list[dict[str, Any]] = []
    as_of: float = 0.0
    readiness: Readiness | None = None


class Views:
    """Read-only answers. They work from the store alone when no server runs."""

    def __init__(
        self,
        *,
        versions: VersionStore,
        releases: ReleaseStore,
        journal: Journal,
        fleet: Fleet,
        router: Router,
        executor: Executor,
        observer: Observer,
        readiness: Callable[[str], Readiness | None] = lambda _: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._versions = versions
        self._releases = releases
        self._journal = journal
        self._fleet = fleet
        self._router = router
        self._executor = executor
        self._observer = observer
        self._readiness = readiness
        self._now = now

    def deployments(self, *, intervals: bool = False) -> list[DeploymentView]:
        """Return every deployment; with ``intervals``, also how sure the evidence of what is under way is."""
        return [self._deployment(one, intervals) for one in self._releases.deployments()]

    def deployment(self, name: str, *, intervals: bool = False) -> DeploymentView:
        """Return one deployment.

        :raises LastgoodError: ``not_found``, naming the known ones.
        """
        return self._deployment(deployment_named(self._releases, name), intervals)

    def release(self, identifier: int, *, intervals: bool = False) -> ReleaseView:
        """Return one release.

        :raises LastgoodError: ``not_found``.
        """
        return self._release(self._found(identifier), intervals=intervals)

    def history(self, name: str, *, limit: int = 20) -> dict[str, Any]:
        """Return what was stable when, and the releases, newest first."""
        deployment_named(self._releases, name)
        return {
            "stable": [self._entry(entry) for entry in self._releases.history(name, limit=limit)],
            "releases": [
                self._release(one, live=False) for one in self._releases.releases(name, limit=limit)
            ],
        }

    def at(self, name: str, moment: float) -> dict[str, Any] | None:
        """Return what was stable at ``moment``, None before the first version.

        :raises LastgoodError: ``corrupt`` when the history is not what the sealed events say.
        """
        deployment = deployment_named(self._releases, name)
        entry = stable_at(self._releases, self._journal, deployment, moment)
        return None if entry is None else self._entry(entry)

    def events(
        self, *, after: int = 0, limit: int = 100, deployment: str | None = None, newest_first: bool = False
    ) -> list[AuditEvent]:
        """Return audit events."""
        return self._journal.events(
            after=after, limit=limit, deployment=deployment, newest_first=newest_first
        )

    def verify_chain(self, *, head: str | None = None) -> tuple[int, str]:
        """Walk the whole record, compare it with the tables, and return its length and the hash of its last event.

        ``head`` is a hash noted earlier, which must be found in it: that shows a record that was cut off.

        :raises LastgoodError: ``corrupt``, naming the first event that does not fit, or else the first row that
            is not as recorded.
        """
        return prove_record(self._journal, head=head)

    def _found(self, identifier: int) -> Release:
        release = self._releases.release(identifier)
        if release is None:
            raise LastgoodError(
                Code.NOT_FOUND, f"There is no release {identifier}.", "See 'lastgood history'."
            )
        return release

    def _deployment(self, deployment: Deployment, intervals: bool) -> DeploymentView:
        entry = self._releases.last_good(deployment.name, besides=deployment.stable)
        release = None if deployment.release is None else self._releases.release(deployment.release)
        latest = self._releases.releases(deployment.name, limit=1) if release is None else []
        return DeploymentView(
            deployment=deployment.name,
            model=deployment.model,
            stable=self._version(deployment.model, deployment.stable),
            last_good=self._version(deployment.model, None if entry is None else entry.version),
            release=None if release is None else self._release(release, intervals=intervals),
            last_release=self._release(latest[0], live=False) if latest else None,
            generation=deployment.generation,
            gateways=[
                {"slot": one.slot, "pid": one.pid, "generation": one.generation}
                for one in self._router.workers()
            ],
            as_of=self._now(),
            readiness=self._readiness(deployment.name),
        )

    def _release(self, release: Release, *, live: bool = True, intervals: bool = False) -> ReleaseView:
        steps = len(release.plan.steps)
        moving, pairs = release.phase in IN_STEPS, 0
        copied = self._copied(release) if live else 0
        requests, findings = 0, []
        waiting = release.cause if release.hold is None else release.hold.message
        if live and release.kind is Kind.RELEASE:
            situation = self._observer.peek(release, intervals=intervals)
            findings = [_told(finding, release.waived_by) for finding in situation.findings]
            findings = with_pending(findings, self._observer.labels.awaited(release))
            if moving:
                requests, waiting = situation.requests, waiting_for(release, situation)
            pairs = situation.requests if copied else 0
        version = self._version(release.model, release.version)
        if version is None:
            raise TypeError("a release has a version")
        return ReleaseView(
            id=release.id,
            deployment=release.deployment,
            model=release.model,
            kind=release.kind.value,
            version=version,
            previous=self._version(release.model, release.previous),
            target=self._version(release.model, release.target),
            phase=release.phase.value,
            cause=release.cause,
            strategy=release.plan.strategy.value,
            step=min(release.step + 1, steps),
            steps=steps,
            weight_percent=release.plan.weight_at(release.step) / 100 if moving else 0.0,
            waiting=waiting,
            created_at=release.created_at,
            created_by=release.created_by,
            phase_since=release.phase_since,
            finished_at=release.finished_at,
            requests=requests,
            findings=findings,
            evidence=release.evidence,
            timings=release.timings,
            baseline=told_of(release.baseline),
            tries=release.tries,
            set_aside=release.waived_by,
            hold=None if release.hold is None else release.hold.reason.value,
            shadow_percent=copied / 100,
            pairs=pairs,
            copies_dropped=self._observer.copies_dropped() if copied else 0,
            data=data_view(release),
        )

    def _copied(self, release: Release) -> int:
        """Return the rate of copies in force, in basis points: by the plan, in the watch by the route."""
        if release.shadows:
            return release.plan.shadow_at(release.step)
        return self._executor.copied(release.deployment) if release.phase is Phase.WATCHING else 0

    def _version(self, model: str, number: int | None) -> VersionView | None:
        if number is None:
            return None
        version: Version = self._executor.version(model, number)
        failure = self._versions.failures([version.digest]).get(version.digest)
        failed = None if failure is None or failure.lifted_by is not None else failure.cause
        status = self._fleet.observe().hosts.get(host_key(model, number))
        return VersionView(
            number=number,
            label=version.label,
            digest=version.digest,
            host=None if status is None else status.state.value,
            failed=failed,
        )

    def _entry(self, entry: StableEntry) -> dict[str, Any]:
        deployment = deployment_named(self._releases, entry.deployment)
        version = self._version(deployment.model, entry.version)
        return {
            "version": msgspec.to_builtins(version),
            "since": entry.since,
            "until": entry.until,
            "release": entry.release,
            "good": entry.good,
        }


def _told(finding: Finding, set_aside: Mapping[str, str]) -> dict[str, Any]:
    """Return a finding as it is shown: of one that is set aside, by whom, in place of what would follow from it."""
    by = set_aside.get(finding.guardrail)
    sentence = finding.sentence
    if by is not None and finding.verdict is Verdict.FAILED and finding.on_fail is not OnFail.ALERT:
        sentence = f"{sentence.rpartition(': ')[0]}: set aside by {by}."
    told: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(finding, sentence=sentence))
    return {**told, "set_aside_by": by}
