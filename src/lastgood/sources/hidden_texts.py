"""Named texts for somebody else's client or program, of which some are secrets: never shown, whatever goes wrong."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from lastgood.errors import Code, LastgoodError
from lastgood.sources.secrets import is_reference, secret
from lastgood.wire.credentials import BLOT, has_password, without_credentials

_SHORTEST: Final = 4  # a shorter text is no secret, and blotting it out would make holes everywhere
_SHORTEST_GIVEN: Final = 8  # of what is given in full; a shorter one is rather a word like "true"
_SECRETIVE: Final = re.compile(r"(?i)password|secret|token|credential|account.?key|signature")
_FILE_URL: Final = "file://"  # a place, as clients write it, and no reference to a secret


class HiddenTexts:
    """Texts by name, as options have them: ``env:NAME`` and ``file:PATH`` stand for secrets.

    :raises LastgoodError: ``invalid`` when one is no text, or a URL with a password in it.
    """

    def __init__(self, source: str, given: Mapping[str, Any]) -> None:
        self._given: dict[str, str] = {}
        self._hidden: set[str] = set()
        for name, value in given.items():
            why = None
            if not isinstance(value, str | int | float) or isinstance(value, bool):
                why = "is not a text: write it in quotes"
            elif has_password(str(value)):
                why = "has a password in its URL: put the whole URL in the environment and write env:NAME"
            if why is not None:
                raise LastgoodError(
                    Code.INVALID,
                    f"The option {name!r} of the data source {source!r} {why}.",
                    "Correct the source in the settings.",
                )
            self._given[name] = str(value)
            if (
                _SECRETIVE.search(name)
                and len(str(value)) >= _SHORTEST_GIVEN
                and not is_reference(str(value))
            ):
                self._hidden.add(str(value))

    def read(self) -> dict[str, str]:
        """Return the texts with the secrets read anew, so that they can be changed without a restart.

        :raises LastgoodError: ``unavailable`` when a secret is not there.
        """
        texts: dict[str, str] = {}
        for name, text in self._given.items():
            if not is_reference(text) or text.startswith(_FILE_URL):
                texts[name] = text
                continue
            texts[name] = secret(text)
            self._hidden |= {form for form in _forms(texts[name]) if len(form) >= _SHORTEST}
        return texts

    def masked(self, text: str) -> str:
        """Return ``text`` without the secrets that were read, and without credentials in URLs."""
        for hidden in sorted(self._hidden, key=len, reverse=True):
            text = text.replace(hidden, BLOT)
        return without_credentials(text)


def _forms(given: str) -> set[str]:
    """Return the ways in which a program may print a secret: whole, in a URL, on one line, or one line of it."""
    lines = (" ".join(line.split()) for line in (given.replace("\n", " "), *given.splitlines()))
    return {given, quote(given), quote(given, safe=""), *lines}
