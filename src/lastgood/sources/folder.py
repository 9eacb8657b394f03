"""A folder of files as a data source.

A capture is a copy (sharing blocks where the file system can) with a manifest of digests, of a moment in which nothing
in the folder changed. A restore is built beside the folder and exchanged with it in one step of the kernel's; whoever has
the old folder open keeps seeing the old one, whole. Owners and access lists are the server's; modes, times and links stay.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from lastgood.domain.snapshot import Gained, Quarantine, Schema, Snapshot
from lastgood.errors import Code, LastgoodError
from lastgood.sources.digest import schema_of
from lastgood.sources.durable import sync_folder
from lastgood.sources.folder_keep import (
    FILES,
    MANIFEST,
    check_kept,
    check_movable,
    check_room,
    check_same,
    copy_settled,
    files_of,
    manifest_kept,
    manifest_settled,
    move,
)
from lastgood.sources.folder_kernel import check_exchange, exchange, explained, sync_file_system
from lastgood.sources.folder_tree import (
    Manifest,
    bytes_on_disk,
    copy_tree,
    give_up,
    look,
    manifest_of,
    plain,
    remove_tree,
)
from lastgood.sources.notes import Notes
from lastgood.sources.options import Options

SETTLE_SECONDS: Final = 30.0
_SNAPSHOT: Final = "snapshot"
_STAGED: Final = "staged"
_EMPTY: Final = 4096  # what an empty folder takes


class Staged(msgspec.Struct, frozen=True):
    """What was built beside the live folder: which snapshot's digest, and the inode of its folder."""

    digest: str
    inode: int


def create(name: str, options: Mapping[str, Any], kept: Path) -> "FolderSource":
    """Return the source of one folder.

    Options: ``path``, the folder, or a symbolic link to it, which stays; ``immutable_files``, true when applications
    never change a file but put a new one in its place, so that hard links do instead of copies; ``settle_timeout``, the
    seconds that a capture waits for a moment without changes (30).
    """
    given = Options(name, options)
    path, link = given.path("path"), given.flag("immutable_files")
    settle = given.seconds("settle_timeout", SETTLE_SECONDS)
    given.end()
    return FolderSource(name, path, kept, immutable_files=link, settle_seconds=settle)


