"""The quantities of a plan file as types: what a key holds, how it is decoded, and its JSON Schema."""

from typing import Any, Final

from lastgood.domain.quantity import (
    DURATION_PATTERN,
    PERCENT_PATTERN,
    QUANTILE_PATTERN,
    parse_duration,
    parse_percent,
    parse_quantile,
    parse_weight,
)
from lastgood.errors import LastgoodError

UNTIL_RESUMED: Final = "until resumed"


class Duration(float):
    """Seconds, written ``250ms``, ``30s``, ``5m``, ``1h``, ``2d`` or ``1h30m``."""


class Percent(float):
    """A fraction from 0 to 1, written ``5%``."""


class Weight(int):
    """Basis points, written ``5%``, ``0.25%`` or 5."""


class Quantile(float):
    """A quantile between 0 and 1, written ``p99``."""


class Pause:
    """How long to pause, in ``seconds``; None until a person resumes."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds


def decode_quantity(kind: type, given: object) -> Any:
    """Decode what msgspec does not know by itself; for ``msgspec.convert(..., dec_hook=...)``.

    :raises ValueError: what happened and what to do next, on two lines.
    """
    try:
        if kind is Duration:
            return Duration(parse_duration(given))
        if kind is Percent:
            return Percent(parse_percent(given))
        if kind is Weight:
            return Weight(parse_weight(given))
        if kind is Quantile:
            return Quantile(parse_quantile(given))
        if kind is Pause:
            return Pause(None if given in (UNTIL_RESUMED, {}) else parse_duration(given))
    except LastgoodError as error:
        raise ValueError(f"{error.message}\n{error.next_step}") from None  # msgspec adds the path
    raise TypeError(f"no quantity is called {kind!r}")


def quantity_schema(kind: type) -> dict[str, Any]:
    """Return the JSON Schema of one of these types; for msgspec's ``schema_hook``."""
    patterns: dict[type, str] = {
        Duration: DURATION_PATTERN,
        Percent: PERCENT_PATTERN,
        Quantile: QUANTILE_PATTERN,
    }
    if kind is Pause:
        timed = {"type": "string", "pattern": DURATION_PATTERN}
        return {"anyOf": [timed, {"const": UNTIL_RESUMED}, {"type": "object", "maxProperties": 0}]}
    if kind is Weight:
        whole = {"type": "integer", "minimum": 1, "maximum": 100}
        return {"anyOf": [{"type": "string", "pattern": PERCENT_PATTERN}, whole]}
    return {"type": "string", "pattern": patterns[kind]}
