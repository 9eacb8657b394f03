"""Makes the wished model hosts run: the reconciliation of ``desired.json`` with what lives."""

import contextlib
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from lastgood.errors import Code, LastgoodError
from lastgood.supervise.processes import Child, explain_exit
from lastgood.wire.fleet import Desired, HostSpec, HostState, HostStatus, forget_status, read_status

STOP_SECONDS: Final = 7.0  # a host drains for 5
_MEMORY_CHECK_SECONDS: Final = 0.25


class _Host:
    """One wished host: its specification, its process, and what is known of it."""

    def __init__(self, spec: HostSpec, run: Path) -> None:
        self.spec = spec
        self.child = Child(
            spec.key,
            [sys.executable, "-m", "lastgood.host", str(run / "hosts" / f"{spec.key}.spec.json")],
            run=run,
        )
        self.status = HostStatus(key=spec.key, state=HostState.STARTING)
        self.killed_for = ""


class Hosts:
    """The model hosts of this machine. Call :meth:`step` often; nothing in here waits."""

    def __init__(self, run: Path) -> None:
        """Begin with no hosts."""
        self._run = run
        self._hosts: dict[str, _Host] = {}
        self._stopping: list[_Host] = []
        self._measured = 0.0

    def want(self, desired: Desired) -> None:
        """Start what is new, stop what is not wanted any more, replace what changed.

        :raises OSError: if a specification cannot be written; call it again later, nothing is lost.
        :raises LastgoodError: ``conflict`` if two hosts share a key or a socket; then nothing changes.
        """
        wanted = _distinct(desired)
        for key, host in list(self._hosts.items()):
            if wanted.get(key) != host.spec:
                self._retire(self._hosts.pop(key))
        for key, spec in wanted.items():
            if key not in self._hosts:
                self._write_spec(spec)
                host = self._hosts[key] = _Host(spec, self._run)
                self._start_if_due(host)

    def step(self) -> dict[str, HostStatus]:
        """Look at every host once, act on deaths and memory, and return what is known."""
        self._stopping = [host for host in self._stopping if not host.child.gone()]
        measure = time.monotonic() - self._measured >= _MEMORY_CHECK_SECONDS
        if measure:
            self._measured = time.monotonic()
        for host in self._hosts.values():
            if host.child.died():
                self._bury(host)
            elif host.child.pid:
                self._look(host, measure=measure)
            if not host.child.pid and host.status.state is not HostState.FAILED:
                self._start_if_due(host)
        return {key: host.status for key, host in self._hosts.items()}

    def stop(self) -> None:
        """Ask every host to end; :meth:`stopped` says when they have."""
        for host in self._hosts.values():
            self._retire(host)
        self._hosts.clear()

    def stopped(self) -> bool:
        """Return whether every host that was asked to end has ended; late ones are killed."""
        self._stopping = [host for host in self._stopping if not host.child.gone()]
        return not self._stopping

    def _retire(self, host: _Host) -> None:
        host.child.terminate(STOP_SECONDS)
        self._stopping.append(host)

    def _write_spec(self, spec: HostSpec) -> None:
        folder = self._run / "hosts"
        folder.mkdir(exist_ok=True)
        path = folder / f"{spec.key}.spec.json"
        draft = path.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(spec))
        draft.replace(path)

    def _start_if_due(self, host: _Host) -> None:
        with contextlib.suppress(OSError):  # its pid says, too, that it is not of the life that begins
            forget_status(self._run, host.spec.key)
        if not host.child.start_if_due():
            return
        host.killed_for = ""
        host.status = HostStatus(
            key=host.spec.key,
            state=HostState.STARTING,
            pid=host.child.pid,
            starts=host.child.starts,
            exit_status=host.status.exit_status,
            error=host.status.error,
        )

    def _look(self, host: _Host, *, measure: bool) -> None:
        if host.status.state is HostState.STARTING:
            said = read_status(self._run, host.spec.key)
            if said is not None and said.pid == host.child.pid and said.state is HostState.READY:
                host.status = msgspec.structs.replace(
                    said,
                    starts=host.child.starts,
                    exit_status=host.status.exit_status,
                    error=host.status.error,
                )
        if measure:
            used = host.child.resident_bytes()
            host.status = msgspec.structs.replace(host.status, rss_bytes=used)
            if used > host.spec.memory_bytes:
                host.killed_for = f"killed: used more than {host.spec.memory_bytes >> 20} MiB"
                host.child.kill()

    def _bury(self, host: _Host) -> None:
        """Note why a host ended. What it said itself explains more than its exit status does."""
        exit_status = host.child.exit_status or 0
        said = read_status(self._run, host.spec.key)
        told = said if said is not None and said.pid == host.status.pid and said.error else None
        failed = told is not None and told.state is HostState.FAILED
        host.status = msgspec.structs.replace(
            host.status,
            state=HostState.FAILED if failed else HostState.EXITED,
            pid=0,
            rss_bytes=0,
            exit_status=exit_status,
            error=host.killed_for or (told.error if told is not None else explain_exit(exit_status)),
            code=told.code if told is not None else "",
        )


def _distinct(desired: Desired) -> dict[str, HostSpec]:
    """Return the wish by key. With one key or socket for two hosts, requests for one would reach the other."""
    wanted: dict[str, HostSpec] = {}
    sockets: dict[str, HostSpec] = {}
    for spec in desired.hosts:
        for known in (wanted.setdefault(spec.key, spec), sockets.setdefault(spec.socket, spec)):
            if known != spec:
                raise LastgoodError(
                    Code.CONFLICT,
                    f"Version {spec.version} of {spec.model!r} and version {known.version} of {known.model!r} "
                    f"want the same host ({known.key} at {known.socket}).",
                    "Register one of the two models under another name.",
                )
    return wanted
