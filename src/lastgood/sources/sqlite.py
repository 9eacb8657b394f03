"""A SQLite file as a data source.

A capture is SQLite's own online backup. A restore is staged inside the live file, under names of ours and in short
transactions, and the swap is one transaction that renames: milliseconds, whatever the size. What was replaced is copied
to a file of its own afterwards, compared, and only then taken out of the live file.
"""

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgspec

from lastgood.domain.snapshot import Quarantine, Schema, Snapshot
from lastgood.errors import Code, LastgoodError
from lastgood.sources.digest import file_digest, schema_of
from lastgood.sources.durable import sync_file, sync_folder
from lastgood.sources.notes import Notes
from lastgood.sources.options import Options
from lastgood.sources.sqlite_compare import differences
from lastgood.sources.sqlite_content import Content
from lastgood.sources.sqlite_copy import back_up, build, check_copy, read_back
from lastgood.sources.sqlite_flip import flip, prefix
from lastgood.sources.sqlite_layout import columns_of, layout_of
from lastgood.sources.sqlite_record import (
    RELEASED,
    STAGED,
    STAGING,
    SWAPPED,
    drop_tables,
    forget,
    record,
    restore_of,
    swapped_now,
)
from lastgood.sources.sqlite_session import (
    Pace,
    check_library,
    opened,
    opened_kept,
    reading,
    writing,
)
from lastgood.sources.sqlite_stage import stage

LOCK_SECONDS: Final = 2.0
_PROVIDER: Final = "sqlite"
_DATA: Final = "data.db"
_SNAPSHOT: Final = "snapshot"


def create(name: str, options: Mapping[str, Any], kept: Path) -> "SqliteSource":
    """Return the source of one SQLite file.

    Options: ``path``, the file; ``lock_timeout``, the seconds that a swap waits for other connections (2).
    """
    given = Options(name, options)
    path, lock_seconds = given.path("path"), given.seconds("lock_timeout", LOCK_SECONDS)
    given.end()
    return SqliteSource(name, path, kept, lock_seconds=lock_seconds)


