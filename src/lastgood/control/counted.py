"""What the gateways have counted, as of the present turn: read once, sorted by release."""

from collections import defaultdict

from lastgood.control.moves import TakenOut
from lastgood.domain.release import Release
from lastgood.domain.traffic import StageCounts
from lastgood.ports import Reports
from lastgood.wire.reports import WorkerReport


def life_of(report: WorkerReport) -> str:
    """Return the name of a worker's life in the evidence."""
    return f"{report.slot}:{report.epoch}"


class Counted:
    """The reports of one turn. For one thread."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._fresh = False
        self._lives: dict[int, dict[str, list[StageCounts]]] = {}
        self._taken_out: dict[tuple[int, int], list[TakenOut]] = {}

    def begin_turn(self) -> None:
        """Read the reports anew when they are next asked for."""
        self._fresh = False

    def lives(self, release: int) -> dict[str, list[StageCounts]]:
        """Return the counts of a release, by worker life."""
        self._read()
        return self._lives.get(release, {})

    def taken_out(self, release: Release) -> tuple[TakenOut, ...]:
        """Return the workers that have taken the candidate out in the present try."""
        self._read()
        return tuple(self._taken_out.get((release.id, release.tries), ()))

    def _read(self) -> None:
        if self._fresh:
            return
        lives: defaultdict[int, dict[str, list[StageCounts]]] = defaultdict(dict)
        taken_out: defaultdict[tuple[int, int], list[TakenOut]] = defaultdict(list)
        for report in self._reports.read():
            for stage in report.stages:
                lives[stage.release].setdefault(life_of(report), []).append(stage)
            for reflex in report.reflexes:
                taken_out[reflex.release, reflex.tries].append(
                    TakenOut(
                        slot=report.slot,
                        failures=reflex.failures,
                        requests=reflex.requests,
                        log_likelihood=reflex.log_likelihood,
                    )
                )
        self._lives, self._taken_out, self._fresh = lives, taken_out, True
