"""Labels for the controller: new outcomes as strata, and how many predictions have no label yet."""

import logging
from collections.abc import Mapping
from typing import Any

from lastgood.analysis import agreement
from lastgood.analysis.kpi_strata import News, maturities, read_until, strata_of
from lastgood.domain.change import Evidence
from lastgood.domain.kpi import Awaited
from lastgood.domain.plan import KPIS
from lastgood.domain.release import Release
from lastgood.domain.traffic import Stratum
from lastgood.errors import LastgoodError
from lastgood.quality_ports import PAIR_ROWS, Outcomes

logger = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0  # labels come hours late: a second is soon
_LIMIT = 5_000  # outcomes in one look; the next turn takes more at once
_PAIRS = 500  # copied requests in one look


class Labels:
    """Looks for new outcomes of releases whose plans have guardrails on labels or agreement; all others cost nothing."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes
        self._looked: dict[int, float] = {}
        self._compared: dict[int, float] = {}
        self._trouble: str | None = None

    def strata(
        self, release: Release, evidence: Evidence, *, sequence: int, now: float
    ) -> tuple[Stratum, ...]:
        """Return what is new as strata that follow ``sequence``; none between two looks (a second), and without news.

        A log that cannot be read is said once; its outcomes count when it can be.
        """
        wanted = maturities(release.plan)
        if not wanted or abs(now - self._looked.get(release.id, float("-inf"))) < _LOOK_SECONDS:
            return ()
        self._looked[release.id] = now
        news = {}
        try:
            for after in wanted:
                since = read_until(evidence, after)
                found, read = self._outcomes.outcomes(release.id, since, made_until=now - after, limit=_LIMIT)
                news[after] = News(found, read)
        except LastgoodError as error:
            if self._trouble != error.message:
                logger.error("labels cannot be read: %s %s", error.message, error.next_step)  # noqa: TRY400
            self._trouble = error.message
            return ()
        self._trouble = None
        if any(len(one.outcomes) >= _LIMIT for one in news.values()):
            del self._looked[release.id]
        return strata_of(release.plan, release.baseline, evidence, news, sequence=sequence, now=now)

    def agreement(
        self, release: Release, evidence: Evidence, *, sequence: int, now: float
    ) -> tuple[Stratum, ...]:
        """Return what both versions said of new copied requests, in the same way; a plan that does not ask costs nothing."""
        looked = self._compared.get(release.id, float("-inf"))
        if not agreement.wants(release.plan) or abs(now - looked) < _LOOK_SECONDS:
            return ()
        self._compared[release.id] = now
        since = agreement.read_until(evidence)
        try:
            rows, read_to = self._outcomes.pairs(release.id, since, _PAIRS)
        except LastgoodError as error:
            if self._trouble != error.message:
                logger.error("answers cannot be read: %s %s", error.message, error.next_step)  # noqa: TRY400
            self._trouble = error.message
            return ()
        if len(rows) >= PAIR_ROWS or len({one.sequence for one in rows}) >= _PAIRS:
            del self._compared[release.id]
        return agreement.strata_of(release.plan, evidence, rows, read_to=read_to, sequence=sequence, now=now)

    def awaited(self, release: Release) -> dict[str, Awaited]:
        """Return each arm's predictions and those with a label; empty where the plan asks for none, or nobody can say."""
        if not maturities(release.plan):
            return {}
        try:
            return self._outcomes.awaited(release.id)
        except LastgoodError as error:
            logger.debug("pending labels cannot be counted: %s", error)
            return {}

    def forget(self, release: int) -> None:
        """Drop what is remembered of a release."""
        self._looked.pop(release, None)
        self._compared.pop(release, None)


def with_pending(found: list[dict[str, Any]], awaited: Mapping[str, Awaited]) -> list[dict[str, Any]]:
    """Return findings as they are shown, those that need labels with how many predictions of each arm have none yet.

    That is told beside the evidence and is no part of it: labels come between two looks at the same evidence.
    """
    pending = {arm: one.pending for arm, one in awaited.items()}
    return [{**one, "pending": pending} if one["metric"] in KPIS else one for one in found]
