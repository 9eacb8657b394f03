"""What a source remembers of its tokens, in its private folder: small JSON files, each written whole or not at all.

``<token>/<name>.json`` is freed with the token. ``-swapped/<token>.json`` stays: that a swap happened is true for ever,
and no token begins with a hyphen.
"""

import shutil
from pathlib import Path
from typing import Any, Final, TypeVar

from lastgood.sources.durable import read_note, write_note
from lastgood.sources.tokens import checked

_SWAPPED: Final = "-swapped"
_T = TypeVar("_T")


class Notes:
    """The private folder of one source."""

    def __init__(self, kept: Path) -> None:
        self._kept = kept

    def folder(self, token: str) -> Path:
        """Return where the files of a token are; it need not exist."""
        return self._kept / checked(token)

    def read(self, token: str, name: str, kind: type[_T]) -> _T | None:
        """Return what was noted, None when nothing was.

        :raises LastgoodError: ``corrupt`` when it is not what this source writes.
        """
        return read_note(self.folder(token) / f"{name}.json", kind)

    def write(self, token: str, name: str, value: Any) -> None:
        """Note a value; it is on disk when this returns."""
        write_note(self.folder(token) / f"{name}.json", value)

    def swap_of(self, token: str, kind: type[_T]) -> _T | None:
        """Return what was noted of the swap of ``token``, None when it has not happened, or was not noted yet."""
        return read_note(self._kept / _SWAPPED / f"{checked(token)}.json", kind)

    def note_swap(self, token: str, value: Any) -> None:
        """Note for ever that the swap of ``token`` happened."""
        write_note(self._kept / _SWAPPED / f"{checked(token)}.json", value)

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
