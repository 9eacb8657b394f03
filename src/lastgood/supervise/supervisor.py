"""The supervisor: one process that keeps gateways, controller and model hosts running, and stops them in order."""

import contextlib
import fcntl
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

import msgspec

from lastgood.errors import Code, LastgoodError
from lastgood.supervise.hosts import Hosts
from lastgood.supervise.processes import Child, end_leftovers
from lastgood.wire.fleet import Desired, HostStatus, Observed, last_desired, write_observed
from lastgood.wire.page import RoutePage

log = logging.getLogger("lastgood.supervise")
POLL_SECONDS: Final = 0.03
_REFRESH_SECONDS: Final = 1.0


class Role(StrEnum):
    """What a fixed child is: they are stopped in this order, and the hosts after them."""

    GATEWAY = "gateway"
    CONTROLLER = "controller"
    RECORDER = "recorder"


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A fixed child. ``fds`` are inherited under the same numbers; ``slot`` numbers gateways from 0."""

    argv: tuple[str, ...]
    role: Role
    slot: int = 0
    fds: tuple[int, ...] = ()
    env: dict[str, str] = {}
    stop_seconds: float = 15.0


class RunLock:
    """Held by the one supervisor of a run folder; it ends with the process, whatever happens to it."""

    def __init__(self, run: Path, descriptor: int) -> None:
        self.run = run
        self._descriptor = descriptor

    @classmethod
    def take(cls, run: Path) -> Self:
        """Become the supervisor of ``run`` and end what an earlier one left behind.

        No worker of an earlier one counts afterwards: the route page's slots are free.

        :raises LastgoodError: ``conflict`` naming the pid of the supervisor that is there already, ``corrupt``
            or ``storage`` when the route page cannot be used.
        """
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = run / "supervisor.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode().strip() or "unknown"
            os.close(descriptor)
            raise LastgoodError(
                Code.CONFLICT,
                f"A server with the pid {holder} runs on this home already.",
                f"Use that one, or stop it first: kill {holder}.",
                details={"pid": int(holder) if holder.isdigit() else None},
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        end_leftovers(run)
        try:
            page = RoutePage.open(run / "route.page")
        except LastgoodError:
            os.close(descriptor)
            raise
        page.clear_slots()
        page.close()
        return cls(run, descriptor)

    def release(self) -> None:
        """Let another supervisor take over."""
        os.close(self._descriptor)


def listen(host: str, port: int, *, backlog: int = 2048) -> socket.socket:
    """Return a listening TCP socket that children inherit: a worker that dies loses no queued connection.

    Port 0 takes any free one.

    :raises LastgoodError: ``conflict`` if the address is taken, ``invalid`` if it is not one of ours.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise LastgoodError(
            Code.INVALID, f"{host!r} is not an address: {error.strerror}.", "Use 127.0.0.1 or 0.0.0.0."
        ) from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise LastgoodError(
            Code.CONFLICT,
            f"Cannot listen on {host}:{port}: {error.strerror}.",
            "Stop what uses that port, or choose another one.",
        ) from None
    listener.setblocking(False)
    return listener


class Supervisor:
    """Runs the fixed children of ``commands`` (by name) and whatever hosts ``desired.json`` wishes."""

    def __init__(self, lock: RunLock, commands: Mapping[str, Command]) -> None:
        """Prepare; nothing starts before :meth:`run_forever`."""
        self._lock = lock
        self._run = lock.run
        self._commands = dict(commands)
        self._children = {
            name: Child(name, command.argv, run=self._run, fds=command.fds, env=command.env)
            for name, command in commands.items()
        }
        self._hosts = Hosts(self._run)
        self._desired_seen: tuple[int, int] | None = None
        self._written: Observed | None = None
        self._written_at = 0.0
        self._stop = False

    def run_forever(self) -> None:
        """Supervise until SIGINT or SIGTERM, then drain: gateways, controller, recorder, hosts. For the main thread.

        A second signal does not hurry it: every wait has a deadline of its own.
        """
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        before = {
            number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
        }
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)  # only wakes the loop
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: self.stop())
        try:
            while not self._stop:
                self._step()
                self._wait(reader)
        finally:
            try:
                self._drain(reader)
            finally:
                signal.set_wakeup_fd(-1)
                for number, handler in before.items():
                    signal.signal(number, handler)
                reader.close()
                writer.close()
                self._lock.release()

    def stop(self) -> None:
        """End :meth:`run_forever` after its present step."""
        self._stop = True

    def _step(self) -> None:
        for child in self._children.values():
            child.died()
            child.start_if_due()
        desired = self._desired_if_changed()
        if desired is not None:
            try:
                self._hosts.want(desired)
            except OSError as error:  # a full disk must not end what serves
                log.warning("Not every wanted host can be started now: %s", error)
                self._desired_seen = None
            except LastgoodError as error:
                log.error(  # noqa: TRY400 - the sentence says it all
                    "The wish is refused until it changes, what runs goes on: %s", error
                )
        self._write(self._hosts.step())

    def _desired_if_changed(self) -> Desired | None:
        try:
            status = (self._run / "desired.json").stat()
        except FileNotFoundError:
            return None
        seen = (status.st_ino, status.st_mtime_ns)
        if seen == self._desired_seen:
            return None
        self._desired_seen = seen
        try:
            return last_desired(self._run)  # None where it cannot be read: what runs goes on
        except OSError as error:
            log.warning("desired.json is ignored until it changes, what runs goes on: %s", error)
            return None

    def _write(self, hosts: dict[str, HostStatus]) -> None:
        """Replace the view when something happened, and once a second for what only drifts."""
        gateways = {
            command.slot: self._children[name].pid
            for name, command in self._commands.items()
            if command.role is Role.GATEWAY and self._children[name].pid
        }
        plain = {key: msgspec.structs.replace(status, rss_bytes=0) for key, status in hosts.items()}
        view = Observed(hosts=plain, gateways=gateways)
        now = time.monotonic()
        if view != self._written or now - self._written_at >= _REFRESH_SECONDS:
            self._replace_view(Observed(written_at=time.time(), hosts=hosts, gateways=gateways))
            self._written, self._written_at = view, now

    def _replace_view(self, view: Observed) -> None:
        try:
            write_observed(self._run, view)
        except OSError as error:  # a full disk must not end what serves
            log.warning("The fleet's state cannot be written: %s", error)

    def _drain(self, reader: socket.socket) -> None:
        for role in Role:
            leaving = [name for name, command in self._commands.items() if command.role is role]
            for name in leaving:
                self._children[name].terminate(self._commands[name].stop_seconds)
            while leaving:
                self._hosts.step()  # those who still serve need their hosts
                leaving = [name for name in leaving if not self._children[name].gone()]
                self._wait(reader)
        self._hosts.stop()
        while not self._hosts.stopped():
            self._wait(reader)
        self._replace_view(Observed(written_at=time.time()))

    def _wait(self, reader: socket.socket) -> None:
        select.select([reader], [], [], POLL_SECONDS)
        with contextlib.suppress(BlockingIOError):
            reader.recv(4096)
