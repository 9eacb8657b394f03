"""Whether two sources of the settings are the same data, however each is spelt: then nothing would keep their releases apart."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from lastgood.errors import Code, LastgoodError
from lastgood.sources.secrets import is_reference, secret

_HERE: Final = frozenset({"", "localhost", "127.0.0.1", "::1", "[::1]"})
_DEFAULT_PORT: Final = "5432"
_LOCAL: Final = frozenset({"", "file"})

Place = tuple[str, ...]


def check_one_name(name: str, sources: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a source whose data another table of the settings names, too, or holds, or lies in.

    ``sources`` are the options by name, with absolute paths. Data of programs, and data whose address is not known now,
    cannot be compared.

    :raises LastgoodError: ``invalid``, naming the other table and no address.
    """
    mine = _place(sources[name])
    for other, options in sources.items():
        if mine is None or other == name:
            continue
        if _overlap(mine, _place(options)):
            raise LastgoodError(
                Code.INVALID,
                f"The data sources {name!r} and {other!r} of the settings are the same data, or one holds the other: "
                "nothing would keep their releases apart.",
                f"Keep one of the tables [data.{name}] and [data.{other}], and name that one in plans and contracts.",
            )


def _place(options: Mapping[str, Any]) -> Place | None:
    """Return where data is: links followed, defaults filled in, names of this machine made one. None when nobody can say."""
    path, uri, url = options.get("path"), options.get("uri"), options.get("url")
    if isinstance(path, str):
        return ("path", os.path.realpath(Path(path).expanduser()))
    if isinstance(uri, str):
        return _of_uri(uri)
    if isinstance(url, str):
        return _of_url(url, str(options.get("schema")))
    catalog, table = options.get("catalog"), options.get("table")
    if isinstance(catalog, Mapping) and isinstance(catalog.get("uri"), str):
        found = _of_uri(catalog["uri"])
        if found is None:
            return None
        # One database may hold several catalogs, told apart by their names alone.
        named = (str(options.get("catalog_name", "default")),) if catalog.get("type") == "sql" else ()
        return ("table", str(table), *found, *named)
    return None


def _of_uri(uri: str) -> Place | None:
    try:
        parts = urlsplit(_known(uri) if uri.startswith("env:") else uri)
    except (ValueError, LastgoodError):
        return None
    if parts.scheme.lower() in _LOCAL:
        return ("path", os.path.realpath(unquote(parts.path)))
    return (
        "uri",
        parts.scheme.lower(),
        (parts.hostname or "").lower(),
        str(parts.port or ""),
        parts.path.rstrip("/"),
    )


def _of_url(url: str, schema: str) -> Place | None:
    try:
        parts = urlsplit(_known(url))
        asked = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        host = asked.get("host", parts.hostname or "").lower().rstrip(".")
        port = asked.get("port", str(parts.port or _DEFAULT_PORT))
    except (ValueError, LastgoodError):
        return None
    database = asked.get("dbname", unquote(parts.path.strip("/"))) or parts.username or ""
    here = host in _HERE or host.startswith(("/", "127."))
    return ("database", "here" if here else host, port, database, schema)


def _known(text: str) -> str:
    return secret(text) if is_reference(text) else text


def _overlap(one: Place, other: Place | None) -> bool:
    if other is None or one[0] != other[0]:
        return False
    if one[0] != "path":
        return one == other
    mine, theirs = Path(one[1]), Path(other[1])
    return mine.is_relative_to(theirs) or theirs.is_relative_to(mine)
