"""Gateway workers that count simulated requests as real ones do, and releases judged on their reports."""

from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from lastgood.analysis.fold import fold
from lastgood.analysis.judge import judge
from lastgood.analysis.strata import collect
from lastgood.domain.change import Evidence
from lastgood.domain.plan import Plan
from lastgood.domain.traffic import ArmCounts, Baseline, Firsts, StageCounts, Stratum, Units
from lastgood.domain.verdict import Finding, Verdict
from lastgood.stats import quantiles

Ints = npt.NDArray[np.int64]


def most(runs: int, alpha: float) -> int:
    """The number of wrong verdicts that a test with exactly this rate exceeds once in a thousand."""
    return int(binom.ppf(0.999, runs, alpha))


class Worker:
    """One gateway worker's cumulative counts of one release: errors, with their first ones by key, and latencies."""

    def __init__(self) -> None:
        self.stages: dict[int, StageCounts] = {}
        self._bad_keys: set[int] = set()

    def answered(
        self,
        stage: int,
        *,
        candidate: bool,
        requests: int,
        errors: int = 0,
        latency: dict[int, int] | None = None,
    ) -> None:
        """Count requests without a key."""
        arm = self._arm(stage, candidate)
        arm.requests += requests
        arm.errors += errors
        # What was reported before stays as it was: each report is a copy of its own.
        arm.latency = quantiles.merged((arm.latency, latency or {}))

    def answered_keys(self, stage: int, *, candidate: bool, keys: Iterable[int], bad: Iterable[bool]) -> None:
        """Count requests, each with its key and whether it failed, in order."""
        arm = self._arm(stage, candidate)
        first = arm.firsts.setdefault("errors", Firsts(keys=[]))
        for key, failed in zip(keys, bad, strict=True):
            arm.requests += 1
            arm.keyed += 1
            arm.errors += failed
            first.bad += failed
            if key in self._bad_keys:
                first.repeats += 1
            elif failed:
                first.keys.append(key)
                self._bad_keys.add(key)

    def _arm(self, stage: int, candidate: bool) -> ArmCounts:
        empty = StageCounts(
            release=1,
            stage=stage,
            candidate=ArmCounts(latency={}, firsts={}),
            stable=ArmCounts(latency={}, firsts={}),
        )
        counts = self.stages.setdefault(stage, empty)
        return counts.candidate if candidate else counts.stable


class Run:
    """A release, looked at whenever its workers are."""

    def __init__(self, plan: Plan, baseline: Baseline, *, workers: int = 1) -> None:
        self.plan = plan
        self.baseline = baseline
        self.workers = [Worker() for _ in range(workers)]
        self.evidence = Evidence(release=1)
        self.strata: list[Stratum] = []

    def look(self, now: float) -> None:
        """Close what closes. Folding waits until :meth:`judged`: once reached, a test stays reached."""
        lives = {f"{slot}:1": list(worker.stages.values()) for slot, worker in enumerate(self.workers)}
        keys = self.baseline.units is Units.KEYS
        opened, strata, faults = collect(self.evidence, lives, release=1, now=now, keys=keys)
        assert not faults
        self.evidence = msgspec.structs.replace(opened, sequence=opened.sequence + len(strata))
        self.strata += strata

    def judged(self) -> tuple[Finding, ...]:
        """Return the findings on all strata so far."""
        evidence = fold(self.plan, self.baseline, Evidence(release=1), self.strata)
        return judge(self.plan, self.baseline, evidence, misses=0, intervals=False)

    def rolled_back(self) -> bool:
        """Return whether any guardrail has failed at any look."""
        return any(finding.verdict is Verdict.FAILED for finding in self.judged())

    def requests_until_failed(self) -> int | None:
        """Return the candidate's requests at the first look at which a guardrail had failed; None if at none."""
        evidence, requests = Evidence(release=1), 0
        for stratum in self.strata:
            evidence = fold(self.plan, self.baseline, evidence, [stratum])
            requests += stratum.candidate.requests
            findings = judge(self.plan, self.baseline, evidence, misses=0, intervals=False)
            if any(finding.verdict is Verdict.FAILED for finding in findings):
                return requests
        return None
