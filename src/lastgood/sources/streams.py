"""Open files of whatever client: something that can be read."""

import hashlib
from collections.abc import Iterator
from typing import Final, Protocol

_CHUNK_BYTES: Final = 1024 * 1024


class Readable(Protocol):
    """An open file."""

    def read(self, size: int, /) -> bytes:
        """Return some bytes, none at the end."""


def chunks(file: Readable) -> Iterator[bytes]:
    """Yield the rest of the file in pieces."""
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def stream_digest(file: Readable) -> str:
    """Return the digest of the rest of the file: ``sha256:`` and 64 hexadecimal digits."""
    seen = hashlib.sha256()
    for chunk in chunks(file):
        seen.update(chunk)
    return f"sha256:{seen.hexdigest()}"
