"""The options of a source as somebody wrote them: looked at one by one, each fault named; secrets kept out of sight.

A secret is never written down: ``env:NAME`` or ``file:PATH`` stands for it. What was read that way is blotted out of
every text that goes through :meth:`GivenOptions.masked`.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lastgood.errors import Code, LastgoodError

_SECRET_BYTES_MAX: Final = 65_536
_SHORTEST_SECRET: Final = 4  # shorter ones are no secrets, and blotting them out would make holes everywhere
_IN_URL: Final = re.compile(r"(?<=://)[^/\s@]+@")
_BLOT: Final = "***"


class GivenOptions:
    """The options of one source; every reading method raises ``invalid`` with the option's name."""

    def __init__(self, source: str, options: Mapping[str, Any], known: frozenset[str]) -> None:
        self._source = source
        self._options = options
        self._secrets: set[str] = set()
        unknown = sorted(str(name) for name in options if name not in known)
        if unknown:
            raise self.fault(unknown[0], "is not known", f"Known are {', '.join(sorted(known))}.")

    def fault(self, name: str, what: str, next_step: str) -> LastgoodError:
        """Return the error for one option; it never shows the option's value."""
        return LastgoodError(
            Code.INVALID, f"The option {name!r} of data source {self._source!r} {what}.", next_step
        )

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text without a password in it; required when there is no default."""
        value = self._options.get(name, default)
        if not isinstance(value, str) or not value:
            raise self.fault(name, "is missing or not a text", "Give it.")
        if _IN_URL.search(value) and re.search(r"://[^/\s@]*:[^/\s@]*@", value):
            raise self.fault(name, "has a password in its URL", "Give it apart, as env:NAME or file:PATH.")
        return value

    def number(self, name: str, default: float) -> float:
        """Return a number of seconds above 0."""
        value = self._options.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e7:
            raise self.fault(name, "is not a number of seconds above 0", f"Leave it out for {default:g}.")
        return float(value)

    def words(self, name: str) -> tuple[str, ...] | None:
        """Return an argument list, None where the option is not given."""
        value = self._options.get(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or not value or not all(isinstance(w, str) for w in value):
            raise self.fault(
                name, "is not a list of texts", 'Write ["program", "argument"]; no shell reads it.'
            )
        if not value[0] or any("\0" in word for word in value):
            raise self.fault(name, "cannot be started", "Name a program first.")
        return tuple(value)

    def numbers(self, name: str, known: Mapping[str, float]) -> dict[str, float]:
        """Return seconds by name, ``known`` where nothing else is given."""
        inner = GivenOptions(self._source, self._mapping(name), frozenset(known))
        return {key: inner.number(key, default) for key, default in known.items()}

    def texts(self, name: str) -> dict[str, str]:
        """Return texts by name, references to secrets resolved; empty where the option is not given."""
        return {key: self._resolved(f"{name}.{key}", value) for key, value in self._mapping(name).items()}

    def masked(self, text: str) -> str:
        """Return ``text`` without the secrets that were read, and without credentials in URLs."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, _BLOT)
        return _IN_URL.sub(f"{_BLOT}@", text)

    def _mapping(self, name: str) -> Mapping[str, Any]:
        value = self._options.get(name, {})
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise self.fault(name, "is not a mapping of names to values", "Write one value for each name.")
        return value

    def _resolved(self, name: str, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.fault(name, "is not a text", "Write it in quotes.")
        text = str(value)
        kind, _, where = text.partition(":")
        if kind not in ("env", "file"):
            if re.search(r"://[^/\s@]*:[^/\s@]*@", text):
                raise self.fault(
                    name, "has a password in its URL", "Give the whole URL as env:NAME or file:PATH."
                )
            return text
        try:
            found = os.environ[where] if kind == "env" else _first_line(Path(where))
        except (KeyError, OSError, UnicodeDecodeError):
            found = ""
        if not found:
            raise LastgoodError(
                Code.UNAVAILABLE,
                f"The secret for {name!r} of data source {self._source!r} is not at {text}.",
                "Set it where the server runs.",
            )
        if len(found) >= _SHORTEST_SECRET:
            self._secrets.add(found)
        return found


def _first_line(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_SECRET_BYTES_MAX).decode().partition("\n")[0].strip()
