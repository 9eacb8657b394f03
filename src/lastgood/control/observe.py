"""From what processes say to what a decision needs: hosts, acknowledgements, evidence."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from lastgood.analysis.judge import candidate_requests, fold, judge
from lastgood.analysis.strata import collect, forget, used_up
from lastgood.control.ahead import Ahead
from lastgood.control.counted import Counted, corrupt_lives, life_of
from lastgood.control.data_moves import fits_matter
from lastgood.control.execute import Executor
from lastgood.control.golden import GoldenChecks
from lastgood.control.host_views import host_view
from lastgood.control.labels import Labels
from lastgood.control.live_data import LiveData
from lastgood.control.moves import GoldenView, HostView, Situation
from lastgood.control.recompute import sealed_of
from lastgood.control.routes import host_socket
from lastgood.domain.change import Evidence, EvidenceStep
from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import KPIS, Metric
from lastgood.domain.readiness import Standing
from lastgood.domain.release import Phase, Release
from lastgood.domain.traffic import Stratum, Units
from lastgood.domain.verdict import Finding, Verdict
from lastgood.errors import Code, LastgoodError
from lastgood.ports import EvidenceStore, Fleet, ReleaseStore, Reports
from lastgood.settings import Settings
from lastgood.wire.reports import WorkerReport

logger = logging.getLogger(__name__)
_SPLIT = (Phase.PROGRESSING, Phase.PAUSED)
_Key = tuple[int, int, int, tuple[str, ...]]  # sequence, stage, misses, corrupt lives
_SERVING = (Phase.PROMOTING, Phase.WATCHING, Phase.STUCK)


class Observer:
    """Gathers a :class:`Situation`. Evidence is folded in and saved before it is judged."""

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
        self._now = now
        self._evidence: dict[int, Evidence] = {}
        self._verdicts: dict[int, tuple[_Key, int, tuple[Finding, ...]]] = {}
        self._told: dict[int, set[str]] = {}
        self._ahead = Ahead(evidence)
        executor.sealed = partial(sealed_of, evidence)

    def situation(
        self, deployment: Deployment, release: Release, *, target: int | None = None, measure: bool = True
    ) -> Situation:
        """Return what is seen of ``release`` now.

        ``target`` names the version a person wants to go back to; ``measure=False`` leaves the evidence
        out, so that a rollback depends on no measurement.
        """
        now = self._now()
        last_good = None
        if deployment.stable is not None:
            entry = self._releases.last_good(deployment.name, besides=deployment.stable)
            last_good = None if entry is None else entry.version
        goal = target if target is not None else self._goal(deployment, release, last_good)
        observed = self._fleet.observe()
        candidate = host_view(observed, release.model, release.version)
        requests = 0
        findings: tuple[Finding, ...] = ()
        if measure and release.phase in _SPLIT:
            self._ahead.remember(deployment, release)
            requests, findings = self._measure(release, candidate, now)
        elif measure and release.phase in _SERVING:
            findings = self._watch(release, candidate, now)
        acknowledged = release.generation is not None and not self._executor.behind(release.generation)
        failing = any(finding.verdict is Verdict.FAILED for finding in findings)
        return Situation(
            now=now,
            candidate=candidate,
            target=None if goal is None else host_view(observed, release.model, goal),
            last_good=last_good,
            acknowledged=acknowledged,
            served=self._executor.gateways() > 0,
            findings=findings,
            requests=requests,
            taken_out=self._counted.taken_out(release) if measure and release.phase in _SPLIT else (),
            data=self._live.work(release, acknowledged=acknowledged),
            process=self._live.process,
            misfits=self._misfits(release, release.version) if fits_matter(release) else (),
            misfits_back=self._misfits(release, goal) if failing else (),
            golden=self._answers(release, candidate) if measure else GoldenView(),
            way_back=self._standing(release),
        )

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

    def _measure(self, release: Release, candidate: HostView, now: float) -> tuple[int, tuple[Finding, ...]]:
        evidence = self.evidence(release)
        stage = max(release.plan.stage_at(release.step), 0)
        folded, strata, faults = self._fold(release, evidence, now, flush=False)
        if self._last_ones_complete(release, folded, stage, now):
            # Small strata are weak evidence, so the open rest is closed only where it ends the step.
            whole, rest, faults = self._fold(release, evidence, now, flush=True)
            if candidate_requests(whole, stage) >= release.plan.steps[release.step].samples:
                folded, strata = whole, rest
        evidence = self._kept(evidence, folded, strata)
        corrupt = self._corrupt(release, faults)
        return self._judged(release, evidence, stage, self._misses(release, candidate), corrupt)

    def _watch(self, release: Release, candidate: HostView, now: float) -> tuple[Finding, ...]:
        """Judge what needs no second arm: whether the host answers, hard limits, and labels of what both answered."""
        folded, strata, faults = self._fold(release, self.evidence(release), now, flush=False)
        evidence = self._kept(self.evidence(release), folded, strata)
        corrupt = self._corrupt(release, faults)
        misses = self._misses(release, candidate)
        _, findings = self._judged(release, evidence, release.plan.watch_stage, misses, corrupt)
        alone = {one.name for one in release.plan.guardrails if one.maximum is not None or one.metric in KPIS}
        return tuple(
            finding
            for finding in findings
            if finding.guardrail in alone or (finding.metric == Metric.HEALTH.value and candidate.starts)
        )

    def _kept(self, before: Evidence, folded: Evidence, strata: tuple[Stratum, ...]) -> Evidence:
        if not strata:
            return before
        self._store.save_evidence(EvidenceStep(before=before.sequence, evidence=folded, strata=strata))
        self._evidence[folded.release] = folded
        return folded

    def _judged(
        self, release: Release, evidence: Evidence, stage: int, misses: int, corrupt: tuple[str, ...]
    ) -> tuple[int, tuple[Finding, ...]]:
        """Judge, once for each stratum: most turns find nothing new."""
        key = (evidence.sequence, stage, misses, corrupt)
        known = self._verdicts.get(release.id)
        if known is None or known[0] != key:
            findings = judge(
                release.plan, release.baseline, evidence, misses=misses, corrupt=corrupt, intervals=False
            )
            known = self._verdicts[release.id] = (key, candidate_requests(evidence, stage), findings)
        return known[1:]

    def _corrupt(self, release: Release, faults: tuple[LastgoodError, ...]) -> tuple[str, ...]:
        """Return the worker lives whose counts cannot be used, and log each once."""
        lives = tuple(str(fault.details["life"]) for fault in faults)
        told = self._told.setdefault(release.id, set())
        for life, fault in zip(lives, faults, strict=True):
            if life not in told:
                told.add(life)
                logger.error("%s %s", fault.message, fault.next_step)
        return lives

    def _fold(
        self, release: Release, evidence: Evidence, now: float, *, flush: bool
    ) -> tuple[Evidence, tuple[Stratum, ...], tuple[LastgoodError, ...]]:
        if not flush and (faults := self._ahead.taken(release)) is not None:
            return evidence, (), faults
        lives, keys = self._counted.lives(release.id), release.baseline.units is Units.KEYS
        opened, strata, faults = collect(evidence, lives, release=release.id, now=now, keys=keys, flush=flush)
        last = evidence.sequence + len(strata)
        strata += self.labels.strata(release, evidence, sequence=last, now=now)
        folded = fold(release.plan, release.baseline, opened, strata) if strata else evidence
        return folded, strata, (*faults, *self._counted.unreadable())

    def _last_ones_complete(self, release: Release, evidence: Evidence, stage: int, now: float) -> bool:
        """Whether the step's time is over and only its sample minimum may be missing."""
        step = release.plan.steps[release.step]
        over = release.phase is Phase.PROGRESSING and now - release.step_since >= (step.duration or 0.0)
        return over and candidate_requests(evidence, stage) < step.samples

    def peek(self, release: Release, *, intervals: bool = False) -> Situation:
        """Return what the last saved evidence says, changing nothing: for showing it.

        ``intervals`` asks for confidence sequences, which take a tenth of a second or so for each guardrail.
        Once no candidate is measured any more, that is how the guardrails stood at the end; whether its host answers
        is not among it.
        """
        candidate = host_view(self._fleet.observe(), release.model, release.version)
        evidence = self._store.evidence(release.id)
        corrupt: tuple[str, ...] = ()
        if release.phase in (*_SPLIT, *_SERVING):  # looked at anew: others than the controller ask too
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
        if release.phase not in _SPLIT and not evidence.sequence:
            findings = ()
        elif release.phase not in _SPLIT:
            findings = tuple(finding for finding in findings if finding.metric != Metric.HEALTH.value)
        return Situation(
            now=self._now(),
            candidate=candidate,
            target=None,
            last_good=None,
            acknowledged=False,
            findings=findings,
            requests=candidate_requests(evidence, max(release.plan.stage_at(release.step), 0)),
        )

    def stored(self, release: Release) -> tuple[Evidence, Iterator[Stratum]]:
        """Return what the store holds: the evidence, and the strata that it is said to come from."""
        return self._store.evidence(release.id), self._store.strata(release.id)

    def begin_turn(self, deployments: Iterable[Deployment] = ()) -> None:
        """Look at the gateways' reports anew, and save what they add to these deployments' evidence at once."""
        self._counted.begin_turn()
        now = self._now()
        self._evidence |= self._ahead.save(
            deployments,
            lambda one: (self.evidence(one), *self._fold(one, self.evidence(one), now, flush=False)),
        )

    def has_used(self, release: Release, report: WorkerReport) -> bool:
        """Whether the evidence holds all that a worker life has counted for ``release``."""
        try:
            return used_up(self.evidence(release), life_of(report), report.stages)
        except LastgoodError as error:
            if error.code is not Code.CORRUPT:
                raise
            return False  # it stays, so that the guardrails go on saying that something is wrong

    def keep_lives(self, release: Release, present: set[str]) -> None:
        """Forget what the evidence has seen of every life but these, none of which will report again."""
        evidence = before = self.evidence(release)
        for life in before.seen.keys() - present:
            evidence = forget(evidence, life)
        if evidence is not before:
            self._store.save_evidence(EvidenceStep(before=before.sequence, evidence=evidence, strata=()))
            self._evidence[release.id] = evidence

    def evidence(self, release: Release) -> Evidence:
        """Return the evidence of a release, from memory while it is under way."""
        known = self._evidence.get(release.id)
        if known is None:
            known = self._evidence[release.id] = self._store.evidence(release.id)
        return known

    def forget(self, release: Release) -> None:
        """Drop what is remembered of a release: it is over, or another process took it on."""
        self._evidence.pop(release.id, None)
        self._verdicts.pop(release.id, None)
        self._told.pop(release.id, None)
        self._ahead.forget(release)
        self.labels.forget(release.id)
        self._golden.forget(release.id)
