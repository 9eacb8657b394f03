"""The controller's process: the lock, the loop, the notifications and the control API."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import uvicorn

from lastgood.bootstrap import Services, close, open_services
from lastgood.home import controlling
from lastgood.settings import Settings
from lastgood.supervise.supervisor import listen
from lastgood.web.address import Address, address_path, write_address
from lastgood.web.app import build_app
from lastgood.wire.page import started_at

logger = logging.getLogger(__name__)
LOCK_SECONDS: Final = 30.0
_DRAIN_SECONDS: Final = 3
_SWITCH_SECONDS: Final = 0.0005  # a rollback must not wait long for another thread's turn at the interpreter


class ApiServer(uvicorn.Server):
    """A server whose signals belong to the process, and that says where it listens once it does."""

    def __init__(self, config: uvicorn.Config, run_folder: Path, url: str) -> None:
        super().__init__(config)
        self._run_folder = run_folder
        self._url = url

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell the command line where."""
        await super().startup(sockets=sockets)
        pid = os.getpid()
        write_address(self._run_folder, Address(url=self._url, pid=pid, started=started_at(pid) or 0))


class Ending:
    """What SIGTERM does: ends the wait before the API listens, and the API once it does."""

    def __init__(self) -> None:
        self.server: ApiServer | None = None

    def __call__(self, _number: int, _frame: object) -> None:
        """Take the signal."""
        if self.server is None:
            raise SystemExit(0)
        self.server.should_exit = True


def run(settings: Settings) -> None:
    """Control this machine's routes and answer the control API until SIGTERM.

    :raises LastgoodError: ``conflict`` when another process controls them, ``unavailable`` when the port is taken.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    ending = Ending()
    signal.signal(signal.SIGTERM, ending)
    supervised = "LASTGOOD_PARENT_PID" in os.environ
    # Ctrl-C reaches the whole terminal group; the supervisor decides in which order its children end.
    signal.signal(signal.SIGINT, signal.SIG_IGN if supervised else ending)
    with controlling(settings, wait_seconds=LOCK_SECONDS), contextlib.ExitStack() as stack:
        services = open_services(settings)
        stack.callback(close, services)
        listener = listen(settings.api_host, settings.api_port)
        stack.callback(listener.close)
        stack.callback(services.dispatcher.stop)
        services.dispatcher.start()
        stack.callback(services.controller.stop)
        services.controller.start()
        stack.callback(services.readiness.stop)
        services.readiness.start()
        stack.callback(address_path(settings.run).unlink, missing_ok=True)
        gc.collect()
        gc.freeze()  # what is loaded stays: a full collection would look at all of it, and a turn would wait
        gc.set_threshold(20_000, 20, 20)
        _answer(services, listener, ending)
        logger.info("the control API has stopped")


def _answer(services: Services, listener: socket.socket, ending: Ending) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    config = uvicorn.Config(
        build_app(services),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    server = ApiServer(config, services.settings.run, f"http://{shown}:{port}")
    ending.server = server
    logger.info("the control API listens on http://%s:%s", shown, port)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(server.serve(sockets=[listener]))


def _new_loop() -> Any:
    import uvloop  # noqa: PLC0415 - only here, and only when something is served

    return uvloop.new_event_loop()
