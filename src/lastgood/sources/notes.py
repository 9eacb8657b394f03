"""What a source remembers of its tokens, in its private folder: small JSON files, each written whole or not at all.

``<token>/<name>.json`` is freed with the token. ``-swapped/<token>.json`` stays: that a swap happened is true for ever,
and no token begins with a hyphen.
"""

import os
import re
import shutil
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from lastgood.errors import Code, LastgoodError

_TOKEN: Final = re.compile(r"[a-z0-9_]{1,40}")
_SWAPPED: Final = "-swapped"
_T = TypeVar("_T")


def check_token(token: str) -> str:
    """Return the token.

    :raises LastgoodError: ``invalid`` when it is not 1 to 40 of ``a-z``, ``0-9`` and ``_``: it becomes a file name.
    """
    if _TOKEN.fullmatch(token) is None:
        raise LastgoodError(
            Code.INVALID,
            f"{token[:60]!r} is not a token.",
            "Use 1 to 40 letters a-z, digits and underscores.",
        )
    return token


class Notes:
    """The private folder of one source."""

    def __init__(self, kept: Path) -> None:
        self._kept = kept

    def folder(self, token: str) -> Path:
        """Return where the files of a token are; it need not exist."""
        return self._kept / check_token(token)

    def read(self, token: str, name: str, kind: type[_T]) -> _T | None:
        """Return what was noted, None when nothing was.

        :raises LastgoodError: ``corrupt`` when it is not what this source writes.
        """
        return _read(self.folder(token) / f"{name}.json", kind)

    def write(self, token: str, name: str, value: Any) -> None:
        """Note a value; it is on disk when this returns."""
        _write(self.folder(token) / f"{name}.json", value)

    def swap_of(self, token: str, kind: type[_T]) -> _T | None:
        """Return what was noted of the swap of ``token``, None when it has not happened, or was not noted yet."""
        return _read(self._kept / _SWAPPED / f"{check_token(token)}.json", kind)

    def note_swap(self, token: str, value: Any) -> None:
        """Note for ever that the swap of ``token`` happened."""
        _write(self._kept / _SWAPPED / f"{check_token(token)}.json", value)

    def drop(self, token: str, name: str) -> None:
        """Forget one note; it need not exist."""
        (self.folder(token) / f"{name}.json").unlink(missing_ok=True)

    def remove(self, token: str) -> int:
        """Delete all files of a token and return how many bytes they were; hard links to files elsewhere free nothing."""
        folder = self.folder(token)
        if not folder.is_dir():
            return 0
        held = [path.lstat() for path in folder.rglob("*") if not path.is_dir()]
        shutil.rmtree(folder)
        return sum(file.st_size for file in held if file.st_nlink == 1)

    def room(self) -> int:
        """Return the free bytes of the disk that the folder is on."""
        self._kept.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self._kept).free


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError:
        raise LastgoodError(
            Code.CORRUPT, f"The note {path.name} of {path.parent.name!r} is damaged.", "Capture again."
        ) from None
    except OSError as error:
        raise _storage("read", path, error) from None


def _write(path: Path, value: Any) -> None:
    beside = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(msgspec.json.encode(value))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _storage("write", path, error) from None


def _storage(what: str, path: Path, error: OSError) -> LastgoodError:
    return LastgoodError(
        Code.STORAGE,
        f"Could not {what} {path.name} of {path.parent.name!r}: {error.strerror}.",
        "Make room, or give the server access to its folder.",
    )
