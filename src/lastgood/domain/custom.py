"""Custom metrics: numbers from outside that guardrails are judged by, and what was measured of them.

Belongs here: what a guardrail asks for, whom it asks about, and what counts as an answer. Asking is
:class:`lastgood.quality_ports.Metrics`.
"""

import math
from decimal import Decimal
from enum import StrEnum
from numbers import Real
from typing import Any, Final

import msgspec

from lastgood.errors import Code, LastgoodError

MAX_COUNT: Final = 10**12
"""The largest number of bad ones, or of all, that is taken for one arm."""


class SourceKind(StrEnum):
    """Who is asked."""

    HTTP = "http"
    PYTHON = "python"
    SQL = "sql"
    PROMETHEUS = "prometheus"


class CustomTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How a custom guardrail asks, and what it may hear.

    ``ask`` is the URL, the function, the statement or the query, ``url`` where a statement or query is sent (a URL, or
    ``env:NAME`` or ``file:PATH`` that holds one), ``value`` the path to the answer in a JSON document, keys with dots
    between. It is asked ``every`` so many seconds and has ``timeout`` seconds to answer.

    Without ``counts`` the answer is a number, bad above ``maximum`` or below ``minimum``; with it, the answers are counts
    of bad ones among all, ``maximum`` is a rate, and there is no ``minimum``. ``failures`` answers in a row that are out
    of bounds, or so many that are missing, change the verdict.
    """

    kind: SourceKind
    ask: str
    url: str = ""
    value: str = ""
    every: float = 60.0
    timeout: float = 10.0
    maximum: float | None = None
    minimum: float | None = None
    failures: int = 3
    counts: bool = False


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a metric is asked about. Times are seconds since the epoch; ``since`` is when the candidate's traffic began."""

    model: str
    deployment: str
    release: int
    candidate: int
    candidate_label: str
    stable: int | None
    stable_label: str
    since: float
    now: float

    def context(self) -> dict[str, Any]:
        """Return the same as plain JSON: what a function is given, and what the names in a template mean."""
        return {
            "model": self.model,
            "deployment": self.deployment,
            "release": self.release,
            "candidate": {"version": self.candidate, "label": self.candidate_label},
            "stable": {"version": self.stable, "label": self.stable_label},
            "since": self.since,
            "now": self.now,
        }


class Tally(msgspec.Struct, frozen=True, gc=False):
    """Bad ones among all, of one arm, since the candidate's traffic began."""

    bad: int = 0
    total: int = 0


class Numbers(msgspec.Struct, frozen=True, tag="numbers", gc=False):
    """The candidate's number, and stable's where it was told."""

    candidate: float
    stable: float | None = None


class Counts(msgspec.Struct, frozen=True, tag="counts"):
    """Both arms' counts."""

    candidate: Tally = Tally()
    stable: Tally = Tally()


Reading = Numbers | Counts


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One answer about one guardrail: a ``reading``, an ``error``, or neither, which is no data.

    ``number`` counts a release's measurements of the guardrail from 1, ``at`` is when it was asked for.
    """

    guardrail: str
    number: int
    at: float
    reading: Reading | None = None
    error: str = ""


def reading_of(answer: object, *, counts: bool) -> Reading | None:
    """Return what an answer says, None where it says that there is no data: null, or a number that is none.

    :raises LastgoodError: ``invalid`` for an answer of another shape.
    """
    if answer is None:
        return None
    if counts:
        if not isinstance(answer, dict):
            raise _shapeless("counts", "a mapping of candidate and stable, each with bad and total", answer)
        arms = (_tally(answer, "candidate"), _tally(answer, "stable"))
        return None if None in arms else Counts(*(one for one in arms if one is not None))
    if not isinstance(answer, dict):
        value = _number(answer)
        return None if value is None else Numbers(value)
    if "candidate" not in answer:
        raise _shapeless("a number", "a number, or a mapping with the key candidate", answer)
    own, other = answer["candidate"], answer.get("stable")
    value = None if own is None else _number(own)
    return None if value is None else Numbers(value, None if other is None else _number(other))


def _number(answer: object) -> float | None:
    if isinstance(answer, bool) or not isinstance(answer, Real | Decimal):
        raise _shapeless("a number", "a number", answer)
    value = _float(answer)
    if math.isinf(value):
        raise LastgoodError(Code.INVALID, "The answer is not a finite number.", "Look at the metric.")
    return None if math.isnan(value) else value


def _tally(answer: dict[str, Any], arm: str) -> Tally | None:
    if arm not in answer:
        raise _shapeless("counts", f"the key {arm}", answer)
    found = answer[arm]
    if found is None:
        return None
    if not isinstance(found, dict) or not {"bad", "total"} <= found.keys():
        raise _shapeless("counts", f"{arm} with the keys bad and total", found)
    bad, total = (_count(found[key], arm, key) for key in ("bad", "total"))
    if bad > total:
        raise LastgoodError(
            Code.INVALID,
            f"The answer counts {bad} bad ones among {total} of {arm}.",
            "Count the bad ones among all.",
        )
    return Tally(bad, total)


def _count(given: object, arm: str, key: str) -> int:
    if isinstance(given, bool) or not isinstance(given, Real | Decimal):
        raise _shapeless("counts", f"a whole number as {arm}.{key}", given)
    value = given if isinstance(given, int) else _float(given)
    if isinstance(value, float) and not value.is_integer():  # also NaN and infinity
        raise _shapeless("counts", f"a whole number as {arm}.{key}", given)
    whole = int(value)
    if not 0 <= whole <= MAX_COUNT:
        beyond = "less than 0" if whole < 0 else f"more than {MAX_COUNT}"  # it may have a thousand digits
        raise LastgoodError(
            Code.INVALID, f"The answer has {beyond} as {arm}.{key}.", f"Counts go from 0 to {MAX_COUNT}."
        )
    return whole


def _float(number: Real | Decimal) -> float:
    """Return the nearest float: infinity for what is too large, NaN for each kind of NaN."""
    try:
        return float(number)
    except OverflowError:
        return math.inf
    except ValueError:  # a signalling NaN
        return math.nan


def _shapeless(what: str, wanted: str, found: object) -> LastgoodError:
    kinds = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    kind = kinds.get(
        type(found), "a number" if isinstance(found, Real | Decimal) else "another kind of value"
    )
    if isinstance(found, dict):
        keys = ", ".join(str(key)[:20] for key in list(found)[:5])
        kind = f"a mapping of {keys}" if keys else "an empty mapping"
    return LastgoodError(
        Code.INVALID,
        f"The answer is not {what}: {wanted} is needed, and there is {kind}.",
        "Correct the metric, or 'value', which says where the answer is.",
    )
