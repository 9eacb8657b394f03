"""Artifacts by content address in a folder: ``sha256/ab/<hex>``, a file or a folder of files.

An artifact is copied into a draft, hashed on the way, made durable, and only then renamed to its address:
so whatever lies under an address is whole. What lies there is read-only and never changes.
"""

import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lastgood.errors import Code, LastgoodError
from lastgood.store.drafts import draft, sweep
from lastgood.wire.digest import ManifestEntry, digest_of, manifest_digest

_CHUNK_BYTES: Final = 1024 * 1024
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FolderBlobs:
    """The :class:`~lastgood.ports.Blobs` in a local folder. Any number of processes may share it."""

    def __init__(self, root: Path) -> None:
        """Make the folder when it is not there, and remove what dead processes left half-written.

        :raises LastgoodError: ``storage`` when the folder cannot be made or written.
        """
        self._root = root
        with self._explained(None):
            (root / "sha256").mkdir(parents=True, exist_ok=True)
            sweep(root)

    def put(self, source: Path) -> tuple[str, int]:
        """Store a file or folder and return (``sha256:<hex>``, bytes). Storing it again changes nothing.

        :raises LastgoodError: ``storage`` when the disk is full or the source cannot be read, ``invalid`` for
            links and special files, ``conflict`` when the source changes meanwhile.
        """
        with self._explained(source):
            start = source.resolve(strict=True)  # the path itself may be a link; nothing below it may
            with draft(self._root) as folder:
                content = folder / "content"
                if start.is_dir():
                    entries = _copy_folder(start, content)
                    digest, size = manifest_digest(entries), sum(entry.size_bytes for entry in entries)
                else:
                    digest, size = _copy_file(start, content)
                self._keep(content, digest, folder)
        return digest, size

    def path(self, digest: str) -> Path:
        """Return where the artifact lies, as a file or a folder, for reading only.

        :raises LastgoodError: ``not_found`` if it is not here.
        """
        place = self._place(digest)
        if place is None or not place.exists():
            raise LastgoodError(
                Code.NOT_FOUND,
                f"The artifact {digest} is not in {self._root}.",
                "Register the same file or folder again, or restore the blobs from a backup.",
            )
        return place

    def verify(self, digest: str) -> None:
        """Read the bytes back and compare.

        :raises LastgoodError: ``corrupt`` or ``not_found``, ``storage`` when they cannot be read.
        """
        path = self.path(digest)
        if not _intact(path, digest):
            raise LastgoodError(
                Code.CORRUPT,
                f"The bytes of the artifact {digest} have changed on disk.",
                "Register the same file or folder again, or restore the blobs from a backup.",
            )

    def _place(self, digest: str) -> Path | None:
        match = _DIGEST.fullmatch(digest)
        return None if match is None else self._root / "sha256" / match[1][:2] / match[1]

    def _keep(self, content: Path, digest: str, folder: Path) -> None:
        """Move the draft's content to its address, unless the same bytes are there already."""
        place = self._place(digest)
        assert place is not None
        place.parent.mkdir(exist_ok=True)
        if place.exists():
            if _intact(place, digest):
                return
            if place.is_dir():
                place.chmod(0o755)  # a read-only folder cannot be moved
            place.rename(folder / "damaged")
        try:
            content.rename(place)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            return  # somebody else put the same folder there in this moment
        if place.is_dir():
            place.chmod(0o555)
        _sync(place.parent)
        _sync(place.parent.parent)

    @contextmanager
    def _explained(self, source: Path | None) -> Iterator[None]:
        """Say what the operating system said in our words."""
        try:
            yield
        except OSError as error:
            if error.errno in _NO_ROOM:
                needed = f" It needs {_size(source):,} bytes;" if source is not None else ""
                free = shutil.disk_usage(self._root).free
                raise LastgoodError(
                    Code.STORAGE,
                    f"There is no room in {self._root} ({error.strerror}).{needed} {free:,} bytes are free. "
                    "Nothing was stored.",
                    "Free some space or raise the limit, then try again.",
                ) from error
            raise LastgoodError(
                Code.STORAGE,
                f"{error.filename or self._root}: {error.strerror or error}. Nothing was stored.",
                "Check that it exists and that this user may read it (and write to the blobs folder).",
            ) from error


def _copy_folder(source: Path, target: Path) -> list[ManifestEntry]:
    names = _listing(source)
    if not names:
        raise LastgoodError(
            Code.INVALID, f"{source} holds no files.", "Give the folder or file that holds the model."
        )
    entries = []
    target.mkdir()
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        entries.append(ManifestEntry(name, *_copy_file(source / name, target / name)))
    if _listing(source) != names:
        raise _moving(source)
    for parent, _, _ in os.walk(target, topdown=False):
        _sync(Path(parent))
        if Path(parent) != target:
            Path(parent).chmod(0o555)
    return entries


def _listing(folder: Path) -> list[str]:
    """Return the relative paths of all files below ``folder``, sorted; refuse what is no plain file."""
    found = []
    for parent, folders, files in os.walk(folder, onerror=_raise):
        for name in (*files, *folders):
            path = Path(parent, name)
            mode = path.lstat().st_mode
            if not stat.S_ISDIR(mode):
                _check_plain(path, mode)
                found.append(_utf8(path.relative_to(folder).as_posix(), folder))
    return sorted(found)


def _copy_file(source: Path, target: Path) -> tuple[str, int]:
    """Copy one file durably and read-only; return its digest and size."""
    digest, copied = hashlib.sha256(), 0
    _check_plain(source, source.lstat().st_mode)  # before opening: opening a pipe waits for its writer
    fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb", buffering=0) as reader, target.open("xb", buffering=0) as writer:
        before = os.fstat(reader.fileno())
        _check_plain(source, before.st_mode)
        while copied <= before.st_size and (chunk := reader.read(_CHUNK_BYTES)):
            digest.update(chunk)
            copied += len(chunk)
            _write_all(writer.fileno(), chunk)
        if copied != before.st_size or _shape(os.fstat(reader.fileno())) != _shape(before):
            raise _moving(source)
        os.fchmod(writer.fileno(), 0o444)
        os.fsync(writer.fileno())
    return f"sha256:{digest.hexdigest()}", copied


def _write_all(fd: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:  # a disk that is nearly full takes a part first
        rest = rest[os.write(fd, rest) :]


def _intact(path: Path, digest: str) -> bool:
    try:
        return digest_of(path)[0] == digest
    except LastgoodError as error:
        if error.code is Code.INVALID:  # a link, a special file, or an emptied folder
            return False
        raise


def _shape(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _size(source: Path) -> int:
    if source.is_dir():
        return sum(path.lstat().st_size for path in source.rglob("*") if path.is_file())
    return source.stat().st_size


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _check_plain(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise LastgoodError(
            Code.INVALID,
            f"{path} is a symbolic link or a special file: its bytes could change behind its digest.",
            "Put a copy of the file itself there.",
        )


def _utf8(name: str, folder: Path) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise LastgoodError(
            Code.INVALID, f"A file name in {folder} is not UTF-8: {name!r}.", "Rename that file."
        ) from None
    return name


def _moving(source: Path) -> LastgoodError:
    return LastgoodError(
        Code.CONFLICT,
        f"{source} changed while it was being copied. Nothing was stored.",
        "Wait until whatever writes it is done, then try again.",
    )


def _raise(error: OSError) -> None:
    raise error
