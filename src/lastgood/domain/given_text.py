"""Text that people give: what may be kept of it, and how text of any origin is shown.

A line break or an escape sequence in a reason could forge a line of the record on somebody's screen.
"""

import unicodedata
from typing import Final

from lastgood.errors import Code, LastgoodError

LONGEST_ACTOR: Final = 200
LONGEST_REASON: Final = 2_000
_JOINERS: Final = "\u200c\u200d"  # hold letters and emoji together; they move nothing on a screen
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def check_given(text: str, what: str, *, longest: int = LONGEST_REASON) -> str:
    """Return ``text`` if it is one line of at most ``longest`` characters that can all be seen.

    :raises LastgoodError: ``invalid``; ``what`` names the text in the message ("reason").
    """
    if len(text) > longest:
        raise LastgoodError(
            Code.INVALID,
            f"The {what} has {len(text)} characters; at most {longest} are kept.",
            "Say it shorter.",
        )
    unseen = next((character for character in text if _is_unseen(character)), None)
    if unseen is not None:
        raise LastgoodError(
            Code.INVALID,
            f"The {what} holds a line break or another character that cannot be shown ({_escape(unseen)}).",
            "Write it in one line of plain text.",
        )
    return text


def visible(text: str) -> str:
    """Return ``text`` in one line, with everything that cannot be seen written as Python would escape it."""
    if text.isprintable():
        return text
    return "".join(_escape(character) if _is_unseen(character) else character for character in text)


def _is_unseen(character: str) -> bool:
    return character not in _JOINERS and unicodedata.category(character) in _UNSEEN


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
