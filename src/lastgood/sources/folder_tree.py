"""What is in a folder: looking at it, hashing it, copying it, and telling whether it changed meanwhile."""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from lastgood.errors import Code, LastgoodError
from lastgood.sources.digest import file_digest, value_digest
from lastgood.sources.folder_kernel import clone, copy_owner, data_in

_WORKERS: Final = 2
_BLOCK: Final = 512  # what the system counts a file's room in
_NO_LINK: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP})  # copied then
FILE: Final = "file"
FOLDER: Final = "folder"
LINK: Final = "link"


class Entry(msgspec.Struct, frozen=True, order=True):
    """One thing in a folder. ``content`` is a file's digest or a link's target; ``mode`` are the permission bits."""

    path: str
    kind: str
    mode: int = 0
    size: int = 0
    content: str = ""


class Manifest(msgspec.Struct, frozen=True):
    """Everything in a folder, sorted by path; the folder itself is ``.``."""

    entries: tuple[Entry, ...]

    def digest(self) -> str:
        """Return the digest of the content."""
        return value_digest([msgspec.to_builtins(entry) for entry in self.entries])

    def files(self) -> tuple[Entry, ...]:
        """Return the files and links."""
        return tuple(entry for entry in self.entries if entry.kind != FOLDER)

    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(entry.size for entry in self.entries)


class Seen(msgspec.Struct, frozen=True):
    """One thing as a look saw it. Equal looks at a folder mean that nothing in it changed between them.

    That holds for changes further apart than the clock of file times ticks; ``folder_keep`` sees to the others.
    """

    kind: str
    mode: int
    size: int
    inode: int
    changed: int
    target: str = ""


Look = dict[str, Seen]


def look(root: Path, *, linking: bool = False, strict: bool = False) -> Look:
    """Look at everything in a folder without reading any file.

    ``linking`` leaves out when files' inodes changed: making a hard link changes that too. ``strict`` is how live data is
    looked at that is to be captured; what was replaced is kept whatever is in it, and pipes and devices are left out.

    :raises LastgoodError: ``refused``, when strict, for a link that leads outside, for pipes and devices, and for a name
        or a link that is no text.
    :raises OSError: the folder is not there, or cannot be read. What goes away during the look is left out.
    """
    real = os.path.realpath(root)
    seen: Look = {".": _seen(os.lstat(real), "", linking=linking)}
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            found = list(os.scandir(os.path.join(real, inside)))  # noqa: PTH118  # many calls; Path is slow
        except FileNotFoundError:
            if not inside:
                raise
            continue
        for each in found:
            path = f"{inside}/{each.name}" if inside else each.name
            try:
                what = each.stat(follow_symlinks=False)
                target = os.readlink(each.path) if stat.S_ISLNK(what.st_mode) else ""  # noqa: PTH115  # as above
            except FileNotFoundError:
                continue
            if strict:
                _refuse(real, path, what, target)
            if _is_kept(what.st_mode):
                seen[path] = _seen(what, target, linking=linking)
                if seen[path].kind == FOLDER:
                    waiting.append(path)
    return seen


