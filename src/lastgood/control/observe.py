"""From what processes say to what a decision needs: hosts, acknowledgements, evidence."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import msgspec

from lastgood.analysis.fold import candidate_requests
from lastgood.analysis.judge import judge
from lastgood.control.counted import Counted, corrupt_lives
from lastgood.control.custom import CustomMetrics
from lastgood.control.data_moves import fits_matter
from lastgood.control.drift import Drift
from lastgood.control.execute import Executor
from lastgood.control.golden import GoldenChecks
from lastgood.control.host_views import host_view
from lastgood.control.labels import Labels
from lastgood.control.live_data import LiveData
from lastgood.control.measuring import Measuring
from lastgood.control.moves import GoldenView, HostView, Situation
from lastgood.control.recompute import sealed_of
from lastgood.control.routes import host_socket
from lastgood.domain.change import Evidence
from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import Metric
from lastgood.domain.readiness import Standing
from lastgood.domain.release import IN_STEPS, Phase, Release
from lastgood.domain.traffic import Stratum
from lastgood.domain.verdict import Finding, Verdict
from lastgood.ports import EvidenceStore, Fleet, ReleaseStore, Reports
from lastgood.settings import Settings
from lastgood.wire.fleet import Observed
from lastgood.wire.page import WorkerAck

_SERVING = (Phase.PROMOTING, Phase.WATCHING, Phase.STUCK)


class _Look(NamedTuple):
    """The gateway workers that live, and the hosts, at one moment."""

    workers: list[WorkerAck]
    hosts: Observed


class Observer:
    """Gathers a :class:`Situation`. What gateways have counted is folded in and saved before it is judged.

    ``measuring`` holds the evidence.
    """

    def __init__(
        self,
        *,
        executor: Executor,
        releases: ReleaseStore,
        evidence: EvidenceStore,
        fleet: Fleet,
        reports: Reports,
        settings: Settings,
        live: LiveData,
        golden: GoldenChecks,
        standing: Callable[[Release], Standing],
        labels: Labels,
        custom: CustomMetrics,
        drift: Drift,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._executor = executor
        self._releases = releases
        self._store = evidence
        self._fleet = fleet
        self._reports = reports
        self._counted = Counted(reports, executor.slots)
        self._settings = settings
        self._live = live
        self._golden = golden
        self._standing = standing
        self.labels = labels
        self._custom = custom
        self._drift = drift
        self._now = now
        self._look: _Look | None = None
        self.measuring = Measuring(evidence, self._counted, labels, custom, drift)
        executor.sealed = partial(sealed_of, evidence)

    def situation(
        self, deployment: Deployment, release: Release, *, target: int | None = None, measure: bool = True
    ) -> Situation:
        """Return what is seen of ``release`` now.

        ``target`` names the version a person wants to go back to; ``measure=False`` leaves the evidence
        out, so that a rollback depends on no measurement. With it this is for the controller's thread: gateways and hosts
        are those of the present turn, and findings are without words until :meth:`told`.
        """
        now = self._now()
        last_good = None
        if deployment.stable == release.version:  # else the way back is the present stable
            entry = self._releases.last_good(deployment.name, besides=deployment.stable)
            last_good = None if entry is None else entry.version
        goal = target if target is not None else self._goal(deployment, release, last_good)
        look = self._of_this_turn() if measure else self._looked()
        candidate = host_view(look.hosts, release.model, release.version)
        requests = 0
        findings: tuple[Finding, ...] = ()
        if measure and release.phase in IN_STEPS:
            misses = self._misses(release, candidate)
            requests, findings = self.measuring.split(deployment, release, misses, now)
        elif measure and release.phase in _SERVING:
            misses, started = self._misses(release, candidate), candidate.starts > 0
            findings = self.measuring.watched(release, misses, now, started=started)
        generation = release.generation
        acknowledged = generation is not None and not self._executor.behind(generation, look.workers)
        failing = any(finding.verdict is Verdict.FAILED for finding in findings)
        return Situation(
            now=now,
            candidate=candidate,
            target=None if goal is None else host_view(look.hosts, release.model, goal),
            last_good=last_good,
            acknowledged=acknowledged,
            served=bool(look.workers),
            findings=findings,
            requests=requests,
            taken_out=self._counted.taken_out(release) if measure and release.phase in IN_STEPS else (),
            data=self._live.work(release, acknowledged=acknowledged),
            process=self._live.process,
            misfits=self._misfits(release, release.version) if fits_matter(release) else (),
            misfits_back=self._misfits(release, goal) if failing else (),
            golden=self._answers(release, candidate) if measure else GoldenView(),
            way_back=self._standing(release),
        )

    def _of_this_turn(self) -> _Look:
        if self._look is None:
            self._look = self._looked()
        return self._look

    def _looked(self) -> _Look:
        return _Look(self._executor.workers(), self._fleet.observe())

    def _answers(self, release: Release, candidate: HostView) -> GoldenView:
        """Return how the candidate answers its golden requests, once it is ready and finds its data."""
        if not (candidate.ready and fits_matter(release)):
            return GoldenView()
        version = self._executor.version(release.model, release.version)
        socket = host_socket(self._settings.run, release.model, release.version)
        return self._golden.of_candidate(
            release.id, version, release.deployment, socket, starts=candidate.starts
        )

    def _misfits(self, release: Release, number: int | None) -> tuple[str, ...]:
        return () if number is None else self._live.misfits(self._executor.version(release.model, number))

    def _goal(self, deployment: Deployment, release: Release, last_good: int | None) -> int | None:
        if release.target is not None:
            return release.target
        return last_good if deployment.stable == release.version else deployment.stable

    def _misses(self, release: Release, candidate: HostView) -> int:
        """Return health misses in a row; every exit since validation counts as one too."""
        exits = max(0, candidate.starts - release.host_starts) if release.host_starts else 0
        socket = host_socket(self._settings.run, release.model, release.version)
        return max(self._fleet.misses(socket), exits)

    def peek(self, release: Release, *, intervals: bool = False) -> Situation:
        """Return what the last saved evidence says, changing nothing: for showing it.

        ``intervals`` asks for confidence sequences, which take a tenth of a second or so for each guardrail.
        Once no candidate is measured any more, that is how the guardrails stood at the end; whether its host answers
        is not among it. In the watch the requests are those that were copied.
        """
        candidate = host_view(self._fleet.observe(), release.model, release.version)
        evidence = self._store.evidence(release.id)
        corrupt: tuple[str, ...] = ()
        if release.phase in (*IN_STEPS, *_SERVING):  # looked at anew: others than the controller ask too
            fresh = Counted(self._reports, self._executor.slots)
            corrupt = corrupt_lives(fresh, release, evidence, self._now())
        findings = judge(
            release.plan,
            release.baseline,
            evidence,
            misses=self._misses(release, candidate),
            corrupt=corrupt,
            intervals=intervals,
        )
        if release.phase not in IN_STEPS and not evidence.sequence:
            findings = ()
        elif release.phase not in IN_STEPS:
            findings = tuple(finding for finding in findings if finding.metric != Metric.HEALTH.value)
        watching = release.phase is Phase.WATCHING
        stage = release.plan.pair_stage if watching else max(release.plan.stage_at(release.step), 0)
        return Situation(
            now=self._now(),
            candidate=candidate,
            target=None,
            last_good=None,
            acknowledged=False,
            findings=findings,
            requests=candidate_requests(evidence, stage),
        )

    def copies_dropped(self) -> int:
        """Return how many copies were due and not made, of all deployments, by the gateway workers that report."""
        return sum(one.copies_dropped for one in self._reports.look().reports)

    def stored(self, release: Release) -> tuple[Evidence, Iterator[Stratum]]:
        """Return what the store holds: the evidence, and the strata that it is said to come from."""
        return self._store.evidence(release.id), self._store.strata(release.id)

    def begin_turn(self, deployments: Iterable[Deployment] = ()) -> None:
        """Look at gateways, hosts and reports anew, and save what these add to the deployments' evidence at once."""
        self.look_again()
        self.measuring.begin_turn(deployments, self._now())

    def look_again(self) -> None:
        """Look at gateways and hosts anew when they are next asked for: a move has just been made."""
        self._look = None

    def told(self, release: Release, seen: Situation) -> Situation:
        """Return a situation with the sentences and numbers of its findings, which decisions do without."""
        return msgspec.structs.replace(seen, findings=self.measuring.told(release, seen.findings))

    def forget(self, release: Release) -> None:
        """Drop what is remembered of a release: it is over, or another process took it on."""
        self.measuring.forget(release)
        self.labels.forget(release.id)
        self._custom.forget(release.id)
        self._drift.forget(release.id)
        self._golden.forget(release.id)
