"""Live data as a release meets it: the work that its stage asks for, and whether a version fits what is there now."""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from lastgood.control.data_moves import work_wanted
from lastgood.control.desk import Desk, Result, Work
from lastgood.control.moves import DataWork
from lastgood.data_ports import DataSource
from lastgood.domain.release import Release
from lastgood.domain.snapshot import DataTask, Schema, Snapshot, misfits, restore_token, snapshot_token
from lastgood.domain.version import Version
from lastgood.errors import Code, LastgoodError

logger = logging.getLogger(__name__)
_FRESH_SECONDS: Final = 1.0


class Programs(Protocol):
    """Runs a release's migration, and makes sure that none goes on in the dark."""

    def run(self, name: str, argv: tuple[str, ...], *, seconds: float) -> None:
        """Run it to its end.

        :raises LastgoodError: ``timeout``, ``unavailable``, or ``refused`` when it exited with another status than 0.
        """

    def end(self, name: str) -> None:
        """End the program of that name and all it started, also one of an earlier process. Harmless when there is none."""


class LiveData:
    """Asks the desk for what releases need. ``process`` names this process in what it begins.

    Who decides to use, or to free, something that is kept holds ``turn`` until that is in the store.
    """

    def __init__(self, desk: Desk, programs: Programs) -> None:
        self.desk = desk
        self.process = secrets.token_hex(8)
        self.turn = threading.Lock()
        self._programs = programs
        self._schemas: dict[str, tuple[float, Schema]] = {}

    def work(self, release: Release, *, acknowledged: bool) -> DataWork:
        """Return how the work stands that the release's stage asks for, beginning it when nobody has."""
        data = release.data
        if release.id == 0:  # not in the store yet: nobody would know of what it stages
            return DataWork()
        if data is not None and release.returning:
            self._programs.end(_migration(release))  # nothing may change the data behind a restore
        wanted = work_wanted(release, acknowledged=acknowledged)
        if wanted is None or data is None:
            return DataWork()
        if wanted is DataTask.MIGRATE and data.by != self.process:
            self._programs.end(_migration(release))
            return DataWork(error="it was interrupted, and nobody knows how far it came")
        token = snapshot_token(release.id) if wanted is DataTask.CAPTURE else restore_token(release.id)
        work = self.desk.ask(data.source, wanted, token, self._act(release, wanted))
        if wanted in (DataTask.MIGRATE, DataTask.SWAP) and work.done:
            self._schemas.pop(data.source, None)
        return _seen(work)

    def misfits(self, version: Version) -> tuple[str, ...]:
        """Return what this version would not find in the live data of today, by its contract.

        A source that cannot be asked is one misfit: what nobody has seen does not fit.
        """
        found: list[str] = []
        for source, needed in sorted(version.needs.items()):
            try:
                found += [f"{source}: {one}" for one in misfits(needed, self.schema(source))]
            except LastgoodError as error:
                found.append(f"{source}: {error.message}")
        return tuple(found)

    def schema(self, source: str) -> Schema:
        """Return what a source looks like now, not older than a second.

        :raises LastgoodError: as :meth:`~lastgood.data_ports.DataSource.schema`.
        """
        now = time.monotonic()
        known = self._schemas.get(source)
        if known is None or now - known[0] > _FRESH_SECONDS:
            known = self._schemas[source] = (now, self.desk.source(source).schema())
        return known[1]

    def _act(self, release: Release, wanted: DataTask) -> Callable[[DataSource], Result]:
        data, plan = release.data, release.plan.data
        assert data is not None
        assert plan is not None
        token = restore_token(release.id)

        def captured() -> Snapshot:
            if data.snapshot is None:
                raise LastgoodError(
                    Code.INTERNAL, f"Release {release.id} has no snapshot.", "Please report this."
                )
            return data.snapshot

        def act(source: DataSource) -> Result:
            match wanted:
                case DataTask.CAPTURE:
                    return source.capture(snapshot_token(release.id))
                case DataTask.STAGE:
                    source.verify(captured())
                    source.stage_restore(captured(), token)
                case DataTask.MIGRATE:
                    self._programs.run(_migration(release), plan.migrate, seconds=plan.migrate_timeout)
                case DataTask.SWAP:
                    source.swap(token)
            return None

        return act


def _migration(release: Release) -> str:
    return f"release-{release.id}-migration"


def _seen(work: Work) -> DataWork:
    if work.error is not None:
        return DataWork(error=str(work.error.message))
    return DataWork(done=work.done, snapshot=work.result if isinstance(work.result, Snapshot) else None)
