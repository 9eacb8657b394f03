"""What the controller and the commands share, wired together."""

import os
from pathlib import Path

import msgspec

from lastgood.control.caretaker import Caretaker
from lastgood.control.controller import Controller
from lastgood.control.custom import CustomMetrics
from lastgood.control.desk import Desk
from lastgood.control.drift import Drift
from lastgood.control.drill import Drills
from lastgood.control.drill_schedule import DrillSchedule
from lastgood.control.execute import Executor
from lastgood.control.golden import GoldenChecks
from lastgood.control.history import Recorder
from lastgood.control.labels import Labels
from lastgood.control.live_data import LiveData
from lastgood.control.observe import Observer
from lastgood.control.readiness import ReadinessWatch
from lastgood.control.readiness_news import ReadinessNews
from lastgood.control.rehearse import Rehearser
from lastgood.control.residents import Residents
from lastgood.control.serving_plan import ServingPlans
from lastgood.control.way_back import WaysBack
from lastgood.control.way_back_links import Prover
from lastgood.integrations.metrics import OutsideMetrics
from lastgood.outside import Outside
from lastgood.predictions.outcomes import LoggedOutcomes
from lastgood.predictions.sketches import LoggedSketches
from lastgood.settings import Settings
from lastgood.sources.opening import openers
from lastgood.sources.programs import MigrationPrograms


class Inside(msgspec.Struct, frozen=True):
    """What the controller and the commands share."""

    executor: Executor
    live: LiveData
    golden: GoldenChecks
    drills: Drills
    readiness: ReadinessWatch
    observer: Observer
    caretaker: Caretaker
    controller: Controller


def wire(settings: Settings, out: Outside) -> Inside:
    """Make what the controller and the commands share out of what they work on."""
    executor = Executor(
        versions=out.versions,
        releases=out.releases,
        blobs=out.blobs,
        router=out.router,
        fleet=out.fleet,
        settings=settings,
    )
    programs = MigrationPrograms(Path(settings.home).parent, settings.kept_data / "migrations", os.environ)
    live, golden = LiveData(Desk(openers(settings)), programs), GoldenChecks()
    executor.standbys.fits = live.schemas.fits
    drills, readiness = _rehearsals(settings, out, executor, live, golden)
    custom = CustomMetrics(OutsideMetrics(settings, os.environ), executor.version)
    observer = Observer(
        executor=executor,
        releases=out.releases,
        evidence=out.evidence,
        fleet=out.fleet,
        reports=out.reports,
        settings=settings,
        live=live,
        golden=golden,
        standing=readiness.standing,
        labels=Labels(LoggedOutcomes(out.answered)),
        custom=custom,
        drift=Drift(LoggedSketches(out.answered), executor.version),
    )
    caretaker = Caretaker(kept=out.kept, releases=out.releases, desk=live.desk, kept_data=settings.kept_data)
    controller = Controller(
        releases=out.releases,
        executor=executor,
        observer=observer,
        router=out.router,
        reports=out.reports,
        lease_seconds=settings.lease_seconds,
        tick_seconds=settings.tick_seconds,
        recorder=Recorder(traffic=out.traffic, reports=out.reports, keep_seconds=settings.traffic_history),
        caretaker=caretaker,
    )
    live.desk.wake = golden.wake = custom.wake = controller.wake
    return Inside(executor, live, golden, drills, readiness, observer, caretaker, controller)


def _rehearsals(
    settings: Settings, out: Outside, executor: Executor, live: LiveData, golden: GoldenChecks
) -> tuple[Drills, ReadinessWatch]:
    """Return what proves the way back: by a drill when asked, and by looking all the time."""
    ways, plans = WaysBack(out.releases, out.kept), ServingPlans(out.releases)
    residents = Residents(out.fleet, settings.run, golden.ask)
    rehearser = Rehearser(
        executor=executor, blobs=out.blobs, residents=residents, live=live, run=settings.run, ways=ways
    )
    drills = Drills(
        releases=out.releases, journal=out.journal, executor=executor, rehearser=rehearser, plans=plans
    )
    readiness = ReadinessWatch(
        releases=out.releases,
        executor=executor,
        prover=Prover(executor=executor, blobs=out.blobs, residents=residents, live=live),
        ways=ways,
        drills=drills,
        schedule=DrillSchedule(
            releases=out.releases, drills=drills, plans=plans, ways=ways, now=executor.now
        ),
        news=ReadinessNews(releases=out.releases, journal=out.journal, executor=executor, plans=plans),
    )
    return drills, readiness
