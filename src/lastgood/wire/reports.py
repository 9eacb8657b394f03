"""Reports: what each gateway worker has counted, as one small file that it replaces several times a second.

Counts are cumulative within ``epoch`` (one life of the worker), so a reader that was away loses nothing
and reading twice counts nothing twice. A file is replaced whole (write, then rename): a reader sees
the old report or the new one.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from lastgood.domain.traffic import ArmCounts, StageCounts


class VersionTotals(msgspec.Struct, kw_only=True):
    """Everything a worker saw of one version in one role since it started, for ``/metrics``.

    ``fallbacks`` maps a reason (``error``, ``timeout`` ...) to the requests of this version that another
    one answered.
    """

    deployment: str
    model: str
    version: int
    role: str
    counts: ArmCounts
    fallbacks: dict[str, int] = {}


class Reflex(msgspec.Struct, kw_only=True):
    """A worker has taken a candidate out by itself: in this try of this release it sends it nothing more.

    ``failures`` of the last ``requests`` failed; ``log_likelihood`` is the natural logarithm of how much likelier
    that is for a version that fails every other request than for one that fails as stable does.
    """

    release: int
    tries: int
    failures: int
    requests: int
    log_likelihood: float


class WorkerReport(msgspec.Struct, kw_only=True):
    """One worker's counts. ``epoch`` is when it started (nanoseconds since the epoch, unique per life).

    ``recorded`` answers were left for the prediction log, ``unrecorded`` ones were dropped because something was full.
    ``copies_dropped`` copies for a shadow were due and not made, or given up: there was no room, or no way to its host.
    ``page_errors`` counts reads of the route page that failed: it grows for as long as the page is broken.
    """

    slot: int
    pid: int
    epoch: int
    sequence: int
    written_at: float
    stages: list[StageCounts] = []
    totals: list[VersionTotals] = []
    reflexes: list[Reflex] = []
    bad_requests: int = 0
    unanswered: int = 0
    in_flight: int = 0
    page_errors: int = 0
    recorded: int = 0
    unrecorded: int = 0
    copies_dropped: int = 0


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """The report of a worker's life that cannot be read, when it was written (epoch seconds), and why."""

    slot: int
    epoch: int
    written_at: float
    error: str


class Look(NamedTuple):
    """What one look at a folder of reports finds."""

    reports: list[WorkerReport]
    unreadable: list[Unreadable]


_LIFE: Final = re.compile(r"worker-(\d+)-(\d+)\.json")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(WorkerReport).decode


def report_path(folder: Path, slot: int, epoch: int) -> Path:
    """Where the worker in ``slot`` writes: one file a life, so that a restart overwrites no last counts."""
    return folder / f"worker-{slot}-{epoch}.json"


def write_report(folder: Path, report: WorkerReport) -> None:
    """Replace this worker's report."""
    path = report_path(folder, report.slot, report.epoch)
    draft = path.with_suffix(".draft")
    draft.write_bytes(_encode(report))
    draft.replace(path)


def look_at_reports(folder: Path) -> Look:
    """Return every report in ``folder`` and what cannot be read of them; a file that vanished meanwhile is neither."""
    found, unreadable = [], []
    for path in sorted(folder.glob("worker-*.json")):
        try:
            content, written_at = path.read_bytes(), path.stat().st_mtime
        except FileNotFoundError:
            continue
        try:
            found.append(_decode(content))
        except ValueError as error:  # half a file after a power cut, or a number that is none
            life = _LIFE.fullmatch(path.name)
            if life is not None:  # else no worker wrote it
                slot, epoch = map(int, life.groups())
                unreadable.append(Unreadable(slot=slot, epoch=epoch, written_at=written_at, error=str(error)))
    return Look(found, unreadable)


def read_reports(folder: Path) -> list[WorkerReport]:
    """Return every report in ``folder`` that can be read."""
    return look_at_reports(folder).reports
