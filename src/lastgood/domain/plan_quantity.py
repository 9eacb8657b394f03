"""The quantities of a plan file as types: what a key holds, how it is decoded, and its JSON Schema."""

from typing import Any, Final

from lastgood.domain.plan import Margin
from lastgood.domain.quantity import (
    DURATION_PATTERN,
    MAX_ODDS,
    PERCENT_PATTERN,
    POINTS_PATTERN,
    QUANTILE_PATTERN,
    parse_duration,
    parse_margin,
    parse_percent,
    parse_quantile,
    parse_weight,
)
from lastgood.errors import Code, LastgoodError

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


class WrittenMargin:
    """One ``margin``, written 1.2 (odds) or ``0.5pp`` (a difference of rates)."""

    def __init__(self, margin: Margin) -> None:
        self.margin = margin


class WrittenMargins:
    """One margin or a list of two, one of each kind."""

    def __init__(self, margins: tuple[Margin, ...]) -> None:
        self.margins = margins


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
        if kind is WrittenMargin:
            return WrittenMargin(parse_margin(given))
        if kind is WrittenMargins:
            return WrittenMargins(_margins(given))
    except LastgoodError as error:
        raise ValueError(f"{error.message}\n{error.next_step}") from None  # msgspec adds the path
    raise TypeError(f"no quantity is called {kind!r}")


def _margins(given: object) -> tuple[Margin, ...]:
    parts = given if isinstance(given, list) else [given]
    found = tuple(parse_margin(part) for part in parts)
    if not found or len({margin.kind for margin in found}) != len(found):
        message = "A list of margins holds one of each kind at most, and at least one."
        raise LastgoodError(Code.INVALID, message, "Write odds and points, such as [2, 1pp].")
    return found


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
    if kind in (WrittenMargin, WrittenMargins):
        odds = {"type": "number", "minimum": 1, "maximum": MAX_ODDS}
        one = [odds, {"type": "string", "pattern": POINTS_PATTERN}]
        if kind is WrittenMargin:
            return {"anyOf": one}
        return {"anyOf": [*one, {"type": "array", "minItems": 1, "maxItems": 2, "items": {"anyOf": one}}]}
    if kind is Weight:
        whole = {"type": "integer", "minimum": 1, "maximum": 100}
        return {"anyOf": [{"type": "string", "pattern": PERCENT_PATTERN}, whole]}
    return {"type": "string", "pattern": patterns[kind]}
