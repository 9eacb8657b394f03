"""The content address of an artifact: the same for the store that keeps it and for the host that loads it.

A file's digest is the sha256 of its bytes. A folder's digest is the sha256 of its manifest: the sorted
relative paths of all files in it, each with the sha256 of its bytes, as JSON. Times, owners, modes and
empty folders do not count. Symbolic links and special files are refused: their bytes lie elsewhere.
"""

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from lastgood.errors import Code, LastgoodError

_CHUNK_BYTES: Final = 1024 * 1024


class ManifestEntry(msgspec.Struct, frozen=True):
    """One file of a folder: its path below it with ``/``, its digest (``sha256:<hex>``) and its size."""

    path: str
    digest: str
    size_bytes: int


def digest_of(path: Path) -> tuple[str, int]:
    """Read the artifact and return its digest (``sha256:<hex>``) and its size in bytes.

    :raises LastgoodError: ``not_found`` if nothing is there, ``invalid`` for a link, a special file or an
        empty folder, ``storage`` if it cannot be read.
    """
    if stat.S_ISDIR(_mode(path)):
        entries = manifest_of(path)
        return manifest_digest(entries), sum(entry.size_bytes for entry in entries)
    return _file_digest(path)


def manifest_of(folder: Path) -> tuple[ManifestEntry, ...]:
    """Read every file below ``folder`` and return their entries, sorted by path.

    :raises LastgoodError: as :func:`digest_of`.
    """
    entries = []
    for parent, folders, files in os.walk(folder, onerror=_refuse_folder):
        for name in files + [name for name in folders if Path(parent, name).is_symlink()]:
            found = Path(parent, name)
            digest, size_bytes = _file_digest(found)
            entries.append(ManifestEntry(_relative(found, folder), digest, size_bytes))
    if not entries:
        raise LastgoodError(
            Code.INVALID, f"{folder} holds no files.", "Give the folder or file that holds the model."
        )
    return tuple(sorted(entries, key=lambda entry: entry.path))


def manifest_digest(entries: Iterable[ManifestEntry]) -> str:
    """Return the digest of a folder with these files, in whatever order they come."""
    lines = sorted((entry.path, entry.digest) for entry in entries)
    return f"sha256:{hashlib.sha256(msgspec.json.encode(lines)).hexdigest()}"


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        raise LastgoodError(Code.NOT_FOUND, f"There is nothing at {path}.", "Check the path.") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _file_digest(path: Path) -> tuple[str, int]:
    if not stat.S_ISREG(_mode(path)):
        raise LastgoodError(
            Code.INVALID,
            f"{path} is a symbolic link or a special file: its bytes could change behind its digest.",
            "Put a copy of the file itself there.",
        )
    digest, size_bytes = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                size_bytes += len(chunk)
    except OSError as error:
        raise _unreadable(path, error) from None
    return f"sha256:{digest.hexdigest()}", size_bytes


def _relative(path: Path, folder: Path) -> str:
    name = path.relative_to(folder).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError:
        raise LastgoodError(
            Code.INVALID, f"A file name in {folder} is not UTF-8: {name!r}.", "Rename that file."
        ) from None
    return name


def _refuse_folder(error: OSError) -> None:
    raise _unreadable(Path(error.filename), error)


def _unreadable(path: Path, error: OSError) -> LastgoodError:
    return LastgoodError(
        Code.STORAGE, f"{path} cannot be read: {error.strerror or error}.", "Check its permissions."
    )
