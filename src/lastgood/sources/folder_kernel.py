"""What the kernel can do with files that Python does not offer: exchanging two names, sharing blocks, one sync for all."""

import ctypes
import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from lastgood.errors import Code, LastgoodError

_EXCHANGE: Final = 2  # RENAME_EXCHANGE
_HERE: Final = -100  # AT_FDCWD
_CLONE: Final = 0x40049409  # FICLONE
_NOT_HERE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM})
_NO_CLONE: Final = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.ENOTSUP, errno.EXDEV, errno.EPERM}
)
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})
_libc: Final = ctypes.CDLL(None, use_errno=True)


def exchange(one: Path, other: Path) -> None:
    """Exchange what two names of one file system stand for, in one step that every process sees whole.

    :raises OSError: ``EINVAL`` or ``ENOSYS`` where kernel or file system cannot.
    """
    try:
        rename = _libc.renameat2
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(one)) from None
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one))


def check_exchange(folder: Path, mark: str) -> None:
    """Try an exchange between two empty files in ``folder``; ``mark`` keeps their names apart from others'.

    :raises LastgoodError: ``unavailable`` where that is not possible.
    """
    names = [folder / f".{mark}.{number}" for number in (1, 2)]
    try:
        for name in names:
            name.touch()
        exchange(*names)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
        raise LastgoodError(
            Code.UNAVAILABLE,
            f"The file system of {folder.name!r} cannot exchange two folders in one step.",
            "Put the data on ext4, XFS, Btrfs or tmpfs with Linux 3.15 or later.",
        ) from None
    finally:
        for name in names:
            name.unlink(missing_ok=True)


def clone(source: int, target: int) -> bool:
    """Let the open file ``target`` share the blocks of ``source``; False where the file system cannot."""
    try:
        fcntl.ioctl(target, _CLONE, source)
    except OSError as error:
        if error.errno in _NO_CLONE:
            return False
        raise
    return True


def sync_file_system(folder: Path) -> None:
    """Return when everything written to the file system of ``folder`` is on the disk: one call for many files."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def explained(error: OSError, what: str) -> LastgoodError:
    """Return our error for the system's."""
    if error.errno in _NO_ROOM:
        return LastgoodError(
            Code.STORAGE, f"{what} could not be written: {error.strerror}.", "Free some room, then try again."
        )
    if error.errno == errno.ENOENT:
        return LastgoodError(
            Code.NOT_FOUND, f"{what} is not there.", "Check the option 'path' of the source."
        )
    return LastgoodError(
        Code.UNAVAILABLE, f"{what} cannot be used: {error.strerror}.", "Check its rights, then try again."
    )
