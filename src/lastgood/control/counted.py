"""What the gateways have counted, as of the present turn: read once, sorted by release."""

from collections import defaultdict
from collections.abc import Callable

from lastgood.analysis.strata import collect
from lastgood.control.moves import TakenOut
from lastgood.domain.change import Evidence
from lastgood.domain.release import Release
from lastgood.domain.traffic import StageCounts, Units
from lastgood.errors import Code, LastgoodError
from lastgood.ports import Reports
from lastgood.wire.reports import Look, Unreadable, WorkerReport


def life_of(report: WorkerReport | Unreadable) -> str:
    """Return the name of a worker's life in the evidence."""
    return f"{report.slot}:{report.epoch}"


class Counted:
    """The reports of one turn. ``slots`` says in which slots a gateway worker lives. For one thread."""

    def __init__(self, reports: Reports, slots: Callable[[], set[int]]) -> None:
        self._reports = reports
        self._slots = slots
        self._unreadable: tuple[LastgoodError, ...] = ()
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

    def unreadable(self) -> tuple[LastgoodError, ...]:
        """Return an error (``corrupt``, ``life`` among its details) for each living worker whose report cannot be read."""
        self._read()
        return self._unreadable

    def _read(self) -> None:
        if self._fresh:
            return
        lives: defaultdict[int, dict[str, list[StageCounts]]] = defaultdict(dict)
        taken_out: defaultdict[tuple[int, int], list[TakenOut]] = defaultdict(list)
        look = self._reports.look()
        for report in look.reports:
            life = life_of(report)
            for stage in report.stages:
                lives[stage.release].setdefault(life, []).append(stage)
            for reflex in report.reflexes:
                taken_out[reflex.release, reflex.tries].append(
                    TakenOut(
                        slot=report.slot,
                        failures=reflex.failures,
                        requests=reflex.requests,
                        log_likelihood=reflex.log_likelihood,
                    )
                )
        self._unreadable = (
            tuple(_fault(one) for one in living(look, self._slots())) if look.unreadable else ()
        )
        self._lives, self._taken_out, self._fresh = lives, taken_out, True


def corrupt_lives(counted: Counted, release: Release, evidence: Evidence, now: float) -> tuple[str, ...]:
    """Return the worker lives whose counts cannot be used as evidence of a release."""
    lives, keys = counted.lives(release.id), release.baseline.units is Units.KEYS
    *_, faults = collect(evidence, lives, release=release.id, now=now, keys=keys)
    return tuple(str(fault.details["life"]) for fault in (*faults, *counted.unreadable()))


def living(look: Look, slots: set[int]) -> list[Unreadable]:
    """Return the unreadable reports of workers that live: the latest life in a slot in which one lives."""
    latest: dict[int, int] = {}
    lives = [(one.slot, one.epoch) for one in look.reports] + [
        (one.slot, one.epoch) for one in look.unreadable
    ]
    for slot, epoch in lives:
        latest[slot] = max(epoch, latest.get(slot, 0))
    return [one for one in look.unreadable if one.slot in slots and one.epoch == latest[one.slot]]


def _fault(one: Unreadable) -> LastgoodError:
    life = life_of(one)
    return LastgoodError(
        Code.CORRUPT,
        f"The report of gateway worker {life} cannot be read: {one.error}.",
        "It is not used as evidence. The worker writes it anew several times a second; if this stays, restart it.",
        details={"life": life},
    )
