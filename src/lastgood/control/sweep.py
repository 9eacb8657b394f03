"""Forgetting worker lives that have ended and whose counts have been used, also while releases are under way.

The report goes first, then what the evidence had seen of it: whoever stops between the two leaves a name behind,
never a count that would be used twice.
"""

import logging
from collections.abc import Callable, Sequence

from lastgood.control.counted import life_of, living
from lastgood.control.measuring import Measuring
from lastgood.domain.release import IN_STEPS, Phase, Release
from lastgood.errors import LastgoodError
from lastgood.ports import Reports, Router

logger = logging.getLogger(__name__)
_NEEDS_COUNTS = IN_STEPS | {Phase.PROMOTING, Phase.WATCHING}


class Sweeper:
    """Drops reports of workers that are gone. For the controller's thread."""

    def __init__(
        self, *, router: Router, reports: Reports, measuring: Measuring, now: Callable[[], float]
    ) -> None:
        self._router = router
        self._reports = reports
        self._measuring = measuring
        self._now = now
        self._told = ""

    def sweep(self, under_way: Sequence[Release], *, grace: float) -> None:
        """Drop what no release under way needs any more of workers that stopped ``grace`` seconds ago or earlier.

        ``grace`` leaves others who add counts up (``/metrics``, stable's history) time to look once more. A fault is
        logged once and leaves everything as it is.
        """
        try:
            self._sweep([one for one in under_way if one.phase in _NEEDS_COUNTS], grace)
        except (LastgoodError, OSError) as error:
            if str(error) != self._told:
                logger.warning("ended gateway workers are not forgotten: %s", error)
            self._told = str(error)
        else:
            self._told = ""

    def _sweep(self, measuring: list[Release], grace: float) -> None:
        workers, look = self._router.workers(), self._reports.look()
        here = {worker.pid for worker in workers}
        alive = living(look, {worker.slot for worker in workers})
        present = {life_of(one) for one in look.unreadable}
        for one in look.unreadable:
            if one not in alive and self._now() - one.written_at >= grace:
                logger.warning("what gateway worker %s counted last is lost: %s", life_of(one), one.error)
                self._reports.forget(one.slot, one.epoch)
                present.discard(life_of(one))
        for report in look.reports:
            ended = report.pid not in here and self._now() - report.written_at >= grace
            if ended and all(self._measuring.has_used(release, report) for release in measuring):
                self._reports.forget(report.slot, report.epoch)
            else:
                present.add(life_of(report))
        for release in measuring:
            self._measuring.keep_lives(release, present)
