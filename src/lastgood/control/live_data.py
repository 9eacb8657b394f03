"""Live data as a release meets it: the work that its stage asks for, and whether a version fits what is there now."""

import logging
import secrets
import threading
from collections.abc import Callable
from typing import Final, Protocol

from lastgood.control.data_moves import work_wanted
from lastgood.control.desk import Desk, Result, Work
from lastgood.control.moves import DataWork
from lastgood.control.schemas import Schemas
from lastgood.data_ports import DataSource
from lastgood.domain.release import Release
from lastgood.domain.snapshot import DataStage, DataTask, Snapshot, restore_token, snapshot_token
from lastgood.domain.version import Version
from lastgood.errors import Code, LastgoodError

logger = logging.getLogger(__name__)
_AWAITED: Final = {DataStage.MIGRATING: DataTask.MIGRATE, DataStage.HOLDING: DataTask.SWAP}
"""Work that waits for gateways to hold requests, by the stage that asks for it."""

_CHANGES: Final = frozenset({DataTask.MIGRATE, DataTask.SWAP})
"""Work after which the live data may have another schema."""


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
        self.schemas = Schemas(lambda source: desk.source(source).schema())
        self._programs = programs

    def work(self, release: Release, *, acknowledged: bool) -> DataWork:
        """Return how the work stands that the release's stage asks for, beginning it when nobody has."""
        data = release.data
        if release.id == 0:  # not in the store yet: nobody would know of what it stages
            return DataWork()
        if data is not None and release.returning:
            self._programs.end(_migration(release))  # nothing may change the data behind a restore
        wanted = work_wanted(release, acknowledged=acknowledged)
        if data is not None and wanted in _CHANGES:
            self.schemas.changing(release.id, data.source)
        else:
            self.schemas.changed(release.id)
        if data is None:
            return DataWork()
        if wanted is None:
            awaited, token = _AWAITED.get(data.stage), restore_token(release.id)
            return DataWork(begun=awaited is not None and self.desk.knows(data.source, awaited, token))
        if wanted is DataTask.MIGRATE and data.by != self.process:
            self._programs.end(_migration(release))
            return DataWork(error="it was interrupted, and nobody knows how far it came")
        token = snapshot_token(release.id) if wanted is DataTask.CAPTURE else restore_token(release.id)
        work = self.desk.ask(data.source, wanted, token, self._act(release, wanted))
        if work.done:
            self.schemas.changed(release.id)
        lost = wanted is DataTask.SWAP and work.error is not None and work.error.code is Code.NOT_FOUND
        if lost:
            self.desk.forget(data.source, DataTask.STAGE, token)  # it has to be done anew
        return _seen(work, lost=lost)

    def misfits(self, version: Version) -> tuple[str, ...]:
        """Return what this version would not find in the live data of today: see :meth:`Schemas.misfits`."""
        return self.schemas.misfits(version)

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


def _seen(work: Work, *, lost: bool) -> DataWork:
    if work.error is not None:
        return DataWork(begun=True, error=str(work.error.message), lost=lost)
    return DataWork(
        begun=True, done=work.done, snapshot=work.result if isinstance(work.result, Snapshot) else None
    )
