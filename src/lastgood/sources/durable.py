"""Small files that must be whole and must outlive a power cut: a provider's notes of what it keeps."""

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from lastgood.errors import Code, LastgoodError

Note = TypeVar("Note")


def write_note(path: Path, note: object) -> None:
    """Put ``note`` at ``path`` at once and for good; nobody ever sees half of it.

    :raises LastgoodError: ``storage``.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(msgspec.json.encode(note))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from None


def read_note(path: Path, kind: type[Note]) -> Note | None:
    """Return the note at ``path``, None when there is none.

    :raises LastgoodError: ``corrupt`` when it is not such a note, ``storage`` when it cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LastgoodError(
            Code.STORAGE,
            f"The note {path.name!r} cannot be read: {error.strerror}.",
            "Check the disk and the rights of its folder.",
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise LastgoodError(
            Code.CORRUPT, f"The note {path.name!r} is damaged.", "Capture the data again."
        ) from None


def sync_file(path: Path) -> None:
    """Return when the file's bytes are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Return when the folder's entries are on the disk."""
    sync_file(path)


def cannot_write(path: Path, error: OSError) -> LastgoodError:
    """Return the error for a file that could not be written."""
    return LastgoodError(
        Code.STORAGE,
        f"{path.name!r} cannot be written: {error.strerror}.",
        "Free some room on its disk and check the rights of its folder, then try again.",
    )
