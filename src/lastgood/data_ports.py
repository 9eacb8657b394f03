"""The seams of live data: what is kept of it, and one place of it with a way back.

Errors and threads are as in :mod:`lastgood.ports`.
"""

from pathlib import Path
from typing import Protocol

from lastgood.domain.event import EventDraft
from lastgood.domain.snapshot import Kept, Quarantine, Schema, Snapshot


class KeptStore(Protocol):
    """What is kept of live data. :meth:`ReleaseStore.commit` writes it together with the release it belongs to."""

    def kept(self, token: str) -> Kept | None:
        """Return what is, or was, kept under ``token``."""

    def all_kept(self) -> list[Kept]:
        """Return everything that still takes room, by source and release."""

    def note(self, one: Kept, event: EventDraft | None = None) -> None:
        """Replace what is known of a token, with the event that says so, in one transaction.

        :raises LastgoodError: ``not_found`` for a token that nothing was kept under, ``conflict`` when that is freed.
        """


class DataSource(Protocol):
    """One place of live data, and a way back for it. Applications read and write it all the time, by themselves.

    A ``token`` (``[a-z0-9_]{1,40}``) names one capture or one restore; repeating a call with the same token continues
    or confirms what an interrupted call began, and does nothing twice. Every call may be the first one of a new
    process. Errors and what is returned name no credentials.
    """

    def schema(self) -> Schema:
        """Return what the live data looks like now. Cheap.

        :raises LastgoodError: ``not_found`` or ``unavailable``, as any method may.
        """

    def capture(self, token: str) -> Snapshot:
        """Capture one consistent state while others read and write, and read it back.

        :raises LastgoodError: ``storage`` without room, ``corrupt`` when what was read back differs.
        """

    def verify(self, snapshot: Snapshot) -> None:
        """Prove that the snapshot is there, whole, and could be restored: its content has its digest.

        :raises LastgoodError: ``not_found`` or ``corrupt``, naming what is missing or differs.
        """

    def stage_restore(self, snapshot: Snapshot, token: str) -> None:
        """Build the snapshot's state beside the live data, verified; live data and its users notice nothing.

        :raises LastgoodError: ``corrupt``, ``not_found``, ``storage``; what was begun is removed then.
        """

    def swap(self, token: str) -> None:
        """Make what was staged under ``token`` the live data, at once and whole; what was live is kept under ``token``.

        Every row committed before is in what is kept, every later one in the new live data. Takes milliseconds.

        :raises LastgoodError: ``timeout`` when somebody's lock did not let go, ``not_found`` when nothing is staged;
            live data is as before then.
        """

    def swapped(self, token: str) -> bool:
        """Whether the swap of ``token`` has happened, read from the data itself: true for ever after it."""

    def quarantine(self, snapshot: Snapshot, token: str, exports: Path) -> Quarantine:
        """Describe what the swap of ``token`` replaced, against ``snapshot``; write added rows to files in ``exports``.

        JSON lines, one object a row (for folders: the added files themselves).
        """

    def release(self, token: str) -> int:
        """Free what is kept under ``token``: a snapshot, something staged, or replaced data. Return the bytes.

        Nothing kept is 0 bytes. Live data is never touched.
        """

    def room(self) -> int | None:
        """Return how many bytes a restore may still use, None when the source cannot tell."""

    def size(self) -> int | None:
        """Return how many bytes one more copy of the live data would take, None when the source cannot tell. Cheap."""
