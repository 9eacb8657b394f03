"""Tokens name captures and restores; they become parts of file and table names, so they are checked first."""

import re
from typing import Final

from lastgood.errors import Code, LastgoodError

_TOKEN: Final = re.compile(r"[a-z0-9_]{1,40}")


def checked(token: str) -> str:
    """Return ``token``.

    :raises LastgoodError: ``invalid`` unless it is 1 to 40 small ASCII letters, digits and underscores.
    """
    if _TOKEN.fullmatch(token) is None:
        raise LastgoodError(
            Code.INVALID,
            f"The token {token[:60]!r} is not possible.",
            "Use 1 to 40 small letters, digits and underscores.",
        )
    return token
