"""The data contract of a version that is being registered: what a person asks to be seen, and what a file beside it says."""

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
    file = _read_file(artifact)
    if file is None and not asked:
        return None
    needs = {} if file is None else dict(file.needs)
    for source in dict.fromkeys(asked):
        live = schema(source)
        if file is not None and source in file.needs:
            file.check_fits(source, live)
        else:
            needs[source] = live
    return needs


def _read_file(artifact: Path) -> DataFile | None:
    """Read the file in the artifact's folder, or else the one beside the artifact."""
    whole = artifact.resolve()
    folders = (whole, whole.parent) if whole.is_dir() else (whole.parent,)
    path = next((folder / DATA_FILE for folder in folders if (folder / DATA_FILE).exists()), None)
    if path is None:
        return None
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
    here = Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return parse_data_file(text, source=str(shown))
