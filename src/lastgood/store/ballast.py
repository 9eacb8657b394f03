"""Ballast: room on the disk that is kept for the way back, as a file that can be let go of.

A full disk must not stop a rollback, which needs a few kilobytes of the database. So a file of four megabytes
lies beside it, really allocated, and is removed when a change that leads back finds no room.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

BYTES: Final = 4 * 1024 * 1024
"""Room for some hundred changes."""
_ROOM_FACTOR: Final = 2  # never take the last room: that is what others wait for
_NOT_NOW: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EOPNOTSUPP}
)


def keep(path: Path) -> bool:
    """Make the ballast at ``path`` if it is not there whole; return whether it is there then.

    Without enough room, or without leave to write, there is none: that is no reason not to start.
    """
    if _whole(path):
        return True
    room = os.statvfs(path.parent)
    if room.f_bavail * room.f_frsize < BYTES * _ROOM_FACTOR:
        return False
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(file, 0, BYTES)
        finally:
            os.close(file)
    except OSError as error:
        if error.errno not in _NOT_NOW:
            raise
        drop(path)
    return _whole(path)


def drop(path: Path) -> bool:
    """Let go of the ballast; return whether there was any."""
    with suppress(FileNotFoundError, PermissionError):
        path.unlink()
        return True
    return False


def _whole(path: Path) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return status.st_size >= BYTES and status.st_blocks * 512 >= BYTES