def _is_kept(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def _refuse(real: str, path: str, found: os.stat_result, target: str) -> None:
    try:
        path.encode()
        target.encode()
    except UnicodeEncodeError:
        raise LastgoodError(
            Code.REFUSED,
            f"The name {path!r}, or what it links to, is not UTF-8.",
            "Rename the file; its name could not be kept.",
        ) from None
    if target:
        whole = os.path.realpath(os.path.join(real, path))  # noqa: PTH118  # many calls; Path is slow
        if os.path.isabs(target) or not (whole == real or whole.startswith(real + os.sep)):  # noqa: PTH117
            raise LastgoodError(
                Code.REFUSED,
                f"The symbolic link {path!r} leads outside the folder.",
                "Make it relative and keep it inside, or put the file itself there.",
            )
    if not _is_kept(found.st_mode):
        raise LastgoodError(
            Code.REFUSED,
            f"{path!r} is neither a file nor a folder.",
            "Keep pipes, sockets and devices elsewhere.",
        )


def _seen(found: os.stat_result, target: str, *, linking: bool) -> Seen:
    kind = FOLDER if stat.S_ISDIR(found.st_mode) else LINK if stat.S_ISLNK(found.st_mode) else FILE
    size = found.st_size if kind == FILE else 0
    mode = 0 if kind == LINK else stat.S_IMODE(found.st_mode)
    changed = found.st_mtime_ns if linking else max(found.st_mtime_ns, found.st_ctime_ns)
    return Seen(kind, mode, size, found.st_ino, changed, target)


def bytes_on_disk(root: Path, seen: Look) -> int:
    """Return the room that the files take: less than their sizes where they have holes."""
    total = 0
    for path, each in seen.items():
        if each.kind == FILE:
            with contextlib.suppress(FileNotFoundError):  # gone since the look
                found = os.lstat(os.path.join(root, path))  # noqa: PTH118  # many calls; Path is slow
                total += min(found.st_size, found.st_blocks * _BLOCK)
    return total


def plain(text: str) -> str:
    """Return a path or a link as JSON can hold it: bytes that are no UTF-8 are written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def manifest_of(root: Path, seen: Look) -> Manifest:
    """Hash every file of a look.

    :raises OSError: one went away or cannot be read.
    """
    names = [path for path, each in seen.items() if each.kind == FILE]
    with ThreadPoolExecutor(_WORKERS) as pool:  # hashing runs outside the interpreter's lock
        digests = dict(zip(names, pool.map(lambda path: file_digest(root / path), names), strict=True))
    entries = (
        Entry(plain(path), each.kind, each.mode, each.size, digests.get(path, plain(each.target)))
        for path, each in seen.items()
    )
    return Manifest(tuple(sorted(entries)))


def copy_tree(source: Path, target: Path, seen: Look, *, link: bool) -> None:
    """Copy what a look saw into ``target``, which need not exist; what is there under the same name is replaced.

    ``link`` makes hard links of files, else they share their blocks where the file system can. Times, modes and
    extended attributes come along.

    :raises OSError: no room, or something went away meanwhile.
    """
    folders = [path for path, each in sorted(seen.items()) if each.kind == FOLDER]
    for path in folders:
        (target / path).mkdir(parents=True, exist_ok=True)
        (target / path).chmod(0o700)
    place: Callable[[Path, Path], None] = _hard_link if link else _copy_file

    def one(path: str) -> None:
        new = target / path
        new.unlink(missing_ok=True)
        if seen[path].kind == LINK:
            new.symlink_to(seen[path].target)
            copy_owner(source / path, new)
            shutil.copystat(source / path, new, follow_symlinks=False)
        else:
            place(source / path, new)

    with ThreadPoolExecutor(_WORKERS) as pool:
        for _ in pool.map(one, [path for path, each in seen.items() if each.kind != FOLDER]):
            pass  # takes the errors
    for path in reversed(folders):  # inner ones first: making things inside changes a folder's time
        copy_owner(source / path, target / path)
        shutil.copystat(source / path, target / path)


def _hard_link(source: Path, new: Path) -> None:
    try:
        new.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        _copy_file(source, new)


def _copy_file(source: Path, new: Path) -> None:
    with source.open("rb") as old, new.open("xb") as file:
        if not clone(old.fileno(), file.fileno()) and not _in_kernel(old.fileno(), file.fileno()):
            old.seek(0)  # asking where its holes are has moved it
            shutil.copyfileobj(old, file, 1 << 20)
    copy_owner(source, new)
    shutil.copystat(source, new)


def _in_kernel(source: int, target: int) -> bool:
    """Copy without passing through this process; False, with nothing copied, where the kernel cannot."""
    size = os.fstat(source).st_size
    start = copied = 0
    for begin, end in data_in(source, size):
        start = begin
        while start < end:
            try:
                done = os.copy_file_range(source, target, end - start, start, start)
            except OSError:
                if copied:
                    raise
                return False
            if done == 0:
                break
            start += done
            copied += done
    if size > start:
        os.truncate(target, size)  # a hole at its end
    return True


def remove_tree(root: Path) -> int:
    """Delete a folder with everything in it; return the bytes of files that nothing else holds, 0 when it is not there."""
    if not root.is_dir():
        return 0
    freed = 0
    for inside, folders, files in os.walk(root, topdown=True):
        for name in folders:
            path = Path(inside, name)
            if not path.is_symlink():
                _open_up(path)
        for name in files:
            found = Path(inside, name).lstat()
            freed += found.st_size if found.st_nlink == 1 else 0
    _open_up(root)
    shutil.rmtree(root)
    return freed


def give_up(root: Path) -> None:
    """Delete what was begun, as far as that is possible: why it was given up is the error that matters."""
    with contextlib.suppress(OSError):
        remove_tree(root)


def _open_up(folder: Path) -> None:
    with contextlib.suppress(PermissionError):  # somebody else's: deleting what is in it tells whether we may
        folder.chmod(0o700)  # a read-only folder keeps what is in it
