"""The kept files of a folder's snapshots: copied at a quiet moment, moved aside, and checked against their manifest."""

import os
import time
from pathlib import Path
from typing import Final

import msgspec

from lastgood.domain.snapshot import Snapshot
from lastgood.errors import Code, LastgoodError
from lastgood.sources.digest import file_digest
from lastgood.sources.durable import sync_folder
from lastgood.sources.folder_kernel import mounted_in, sync_file_system
from lastgood.sources.folder_tree import (
    FILE,
    FOLDER,
    Look,
    Manifest,
    copy_tree,
    look,
    manifest_of,
    remove_tree,
)
from lastgood.sources.notes import Notes

FILES: Final = "files"
MANIFEST: Final = "manifest"
_PAUSE_SECONDS: Final = 0.002
_TICK_NS: Final = 20_000_000  # at most 10 ms on any Linux, and as much to be sure
_UNSURE: Final = -1


def files_of(notes: Notes, token: str) -> Path:
    """Return where the files of a token are kept."""
    return notes.folder(token) / FILES


def copy_settled(source: Path, files: Path, *, link: bool, seconds: float, strict: bool = False) -> None:
    """Copy until a whole pass finds that nothing changed since it began; each pass copies only what did.

    File times tick every few milliseconds: what was written in the tick before a pass can be written again, in place and
    in the same length, with the same time. So such files are read a second time, after all were copied.

    :raises LastgoodError: ``conflict`` when there was no such moment within ``seconds``.
    :raises OSError: no room, or it cannot be read.
    """
    deadline = time.monotonic() + seconds
    copied: Look = {}
    while True:
        since = time.time_ns() - _TICK_NS
        seen = look(source, linking=link, strict=strict)
        for path in sorted(copied, reverse=True):
            if path not in seen or seen[path].kind != copied[path].kind:
                _remove(files / path)
        # Folders come along in every pass: what is made in one changes its time.
        fresh = {path: each for path, each in seen.items() if copied.get(path) != each or each.kind == FOLDER}
        late = {path: each for path, each in fresh.items() if each.kind == FILE and each.changed >= since}
        try:
            copy_tree(source, files, fresh, link=link)
            since = time.time_ns() - _TICK_NS
            equal = link or all(file_digest(source / path) == file_digest(files / path) for path in late)
            if equal and look(source, linking=link, strict=strict) == seen:
                return
            unsure = {path: each for path, each in late.items() if not equal or each.changed >= since}
        except FileNotFoundError:  # something went away under the copy: each of this pass may be there or not
            unsure = fresh
        # What is unsure is copied again by the next pass.
        copied = {path: each for path, each in seen.items() if path in copied or path not in unsure}
        copied |= {path: msgspec.structs.replace(each, changed=_UNSURE) for path, each in unsure.items()}
        if time.monotonic() >= deadline:
            raise LastgoodError(
                Code.CONFLICT,
                f"Something in the folder {source.name!r} changes all the time.",
                "Stop its writers for a moment, or have them write less often; then try again.",
            )
        time.sleep(_PAUSE_SECONDS)


