"""What live data looks like: read when it matters, remembered for a moment, and never from before it was changed."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from lastgood.domain.snapshot import Schema, misfits
from lastgood.domain.version import Version
from lastgood.errors import LastgoodError

logger = logging.getLogger(__name__)
_FRESH_SECONDS: Final = 1.0


class Schemas:
    """The schemas of live sources. Safe from any thread; ``read`` asks a source, which may take long."""

    def __init__(self, read: Callable[[str], Schema]) -> None:
        self._read = read
        self._found: dict[str, tuple[float, Schema]] = {}
        self._changes: dict[str, int] = {}
        self._changing: dict[int, str] = {}
        self._asked: set[str] = set()
        self._fitted: dict[tuple[str, int], tuple[tuple[str, ...], bool]] = {}
        self._lock = threading.Lock()

    def of(self, source: str) -> Schema:
        """Return what a source looks like now, not older than a second.

        :raises LastgoodError: as :meth:`~lastgood.data_ports.DataSource.schema`.
        """
        with self._lock:
            known, change = self._found.get(source), self._changes.get(source, 0)
        now = time.monotonic()
        if known is not None and now - known[0] <= _FRESH_SECONDS:
            return known[1]
        found = self._read(source)
        with self._lock:
            # What was read while a migration or a swap ended may be from before it.
            if self._changes.get(source, 0) == change and source not in self._changing.values():
                self._found[source] = (now, found)
        return found

    def misfits(self, version: Version) -> tuple[str, ...]:
        """Return what this version would not find in the live data of today, by its contract.

        A source that cannot be asked is one misfit: what nobody has seen does not fit.
        """
        found: list[str] = []
        for source, needed in sorted(version.needs.items()):
            try:
                found += [f"{source}: {one}" for one in misfits(needed, self.of(source))]
            except LastgoodError as error:
                found.append(f"{source}: {error.message}")
        return tuple(found)

    def fits(self, version: Version) -> bool:
        """Whether this version is known to find what it needs, from what was seen last. It waits for nothing.

        A source that nobody has seen since it was changed, or that is being changed, does not fit; one that cannot be
        asked for a while is taken to be as it was. :meth:`refresh` looks again.
        """
        if not version.needs:
            return True
        with self._lock:
            self._asked.update(version.needs)
            seen = {source: self._found.get(source) for source in version.needs}
        known = {source: one[1] for source, one in seen.items() if one is not None}
        if len(known) < len(seen):
            return False
        key, ids = (version.model, version.number), tuple(known[source].id for source in sorted(known))
        memo = self._fitted.get(key)
        if memo is None or memo[0] != ids:
            fitting = not any(misfits(needed, known[source]) for source, needed in version.needs.items())
            memo = self._fitted[key] = (ids, fitting)
        return memo[1]

    def refresh(self) -> None:
        """Look again at every source that :meth:`fits` was asked about."""
        with self._lock:
            asked = sorted(self._asked)
        for source in asked:
            try:
                self.of(source)
            except LastgoodError as error:
                logger.info("the data source %s cannot be looked at: %s", source, error.message)

    def changing(self, release: int, source: str) -> None:
        """Note that a release is changing a source: until :meth:`changed`, nobody knows what it looks like."""
        with self._lock:
            if self._changing.get(release) != source:
                self._changing[release] = source
                self._forget(source)

    def changed(self, release: int) -> None:
        """Note that a release is not changing its source any more; what was seen before is forgotten."""
        with self._lock:
            source = self._changing.pop(release, None)
            if source is not None:
                self._forget(source)

    def _forget(self, source: str) -> None:
        self._found.pop(source, None)
        self._changes[source] = self._changes.get(source, 0) + 1
