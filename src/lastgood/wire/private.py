"""Files and folders that only their owner may touch: what lies there is trusted by every process of a home."""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from lastgood.errors import Code, LastgoodError


def make_folder(path: Path) -> None:
    """Make a folder (mode 0700) and those above it; harmless when it is there.

    :raises LastgoodError: ``refused`` when it is a link, belongs to somebody else or may be written by others.
    """
    make_own_folder(path)
    status = path.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise LastgoodError(
            Code.REFUSED,
            f"The folder {path} belongs to somebody else or may be written by others.",
            "Remove it, or make it yours alone: chmod 700.",
        )


def make_own_folder(path: Path) -> None:
    """Make a folder (mode 0700) and those above it, wherever its owner and mode are the operator's to choose.

    :raises LastgoodError: ``refused`` when it is a link or no folder.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:  # a file, or a link to nothing
        raise LastgoodError(Code.REFUSED, f"{path} is not a folder.", "Remove it.") from None
    if stat.S_ISLNK(path.lstat().st_mode):
        raise LastgoodError(
            Code.REFUSED,
            f"The folder {path} is a link, which may be made to point elsewhere.",
            "Put the folder itself there, or set LASTGOOD_HOME to where home really is.",
        )


def make_file(path: Path) -> None:
    """Make an empty file that its owner alone can read; close one that is there to everybody else.

    An existing file is not opened: that would end the locks that this process may hold on it.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        status = path.stat()
        if status.st_mode & 0o077 and status.st_uid == os.getuid():
            path.chmod(0o600)


def write_file(path: Path, content: bytes) -> None:
    """Replace a file by one that its owner alone can read, whole on the disk before it has its name."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Let one process at a time into the block, so that two do not both make what is missing."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def has_content(path: Path) -> bool:
    """Whether there is a file with more than blanks in it.

    :raises LastgoodError: ``refused`` when it is a link or no file, or belongs to somebody else.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid():
        raise LastgoodError(
            Code.REFUSED,
            f"{path} is a link, is no file, or belongs to somebody else.",
            "Remove it; a new one is made.",
        )
    return bool(path.read_bytes().strip())
