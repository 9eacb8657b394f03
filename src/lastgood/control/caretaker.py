"""The caretaker: counts and exports what restores replaced, and frees what nobody needs any more.

A chore of the controller with a thread of its own: each look starts from the rows of what is kept, asks the desk for
what is due, and notes what came out. So it may be repeated, and whoever starts after a crash goes on.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from lastgood.control.chore import Chore
from lastgood.control.desk import Desk, Result, Work
from lastgood.data_ports import DataSource, KeptStore
from lastgood.domain.event import EventDraft
from lastgood.domain.snapshot import DataTask, Kept, KeptKind, Quarantine
from lastgood.errors import Code, LastgoodError
from lastgood.ports import ReleaseStore
from lastgood.wire import private

logger = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 1.0
_BUSY_SECONDS: Final = 0.05
_RETRY_SECONDS: Final = 5.0
_RETRY_MOST: Final = 600.0
_POLL_SECONDS: Final = 0.01
_AUTOMATIC: Final = "lastgood"
_OVER: Final = "its release is over, and this way back was not needed"


class Caretaker:
    """Looks after everything that is kept. ``kept_data`` is the folder below which exports are put, by source."""

    def __init__(
        self,
        *,
        kept: KeptStore,
        releases: ReleaseStore,
        desk: Desk,
        kept_data: Path,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._kept = kept
        self._releases = releases
        self._desk = desk
        self._kept_data = kept_data
        self._now = now
        self._pauses: dict[str, tuple[int, float]] = {}
        self._turn = threading.Lock()
        self._chore = Chore(
            "caretaker",
            lambda _: _BUSY_SECONDS if self.look() else _LOOK_SECONDS,
            fault="what is kept of live data could not be looked after",
        )

    def start(self) -> None:
        """Look every second, in a thread of its own."""
        self._chore.start()

    def stop(self) -> None:
        """End the thread. Work that it asked for ends with the process, and is asked for again by the next one."""
        self._chore.stop()

    def wake(self) -> None:
        """Look now."""
        self._chore.wake()

    def exports(self, row: Kept) -> Path:
        """Return the folder of the exported rows of a quarantine."""
        return self._kept_data / row.source / "exports" / row.token

    def look(self) -> bool:
        """Look once at everything that is kept; return whether work is under way.

        :raises LastgoodError: ``storage`` when the store cannot be read or written.
        """
        busy = False
        with self._turn:
            for row in self._kept.all_kept():
                task = self._due(row)
                if task is not None:
                    busy = self._care(row, task) or busy
        return busy

    def let_go(self, row: Kept, *, by: str, why: str) -> None:
        """Note that it is to be freed, for good: from now on nothing may use it. Who noted it first is kept.

        :raises LastgoodError: ``conflict`` when it is freed already.
        """
        with self._turn:
            row = self._kept.kept(row.token) or row
            intent = {} if row.freed_by else {"freed_by": by, "freed_why": why}
            self._kept.note(msgspec.structs.replace(row, trouble="", **intent))
            self._pauses.pop(row.token, None)
        self.wake()

    def looked_after(self, rows: Sequence[Kept], seconds: float) -> list[Kept]:
        """Wait until nothing is due for these, or there is trouble, at most ``seconds``; return them as they are then.

        Where no controller runs, this does the work.
        """
        deadline = time.monotonic() + seconds
        while True:
            if rows:
                self.look()
            found = [self._kept.kept(row.token) or row for row in rows]
            if not any(self._open(row) for row in found) or time.monotonic() > deadline:
                return found
            time.sleep(_POLL_SECONDS)

    def _open(self, row: Kept) -> bool:
        return row.freed_at is None and not row.trouble and self._due(row) is not None

    def _due(self, row: Kept) -> DataTask | None:
        if row.freed_by:
            capturing = self._desk.busy(row.source, DataTask.CAPTURE, row.token)
            return None if capturing else DataTask.FREE
        if row.kind is KeptKind.QUARANTINE:
            return DataTask.COUNT if row.quarantine is None else None
        if row.kind is not KeptKind.STAGED:
            return None
        release = self._releases.release(row.release)
        # A swap would have made it a quarantine in the transaction that ended the swap.
        over = release is not None and release.terminal
        staging = self._desk.busy(row.source, DataTask.STAGE, row.token)
        return DataTask.FREE if over and not staging else None

    def _care(self, row: Kept, task: DataTask) -> bool:
        tries, at = self._pauses.get(row.token, (0, 0.0))
        if self._now() < at:
            return False
        work = self._desk.ask(row.source, task, row.token, self._act(row, task))
        try:
            if work.error is not None:
                self._pauses[row.token] = (
                    tries + 1,
                    self._now() + min(_RETRY_SECONDS * 2**tries, _RETRY_MOST),
                )
                self._tell(row, task, work.error.message)
            elif work.done:
                self._note(row, task, work)
                self._pauses.pop(row.token, None)
        except LastgoodError as error:
            if error.code is not Code.CONFLICT:  # freed by somebody meanwhile
                raise
        return not work.done

    def _act(self, row: Kept, task: DataTask) -> Callable[[DataSource], Result]:
        exports = self.exports(row)

        def count(source: DataSource) -> Result:
            _remove(exports)
            private.make_folder(exports)
            return source.quarantine(row.snapshot, row.token, exports)

        def free(source: DataSource) -> Result:
            freed = source.release(row.token)
            _remove(exports)
            return freed

        return count if task is DataTask.COUNT else free

    def _note(self, row: Kept, task: DataTask, work: Work) -> None:
        if task is DataTask.COUNT and isinstance(work.result, Quarantine):
            counted = msgspec.structs.replace(row, quarantine=work.result, trouble="")
            told = {"cause": f"{row.token}: {_difference(work.result)}", **counted_of(work.result)}
            self._kept.note(counted, self._event(counted, "quarantined", _AUTOMATIC, told))
            return
        freed = msgspec.structs.replace(
            row,
            freed_at=self._now(),
            freed_by=row.freed_by or _AUTOMATIC,
            freed_why=row.freed_why or _OVER,
            trouble="",
        )
        cause = f"{row.token} freed: {freed.freed_why}"
        told = {"cause": cause, "kind": row.kind.value, "why": freed.freed_why, "bytes": work.result}
        if row.quarantine is not None:
            told |= counted_of(row.quarantine)
        self._kept.note(freed, self._event(freed, "freed", freed.freed_by, told))

    def _tell(self, row: Kept, task: DataTask, why: str) -> None:
        """Note why it did not work: the first time with an event, and in the log."""
        if why == row.trouble:
            return
        event = None
        if not row.trouble:
            what = "counted" if task is DataTask.COUNT else "freed"
            logger.error("%s of the data source %s could not be %s yet: %s", row.token, row.source, what, why)
            kind = "quarantine_failed" if task is DataTask.COUNT else "freeing_failed"
            event = self._event(row, kind, _AUTOMATIC, {"cause": f"{row.token}: {why}", "error": why})
        self._kept.note(msgspec.structs.replace(row, trouble=why), event)

    def _event(self, row: Kept, verb: str, actor: str, told: dict[str, Any]) -> EventDraft:
        return EventDraft(
            type=f"lastgood.data.{verb}",
            at=self._now(),
            actor=actor,
            model=row.model,
            deployment=row.deployment,
            release=row.release,
            version=row.version,
            data={"source": row.source, "token": row.token, **told},
        )


def counted_of(quarantine: Quarantine) -> dict[str, Any]:
    """Return what an event says of replaced data: numbers, never rows."""
    kept = quarantine.kept
    return {
        "since": quarantine.since,
        "tables": {
            name: {"added": one.added, "removed": one.removed} for name, one in quarantine.tables.items()
        },
        "rows": sum(kept.rows.values()),
        "size_bytes": kept.size_bytes,
        "digest": kept.digest,
    }


def _difference(quarantine: Quarantine) -> str:
    tables = quarantine.tables
    said = [f"{name} +{one.added} -{one.removed}" for name, one in tables.items() if one.added or one.removed]
    return ", ".join(said) or "no difference"


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LastgoodError(
            Code.STORAGE,
            f"The exports in {folder} cannot be removed: {error.strerror}.",
            "Check the rights of that folder.",
        ) from None
