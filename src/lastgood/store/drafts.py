"""Drafts: private folders for what is half-written, locked by their owner and swept when it is dead.

A draft is locked with ``flock`` for as long as its process works on it. The kernel lets go of that lock
however the process ends, so a draft that can be locked belongs to nobody and is removed.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def draft(root: Path) -> Iterator[Path]:
    """Give an empty folder below ``root/drafts`` and remove it at the end with whatever is left in it."""
    with _doorkeeper(root):  # nobody sweeps between the making of the folder and its lock
        folder = Path(tempfile.mkdtemp(dir=_drafts(root)))
        lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        remove_tree(folder)
        os.close(lock)


def sweep(root: Path) -> int:
    """Remove the drafts of dead processes and return how many there were."""
    swept = 0
    with _doorkeeper(root):
        for folder in _drafts(root).iterdir():
            lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its owner lives
            else:
                remove_tree(folder)
                swept += 1
            finally:
                os.close(lock)
    return swept


def remove_tree(folder: Path) -> None:
    """Remove a folder even where its own folders are read-only; one that is gone already is fine."""
    with suppress(FileNotFoundError):  # its owner may be removing it, too
        for parent, _, _ in os.walk(folder):
            Path(parent).chmod(0o700)
        shutil.rmtree(folder)


def _drafts(root: Path) -> Path:
    folder = root / "drafts"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _doorkeeper(root: Path) -> Iterator[None]:
    door = os.open(_drafts(root), os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(door, fcntl.LOCK_EX)
        yield
    finally:
        os.close(door)
