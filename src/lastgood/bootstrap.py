"""Settings to services: with ``wiring`` and ``outside``, the one place that sees all wings. Nothing happens on import."""

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import msgspec

from lastgood.control.caretaker import Caretaker
from lastgood.control.clearing import Clearing
from lastgood.control.controller import Controller
from lastgood.control.drill import Drills
from lastgood.control.execute import Executor
from lastgood.control.hindsight import Hindsight
from lastgood.control.live_data import LiveData
from lastgood.control.outbox import Dispatcher
from lastgood.control.quarantines import Quarantines
from lastgood.control.readiness import ReadinessWatch
from lastgood.control.registry import Registry
from lastgood.control.releases import Releases
from lastgood.control.reports import FolderReports
from lastgood.control.rollback import Rollback
from lastgood.control.router import PageRouter
from lastgood.control.starting import Starting
from lastgood.control.traffic_views import TrafficViews
from lastgood.control.views import Views
from lastgood.domain.version import Format, Signature
from lastgood.home import prepare
from lastgood.host.inspect import inspect_artifact
from lastgood.integrations.git import git_state
from lastgood.integrations.table_file import open_table
from lastgood.outside import Outside, open_outside
from lastgood.ports import Notifier
from lastgood.predictions.feedback import Feedback
from lastgood.predictions.log import PredictionLog
from lastgood.settings import Settings
from lastgood.store.database import Database
from lastgood.supervise.fleet import LocalFleet
from lastgood.wire.structs import learn_structs
from lastgood.wiring import Inside, wire


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


def open_services(settings: Settings) -> Services:
    """Open the store and wire everything; :func:`close` lets go of it again."""
    learn_structs()
    prepare(settings)
    out = open_outside(settings)
    inside = wire(settings, out)
    dispatcher = Dispatcher(out.outbox, _notifiers(settings))
    inside.executor.on_commit = dispatcher.wake
    registry = Registry(
        versions=out.versions,
        blobs=out.blobs,
        inspect=_inspector(settings),
        git_state=git_state,
        schema=inside.live.schemas.of,
        open_table=open_table,
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
        feedback=Feedback(
            predictions,
            keep_seconds=settings.keep_predictions,
            bytes_max=settings.keep_predictions_bytes,
        ),
        database=out.database,
    )


def _releases(
    settings: Settings, out: Outside, inside: Inside, registry: Registry, rollback: Rollback
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


def _views(out: Outside, inside: Inside) -> Views:
    return Views(
        versions=out.versions,
        releases=out.releases,
        journal=out.journal,
        fleet=out.fleet,
        router=out.router,
        executor=inside.executor,
        observer=inside.observer,
        readiness=inside.readiness.current,
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
