"""A folder that DVC tracks: what its cache holds already is not copied a second time.

The small files ``NAME.dvc`` and ``dvc.lock`` and the cache are read here; the tool itself need not be installed. A
restore leaves them alone: which state your project asks for stays your commit's to say.
"""

import configparser
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from lastgood.errors import Code, LastgoodError
from lastgood.sources.folder import SETTLE_SECONDS
from lastgood.sources.options import Options
from lastgood.sources.streams import Readable
from lastgood.sources.tracked_folder import TrackedFolder

_DIR: Final = ".dir"
_HEX: Final = frozenset("0123456789abcdef")


class _Member(msgspec.Struct, frozen=True):
    """One file of a tracked folder, as the cache's ``.dir`` objects list them."""

    md5: str
    relpath: str


def create(
    name: str, options: Mapping[str, Any], kept: Path, *, reached: Callable[[str], None] = lambda _: None
) -> TrackedFolder:
    """Return the source of one tracked folder.

    Options: ``path``, the folder; ``record``, the ``.dvc`` or ``dvc.lock`` file that tracks it (``PATH.dvc``, else the
    nearest ``dvc.lock`` above); ``cache``, the cache's folder (as the project's configuration says); ``settle_timeout``
    as for folders.
    """
    given = Options(name, options)
    path = given.path("path")
    record = given.path("record") if "record" in options else None
    cache = given.path("cache") if "cache" in options else None
    settle = given.seconds("settle_timeout", SETTLE_SECONDS)
    given.end()
    shelf = DvcShelf(path, record, cache)
    return TrackedFolder(name, path, kept, shelf, settle_seconds=settle, reached=reached)


class DvcShelf:
    """The :class:`~lastgood.sources.tracked_folder.Shelf` of one DVC cache. Pins are hard links, where it can be linked."""

    provider = "dvc"

    def __init__(self, path: Path, record: Path | None, cache: Path | None) -> None:
        self._path = path
        self._record = record
        self._cache = cache

    def recorded(self) -> dict[str, Any] | None:
        """Return the digest that the record gives the folder.

        :raises LastgoodError: ``invalid`` when there is no record, or it is none of DVC's.
        """
        record = self._record or self._found_record()
        try:
            with record.open(encoding="utf-8") as file:
                given = yaml.safe_load(file)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
            raise _odd_record(record, "cannot be read") from None
        for out in _outs(given, record):
            if Path(os.path.normpath(record.parent / str(out.get("path")))) == self._path:
                md5 = out.get("md5")
                if not isinstance(md5, str) or not _is_object(md5) or not md5.endswith(_DIR):
                    raise _odd_record(record, f"tracks {self._path.name!r} as something else than a folder")
                return {"md5": md5, "cache": str(self._cache_folder(record, out.get("hash") == "md5"))}
        raise _odd_record(record, f"does not track {self._path.name!r}")

    def contents(self, recorded: dict[str, Any], pins: Path) -> Iterator[tuple[str, Readable]]:
        """See the protocol."""
        for member in self._members(recorded, pins):
            with _open(recorded, member.md5, pins) as file:
                yield member.relpath, file

    def pin(self, token: str, recorded: dict[str, Any], pins: Path) -> None:
        """Link the objects into ``pins``; on another disk the cache alone holds them, and verifying tells if they go."""
        del token
        pins.mkdir(parents=True, exist_ok=True)
        try:
            _link(recorded, recorded["md5"], pins)
            for member in self._members(recorded, pins):
                _link(recorded, member.md5, pins)
        except LastgoodError:
            return  # reading it, which comes next, says what is missing

    def unpin(self, token: str) -> None:
        """Do nothing: the pins go with their folder."""

    def _members(self, recorded: dict[str, Any], pins: Path) -> list[_Member]:
        with _open(recorded, recorded["md5"], pins) as file:
            body = file.read()
        if hashlib.md5(body, usedforsecurity=False).hexdigest() != recorded["md5"].removesuffix(_DIR):
            raise _damaged(recorded["md5"])
        try:
            members = msgspec.json.decode(body, type=list[_Member])
        except msgspec.MsgspecError:
            raise _damaged(recorded["md5"]) from None
        if not all(_is_object(member.md5) for member in members):
            raise _damaged(recorded["md5"])
        return members

    def _found_record(self) -> Path:
        beside = self._path.with_name(f"{self._path.name}.dvc")
        places = [beside, *(above / "dvc.lock" for above in self._path.parents)]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise LastgoodError(
                Code.INVALID,
                f"Neither {beside.name!r} nor a dvc.lock tracks {self._path.name!r}.",
                "Name the file in the option 'record'.",
            )
        return found

    def _cache_folder(self, record: Path, current: bool) -> Path:
        """Return where objects are: DVC 3 has them by kind of hash, older versions have not."""
        cache = self._cache
        if cache is None:
            root = next((above for above in record.parents if (above / ".dvc").is_dir()), record.parent)
            cache = _configured(root) or root / ".dvc" / "cache"
        return cache / "files" / "md5" if current else cache


def _outs(given: Any, record: Path) -> list[dict[str, Any]]:
    """Return the outputs of a ``.dvc`` file, or those of all stages of a ``dvc.lock``."""
    if not isinstance(given, dict):
        raise _odd_record(record, "is no record of DVC's")
    holders = [given, *(given["stages"].values() if isinstance(given.get("stages"), dict) else ())]
    lists = [each.get("outs") for each in holders if isinstance(each, dict)]
    return [out for outs in lists if isinstance(outs, list) for out in outs if isinstance(out, dict)]


def _configured(root: Path) -> Path | None:
    """Return the cache folder that the project's configuration names, its local one first."""
    for name in ("config.local", "config"):
        reader = configparser.ConfigParser(interpolation=None)
        try:
            reader.read(root / ".dvc" / name, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            raise _odd_record(root / ".dvc" / name, "cannot be read") from None
        given = reader.get("cache", "dir", fallback=None)
        if given and "\0" in given:
            raise _odd_record(root / ".dvc" / name, "names no possible folder for the cache")
        if given:
            return Path(os.path.normpath(root / ".dvc" / given))
    return None


def _is_object(md5: str) -> bool:
    plain = md5.removesuffix(_DIR)
    return len(plain) == 32 and set(plain) <= _HEX


def _stored(recorded: dict[str, Any], md5: str) -> Path:
    return Path(recorded["cache"], md5[:2], md5[2:])


def _open(recorded: dict[str, Any], md5: str, pins: Path) -> Any:
    for place in (pins / md5, _stored(recorded, md5)):
        try:
            return place.open("rb")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise LastgoodError(
                Code.UNAVAILABLE,
                f"The object {md5} cannot be read: {error.strerror}.",
                "Check the cache's rights.",
            ) from None
    raise LastgoodError(
        Code.NOT_FOUND,
        f"The cache of DVC does not hold {md5} any more.",
        "Pull it again, or capture the data again.",
    )


def _link(recorded: dict[str, Any], md5: str, pins: Path) -> None:
    try:
        (pins / md5).hardlink_to(_stored(recorded, md5))
    except OSError:
        return  # pinned already, on another disk, or not there: reading it, which comes next, tells


def _odd_record(record: Path, why: str) -> LastgoodError:
    return LastgoodError(
        Code.INVALID, f"{record.name!r} {why}.", "Check the options 'path' and 'record' of the data source."
    )


def _damaged(md5: str) -> LastgoodError:
    return LastgoodError(
        Code.CORRUPT, f"The object {md5} in the cache of DVC is damaged.", "Pull it again from its remote."
    )
