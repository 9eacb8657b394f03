"""What labels say of predictions: the values that KPI guardrails are judged by."""

import math
from typing import Any, Final

import msgspec

from lastgood.domain.sketch import TEXT_CHARACTERS_MAX

Value = str | int | float | bool
"""A label: a class, a number, or a reward."""

UNKNOWN: Final = "(unknown)"
"""What the value of a column is called in rows that have none."""

KEPT_TEXT: Final = 200
"""The longest text that names a class."""


class KpiTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How a KPI guardrail reads a prediction and its label.

    ``output`` names the output that is looked at (empty for the only or first one). With a ``threshold`` that output is
    a score, and a row is predicted to be ``positive`` from there on; ``positive`` is the class of interest as
    :func:`class_of` writes it. A label counts once its prediction is ``after`` seconds old. A
    mean's values from ``low`` to ``high`` are told apart; others count as the nearer end.
    """

    output: str = ""
    positive: str = ""
    threshold: float | None = None
    after: float = 0.0
    low: float = 0.0
    high: float = 1.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction of a release and its label, met. ``sequence`` grows with every one that met, in any release.

    ``arm`` and ``stage`` are those that the request was meant for, ``key`` the 32-bit mark of its key. ``answer`` holds
    each output's value of the label's row, None where the answer was not kept. ``copied`` requests are pairs: ``other`` is
    what the other arm answered to a copy, as ``answer``, None where it gave no usable answer. ``slices`` are the row's values of the
    columns that the plan tells rows apart by. Times are seconds since the epoch.
    """

    sequence: int
    release: int
    stage: int
    arm: str
    version: int
    predicted_at: float
    labelled_at: float
    value: Value
    answer: dict[str, Any] | None = None
    key: int | None = None
    copied: bool = False
    other: dict[str, Any] | None = None
    slices: dict[str, str] = {}


class Awaited(msgspec.Struct, frozen=True, kw_only=True):
    """How many answers of one arm of a release there were, and how many of them have a label."""

    predictions: int = 0
    labelled: int = 0

    @property
    def pending(self) -> int:
        """How many have none: labels that never come stay pending."""
        return self.predictions - self.labelled


class Cursor(msgspec.Struct, frozen=True):
    """How far outcomes have been read: all up to ``sequence`` whose prediction was made until ``made``.

    Of those made at that very time only the ones up to ``among`` are read.
    """

    sequence: int = 0
    made: float = 0.0
    among: int = 0


class KpiCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What labels said of one arm for one guardrail.

    ``rows`` are labelled rows, ``trials`` those that count for its metric, ``bad`` the wrong ones among these. ``scores``
    map a bin of :mod:`lastgood.stats.means` to a count and ``total`` sums the values, for a mean. ``unusable`` rows could
    not be read as the guardrail says; ``repeated`` ones were left out because of what the same key had done before.
    """

    rows: int = 0
    trials: int = 0
    bad: int = 0
    scores: dict[int, int] = {}
    total: float = 0.0
    unusable: int = 0
    repeated: int = 0

    def plus(self, other: "KpiCounts") -> "KpiCounts":
        """Return the sum."""
        bins = sorted({*self.scores, *other.scores})
        return KpiCounts(
            rows=self.rows + other.rows,
            trials=self.trials + other.trials,
            bad=self.bad + other.bad,
            scores={number: self.scores.get(number, 0) + other.scores.get(number, 0) for number in bins},
            total=self.total + other.total,
            unusable=self.unusable + other.unusable,
            repeated=self.repeated + other.repeated,
        )


class Pairs(msgspec.Struct, frozen=True, kw_only=True):
    """What labels said of requests that both arms answered.

    Of ``pairs`` in which both answers count for the metric the candidate alone was wrong in ``only1``, stable alone in
    ``only0``, both in ``both``. ``alone`` labelled requests had no usable answer to their copy, and count in no arm.
    """

    pairs: int = 0
    only1: int = 0
    only0: int = 0
    both: int = 0
    alone: int = 0

    def plus(self, other: "Pairs") -> "Pairs":
        """Return the sum."""
        return Pairs(
            pairs=self.pairs + other.pairs,
            only1=self.only1 + other.only1,
            only0=self.only0 + other.only0,
            both=self.both + other.both,
            alone=self.alone + other.alone,
        )


class Kpi(msgspec.Struct, frozen=True, kw_only=True):
    """Both arms' counts for one guardrail; ``keys`` are the marks of keys to remember from now on.

    ``slices`` are the same rows by what they have in the guardrail's columns. ``pairs`` are those rows again that both arms
    answered: the arms' counts hold both answers. They are left out where there are none, but for the watch, where they
    say that its changes are looked at.
    """

    candidate: KpiCounts = KpiCounts()
    stable: KpiCounts = KpiCounts()
    keys: list[int] = []
    slices: "list[Slice] | msgspec.UnsetType" = msgspec.UNSET  # left out where a guardrail names no columns
    pairs: Pairs | msgspec.UnsetType = msgspec.UNSET

    def plus(self, other: "Kpi") -> "Kpi":
        """Return the sums. Keys and slices are not summed: whoever remembers them has them."""
        pairs = self.pairs or other.pairs
        if self.pairs and other.pairs:
            pairs = self.pairs.plus(other.pairs)
        return Kpi(
            candidate=self.candidate.plus(other.candidate),
            stable=self.stable.plus(other.stable),
            pairs=pairs,
        )


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """Both arms' counts of the rows that have ``value`` in ``column``; an empty value is an unknown one.

    ``rank`` is the place of the value among those of its column, in the order in which they appeared in the release, from 1.
    The slice of rank 0 holds all rows whose values came after the last place.
    """

    column: str
    value: str
    rank: int
    kpi: Kpi


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """What a stratum holds of labels: each KPI guardrail's counts, and how far outcomes have been read.

    ``read`` is by maturity: the seconds of ``after`` as text.
    """

    kpis: dict[str, Kpi]
    read: dict[str, Cursor] = {}


def class_of(value: object) -> str | None:
    """Return the class that a value names, None where it names none.

    ``1``, ``1.0``, ``"1"`` and ``true`` name the same class, for a label in a file and an answer in JSON are often
    written differently.
    """
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return None if not math.isfinite(value) else str(int(value)) if value.is_integer() else repr(value)
    if not isinstance(value, str) or not 0 < len(value) <= KEPT_TEXT:
        return None
    text = value.strip()
    if text.lower() in ("true", "false"):
        return "1" if text.lower() == "true" else "0"
    number = number_of(text)
    return text if number is None else class_of(number)


def slice_text(value: object) -> str:
    """Return a value of a column as slices tell values apart: as :func:`class_of`, cut; empty for what is none."""
    cut = value[:TEXT_CHARACTERS_MAX] if isinstance(value, str) else value
    return (class_of(cut) or "")[:TEXT_CHARACTERS_MAX]


def number_of(value: object) -> float | None:
    """Return the finite number that a value is or spells, None where it is none."""
    if isinstance(value, str):
        if not value.isascii() or "_" in value or len(value) > KEPT_TEXT:
            return None
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool | int | float):
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    return None
