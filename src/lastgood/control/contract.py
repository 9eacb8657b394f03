"""The data contract of a version that is being registered: what a person asks to be seen, and what a file beside it says."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from lastgood.domain.data_file import DATA_FILE, DataFile, parse_data_file
from lastgood.domain.placed_yaml import MAX_CHARACTERS
from lastgood.domain.snapshot import Schema
from lastgood.errors import Code, LastgoodError


def read_contract(
    artifact: Path, asked: Sequence[str], schema: Callable[[str], Schema]
) -> dict[str, Schema] | None:
    """Return what the version needs, by source; None where nobody says anything.

    Of each source in ``asked``, all that ``schema`` sees today is needed; where the file names that source too, only what
    the file says, and today's data must have it.

    :raises LastgoodError: ``invalid`` for a file that cannot be used or does not fit, or as ``schema`` does.
    """
    place = _place(artifact)
    file = None if place is None else _read_file(place)
    if (file is None or not file.has_needs) and not asked:
        return None
    needs = {} if file is None else dict(file.needs)
    for source in dict.fromkeys(asked):
        live = schema(source)
        if file is not None and source in file.needs:
            file.check_fits(source, live)
        else:
            needs[source] = live
    return needs


def reference_beside(artifact: Path) -> tuple[Path, tuple[str, ...]] | None:
    """Return the file that the version was trained on, as the file beside the artifact names it, and the columns to leave out.

    :raises LastgoodError: ``invalid`` for a file that cannot be used, or names one that is not in its own folder: an artifact
        that comes from elsewhere must not choose what is read here.
    """
    place = _place(artifact)
    file = None if place is None else _read_file(place)
    if place is None or file is None or file.reference is None:
        return None
    named = place.parent / file.reference.file
    if not Path(os.path.realpath(named)).is_relative_to(place.parent):
        raise file.outside()
    return _shown(named), file.reference.without


def _place(artifact: Path) -> Path | None:
    """Return the file in the artifact's folder, or else the one beside the artifact; None where there is neither."""
    whole = artifact.resolve()
    folders = (whole, whole.parent) if whole.is_dir() else (whole.parent,)
    return next((folder / DATA_FILE for folder in folders if (folder / DATA_FILE).exists()), None)


def _shown(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _read_file(path: Path) -> DataFile:
    try:
        if not path.is_file():
            raise LastgoodError(Code.INVALID, f"{path} is not a file.", "Rename it, or make it a file.")
        with path.open(encoding="utf-8") as lines:
            text = lines.read(MAX_CHARACTERS + 1)
    except UnicodeDecodeError:
        raise LastgoodError(Code.INVALID, f"{path} is not UTF-8 text.", "Save it as UTF-8.") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise LastgoodError(
            Code.STORAGE, f"{path} cannot be read: {why}.", "Check its permissions."
        ) from None
    return parse_data_file(text, source=str(_shown(path)))