class FolderSource:
    """The :class:`~lastgood.data_ports.DataSource` of one folder. ``reached`` is told each step that was finished."""

    provider = "folder"

    def __init__(
        self,
        name: str,
        path: Path,
        kept: Path,
        *,
        immutable_files: bool = False,
        settle_seconds: float = SETTLE_SECONDS,
        reached: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._name = name
        self._path = path
        self._notes = Notes(kept)
        self._link = immutable_files
        self._settle_seconds = settle_seconds
        self._reached = reached

    def schema(self) -> Schema:
        """Return one table without columns: a folder says nothing about what is in its files."""
        self._live()
        return schema_of({FILES: ()})

    def capture(self, token: str) -> Snapshot:
        """Copy the folder at a moment when nothing in it changes, and hash the copy.

        :raises LastgoodError: ``conflict`` when there was no such moment, ``refused`` for what cannot be kept.
        """
        noted = self._notes.read(token, _SNAPSHOT, Snapshot)
        if noted is not None:
            return noted
        begun, taken_at = time.monotonic(), time.time()
        live, files = self._live(), files_of(self._notes, token)
        check_movable(live, self._notes.folder(token))
        try:
            with self._meant("A snapshot"):
                remove_tree(files)
                check_room(self._name, bytes_on_disk(live, look(live, strict=True)), self.room())
                copy_settled(live, files, link=self._link, seconds=self._settle_seconds, strict=True)
                sync_file_system(files)
                self._reached("copied")
                manifest = manifest_of(files, look(files))
        except LastgoodError:
            give_up(files)  # half of it would only take the room that applications need
            raise
        return self._keep(token, manifest, taken_at, begun)

    def _keep(self, token: str, manifest: Manifest, taken_at: float, begun: float) -> Snapshot:
        """Note what is kept."""
        files = files_of(self._notes, token)
        snapshot = Snapshot(
            token=token,
            source=self._name,
            provider=self.provider,
            taken_at=taken_at,
            seconds=time.monotonic() - begun,
            size_bytes=max(bytes_on_disk(files, look(files)), _EMPTY),
            rows={FILES: len(manifest.files())},
            schema=schema_of({FILES: ()}),
            digest=manifest.digest(),
            place={"folder": f"{token}/{FILES}"},
        )
        self._notes.write(token, MANIFEST, manifest)
        self._reached("listed")
        self._notes.write(token, _SNAPSHOT, snapshot)
        self._reached("noted")
        return snapshot

    def verify(self, snapshot: Snapshot) -> None:
        """Hash every kept file again."""
        with self._meant("A snapshot"):
            check_kept(self._notes, snapshot)

    def stage_restore(self, snapshot: Snapshot, token: str) -> None:
        """Copy the snapshot to a hidden folder beside the live one, and hash it there."""
        if self.swapped(token):
            return
        known = self._notes.read(token, _STAGED, Staged)
        if known is not None and known.digest != snapshot.digest:
            raise LastgoodError(
                Code.CONFLICT, f"The token {token!r} restores another snapshot.", "Use another token."
            )
        live, aside = self._live(), self._aside(token)
        if known is not None and aside.is_dir():
            return
        check_movable(live, self._notes.folder(token))
        self.verify(snapshot)
        check_room(self._name, snapshot.size_bytes, self.room())
        try:
            with self._meant("The restore"):
                check_exchange(live, aside.name)
                remove_tree(aside)
                self._lay_out(snapshot, aside)
                self._reached("copied beside")
                found = manifest_of(aside, look(aside)).digest()
                if found != snapshot.digest:  # is a kept file at fault, and which?
                    check_kept(self._notes, snapshot)
                check_same(found, snapshot.digest)
                sync_file_system(aside)
        except LastgoodError:
            give_up(aside)
            raise
        self._notes.write(token, _STAGED, Staged(snapshot.digest, aside.stat().st_ino))
        self._reached("staged")

    def swap(self, token: str) -> None:
        """Exchange the two folders."""
        if self.swapped(token):
            return
        live, aside = self._real(), self._aside(token)
        if self._notes.read(token, _STAGED, Staged) is None or not aside.is_dir():
            raise LastgoodError(
                Code.NOT_FOUND, f"Nothing is staged under {token!r}.", "Stage the restore first."
            )
        with self._meant(f"{live.name!r}"):
            live.mkdir(exist_ok=True)  # where somebody deleted it, what is staged is all that is left
            exchange(live, aside)
            self._reached("exchanged")
            sync_folder(live.parent)
        self._notes.note_swap(token, time.time())
        self._reached("swapped")

    def swapped(self, token: str) -> bool:
        """Tell by which of the two folders lies where; a note says so once what was replaced is moved or gone."""
        if self._notes.swap_of(token, float) is not None:
            return True
        staged = self._notes.read(token, _STAGED, Staged)
        aside = self._aside(token)
        return staged is not None and aside.is_dir() and aside.stat().st_ino != staged.inode

    def quarantine(self, snapshot: Snapshot, token: str, exports: Path) -> Quarantine:
        """Move what was replaced into the kept folder, and compare its manifest with the snapshot's."""
        kept = self._notes.read(token, _SNAPSHOT, Snapshot) or self._set_aside(token)
        old = {entry.path: entry for entry in self._manifest(snapshot).files()}
        new = {entry.path: entry for entry in self._manifest(kept).files()}
        added = sorted(path for path, entry in new.items() if old.get(path) != entry)
        removed = sum(new.get(path) != entry for path, entry in old.items())
        with self._meant("An export"):
            remove_tree(exports / FILES)
            if added:
                self._export(token, added, exports / FILES)
        gained = Gained(added=len(added), removed=removed, export=FILES if added else None)
        return Quarantine(token=token, since=snapshot.token, kept=kept, tables={FILES: gained})

    def _manifest(self, snapshot: Snapshot) -> Manifest:
        return manifest_kept(self._notes, snapshot)

    def _lay_out(self, snapshot: Snapshot, aside: Path) -> None:
        files = files_of(self._notes, snapshot.token)
        copy_tree(files, aside, look(files), link=self._link)

    def _export(self, token: str, paths: list[str], to: Path) -> None:
        files = files_of(self._notes, token)
        seen = {plain(path): (path, each) for path, each in look(files).items()}
        parents = {str(parent) for path in paths for parent in Path(path).parents}
        copy_tree(files, to, dict(seen[path] for path in (*parents, *paths)), link=False)

    def _set_aside(self, token: str) -> Snapshot:
        if not self.swapped(token):
            raise LastgoodError(Code.NOT_FOUND, f"{token!r} was never swapped.", "Nothing was replaced.")
        begun, swapped_at = time.monotonic(), self._notes.swap_of(token, float)
        if swapped_at is None:  # killed after the exchange, before the note
            swapped_at = time.time()
            self._notes.note_swap(token, swapped_at)
        aside, files = self._aside(token), files_of(self._notes, token)
        with self._meant("What was replaced"):
            files.parent.mkdir(parents=True, exist_ok=True)
            if aside.is_dir():
                move(aside, files, seconds=self._settle_seconds)
            self._reached("moved")
            if not files.is_dir():
                raise LastgoodError(
                    Code.NOT_FOUND, f"Nothing is kept of what {token!r} replaced.", "It was released."
                )
            manifest = manifest_settled(files, seconds=self._settle_seconds)
        return self._keep(token, manifest, swapped_at, begun)

    def release(self, token: str) -> int:
        """Delete the hidden folder beside the live one, and what is kept."""
        if self.swapped(token) and self._notes.swap_of(token, float) is None:
            self._notes.note_swap(token, time.time())
        with self._meant("What is kept"):
            self._notes.drop(token, _STAGED)
            freed = remove_tree(self._aside(token))
            self._reached("freed beside")
            freed += remove_tree(files_of(self._notes, token))
            self._reached("freed files")
            return freed + self._notes.remove(token)

    def room(self) -> int | None:
        """Return the free bytes on the disk of the folder or of the kept ones, whichever is fewer."""
        free, parent = self._notes.room(), self._real().parent
        if parent.is_dir():
            found = os.statvfs(parent)
            free = min(free, found.f_bavail * found.f_frsize)
        return free

    def size(self) -> int | None:
        """Return the room that all files take; links take none."""
        return 0 if self._link else bytes_on_disk(self._live(), look(self._live()))

    def _real(self) -> Path:
        return Path(os.path.realpath(self._path))

    def _live(self) -> Path:
        live = self._real()
        if not live.is_dir():
            raise LastgoodError(Code.NOT_FOUND, f"There is no folder {live.name!r}.", "Check its 'path'.")
        return live

    def _aside(self, token: str) -> Path:
        self._notes.folder(token)
        live = self._real()
        return live.with_name(f".{live.name}.lastgood-{token}")

    @contextmanager
    def _meant(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise explained(error, what) from error
