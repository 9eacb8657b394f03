"""Drift for the controller: new sketches of inputs and outputs as strata."""

import logging
from collections.abc import Callable

from lastgood.analysis.drift_state import wants
from lastgood.analysis.drift_strata import Known, drift_record, needs_before, strata_of
from lastgood.domain.change import Evidence
from lastgood.domain.plan import Metric
from lastgood.domain.release import Release
from lastgood.domain.sketch import Sketch
from lastgood.domain.traffic import Stratum
from lastgood.domain.version import Version
from lastgood.errors import LastgoodError
from lastgood.quality_ports import Sketches

logger = logging.getLogger(__name__)
_LOOK_SECONDS = 20.0  # sketches come every ten seconds or so, and inputs are judged by the minute
_LIMIT = 100  # rows in one look, a second's work at most; the next turn takes more at once


class Drift:
    """Looks for new sketches of releases whose plans have drift guardrails; all others cost nothing."""

    def __init__(self, sketches: Sketches, version: Callable[[str, int], Version]) -> None:
        """Take ``version`` to say what a version was trained on."""
        self._sketches = sketches
        self._version = version
        self._looked: dict[int, float] = {}
        self._anew: dict[int, int] = {}
        self._before: dict[int, dict[str, Sketch]] = {}
        self._trouble: str | None = None

    def strata(
        self, release: Release, evidence: Evidence, *, sequence: int, now: float
    ) -> tuple[Stratum, ...]:
        """Return what is new as strata that follow ``sequence``; none between two looks, and without news.

        A log that cannot be read is said once; its rows count when it can be.
        """
        if not wants(release.plan) or abs(now - self._looked.get(release.id, float("-inf"))) < _LOOK_SECONDS:
            return ()
        self._looked[release.id] = now
        try:
            read = drift_record(evidence).read
            rows, read_to = self._sketches.since(
                release.id, min(read, self._anew.get(release.id, read)), _LIMIT
            )
            known = self._known(release, evidence) if rows else Known()
        except LastgoodError as error:
            if self._trouble != error.message:
                logger.error("sketches cannot be read: %s %s", error.message, error.next_step)  # noqa: TRY400
            self._trouble = error.message
            return ()
        self._trouble = None
        if read_to < read:  # the log was begun anew: what comes from here on counts
            self._anew[release.id] = read_to
        else:
            self._anew.pop(release.id, None)
        if len(rows) >= _LIMIT:
            del self._looked[release.id]
        return strata_of(release.plan, evidence, rows, known, read_to=read_to, sequence=sequence, now=now)

    def forget(self, release: int) -> None:
        """Drop what is remembered of a release."""
        self._looked.pop(release, None)
        self._anew.pop(release, None)
        self._before.pop(release, None)

    def _known(self, release: Release, evidence: Evidence) -> Known:
        reference = None
        if wants(release.plan, Metric.DRIFT) and not drift_record(evidence).reference:
            reference = self._version(release.model, release.version).reference
        if release.previous is None or not needs_before(release.plan, evidence):
            return Known(reference=reference)
        if release.id not in self._before:
            self._before[release.id] = self._sketches.before(
                release.deployment, release.previous, release.created_at
            )
        return Known(reference=reference, before=self._before[release.id])
