"""Secrets of data sources: options hold a reference, the secret itself is read when it is needed."""

import os
from pathlib import Path
from typing import Final

from lastgood.errors import Code, LastgoodError

_KINDS: Final = ("env", "file")
_BYTES_MAX: Final = 4096


def is_reference(text: str) -> bool:
    """Return whether ``text`` is ``env:NAME`` or ``file:PATH``."""
    kind, _, place = text.partition(":")
    return kind in _KINDS and bool(place)


def secret(reference: str) -> str:
    """Return what ``env:NAME`` holds, or the first line of ``file:PATH``. Never put it in an error, a log or a note.

    :raises LastgoodError: ``invalid`` when it is no reference, ``unavailable`` when nothing is there.
    """
    if not is_reference(reference):
        raise LastgoodError(
            Code.INVALID,
            "A secret of a data source is given in full.",
            "Put it in the environment or a file, and write env:NAME or file:PATH.",
        )
    kind, _, place = reference.partition(":")
    try:
        text = os.environ[place] if kind == "env" else _first_line(Path(place))
    except (KeyError, OSError, UnicodeDecodeError):
        text = ""
    if not text:
        raise LastgoodError(
            Code.UNAVAILABLE,
            f"The secret of a data source is not at {kind}:{place}.",
            "Set it where the server runs.",
        )
    return text


def _first_line(path: Path) -> str:
    with path.expanduser().open("rb") as file:
        return file.read(_BYTES_MAX).decode().partition("\n")[0].strip()
