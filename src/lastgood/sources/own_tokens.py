"""Tokens of one home alone: what another home kept under an equal token, in the same live data, is not taken for ours.

Releases are numbered anew in each home, so two homes, or one that was deleted and begun again, come to equal tokens;
live data remembers tokens for ever. Providers see each token with the home's mark behind it, everybody else sees it plain.
"""

import re
import secrets
from pathlib import Path
from typing import Final

import msgspec

from lastgood.data_ports import DataSource
from lastgood.domain.snapshot import Quarantine, Schema, Snapshot
from lastgood.errors import Code, LastgoodError
from lastgood.sources.tokens import checked
from lastgood.wire import private

_FILE: Final = "-home"  # no source has a name with a hyphen
_MARK_BYTES: Final = 4
_MARK: Final = re.compile(rb"[0-9a-f]{8}")


def home_mark(kept_data: Path) -> str:
    """Return the mark of the home whose sources keep files in ``kept_data``; it is made with the first source.

    :raises LastgoodError: ``refused`` when its file is a link or somebody else's, ``corrupt`` when it is no mark.
    """
    path = kept_data / _FILE
    with private.turn(kept_data):
        if not private.has_content(path):
            private.write_file(path, f"{secrets.token_hex(_MARK_BYTES)}\n".encode())
        mark = path.read_bytes().strip()
    if _MARK.fullmatch(mark) is None:
        raise LastgoodError(
            Code.CORRUPT,
            f"{path} is damaged; it tells this home's snapshots from those of others.",
            "Bring it back from a backup. Without it, remove it: what is kept of live data cannot be found then.",
        )
    return mark.decode()


class OwnTokens:
    """A :class:`~lastgood.data_ports.DataSource` whose tokens are ``mark``'s alone."""

    def __init__(self, source: DataSource, mark: str) -> None:
        self._source = source
        self._end = f"_{mark}"

    def schema(self) -> Schema:
        """See the port."""
        return self._source.schema()

    def capture(self, token: str) -> Snapshot:
        """See the port."""
        return self._plain(self._source.capture(self._own(token)))

    def verify(self, snapshot: Snapshot) -> None:
        """See the port."""
        self._source.verify(self._marked(snapshot))

    def stage_restore(self, snapshot: Snapshot, token: str) -> None:
        """See the port."""
        self._source.stage_restore(self._marked(snapshot), self._own(token))

    def swap(self, token: str) -> None:
        """See the port."""
        self._source.swap(self._own(token))

    def swapped(self, token: str) -> bool:
        """See the port."""
        return self._source.swapped(self._own(token))

    def quarantine(self, snapshot: Snapshot, token: str, exports: Path) -> Quarantine:
        """See the port."""
        found = self._source.quarantine(self._marked(snapshot), self._own(token), exports)
        return msgspec.structs.replace(
            found, token=token, since=found.since.removesuffix(self._end), kept=self._plain(found.kept)
        )

    def release(self, token: str) -> int:
        """See the port."""
        return self._source.release(self._own(token))

    def room(self) -> int | None:
        """See the port."""
        return self._source.room()

    def size(self) -> int | None:
        """See the port."""
        return self._source.size()

    def _own(self, token: str) -> str:
        return checked(checked(token) + self._end)

    def _marked(self, snapshot: Snapshot) -> Snapshot:
        return msgspec.structs.replace(snapshot, token=self._own(snapshot.token))

    def _plain(self, snapshot: Snapshot) -> Snapshot:
        return msgspec.structs.replace(snapshot, token=snapshot.token.removesuffix(self._end))
