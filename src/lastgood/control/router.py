"""The router of one machine: the route page, and a nudge to every gateway worker."""

import contextlib
import socket
import threading
from pathlib import Path

from lastgood.domain.route import RouteTable
from lastgood.errors import LastgoodError
from lastgood.wire.page import RoutePage, WorkerAck, started_at
from lastgood.wire.sockets import short_path


class PageRouter:
    """Implements :class:`lastgood.ports.Router` on the memory-mapped page in the run folder."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._page = RoutePage.open(run / "route.page")
        self._lock = threading.Lock()
        self._nudge = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._nudge.setblocking(False)

    def publish(self, table: RouteTable) -> bool:
        """Put the table in force and wake every worker, so that idle ones acknowledge at once too."""
        with self._lock:
            published = self._page.publish(table)
        if published:
            for worker in self._page.workers():
                # A worker that is gone or busy needs no nudge: it reads the page by itself.
                path = self._run / f"gateway-{worker.slot}.sock"
                with contextlib.suppress(OSError), short_path(path) as address:
                    self._nudge.sendto(b"g", address)
        return published

    def renew_lease(self, seconds: float) -> None:
        """Allow candidate traffic for this long from now."""
        self._page.renew_lease(seconds)

    def generation(self) -> int:
        """Return the generation in force."""
        return self._page.generation

    def table(self) -> RouteTable | None:
        """Return the table in force, None when it cannot be read."""
        try:
            return self._page.read()[1]
        except LastgoodError:
            return None

    def workers(self) -> list[WorkerAck]:
        """Return the workers whose process lives; a dead one reads the page before it serves again."""
        return [worker for worker in self._page.workers() if started_at(worker.pid) == worker.started]

    def close(self) -> None:
        """Let go of the page."""
        self._nudge.close()
        self._page.close()
