"""Hard links to the files of Delta tables on this machine: cleaning a table takes its names away, and not what we hold.

The format has no pins of its own. Data files never change once they are written, so a link is as good as a copy and takes
no room before the table's own name is gone. What is needed again gets that name back.
"""

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_FOLDER: Final = "pins"


class DeltaPins:
    """The pins of one table, by token below the source's folder ``kept``; none where the table is not on its disk."""

    def __init__(self, uri: str, kept: Path) -> None:
        parts = urlsplit(uri)
        is_local = parts.scheme in ("", "file")
        self._table = Path(unquote(parts.path) if parts.scheme else uri) if is_local else None
        self._kept = kept

    def hold(self, token: str, files: Iterable[str]) -> None:
        """Link the files, as far as they are there and can be linked: verifying tells of those that go. Idempotent."""
        if self._table is None:
            return
        folder = self._kept / token / _FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            with contextlib.suppress(OSError):  # held already, gone, or on another disk
                (folder / _name(file)).hardlink_to(self._table / file)

    def held(self, file: str) -> Path | None:
        """Return a link to a file of the table, None where none is held."""
        return next(iter(self._kept.glob(f"*/{_FOLDER}/{_name(file)}")), None)

    def bring_back(self, files: Iterable[str]) -> None:
        """Give files that were cleaned away their names in the table again.

        :raises OSError: the table's folder cannot be written to.
        """
        if self._table is None:
            return
        for file in files:
            place = self._table / file
            pin = None if place.exists() else self.held(file)
            if pin is not None:
                place.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileExistsError):
                    place.hardlink_to(pin)


def _name(file: str) -> str:
    return hashlib.sha256(file.encode()).hexdigest()[:32]
