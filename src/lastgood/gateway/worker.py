"""One gateway worker: a process with its own event loop, on a listening socket that it inherits."""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import time
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn
import uvloop

from lastgood.gateway.admission import Admission
from lastgood.gateway.asgi import Gateway
from lastgood.gateway.chores import Chore
from lastgood.gateway.dispatch import Dispatcher
from lastgood.gateway.ids import Ids
from lastgood.gateway.inquiries import Inquiries
from lastgood.gateway.links import Links
from lastgood.gateway.protocol import IDLE_SECONDS_MAX, GatewayProtocol
from lastgood.gateway.recording import HAND_OVER_SECONDS, Recording
from lastgood.gateway.routes import RouteReader
from lastgood.gateway.telemetry import Telemetry
from lastgood.settings import Settings
from lastgood.wire.page import RoutePage
from lastgood.wire.reports import WorkerReport, write_report
from lastgood.wire.sockets import short_path

_TICK_SECONDS: Final = 0.02
_BEAT_SECONDS: Final = 0.25
_REPORT_AT_LEAST_SECONDS: Final = 1.0
_log: Final = logging.getLogger(__name__)


class Worker:
    """Everything that lives as long as the process does."""

    def __init__(self, run: Path, slot: int, settings: Settings) -> None:
        self.epoch = time.time_ns()
        self._slot = slot
        self._settings = settings
        self._telemetry = Telemetry(slot=slot, pid=os.getpid(), epoch=self.epoch)
        self._page = RoutePage.open(run / "route.page")
        self._reports = run / "reports"
        self._reports.mkdir(exist_ok=True)
        ids = Ids()
        self._recording = None
        if settings.record_predictions:
            self._recording = Recording(settings, ids, slot=slot, epoch=self.epoch)
        lease_holds = self._page.lease_holds
        self._dispatcher = Dispatcher(
            settings, self._telemetry, ids, self._recording, lease_holds=lease_holds
        )
        self._links = Links(self._dispatcher)
        self._reader = RouteReader(self._page, slot, self._links, self._dispatcher, self._telemetry)
        self._nudge = _Nudge(run / f"gateway-{slot}.sock", self._reader)
        self._last: WorkerReport | None = None
        self._unwritable = False
        admission = Admission(settings, self._reader, self._dispatcher, self._telemetry)
        self.application = Gateway(admission, Inquiries(self._dispatcher))
        self.server = uvicorn.Server(_server_config(self.application, settings))

    def start(self) -> None:
        """Claim the slot and obey the page as it is now."""
        self._page.claim(self._slot, os.getpid())
        self._reader.refresh()
        self._nudge.open()
        if self._recording is not None:
            self._recording.start()

    async def keep_time(self) -> None:
        """Do all that time asks for, in one place: the page, late requests, heartbeat, report."""
        chores = [
            Chore("the route page", 0, self._reader.check),
            Chore("late requests", 0, lambda: self._dispatcher.sweep(time.monotonic_ns())),
            Chore("the heartbeat", _BEAT_SECONDS, self._reader.beat),
            Chore("idle hosts", _BEAT_SECONDS, self._reader.tidy),
            Chore("late and idle connections", _BEAT_SECONDS, self._close_late),
            Chore("the report", self._settings.report_seconds, self.write_report),
        ]
        if self._recording is not None:
            chores.append(Chore("the prediction log", HAND_OVER_SECONDS, self._recording.hand_over))
        try:
            while True:
                await asyncio.sleep(_TICK_SECONDS)
                for chore in chores:
                    chore.run(time.monotonic())
        finally:
            self.server.should_exit = True  # nothing keeps time: the supervisor starts a new worker

    def _close_late(self) -> None:
        now = time.monotonic()
        for connection in list(self.server.server_state.connections):
            if isinstance(connection, GatewayProtocol):
                connection.close_if_late(now)

    def write_report(self, *, final: bool = False) -> None:
        """Replace the report if something was counted since, if the last one is old, or if it is the last."""
        now = time.time()
        last = self._last
        report = self._telemetry.report(written_at=now, in_flight=len(self._dispatcher.flights))
        if self._recording is not None:
            report.recorded, report.unrecorded = self._recording.recorded, self._recording.dropped
        old = last is None or not 0 <= now - last.written_at < _REPORT_AT_LEAST_SECONDS
        if not (final or old or last is None or _counted(report, last)):
            return
        try:
            write_report(self._reports, report)
        except OSError as error:  # serving outlives a full disk; counts are cumulative, the next one has all
            if not self._unwritable:
                _log.error("The report cannot be written; requests are served all the same: %s", error)
            self._unwritable = True
            return
        self._unwritable = False
        self._last = report

    async def stop(self) -> None:
        """Write the last report, let go of hosts and page."""
        self._nudge.close()
        self._dispatcher.copies.stop()
        await self._links.close()
        if self._recording is not None:
            self._recording.stop()
        self.write_report(final=True)
        self._page.release_slot(self._slot)


class _Nudge:
    """The datagram socket on which the controller says that the page changed."""

    def __init__(self, path: Path, reader: RouteReader) -> None:
        self._path = path
        self._reader = reader
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def open(self) -> None:
        self._path.unlink(missing_ok=True)
        with short_path(self._path) as address:
            self._socket.bind(address)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._heard)

    def _heard(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(64):
                pass
        self._reader.check()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._path.unlink(missing_ok=True)


def _counted(report: WorkerReport, last: WorkerReport) -> bool:
    return _counts(report) != _counts(last)


def _counts(report: WorkerReport) -> tuple[object, ...]:
    ended_by_none = (report.bad_requests, report.unanswered, report.page_errors)
    dropped = (report.unrecorded, report.copies_dropped)
    return (report.stages, report.totals, report.reflexes, ended_by_none, dropped, report.in_flight)


def _server_config(application: Gateway, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        loop="uvloop",
        http=GatewayProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(IDLE_SECONDS_MAX),
        timeout_graceful_shutdown=int(settings.request_timeout) + 1,
    )


async def serve(run: Path, slot: int, listening: socket.socket, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then answer what is in flight and end."""
    worker = Worker(run, slot, settings)
    worker.start()
    timekeeper = asyncio.get_running_loop().create_task(worker.keep_time())
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    await worker.server.serve(sockets=[listening])
    timekeeper.cancel()
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await timekeeper
    finally:
        await worker.stop()


def end_quietly(_signal: int, _frame: FrameType | None) -> None:
    """Let the server's own handler drain: it raises the signal once more when it is done."""


def run_worker(run: Path, slot: int, fd: int, settings: Settings) -> None:
    """Run one worker on the inherited listening socket ``fd`` until a signal ends it."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end_quietly)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s gateway %(message)s")
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))  # a connection each, up to the cap
    with socket.socket(fileno=fd) as listening:
        listening.setblocking(False)
        uvloop.run(serve(run, slot, listening, settings))