class SqliteSource:
    """The :class:`~lastgood.data_ports.DataSource` of one SQLite file. ``reached`` is told each step that was finished."""

    def __init__(
        self,
        name: str,
        path: Path,
        kept: Path,
        *,
        lock_seconds: float = LOCK_SECONDS,
        reached: Callable[[str], None] = lambda _: None,
    ) -> None:
        check_library()
        self._name = name
        self._path = path
        self._notes = Notes(kept)
        self._kept = kept
        self._lock_seconds = lock_seconds
        self._reached = reached

    def schema(self) -> Schema:
        """Return the tables with their columns."""
        with opened(self._path) as connection, reading(connection):
            return schema_of(columns_of(connection, layout_of(connection).items))

    def capture(self, token: str) -> Snapshot:
        """Back the live file up, read every row of the copy, and try in memory whether its schema can be put back."""
        noted = self._notes.read(token, _SNAPSHOT, Snapshot)
        if noted is not None:
            return noted
        begun, taken_at = time.monotonic(), time.time()
        self._check_room(self._path.stat().st_size if self._path.exists() else 0)
        part = self._part(token)
        shared = back_up(self._path, part)
        self._reached("backed up")
        with ThreadPoolExecutor(1 if shared else 2) as readers:  # one processor is enough to take from others
            whole = readers.submit(_settled, part, Pace(shared=shared))
            content = readers.submit(read_back, part, Pace(shared=shared))
            return self._keep(token, part, content.result(), whole.result(), taken_at, begun)

    def _part(self, token: str) -> Path:
        folder = self._notes.folder(token)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _storage(error) from None
        return folder / f"{_DATA}.part"

    def _keep(
        self, token: str, part: Path, content: Content, whole: str, taken_at: float, begun: float
    ) -> Snapshot:
        """Give the file that was read back its final name, and note what it is; ``whole`` is the digest of its bytes."""
        final = part.with_name(_DATA)
        try:
            part.replace(final)
            sync_folder(final.parent)
        except OSError as error:
            raise _storage(error) from None
        self._reached("kept")
        snapshot = Snapshot(
            token=token,
            source=self._name,
            provider=_PROVIDER,
            taken_at=taken_at,
            seconds=time.monotonic() - begun,
            size_bytes=final.stat().st_size,
            rows=content.rows,
            schema=schema_of(content.columns),
            digest=content.digest,
            place={"file": f"{token}/{_DATA}", "sha256": whole},
        )
        self._notes.write(token, _SNAPSHOT, snapshot)
        self._reached("noted")
        return snapshot

    def verify(self, snapshot: Snapshot) -> None:
        """Compare the kept file's bytes with what they were when its rows were read."""
        path = self._notes.folder(snapshot.token) / _DATA
        try:
            found = file_digest(path)
        except FileNotFoundError:
            raise LastgoodError(
                Code.NOT_FOUND, f"The file of snapshot {snapshot.token!r} is gone.", "Capture the data again."
            ) from None
        except OSError as error:
            raise _storage(error) from None
        if found != snapshot.place.get("sha256"):
            raise LastgoodError(
                Code.CORRUPT,
                f"The file of snapshot {snapshot.token!r} is not what was captured.",
                "Capture the data again.",
                details={"expected": snapshot.place.get("sha256"), "found": found},
            )

    def stage_restore(self, snapshot: Snapshot, token: str) -> None:
        """Copy the snapshot's tables into the live file under names of ours, and read them back."""
        self._notes.folder(token)
        with opened(self._path) as connection:
            known = restore_of(connection, token)
            if known is not None and known.digest != snapshot.digest:
                raise LastgoodError(
                    Code.CONFLICT, f"The token {token!r} restores another snapshot.", "Use another token."
                )
            if known is not None and known.phase != STAGING:
                return
            if known is not None:
                drop_tables(connection, prefix(token, "new"), self._reached)
        self.verify(snapshot)
        self._check_room(snapshot.size_bytes)
        stage(self._path, self._notes.folder(snapshot.token) / _DATA, snapshot, token, self._reached)

    def swap(self, token: str) -> None:
        """Rename in one transaction, within the lock time-out."""
        self._notes.folder(token)
        with opened(self._path, wait=self._lock_seconds) as connection:
            with writing(connection):
                known = restore_of(connection, token)
                if known is None or known.phase == STAGING:
                    raise LastgoodError(
                        Code.NOT_FOUND, f"Nothing is staged under {token!r}.", "Stage the restore first."
                    )
                if known.phase != STAGED:
                    return
                replaced = flip(connection, known.staged, token)
                record(connection, token, swapped_now(known, replaced))
                self._reached("renamed")
            self._reached("swapped")

    def swapped(self, token: str) -> bool:
        """Look into our record in the live file."""
        self._notes.folder(token)
        with opened(self._path) as connection:
            known = restore_of(connection, token)
        return known is not None and known.phase in (SWAPPED, RELEASED)

    def quarantine(self, snapshot: Snapshot, token: str, exports: Path) -> Quarantine:
        """Move what was replaced to a file of its own, and compare that with the snapshot's."""
        kept = self._notes.read(token, _SNAPSHOT, Snapshot) or self._set_aside(token)
        with opened(self._path) as connection:
            drop_tables(connection, prefix(token, "old"), self._reached)
        ours, before = (self._notes.folder(each) / _DATA for each in (token, snapshot.token))
        try:
            tables = differences(ours, before, exports)
        except OSError as error:
            raise _storage(error) from None
        return Quarantine(token=token, since=snapshot.token, kept=kept, tables=tables)

    def _set_aside(self, token: str) -> Snapshot:
        with opened(self._path) as connection:
            known = restore_of(connection, token)
        if known is None or known.phase != SWAPPED or known.replaced is None or known.at is None:
            raise LastgoodError(
                Code.NOT_FOUND,
                f"Nothing is kept of what {token!r} replaced.",
                "It was released, or never swapped.",
            )
        begun, part = time.monotonic(), self._part(token)
        build(self._path, known.replaced, part, self._reached)
        with opened_kept(part) as copy:
            content = check_copy(copy, part, self._path, known.replaced)
        self._reached("compared")
        return self._keep(token, part, content, _settled(part, Pace(shared=False)), known.at, begun)

    def release(self, token: str) -> int:
        """Free the kept file, and our tables in the live file."""
        self._notes.folder(token)
        freed = 0
        if self._path.exists():
            with opened(self._path) as connection:
                for kind in ("new", "old"):
                    freed += drop_tables(connection, prefix(token, kind), self._reached)
                freed += self._release_record(token)
        self._reached("freed in the live file")
        try:
            return freed + self._notes.remove(token)
        except OSError as error:
            raise _storage(error) from None

    def _release_record(self, token: str) -> int:
        with opened(self._path) as connection:
            known = restore_of(connection, token)
            if known is None or known.phase == RELEASED:
                return 0
            with writing(connection):
                if known.phase == SWAPPED:
                    record(connection, token, msgspec.structs.replace(known, phase=RELEASED))
                else:
                    forget(connection, token)
        return 0

    def room(self) -> int | None:
        """Return the free bytes on the disk of the live file or of the kept ones, whichever is fewer."""
        free = self._notes.room()
        folder = self._path.parent
        if folder.is_dir():
            found = os.statvfs(folder)
            free = min(free, found.f_bavail * found.f_frsize)
        return free

    def size(self) -> int | None:
        """Return the bytes of the file and of its write-ahead log."""
        files = (self._path, self._path.with_name(f"{self._path.name}-wal"))
        return sum(one.stat().st_size for one in files if one.exists())

    def _check_room(self, needed: int) -> None:
        free = self.room()
        if free is not None and free < needed:
            raise LastgoodError(
                Code.STORAGE,
                f"{needed} bytes are needed on the disk of data source {self._name!r}, {free} are free.",
                "Free some room.",
            )


def _settled(part: Path, pace: Pace) -> str:
    """Return the digest of a file's bytes, once they are on the disk."""
    try:
        sync_file(part)
        return file_digest(part, pace.rest)
    except OSError as error:
        raise _storage(error) from None


def _storage(error: OSError) -> LastgoodError:
    return LastgoodError(
        Code.STORAGE,
        f"A kept file could not be used: {error.strerror}.",
        "Check the disk and the rights there.",
    )
