"""What services work on: the store, artifacts, gateways, hosts, predictions."""

import msgspec

from lastgood.control.reports import FolderReports
from lastgood.control.router import PageRouter
from lastgood.home import open_database
from lastgood.predictions.log import PredictionLog
from lastgood.settings import Settings
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


class Outside(msgspec.Struct, frozen=True):
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


def open_outside(settings: Settings) -> Outside:
    """Open the store and take hold of everything else."""
    database = open_database(settings)
    return Outside(
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
