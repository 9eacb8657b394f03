"""The fleet as the controller sees it: writes the wish, reads the view, and pings every wanted host."""

import threading
from pathlib import Path

from lastgood.errors import LastgoodError
from lastgood.wire.fleet import Desired, HostState, Observed, last_desired, read_observed, write_desired
from lastgood.wire.hostclient import HostClient


class LocalFleet:
    """The model hosts of this machine, by way of the run folder. Implements the port ``Fleet``."""

    def __init__(self, run: Path, *, interval: float, timeout: float) -> None:
        """Use ``run``. Hosts are pinged every ``interval`` seconds and have ``timeout`` seconds to answer."""
        self._run = run
        self._interval = interval
        self._timeout = timeout
        self._lock = threading.Lock()
        self._wish: Desired | None = None
        self._pulses: dict[str, _Pulse] = {}
        self._observed = Observed()
        self._observed_seen: tuple[int, int] | None = None

    def want(self, desired: Desired) -> None:
        """Say which hosts should run, and begin to watch them. Idempotent; returns at once."""
        with self._lock:
            if self._wish is None:
                self._wish = last_desired(self._run)
            if desired != self._wish or not (self._run / "desired.json").exists():
                write_desired(self._run, desired)
                self._wish = desired
            sockets = {spec.socket for spec in desired.hosts}
            for socket in [one for one in self._pulses if one not in sockets]:
                self._pulses.pop(socket).stop()
            for socket in sockets - self._pulses.keys():
                self._pulses[socket] = _Pulse(socket, self._interval, self._timeout)

    def observe(self) -> Observed:
        """Return what runs, as last seen. Reads the file only when it was replaced."""
        try:
            status = (self._run / "observed.json").stat()
        except FileNotFoundError:
            return Observed()
        seen = (status.st_ino, status.st_mtime_ns)
        with self._lock:
            if seen != self._observed_seen:
                before, self._observed = self._observed, read_observed(self._run)
                self._observed_seen = seen
                self._forget_loading(before)
            return self._observed

    def _forget_loading(self, before: Observed) -> None:
        """Begin to count anew for each host that has just become ready: while it loads it cannot answer."""
        sockets = {spec.key: spec.socket for spec in (self._wish.hosts if self._wish is not None else ())}
        for key, status in self._observed.hosts.items():
            known = before.hosts.get(key)
            was = known is not None and known.state is HostState.READY and known.starts == status.starts
            pulse = self._pulses.get(sockets.get(key, ""))
            if status.state is HostState.READY and not was and pulse is not None:
                pulse.begin_anew()

    def misses(self, socket: str) -> int:
        """Return how many health checks in a row this host has missed; 0 for one that is not wanted."""
        pulse = self._pulses.get(socket)
        return pulse.misses if pulse is not None else 0

    def close(self) -> None:
        """Stop watching. The hosts go on."""
        with self._lock:
            for pulse in self._pulses.values():
                pulse.stop()
            self._pulses.clear()


class _Pulse:
    """Pings one host in a thread of its own, so that one that hangs delays no check of another."""

    def __init__(self, socket: str, interval: float, timeout: float) -> None:
        self.misses = 0
        self._count = 0  # which count of misses: a check that began in an earlier one adds nothing
        self._socket = socket
        self._interval = interval
        self._timeout = timeout
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lastgood-pulse", daemon=True)
        self._thread.start()

    def begin_anew(self) -> None:
        """Forget the misses so far, and that of a check under way."""
        self._count += 1
        self.misses = 0

    def stop(self) -> None:
        """End after the present check."""
        self._end.set()

    def _beat(self) -> None:
        client: HostClient | None = None
        while not self._end.is_set():
            alive, count = False, self._count
            try:
                if client is None:
                    client = HostClient(self._socket, timeout=self._timeout)
                alive = client.ping(self._timeout)
            except LastgoodError:
                alive = False
            if not alive and client is not None:
                client.close()
                client = None
            if alive or count == self._count:
                self.misses = 0 if alive else self.misses + 1
            self._end.wait(self._interval)
        if client is not None:
            client.close()
