"""Moments as people type them."""

from datetime import datetime

from lastgood.errors import Code, LastgoodError


def parse_moment(text: str) -> float:
    """Return seconds since the epoch from ISO 8601 (local time unless it names a zone) or from such a number.

    :raises LastgoodError: ``invalid`` for anything else.
    """
    try:
        seconds = float(text) if _is_number(text) else datetime.fromisoformat(text.strip()).timestamp()
        datetime.fromtimestamp(seconds).astimezone()  # so that it can be shown as well
    except (ValueError, OverflowError, OSError):
        raise LastgoodError(
            Code.INVALID,
            f"{text!r} is not a time.",
            "Write 2026-11-21T14:30, 2026-11-21T14:30:05+01:00, or seconds since 1970.",
        ) from None
    return seconds


def _is_number(text: str) -> bool:
    digits = text.strip().replace(".", "", 1)
    return digits.isascii() and digits.isdigit() and len(digits) > 8
