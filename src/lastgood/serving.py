"""Serving on one machine: gateway workers, the controller and every model host, started and supervised by one command."""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from lastgood.home import open_database, prepare
from lastgood.settings import Settings
from lastgood.supervise.supervisor import Command, Role, RunLock, Supervisor, listen
from lastgood.wire import private
from lastgood.wire.fleet import read_observed
from lastgood.wire.page import RoutePage
from lastgood.wire.structs import learn_structs

_START_SECONDS: Final = 30.0
log = logging.getLogger("lastgood")


class Serving(msgspec.Struct, frozen=True):
    """What a running server says of itself."""

    gateway: str
    api: str
    ready: bool


class _Address(msgspec.Struct, frozen=True):
    """What the controller's process says of itself, as far as it is of interest here."""

    url: str


def serve(settings: Settings, announce: Callable[[Serving], None]) -> None:
    """Start gateway workers and controller, supervise them and every model host, until SIGINT or SIGTERM.

    For the main thread. ``announce`` is called once, from another thread, when requests are answered (or, with
    ``ready`` False, when that took too long).

    :raises LastgoodError: ``conflict`` when a server runs on this home already or a port is taken.
    """
    learn_structs()
    prepare(settings)
    lock = RunLock.take(settings.run)
    _warn_of_readers(settings)
    open_database(settings).close()  # whatever is wrong with it is said here, before anything starts
    listen(settings.api_host, settings.api_port).close()  # a port that is taken is said here, too
    listener = listen(settings.host, settings.port)
    port = listener.getsockname()[1]
    file = settings.run / "settings.json"
    private.write_file(file, msgspec.json.encode(settings))
    (settings.run / "api.json").unlink(missing_ok=True)
    supervisor = Supervisor(lock, _commands(settings, file, listener.fileno()))
    gateway = f"http://{settings.host}:{port}"
    threading.Thread(target=_announce, args=(settings, gateway, announce), daemon=True).start()
    try:
        supervisor.run_forever()
    finally:
        listener.close()


def _warn_of_readers(settings: Settings) -> None:
    status = Path(settings.home).stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        log.warning(
            "The home folder %s is not yours alone (mode %o); others may read or change what serves. "
            "Unless you mean it so: chmod 700 %s",
            settings.home,
            status.st_mode & 0o7777,
            settings.home,
        )


def _commands(settings: Settings, file: Path, descriptor: int) -> dict[str, Command]:
    python = (sys.executable, "-m")
    commands = {
        "controller": Command(argv=(*python, "lastgood.web", "--settings", str(file)), role=Role.CONTROLLER)
    }
    for slot in range(settings.gateway_workers):
        argv = (*python, "lastgood.gateway", "--run", str(settings.run), "--slot", str(slot))
        commands[f"gateway-{slot}"] = Command(
            argv=(*argv, "--fd", str(descriptor), "--settings", str(file)),
            role=Role.GATEWAY,
            slot=slot,
            fds=(descriptor,),
        )
    if settings.record_predictions or settings.prediction_log.exists():  # what is kept still has to grow old
        recorder = (*python, "lastgood.predictions", "--settings", str(file))
        commands["recorder"] = Command(argv=recorder, role=Role.RECORDER, stop_seconds=5.0)
    return commands


def _announce(settings: Settings, gateway: str, announce: Callable[[Serving], None]) -> None:
    """Wait until the API has said where it listens and every worker has taken its place on the page."""
    deadline = time.monotonic() + _START_SECONDS
    api, ready = "", False
    page = RoutePage.open(settings.run / "route.page")
    while not ready and time.monotonic() < deadline:
        time.sleep(0.02)
        with contextlib.suppress(FileNotFoundError, ValueError):  # not written yet, or not whole
            api = msgspec.json.decode((settings.run / "api.json").read_bytes(), type=_Address).url
        here = {worker.pid for worker in page.workers()}
        expected = set(read_observed(settings.run).gateways.values())
        ready = bool(api) and len(expected) == settings.gateway_workers and expected <= here
    page.close()
    announce(
        Serving(gateway=gateway, api=api or f"http://{settings.api_host}:{settings.api_port}", ready=ready)
    )
