"""Labels as they are given, and what becomes of each."""

import math
import re
from enum import StrEnum
from typing import Any, Final

import msgspec

from lastgood.domain.kpi import KEPT_TEXT, class_of
from lastgood.domain.prediction import ID_BYTES_MAX, Label
from lastgood.errors import Code, LastgoodError

ROWS_MAX: Final = 1_000_000
_LARGEST: Final = 2**63 - 1
_AHEAD_SECONDS: Final = 86_400.0
_UUID7: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


class Fate(StrEnum):
    """What became of a label."""

    JOINED = "joined"  # it met its prediction
    UNKNOWN = "unknown"  # no prediction has this id yet: it waits
    DUPLICATE = "duplicate"  # the same label is known already
    EXPIRED = "expired"  # its prediction has been dropped
    REFUSED = "refused"  # it cannot be used, or another value is known for that row


class GivenLabel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was true of one row of the request ``id``: a class, a number or a reward.

    ``at`` is when that was known (seconds since the epoch); now, where it is left out.
    """

    id: str
    value: Any
    row: int = 0
    at: float | None = None


class Fated(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one label, and why where it is not plain."""

    id: str
    row: int
    fate: Fate
    why: str = ""


def checked(given: GivenLabel, now: float) -> Label:
    """Return the label.

    :raises LastgoodError: ``invalid`` when it cannot be used.
    """
    if not given.id or not given.id.isprintable() or len(given.id.encode(errors="replace")) > ID_BYTES_MAX:
        raise _refusal("The id of a request has 1 to 128 bytes that can be seen.")
    if not 0 <= given.row < ROWS_MAX:
        raise _refusal(f"A row is a number from 0 to {ROWS_MAX - 1}.")
    value = given.value
    sound = isinstance(value, bool | float | str) or (isinstance(value, int) and abs(value) <= _LARGEST)
    if not sound or class_of(value) is None or (isinstance(value, str) and not value.strip()):
        raise _refusal(
            f"A value is a text of at most {KEPT_TEXT} characters, a finite number, true or false."
        )
    at = now if given.at is None else given.at
    if not math.isfinite(at) or not 0.0 <= at <= now + _AHEAD_SECONDS:
        raise _refusal("The time of a label is in seconds since the epoch, and not in the future.")
    return Label(id=given.id, value=value, at=min(at, now), row=given.row)


def same(one: object, other: object) -> bool:
    """Return whether two values of labels say the same."""
    return class_of(one) == class_of(other)


def made_at(id_: str) -> float | None:
    """Return when the gateway made this id, in seconds since the epoch; None for an id that a caller gave."""
    return int(id_[:8] + id_[9:13], 16) / 1000.0 if _UUID7.fullmatch(id_) else None


def _refusal(what: str) -> LastgoodError:
    return LastgoodError(Code.INVALID, what, "Correct it and send it again.")
