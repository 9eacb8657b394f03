"""Settings to services: the one place that sees all wings. Nothing happens on import."""

import importlib.metadata
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from lastgood.control.caretaker import Caretaker
from lastgood.control.clearing import Clearing
from lastgood.control.controller import Controller
from lastgood.control.desk import Desk
from lastgood.control.drill import Drills
from lastgood.control.drill_schedule import DrillSchedule
from lastgood.control.execute import Executor
from lastgood.control.golden import GoldenChecks
from lastgood.control.hindsight import Hindsight
from lastgood.control.history import Recorder
from lastgood.control.labels import Labels
from lastgood.control.live_data import LiveData
from lastgood.control.observe import Observer
from lastgood.control.outbox import Dispatcher
from lastgood.control.quarantines import Quarantines
from lastgood.control.readiness import ReadinessWatch
from lastgood.control.readiness_news import ReadinessNews
from lastgood.control.registry import Registry
from lastgood.control.rehearse import Rehearser
from lastgood.control.releases import Releases
from lastgood.control.reports import FolderReports
from lastgood.control.residents import Residents
from lastgood.control.rollback import Rollback
from lastgood.control.router import PageRouter
from lastgood.control.serving_plan import ServingPlans
from lastgood.control.starting import Starting
from lastgood.control.traffic_views import TrafficViews
from lastgood.control.views import Views
from lastgood.control.way_back import WaysBack
from lastgood.control.way_back_links import Prover
from lastgood.domain.version import Format, Signature
from lastgood.home import open_database, prepare
from lastgood.host.inspect import inspect_artifact
from lastgood.integrations.git import git_state
from lastgood.ports import Notifier
from lastgood.predictions.feedback import Feedback
from lastgood.predictions.log import PredictionLog
from lastgood.predictions.outcomes import LoggedOutcomes
from lastgood.settings import Settings
from lastgood.sources.opening import openers
from lastgood.sources.programs import MigrationPrograms
from lastgood.store.blobs import FolderBlobs
from lastgood.store.database import Database
from lastgood.store.evidence import SqlEvidence
from lastgood.store.journal import SqlJournal
from lastgood.store.kept import SqlKept
from lastgood.store.outbox import SqlOutbox
from lastgood.store.releases import SqlReleases
from lastgood.store.traffic import SqlTraffic
from lastgood.store.versions import SqlVersions
from lastgood.supervise.fleet import LocalFleet
from lastgood.wire.structs import learn_structs


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the command line and the control API may call."""

    settings: Settings
    registry: Registry
    releases: Releases
    rollback: Rollback
    views: Views
    hindsight: Hindsight
    traffic: TrafficViews
    controller: Controller
    dispatcher: Dispatcher
    executor: Executor
    live: LiveData
    caretaker: Caretaker
    quarantines: Quarantines
    clearing: Clearing
    readiness: ReadinessWatch
    drills: Drills
    reports: FolderReports
    fleet: LocalFleet
    router: PageRouter
    predictions: PredictionLog
    answered: PredictionLog
    feedback: Feedback
    database: Database


class _Outside(msgspec.Struct, frozen=True):
    """What services work on: the store, artifacts, gateways and hosts."""

    database: Database
    versions: SqlVersions
    releases: SqlReleases
    evidence: SqlEvidence
    journal: SqlJournal
    outbox: SqlOutbox
    traffic: SqlTraffic
    kept: SqlKept
    blobs: FolderBlobs
    router: PageRouter
    fleet: LocalFleet
    reports: FolderReports
    answered: PredictionLog  # for the controller alone, which waits for nobody


class _Inside(msgspec.Struct, frozen=True):
    """What the controller and the commands share."""

    executor: Executor
    live: LiveData
    golden: GoldenChecks
    drills: Drills
    readiness: ReadinessWatch
    observer: Observer
    caretaker: Caretaker
    controller: Controller


def _open_outside(settings: Settings) -> _Outside:
    database = open_database(settings)
    return _Outside(
        database=database,
        versions=SqlVersions(database),
        releases=SqlReleases(database),
        evidence=SqlEvidence(database),
        journal=SqlJournal(database),
        outbox=SqlOutbox(database),
        traffic=SqlTraffic(database),
        kept=SqlKept(database),
        blobs=FolderBlobs(settings.blobs),
        router=PageRouter(settings.run),
        fleet=LocalFleet(settings.run, interval=settings.health_interval, timeout=settings.health_timeout),
        reports=FolderReports(settings.run / "reports"),
        answered=PredictionLog(settings.prediction_log),
    )


def _inside(settings: Settings, out: _Outside) -> _Inside:
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
    live.desk.wake = golden.wake = controller.wake
    return _Inside(executor, live, golden, drills, readiness, observer, caretaker, controller)


def _rehearsals(
    settings: Settings, out: _Outside, executor: Executor, live: LiveData, golden: GoldenChecks
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


def open_services(settings: Settings) -> Services:
    """Open the store and wire everything; :func:`close` lets go of it again."""
    learn_structs()
    prepare(settings)
    out = _open_outside(settings)
    inside = _inside(settings, out)
    dispatcher = Dispatcher(out.outbox, _notifiers(settings))
    inside.executor.on_commit = dispatcher.wake
    registry = Registry(
        versions=out.versions,
        blobs=out.blobs,
        inspect=_inspector(settings),
        git_state=git_state,
        schema=inside.live.schemas.of,
    )
    rollback = Rollback(
        releases=out.releases,
        registry=registry,
        executor=inside.executor,
        observer=inside.observer,
        live=inside.live,
        kept=out.kept,
    )
    predictions = PredictionLog(settings.prediction_log)
    views = _views(out, inside)
    return Services(
        settings=settings,
        registry=registry,
        releases=_releases(settings, out, inside, registry, rollback),
        rollback=rollback,
        views=views,
        hindsight=Hindsight(
            releases=out.releases, journal=out.journal, observer=inside.observer, views=views
        ),
        traffic=TrafficViews(releases=out.releases, traffic=out.traffic),
        controller=inside.controller,
        dispatcher=dispatcher,
        executor=inside.executor,
        live=inside.live,
        caretaker=inside.caretaker,
        quarantines=Quarantines(
            kept=out.kept,
            releases=out.releases,
            executor=inside.executor,
            live=inside.live,
            settling=rollback.settling,
            caretaker=inside.caretaker,
        ),
        clearing=Clearing(
            kept=out.kept,
            releases=out.releases,
            live=inside.live,
            caretaker=inside.caretaker,
            keep_seconds=settings.keep_snapshots,
        ),
        readiness=inside.readiness,
        drills=inside.drills,
        reports=out.reports,
        fleet=out.fleet,
        router=out.router,
        predictions=predictions,
        answered=out.answered,
        feedback=Feedback(predictions, keep_seconds=settings.keep_predictions),
        database=out.database,
    )


def _releases(
    settings: Settings, out: _Outside, inside: _Inside, registry: Registry, rollback: Rollback
) -> Releases:
    return Releases(
        releases=out.releases,
        starting=Starting(
            releases=out.releases,
            traffic=out.traffic,
            registry=registry,
            blobs=out.blobs,
            executor=inside.executor,
            settings=settings,
            live=inside.live,
            readiness=inside.readiness,
        ),
        executor=inside.executor,
        observer=inside.observer,
        rollback=rollback,
        readiness=inside.readiness,
        wake=inside.controller.wake,
    )


def _views(out: _Outside, inside: _Inside) -> Views:
    return Views(
        versions=out.versions,
        releases=out.releases,
        journal=out.journal,
        fleet=out.fleet,
        router=out.router,
        executor=inside.executor,
        observer=inside.observer,
        readiness=inside.readiness.last,
    )


def close(services: Services) -> None:
    """Let go of everything that :func:`open_services` opened."""
    services.fleet.close()
    services.router.close()
    services.predictions.close()
    services.answered.close()
    services.database.close()


def _notifiers(settings: Settings) -> dict[str, Notifier]:
    """Load every kind of channel that is installed; the built-in ones come the same way."""
    found = importlib.metadata.entry_points(group="lastgood.notifiers")
    return {entry.name: entry.load()(settings) for entry in found}


def _inspector(settings: Settings) -> Callable[[Path, Format, str | None], Signature | None]:
    pickle, types = settings.trust_pickle, settings.trusted_types

    def inspect(path: Path, kind: Format, factory: str | None) -> Signature | None:
        return inspect_artifact(path, kind, factory=factory, trust_pickle=pickle, trusted_types=types)

    return inspect