def manifest_settled(files: Path, *, seconds: float) -> Manifest:
    """Hash what was replaced, at a moment when nobody who still has a file of it open writes to it.

    :raises LastgoodError: ``conflict`` when there was no such moment within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while True:
        seen = look(files)
        manifest = manifest_of(files, seen)
        if look(files) == seen:
            return manifest
        if time.monotonic() >= deadline:
            raise LastgoodError(
                Code.CONFLICT,
                "Something still writes to files that were replaced: it has had them open since before.",
                "Let it open its files anew (restart it); its rows are in what was replaced.",
            )
        time.sleep(_PAUSE_SECONDS)


def move(aside: Path, files: Path, *, seconds: float) -> None:
    """Move what was replaced to where it is kept: a rename, or a compared copy to another disk.

    :raises LastgoodError: ``corrupt`` when the copy differs, ``conflict`` as :func:`copy_settled`.
    """
    remove_tree(files)  # what an interrupted copy left
    if aside.stat().st_dev == files.parent.stat().st_dev:
        aside.rename(files)
        sync_folder(files.parent)
        return
    copy_settled(aside, files, link=False, seconds=seconds)
    sync_file_system(files)
    check_same(manifest_of(files, look(files)).digest(), manifest_of(aside, look(aside)).digest())
    remove_tree(aside)


def manifest_kept(notes: Notes, snapshot: Snapshot) -> Manifest:
    """Return the manifest of a snapshot whose files are there.

    :raises LastgoodError: ``not_found``, or ``corrupt`` when the manifest is another.
    """
    manifest = notes.read(snapshot.token, MANIFEST, Manifest)
    if manifest is None or not files_of(notes, snapshot.token).is_dir():
        raise LastgoodError(
            Code.NOT_FOUND, f"The files of snapshot {snapshot.token!r} are gone.", "Capture the data again."
        )
    if manifest.digest() != snapshot.digest:
        raise LastgoodError(
            Code.CORRUPT,
            f"The manifest of snapshot {snapshot.token!r} is not what was captured.",
            "Capture the data again.",
        )
    return manifest


def check_kept(notes: Notes, snapshot: Snapshot) -> None:
    """Hash every file of a snapshot and compare with its manifest.

    :raises LastgoodError: ``not_found`` or ``corrupt``, naming the first that differs.
    """
    manifest = manifest_kept(notes, snapshot)
    files = files_of(notes, snapshot.token)
    found = manifest_of(files, look(files))
    if found == manifest:
        return
    known = {entry.path: entry for entry in manifest.entries}
    now = {entry.path: entry for entry in found.entries}
    differs = next(path for path in sorted(known | now) if known.get(path) != now.get(path))
    raise LastgoodError(
        Code.CORRUPT,
        f"{differs!r} in snapshot {snapshot.token!r} is not what was captured.",
        "Capture the data again. If it is what a restore replaced, a program went on writing to it; its files are there.",
    )


def check_movable(live: Path, kept: Path) -> None:
    """Refuse what neither a rename nor an exchange takes along, and what must not go along: the ``kept`` folder itself.

    Deleting what was replaced would empty what is mounted in it.

    :raises LastgoodError: ``refused``, naming the place.
    """
    if Path(os.path.realpath(kept)).is_relative_to(live):
        raise LastgoodError(
            Code.REFUSED,
            f"Lastgood's own folder lies in {live.name!r}, and would be put back with it.",
            "Keep the data in a folder of its own, or set LASTGOOD_HOME to a place outside of it.",
        )
    if not os.access(live, os.W_OK | os.X_OK):
        raise LastgoodError(
            Code.REFUSED,
            f"The server may not write to {live.name!r}, so it could not put away what a restore replaces.",
            "Run it as the folder's owner, or give its group the right to write.",
        )
    place = mounted_in(live)
    if place is not None:
        where = "is a mount point" if place == str(live) else f"has another file system at {place!r}"
        raise LastgoodError(
            Code.REFUSED, f"{live.name!r} {where}.", "Keep the data in a folder without mounts in it."
        )


def check_room(source: str, needed: int, free: int | None) -> None:
    """Compare the bytes that are needed with those that are free.

    :raises LastgoodError: ``storage``.
    """
    if free is not None and free < needed:
        raise LastgoodError(
            Code.STORAGE,
            f"{needed} bytes are needed on the disk of data source {source!r}, {free} are free.",
            "Free some room.",
        )


def check_same(found: str, wanted: str) -> None:
    """Compare the digest of a copy with that of what was copied.

    :raises LastgoodError: ``corrupt``.
    """
    if found != wanted:
        raise LastgoodError(
            Code.CORRUPT,
            "A copy of files reads differently from what was copied.",
            "Try again, and check the disk.",
        )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)
