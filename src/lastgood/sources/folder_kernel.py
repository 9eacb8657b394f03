"""What the kernel can do with files that Python does not offer: exchanging two names, sharing blocks, one sync for all."""

import contextlib
import ctypes
import errno
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lastgood.errors import Code, LastgoodError

_EXCHANGE: Final = 2  # RENAME_EXCHANGE
_HERE: Final = -100  # AT_FDCWD
_CLONE: Final = 0x40049409  # FICLONE
_NOT_HERE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM, errno.EXDEV})
_NOT_EMPTY: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST})
_NOT_OURS: Final = frozenset({errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP})
_NO_CLONE: Final = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.ENOTSUP, errno.EXDEV, errno.EPERM}
)
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})
_OCTAL: Final = re.compile(r"\\([0-7]{3})")  # how the kernel writes blanks and the like
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


def check_exchange(live: Path, mark: str) -> None:
    """Try an exchange between two empty files beside ``live``, and whether ``live`` could be renamed at all.

    ``mark`` keeps the names apart from others'. Nobody can rename over a folder that is not empty; but a system that
    would not rename ``live`` in any case (a layer of a container's image, a folder of somebody else's) says so first.

    :raises LastgoodError: ``unavailable`` where that is not possible.
    :raises OSError: it may not be renamed.
    """
    names = [live.with_name(f".{mark}.{number}") for number in (1, 2, 3)]
    try:
        for name in names[:2]:
            name.touch()
        exchange(names[0], names[1])
        names[2].mkdir(exist_ok=True)
        for name in names[:2]:
            name.rename(names[2] / name.name)
        live.rename(names[2])
        names[2].rename(live)  # only if somebody emptied it in this very moment
    except OSError as error:
        if error.errno in _NOT_EMPTY:
            return
        if error.errno not in _NOT_HERE:
            raise
        raise LastgoodError(
            Code.UNAVAILABLE,
            f"{live.name!r} and a folder beside it cannot be exchanged in one step.",
            "Put the data on ext4, XFS, Btrfs or tmpfs with Linux 3.15 or later: in a container, on a volume.",
        ) from None
    finally:
        for name in names[:2]:
            name.unlink(missing_ok=True)
            (names[2] / name.name).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            names[2].rmdir()


def clone(source: int, target: int) -> bool:
    """Let the open file ``target`` share the blocks of ``source``; False where the file system cannot."""
    try:
        fcntl.ioctl(target, _CLONE, source)
    except OSError as error:
        if error.errno in _NO_CLONE:
            return False
        raise
    return True


def data_in(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield where an open file of ``size`` bytes holds data, begin and end; what is between is holes and takes no room."""
    at = 0
    while at < size:
        try:
            begin = os.lseek(file, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            begin = at  # the file system does not tell
            at = size
        else:
            at = min(size, os.lseek(file, begin, os.SEEK_HOLE))
        yield begin, at


def copy_owner(source: Path, new: Path) -> None:
    """Give ``new`` owner and group of ``source``, as far as this process may: root everything, others their groups."""
    old, now = source.lstat(), new.lstat()
    if (old.st_uid, old.st_gid) == (now.st_uid, now.st_gid):
        return
    for user, group in ((-1, old.st_gid), (old.st_uid, -1)):
        try:
            os.chown(new, user, group, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NOT_OURS:
                raise


def mounted_in(folder: Path) -> str | None:
    """Return where another file system, or a part of one, is mounted on ``folder`` or inside it; None where none is."""
    real = os.path.realpath(folder)
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:  # a system that does not tell: what can be seen from outside
        return real if os.path.ismount(real) else None
    for mount in mounts.splitlines():
        place = _OCTAL.sub(lambda found: chr(int(found[1], 8)), mount.split(" ")[4])
        if place == real or place.startswith(real + os.sep):
            return place
    return None


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
    """Return our error for the system's; the file at fault is named, without the folders that it is in."""
    name = repr(Path(error.filename).name) if isinstance(error.filename, str) else "''"
    if name not in (what, "''"):
        what = f"{what} ({name})"
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
