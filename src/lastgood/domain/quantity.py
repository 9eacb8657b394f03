"""Quantities as people type them: durations, percentages, weights, quantiles and margins.

Each function takes what a person typed and returns it in the unit that its docstring names, or raises
``invalid`` with what is accepted. A bare number never stands for a duration or a rate: its unit would be a
guess. Arithmetic is exact (no binary fractions) until the last step.
"""

import re
from decimal import Decimal
from typing import Final

from lastgood.domain.plan import Margin, MarginKind
from lastgood.domain.route import FULL_WEIGHT
from lastgood.errors import Code, LastgoodError

DURATION_PATTERN: Final = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
PERCENT_PATTERN: Final = r"^[0-9]+(\.[0-9]+)? ?%$"
QUANTILE_PATTERN: Final = r"^p[0-9]{1,2}(\.[0-9]+)?$"
POINTS_PATTERN: Final = r"^[0-9]+(\.[0-9]+)? ?pp$"
MAX_ODDS: Final = 1000
MAX_DURATION_SECONDS: Final = 366 * 86_400

_DURATION: Final = re.compile(DURATION_PATTERN, re.ASCII)
_DURATION_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", re.ASCII)
_PERCENT: Final = re.compile(r"^([0-9]+(?:\.[0-9]+)?) ?%$", re.ASCII)
_QUANTILE: Final = re.compile(r"^p([0-9]{1,2}(?:\.[0-9]+)?)$", re.ASCII)
_POINTS: Final = re.compile(r"^([0-9]+(?:\.[0-9]+)?) ?pp$", re.ASCII)
_SECONDS: Final = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3_600),
    "d": Decimal(86_400),
}
_SHOWN_CHARACTERS: Final = 40
_MARGIN_HINT: Final = "Write odds, such as 1.2 (up to 1.2 times stable's), or points, such as 0.5pp."
_DURATION_HINT: Final = "Write a number and a unit: 250ms, 30s, 5m, 1h, 2d, or 1h30m."


def parse_duration(given: object) -> float:
    """Return seconds, from 0 to 366 days: ``250ms``, ``30s``, ``5m``, ``1h``, ``2d`` or ``1h30m``.

    :raises LastgoodError: ``invalid`` for anything else, a number without a unit among it.
    """
    text = _text(given, "a duration", _DURATION_HINT)
    if not _DURATION.fullmatch(text):
        raise LastgoodError(Code.INVALID, f"{_shown(text)} is not a duration.", _DURATION_HINT)
    parts = _DURATION_PART.findall(text)
    seconds = sum((Decimal(number) * _SECONDS[unit] for number, unit in parts), Decimal(0))
    if seconds > MAX_DURATION_SECONDS:
        raise LastgoodError(Code.INVALID, f"The duration {_shown(text)} is too long.", "The longest is 366d.")
    return float(seconds)


def parse_percent(given: object) -> float:
    """Return a fraction from 0 to 1 from ``5%`` or ``0.5%``.

    :raises LastgoodError: ``invalid`` for anything else, a number without ``%`` among it.
    """
    return float(_percent(given) / 100)


def parse_weight(given: object) -> int:
    """Return basis points, 1 to 10 000, from ``5%``, ``0.25%`` or the whole number 5 (which means 5 %).

    :raises LastgoodError: ``invalid`` for 0, for more than 100 %, and for more than two decimals.
    """
    whole = isinstance(given, int) and not isinstance(given, bool)
    points = (Decimal(str(given)) if whole else _percent(given, "a share of the traffic")) * 100
    if not 0 < points <= FULL_WEIGHT or points != int(points):
        raise LastgoodError(
            Code.INVALID,
            f"The share {_shown(given)} is not possible.",
            "Write a share of the traffic from 0.01% to 100% with at most two decimals, such as 5%.",
        )
    return int(points)


def parse_quantile(given: object) -> float:
    """Return a quantile between 0 and 1, both excluded, from ``p50``, ``p99`` or ``p99.9``.

    :raises LastgoodError: ``invalid`` for anything else.
    """
    hint = "Write p and the percentile: p50, p95, p99 or p99.9."
    text = _text(given, "a quantile", hint)
    found = _QUANTILE.fullmatch(text)
    share = Decimal(found.group(1)) / 100 if found else Decimal(0)
    if not 0 < float(share) < 1:
        raise LastgoodError(Code.INVALID, f"{_shown(text)} is not a quantile.", hint)
    return float(share)


def parse_margin(given: object) -> Margin:
    """Return a margin: odds from 1 to 1000 written as a number, or percentage points as ``0.5pp``.

    Points become a difference of rates above 0 and below 1.

    :raises LastgoodError: ``invalid`` for anything else, a percentage among it: of what, it would not say.
    """
    if isinstance(given, int | float) and not isinstance(given, bool):
        if not 1 <= given <= MAX_ODDS:
            message = (
                f"A margin takes a number >= 1 (odds, at most {MAX_ODDS}) or points, not {_shown(given)}."
            )
            raise LastgoodError(Code.INVALID, message, _MARGIN_HINT)
        return Margin(MarginKind.ODDS, float(given))
    found = _POINTS.fullmatch(given.strip()) if isinstance(given, str) else None
    if not found:
        shown = _shown(given) if isinstance(given, str) else _kind(given)
        raise LastgoodError(Code.INVALID, f"{shown} is not a margin.", _MARGIN_HINT)
    difference = Decimal(found.group(1)) / 100
    if not 0 < float(difference) < 1:
        message = f"The margin {_shown(given)} is not possible."
        raise LastgoodError(Code.INVALID, message, "Points are above 0pp and below 100pp.")
    return Margin(MarginKind.ABSOLUTE, float(difference))


def _percent(given: object, what: str = "a percentage") -> Decimal:
    hint = "Write it with its sign, from 0% to 100%, such as 5% or 0.5%."
    text = _text(given, what, hint)
    found = _PERCENT.fullmatch(text)
    if not found or Decimal(found.group(1)) > 100:
        raise LastgoodError(Code.INVALID, f"{_shown(text)} is not {what}.", hint)
    return Decimal(found.group(1))


def _text(given: object, what: str, hint: str) -> str:
    if isinstance(given, str):
        return given.strip()
    if isinstance(given, int | float) and not isinstance(given, bool):
        raise LastgoodError(Code.INVALID, f"{_shown(given)} has no unit, so it is not {what}.", hint)
    raise LastgoodError(Code.INVALID, f"{_kind(given)} is not {what}.", hint)


def _kind(given: object) -> str:
    return "a list" if isinstance(given, list) else "a mapping" if isinstance(given, dict) else repr(given)


def _shown(given: object) -> str:
    text = repr(given)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
