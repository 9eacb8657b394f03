"""The resident host of a version, asked whether it could take over: it is there, and answers as it should."""

from pathlib import Path

from lastgood.control.golden import Ask, wrong_answer
from lastgood.control.routes import host_key, host_socket
from lastgood.domain.version import Version
from lastgood.ports import Fleet
from lastgood.wire.fleet import HostState, HostStatus


class Residents:
    """Looks at hosts and asks them golden requests. ``run`` is the run folder, where their sockets are."""

    def __init__(self, fleet: Fleet, run: Path, ask: Ask) -> None:
        self._fleet = fleet
        self._run = run
        self._ask = ask

    def status(self, version: Version) -> HostStatus | None:
        """Return what runs of a version, None where nothing does."""
        return self._fleet.observe().hosts.get(host_key(version.model, version.number))

    def ready(self, version: Version) -> HostStatus | None:
        """Return what runs of a version when it is ready to answer."""
        status = self.status(version)
        return None if status is None or status.state is not HostState.READY else status

    def misses(self, version: Version) -> int:
        """Return how many health checks in a row the host has missed."""
        return self._fleet.misses(self._socket(version))

    def wrong_answer(self, version: Version, deployment: str) -> str | None:
        """Ask the golden requests; return what is answered other than expected, None for nothing."""
        return wrong_answer(version, deployment, self._socket(version), self._ask)

    def _socket(self, version: Version) -> str:
        return host_socket(self._run, version.model, version.number)


def answered(version: Version) -> str:
    """Say that every golden request of a version was answered."""
    count = len(version.golden)
    return f"{count} golden {'request' if count == 1 else 'requests'} answered as expected"
