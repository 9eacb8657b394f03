"""Values as JSON text and back: the one seam between frozen values and rows.

A field that this code does not know is passed over, and one that an older code did not write takes its
default: so two neighbouring releases of Lastgood can share a database. A layout that cannot be read so
gets a new :data:`FORMAT`.
"""

import hashlib
from typing import Any, Final, TypeVar

import msgspec

from lastgood.errors import Code, LastgoodError

FORMAT: Final = 1
T = TypeVar("T")
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


def to_text(value: object) -> str:
    """Return ``value`` as JSON."""
    return msgspec.json.encode(value).decode()


def fingerprint(text: str) -> str:
    """Return the hash by which the record knows a stored document."""
    return hashlib.sha256(text.encode()).hexdigest()


def from_text(text: str, kind: type[T], written_in: int = FORMAT) -> T:
    """Return the value that ``text`` holds.

    :raises LastgoodError: ``storage`` when a newer Lastgood wrote it in a way that this one cannot read.
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        if written_in <= FORMAT:
            value: T = decoder.decode(text)
            return value
        reason = f"format {written_in} is newer than {FORMAT}"
    except msgspec.DecodeError as error:
        reason = str(error)
    raise LastgoodError(
        Code.STORAGE,
        f"A stored {kind.__name__.lower()} cannot be read: {reason}.",
        "If a newer Lastgood wrote it, use that one. Otherwise restore the database from a backup.",
    )


def plain(data: dict[str, Any]) -> dict[str, Any]:
    """Return ``data`` as it will be when it is read back, so that a hash over it holds then too."""
    same: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(data))
    return same
