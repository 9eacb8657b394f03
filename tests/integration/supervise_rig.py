"""A real supervisor in a process of its own, with two small workers and a controller that does nothing."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from lastgood.domain.version import Format
from lastgood.wire.fleet import Desired, HostSpec, HostState, HostStatus, read_observed, write_desired
from models import FRAGILE, host_spec, is_alive, save_source, wait_for

SUPERVISE = """
import sys
from pathlib import Path
from lastgood.supervise.supervisor import Command, Role, RunLock, Supervisor, listen

run = Path(sys.argv[1])
lock = RunLock.take(run)
listener = listen("127.0.0.1", 0)
(run / "port").write_text(str(listener.getsockname()[1]))
worker = (sys.executable, "-c", sys.argv[2], str(listener.fileno()))
Supervisor(lock, {
    "gateway-0": Command(argv=worker, role=Role.GATEWAY, fds=(listener.fileno(),)),
    "gateway-1": Command(argv=worker, role=Role.GATEWAY, slot=1, fds=(listener.fileno(),)),
    "controller": Command(argv=(sys.executable, "-c", sys.argv[3]), role=Role.CONTROLLER),
}).run_forever()
"""
WORKER = """
import os, socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
listener.setblocking(True)
while True:
    connection, _ = listener.accept()
    connection.sendall(str(os.getpid()).encode())
    connection.close()
"""
IDLE = "import time; time.sleep(3600)"


def start(run: Path) -> subprocess.Popen[bytes]:
    with (run / "supervisor.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-c", SUPERVISE, str(run), WORKER, IDLE], stderr=log)


def pids(run: Path) -> set[int]:
    view = read_observed(run)
    return {*view.gateways.values(), *(host.pid for host in view.hosts.values() if host.pid)}


@contextlib.contextmanager
def supervising(run: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor with two workers; at the end it is drained and nothing may be left."""
    process = start(run)
    try:
        wait_for(lambda: len(read_observed(run).gateways) == 2)
        yield process
        left = pids(run)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert not [pid for pid in left if is_alive(pid)]
        assert read_observed(run).hosts == {}
    finally:
        process.kill()
        process.wait()


def want(run: Path, *specs: HostSpec) -> None:
    write_desired(run, Desired(specs))


def until(run: Path, accept: Callable[[HostStatus], bool], key: str = "demo-1") -> HostStatus:
    def seen() -> HostStatus | None:
        status = read_observed(run).hosts.get(key)
        return status if status is not None and accept(status) else None

    return wait_for(seen)  # type: ignore[no-any-return]


def ready(run: Path, starts: int = 1) -> HostStatus:
    return until(run, lambda status: status.state is HostState.READY and status.starts >= starts)


def fragile(run: Path, **changes: object) -> HostSpec:
    return host_spec(run, save_source(run, FRAGILE), Format.CALLABLE, factory="scorer:make", **changes)
