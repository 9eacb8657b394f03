"""The evidence of releases: folded from what gateways have counted, saved, then judged. For the controller's thread.

Nobody reads what most looks find, so findings are judged without words; :meth:`Measuring.told` adds those when
something follows from them.
"""

import logging
from collections.abc import Iterable

from lastgood.analysis.fold import candidate_requests, fold, watched_ones
from lastgood.analysis.judge import judge
from lastgood.analysis.strata import Lives, collect, forget, opened, used_up
from lastgood.control.ahead import Ahead, Faults
from lastgood.control.counted import Counted, life_of
from lastgood.control.custom import CustomMetrics
from lastgood.control.drift import Drift
from lastgood.control.labels import Labels
from lastgood.domain.change import Evidence, EvidenceStep
from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import DRIFTS, KPIS, Metric
from lastgood.domain.release import MOVING, Release
from lastgood.domain.traffic import Stratum, Units
from lastgood.domain.verdict import Finding
from lastgood.errors import Code, LastgoodError
from lastgood.ports import EvidenceStore
from lastgood.wire.reports import WorkerReport

logger = logging.getLogger(__name__)
_Key = tuple[int, int, int, tuple[str, ...]]  # sequence, stage, misses, corrupt lives
_Folded = tuple[Evidence, tuple[Stratum, ...], Faults]


