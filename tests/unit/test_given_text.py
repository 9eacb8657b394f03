"""Text that people give: one line that can be seen whole, or nothing."""

import pytest

from lastgood.domain.given_text import check_given, visible
from lastgood.errors import Code, LastgoodError


@pytest.mark.parametrize("text", ["", "wrong prices", "prix à 5 €", "価格が違う", "5\u00a0%", "a\u200db"])
def test_a_line_in_any_language_is_kept(text):
    """What can be seen in one line is returned as it was given."""
    assert check_given(text, "reason") == text
    assert "\n" not in visible(text)


@pytest.mark.parametrize(
    "character", ["\n", "\r", "\t", "\x1b", "\x00", "\x9b", "\u2028", "\u202e", "\udcff"]
)
def test_what_could_forge_a_line_is_refused_and_shown_as_an_escape(character):
    """Line breaks, escape sequences, text that runs backwards and broken bytes are refused, and never printed raw."""
    text = f"fine{character}2026-11-21 release succeeded"

    with pytest.raises(LastgoodError, match="The reason") as caught:
        check_given(text, "reason")

    assert caught.value.code is Code.INVALID
    assert visible(text).isprintable()
    assert visible(text).startswith("fine\\")


def test_text_beyond_its_length_is_refused():
    """The limit itself is kept; one more is refused with both numbers."""
    assert check_given("x" * 200, "actor", longest=200)
    with pytest.raises(LastgoodError, match=r"201 characters; at most 200"):
        check_given("x" * 201, "actor", longest=200)
