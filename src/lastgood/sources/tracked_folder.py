"""A folder whose content another tool keeps already, under names of its own: a shelf.

A capture that finds in the folder exactly what the shelf holds copies nothing: it notes where the shelf has it, and asks
the shelf to keep it. Anything else, a changed file, one that the tool was told to ignore, is captured by copying, as for
any folder. So a snapshot is always of what is really there, and a restore never needs the tool's own idea of the folder.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from lastgood.domain.snapshot import Snapshot
from lastgood.errors import Code, LastgoodError
from lastgood.sources.digest import schema_of
from lastgood.sources.folder import FolderSource
from lastgood.sources.folder_keep import FILES, MANIFEST, check_movable
from lastgood.sources.folder_kernel import copy_owner
from lastgood.sources.folder_tree import FILE, FOLDER, LINK, Manifest, look, manifest_of
from lastgood.sources.notes import Notes
from lastgood.sources.streams import Readable, chunks, stream_digest

_SHELF: Final = "shelf"
_PINS: Final = "pins"
_EMPTY: Final = 4096  # what an empty folder takes


class Shelf(Protocol):
    """Where another tool keeps what it tracks. ``recorded`` is JSON that says which state; ``pins`` is a private folder."""

    provider: str

    def recorded(self) -> dict[str, Any] | None:
        """Return the state that the tool has the folder at, None when it has none."""

    def contents(self, recorded: dict[str, Any], pins: Path) -> Iterator[tuple[str, Readable]]:
        """Yield path and bytes of every file of the state; each is read before the next is asked for.

        :raises LastgoodError: ``not_found`` or ``corrupt``.
        """

    def pin(self, token: str, recorded: dict[str, Any], pins: Path) -> None:
        """Have the state kept, as far as the tool can. Idempotent."""

    def unpin(self, token: str) -> None:
        """Let the tool clean the state away; ``pins`` is deleted afterwards. Idempotent."""


class TrackedFolder(FolderSource):
    """The :class:`~lastgood.data_ports.DataSource` of one folder that is on a shelf."""

    def __init__(
        self,
        name: str,
        path: Path,
        kept: Path,
        shelf: Shelf,
        *,
        settle_seconds: float,
        reached: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(name, path, kept, settle_seconds=settle_seconds, reached=reached)
        self.provider = shelf.provider
        self._shelf = shelf
        self._noted = Notes(kept)

    def capture(self, token: str) -> Snapshot:
        """Note where the shelf has what is in the folder, or copy the folder when it has not exactly that."""
        known = self._noted.read(token, "snapshot", Snapshot)
        if known is not None:
            return known
        begun, taken_at = time.monotonic(), time.time()
        recorded = self._shelf.recorded()
        manifest = None if recorded is None else self._held(token, recorded)
        if manifest is None:
            return super().capture(token)
        snapshot = Snapshot(
            token=token,
            source=self._name,
            provider=self.provider,
            taken_at=taken_at,
            seconds=time.monotonic() - begun,
            size_bytes=max(manifest.size(), _EMPTY),
            rows={FILES: len(manifest.files())},
            schema=schema_of({FILES: ()}),
            digest=manifest.digest(),
            place={_SHELF: recorded},
        )
        self._noted.write(token, MANIFEST, manifest)
        self._reached("listed")
        self._noted.write(token, "snapshot", snapshot)
        self._reached("noted")
        return snapshot

    def verify(self, snapshot: Snapshot) -> None:
        """Hash what the shelf holds again, or what was copied."""
        if _SHELF not in snapshot.place:
            super().verify(snapshot)
            return
        found = self._digests(snapshot.token, snapshot.place[_SHELF])
        wanted = _files(self._manifest(snapshot))
        if found != wanted:
            differs = min(path for path in found | wanted if found.get(path) != wanted.get(path))
            raise LastgoodError(
                Code.CORRUPT,
                f"{differs!r} of snapshot {snapshot.token!r} is not what was captured.",
                "Bring it back where it is kept, or capture the data again.",
            )

    def release(self, token: str) -> int:
        """Let go of the shelf, then delete what is kept here."""
        self._noted.folder(token)
        self._shelf.unpin(token)
        self._reached("unpinned")
        return super().release(token)

    def _held(self, token: str, recorded: dict[str, Any]) -> Manifest | None:
        """Return the live folder's manifest when the shelf holds just that; None when it has to be copied."""
        live = self._live()
        check_movable(live, self._noted.folder(token))
        with self._meant("A snapshot"):
            try:
                seen = look(live, strict=True)
                manifest = manifest_of(live, seen)
                self._shelf.pin(token, recorded, self._pins(token))
                self._reached("pinned")
                same = self._digests(token, recorded) == _files(manifest)
                if same and look(live, strict=True) == seen:
                    return manifest
            except FileNotFoundError:
                self._live()  # a file of it went away meanwhile, as one does: it is copied, which takes that into account
            except LastgoodError as error:
                if error.code not in (Code.NOT_FOUND, Code.CORRUPT):
                    raise
                # The tool lost some of it: all the more reason for a copy.
        self._shelf.unpin(token)
        return None

    def _digests(self, token: str, recorded: dict[str, Any]) -> dict[str, str]:
        contents = self._shelf.contents(recorded, self._pins(token))
        return {path: stream_digest(file) for path, file in contents}

    def _manifest(self, snapshot: Snapshot) -> Manifest:
        if _SHELF not in snapshot.place:
            return super()._manifest(snapshot)
        manifest = self._noted.read(snapshot.token, MANIFEST, Manifest)
        if manifest is None:
            raise LastgoodError(
                Code.NOT_FOUND,
                f"The snapshot {snapshot.token!r} is not kept any more.",
                "Capture the data again.",
            )
        if manifest.digest() != snapshot.digest:
            raise LastgoodError(
                Code.CORRUPT,
                f"The manifest of snapshot {snapshot.token!r} is not what was captured.",
                "Capture the data again.",
            )
        return manifest

    def _lay_out(self, snapshot: Snapshot, aside: Path) -> None:
        if _SHELF not in snapshot.place:
            super()._lay_out(snapshot, aside)
            return
        manifest, live = self._manifest(snapshot), self._live()
        folders = [entry for entry in manifest.entries if entry.kind == FOLDER]
        for entry in folders:
            (aside / entry.path).mkdir(parents=True, exist_ok=True)
        modes = {entry.path: entry.mode for entry in manifest.entries if entry.kind == FILE}
        for path, file in self._shelf.contents(snapshot.place[_SHELF], self._pins(snapshot.token)):
            if path not in modes:
                continue  # the comparison that follows says so
            with (aside / path).open("xb") as new:
                new.writelines(chunks(file))
            _own_like(live, path, aside)
            (aside / path).chmod(modes[path])
        for entry in manifest.entries:
            if entry.kind == LINK:
                (aside / entry.path).symlink_to(entry.content)
                _own_like(live, entry.path, aside)
        for entry in reversed(folders):
            _own_like(live, entry.path, aside)
            (aside / entry.path).chmod(entry.mode)

    def _pins(self, token: str) -> Path:
        return self._noted.folder(token) / _PINS


def _own_like(live: Path, path: str, aside: Path) -> None:
    """Give what was laid out the owner of what is there now under its name, else that of the whole folder."""
    there = live / path
    copy_owner(there if os.path.lexists(there) else live, aside / path)


def _files(manifest: Manifest) -> dict[str, str]:
    """Return the digests of the files by path; links and folders are in the manifest whole."""
    return {entry.path: entry.content for entry in manifest.entries if entry.kind == FILE}