class Measuring:
    """What is known of each release's evidence, in memory while it is under way and always as the store has it."""

    def __init__(
        self, store: EvidenceStore, counted: Counted, labels: Labels, custom: CustomMetrics, drift: Drift
    ) -> None:
        self._store = store
        self._counted = counted
        self._labels = labels
        self._custom = custom
        self._drift = drift
        self._ahead = Ahead(store)
        self._evidence: dict[int, Evidence] = {}
        self._without_news: dict[int, tuple[Evidence, Lives]] = {}
        self._verdicts: dict[int, tuple[_Key, int, tuple[Finding, ...]]] = {}
        self._logged: dict[int, set[str]] = {}

    def begin_turn(self, deployments: Iterable[Deployment], now: float) -> None:
        """Look at the gateways' reports anew, and save what they add to these deployments' evidence at once."""
        self._counted.begin_turn()
        self._evidence |= self._ahead.save(
            deployments,
            lambda one: (self.evidence(one), *self._fold(one, self.evidence(one), now, flush=False)),
        )

    def split(
        self, deployment: Deployment, release: Release, misses: int, now: float
    ) -> tuple[int, tuple[Finding, ...]]:
        """Judge a release whose traffic is split, on all that is counted; also return the candidate's requests.

        Those are of the present stage. ``misses`` is how many health checks in a row its host has missed.
        """
        self._ahead.remember(deployment, release)
        evidence = self.evidence(release)
        stage = max(release.plan.stage_at(release.step), 0)
        folded, strata, faults = self._gained(release, evidence, now)
        if self._last_ones_complete(release, folded, stage, now):
            # Small strata are weak evidence, so the open rest is closed only where it ends the step.
            whole, rest, faults = self._fold(release, evidence, now, flush=True)
            if candidate_requests(whole, stage) >= release.plan.steps[release.step].samples:
                folded, strata = whole, rest
        evidence = self._kept(evidence, folded, strata)
        return self._judged(release, evidence, stage, misses, self._corrupt(release, faults))

    def watched(self, release: Release, misses: int, now: float, *, started: bool) -> tuple[Finding, ...]:
        """Judge what needs no second arm, labels, and what the version before answered beside it.

        The first are hard limits, numbers from outside, and whether the host answers once it has ``started``.
        """
        before = self.evidence(release)
        folded, strata, faults = self._gained(release, before, now)
        evidence = self._kept(before, folded, strata)
        corrupt = self._corrupt(release, faults)
        _, findings = self._judged(release, evidence, release.plan.watch_stage, misses, corrupt)
        alone = {
            one.name
            for one in release.plan.guardrails
            if one.maximum is not None or one.metric in (*KPIS, *DRIFTS, Metric.CUSTOM, Metric.AGREEMENT)
        }
        alone |= watched_ones(evidence)
        return tuple(
            finding
            for finding in findings
            if finding.guardrail in alone or (finding.metric == Metric.HEALTH.value and started)
        )

    def told(self, release: Release, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """Return the findings of the last look with their sentences and numbers."""
        known = self._verdicts.get(release.id)
        if known is None or not findings:
            return findings
        _, _, misses, corrupt = known[0]
        wanted = {one.guardrail for one in findings}
        whole = judge(
            release.plan,
            release.baseline,
            self.evidence(release),
            misses=misses,
            corrupt=corrupt,
            intervals=False,
        )
        return tuple(one for one in whole if one.guardrail in wanted)

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
            known = self._evidence[release.id] = opened(self._store.evidence(release.id))
        return known

    def forget(self, release: Release) -> None:
        """Drop what is remembered of a release: it is over, or another process took it on."""
        self._evidence.pop(release.id, None)
        self._without_news.pop(release.id, None)
        self._verdicts.pop(release.id, None)
        self._logged.pop(release.id, None)
        self._ahead.forget(release)

    def _gained(self, release: Release, evidence: Evidence, now: float) -> _Folded:
        """Return the evidence with what is counted by now, unless that is done for this turn."""
        faults = self._ahead.taken(release)
        return self._fold(release, evidence, now, flush=False) if faults is None else (evidence, (), faults)

    def _fold(self, release: Release, evidence: Evidence, now: float, *, flush: bool) -> _Folded:
        lives, unreadable = self._counted.lives(release.id), self._counted.unreadable()
        before, strata, faults = self._collected(release, evidence, lives, now, flush=flush)
        last = evidence.sequence + len(strata)
        strata += self._labels.strata(release, evidence, sequence=last, now=now)
        last = evidence.sequence + len(strata)
        strata += self._labels.agreement(release, evidence, sequence=last, now=now)
        last = evidence.sequence + len(strata)
        strata += self._custom.strata(release, evidence, sequence=last, now=now)
        last = evidence.sequence + len(strata)
        strata += self._drift.strata(release, evidence, sequence=last, now=now)
        folded = fold(release.plan, release.baseline, before, strata) if strata else evidence
        return folded, strata, (*faults, *unreadable)

    def _collected(
        self, release: Release, evidence: Evidence, lives: Lives, now: float, *, flush: bool
    ) -> _Folded:
        """Return what :func:`collect` does, which is nothing again while the same counts are added to the same evidence."""
        known = None if flush else self._without_news.get(release.id)
        if known is not None and known[0] is evidence and known[1] == lives:
            return evidence, (), ()
        keys = release.baseline.units is Units.KEYS
        collected = collect(evidence, lives, release=release.id, now=now, keys=keys, flush=flush)
        if not (collected[1] or collected[2]):
            self._without_news[release.id] = (evidence, lives)
        return collected

    def _last_ones_complete(self, release: Release, evidence: Evidence, stage: int, now: float) -> bool:
        """Whether the step's time is over and only its sample minimum may be missing."""
        step = release.plan.steps[release.step]
        over = release.phase in MOVING and now - release.step_since >= (step.duration or 0.0)
        return over and candidate_requests(evidence, stage) < step.samples

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
                release.plan, release.baseline, evidence, misses=misses, corrupt=corrupt, told=False
            )
            known = self._verdicts[release.id] = (key, candidate_requests(evidence, stage), findings)
        return known[1:]

    def _corrupt(self, release: Release, faults: Faults) -> tuple[str, ...]:
        """Return the worker lives whose counts cannot be used, and log each once."""
        if not faults:
            return ()
        lives = tuple(str(fault.details["life"]) for fault in faults)
        logged = self._logged.setdefault(release.id, set())
        for life, fault in zip(lives, faults, strict=True):
            if life not in logged:
                logged.add(life)
                logger.error("%s %s", fault.message, fault.next_step)
        return lives
