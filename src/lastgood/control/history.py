"""Stable's history: what gateways counted of each stable version, a row a minute; and the baseline taken from it.

Nothing that moves traffic waits for any of it: the recorder has a thread of its own, and a release whose history
cannot be read begins with a baseline that says so.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from lastgood.analysis.counts import added, contradicts, gained
from lastgood.analysis.units import choose
from lastgood.control.chore import Chore
from lastgood.domain.deployment import Deployment, Role
from lastgood.domain.plan import Plan
from lastgood.domain.traffic import ArmCounts, Baseline, TrafficMinute
from lastgood.errors import LastgoodError
from lastgood.ports import Reports, TrafficStore
from lastgood.wire.reports import WorkerReport

logger = logging.getLogger(__name__)

MINUTE: Final = 60.0
LOOK_BACK: Final = 1_440
"""A baseline looks at this many minutes at most."""
_LOOK_SECONDS: Final = 1.0
_Of = tuple[str, int]  # deployment and version
_Life = tuple[int, int]  # slot and epoch


class Recorder:
    """Turns the workers' cumulative counts of stable versions into rows, once a minute and when woken.

    What a worker had counted before the recorder's first look belongs to minutes that it cannot know, and is left
    out. A gain belongs to the minute before the look that found it, or to the present one when woken within it.
    """

    def __init__(
        self,
        *,
        traffic: TrafficStore,
        reports: Reports,
        keep_seconds: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._traffic = traffic
        self._reports = reports
        self._keep = keep_seconds
        self._now = now
        self._seen: dict[_Life, dict[_Of, ArmCounts]] | None = None
        self._waiting: dict[tuple[str, int, int], ArmCounts] = {}
        self._minute = 0
        self._refused: set[_Life] = set()
        self._told = ""
        self._chore = Chore("history", self._look, fault="stable's history has a hole")

    def start(self) -> None:
        """Look once a minute, in a thread of its own."""
        self._chore.start()

    def stop(self) -> None:
        """End the thread; what was counted since the last look is left out."""
        self._chore.stop()

    def wake(self) -> None:
        """Look now, not only when the minute is over: a release has ended."""
        self._chore.wake()

    def record(self) -> None:
        """Look once. What cannot be written waits for the next look, and the fault is logged once.

        Called from one thread at a time: the recorder's own, or a test's.
        """
        now = self._now()
        minute, oldest = int(now // MINUTE), int((now - self._keep) // MINUTE)
        self._gather(min(self._minute, minute))
        self._minute = minute
        self._waiting = {place: counts for place, counts in self._waiting.items() if place[2] >= oldest}
        try:
            self._traffic.add_traffic(
                TrafficMinute(deployment=deployment, version=version, minute=of, counts=counts)
                for (deployment, version, of), counts in self._waiting.items()
            )
            self._waiting.clear()
            self._traffic.drop_traffic(oldest)
        except LastgoodError as error:
            self._say(f"stable's history waits: {error}")
        else:
            self._told = ""

    def _look(self, woken: bool) -> float:
        if self._seen is None or woken or int(self._now() // MINUTE) != self._minute:
            self.record()
        return _LOOK_SECONDS

    def _say(self, text: str) -> None:
        if text != self._told:
            logger.warning("%s", text)
            self._told = text

    def _gather(self, minute: int) -> None:
        """Add what every life has gained since the last look to what waits to be written of ``minute``."""
        after = {(report.slot, report.epoch): _stable_counts(report) for report in self._reports.read()}
        before, self._seen = self._seen, after
        self._refused &= after.keys()
        if before is None:
            return
        for life, counted in after.items():
            for (deployment, version), counts in self._gains(life, before.get(life, {}), counted).items():
                place = (deployment, version, minute)
                self._waiting[place] = added((self._waiting.get(place, ArmCounts()), counts))

    def _gains(
        self, life: _Life, before: dict[_Of, ArmCounts], after: dict[_Of, ArmCounts]
    ) -> dict[_Of, ArmCounts]:
        """Return what a life has gained; nothing, and for good, from one that contradicts itself."""
        if life in self._refused:
            return {}
        gains = {}
        try:
            for of, counts in after.items():
                gain = _checked(gained(counts, before.get(of, ArmCounts())))
                if gain.requests:
                    gains[of] = gain
        except ValueError as error:
            self._refused.add(life)
            logger.warning("stable's history leaves gateway worker %s:%s out: %s", *life, error)
            return {}
        return gains


def baseline_of(traffic: TrafficStore, deployment: Deployment, plan: Plan, now: float) -> Baseline:
    """Return the baseline of a release that begins now, from what the present stable version did lately.

    A history that cannot be read is no reason to refuse a release: the baseline then says why it knows nothing.
    """
    if deployment.stable is None:
        return choose((), plan.units)
    since = int(now // MINUTE) - LOOK_BACK
    try:
        minutes = traffic.traffic(deployment.name, since=since, version=deployment.stable)
        return choose(minutes[-LOOK_BACK:], plan.units)
    except Exception as error:
        # Whatever is wrong with the history, the release can be judged without it.
        logger.warning("%s: stable's history cannot be used: %s", deployment.name, error, exc_info=error)
        baseline = choose((), plan.units)
        why = f"{baseline.why} (the history could not be used: {error})"
        return msgspec.structs.replace(baseline, why=why)


def told_of(baseline: Baseline) -> dict[str, Any]:
    """Return what the record and a person are told of a baseline: its numbers and why, without the histogram."""
    told: dict[str, Any] = msgspec.to_builtins(baseline)
    del told["latency"]
    return told


def _checked(counts: ArmCounts) -> ArmCounts:
    if contradicts(counts):
        raise ValueError("more failures than requests")
    return counts


def _stable_counts(report: WorkerReport) -> dict[_Of, ArmCounts]:
    """Return what a worker has counted of each stable version, without keys: a minute needs none."""
    return {
        (one.deployment, one.version): msgspec.structs.replace(one.counts, firsts={})
        for one in report.totals
        if one.role == Role.STABLE
    }
