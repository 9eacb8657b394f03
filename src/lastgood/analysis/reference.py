"""What a training set looked like, column by column: tallies in bounded memory, from which a version's reference is made."""

import math
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from lastgood.domain.kpi import class_of
from lastgood.domain.sketch import TEXT_CHARACTERS_MAX, Feature, bucket_of
from lastgood.stats import shift

BINS: Final = 16
FEW: Final = 20
"""Numbers that are no more different ones than this are classes."""

CLASSES: Final = 50
_TEXTS_MAX: Final = 2_000  # that are counted one by one while a file is read
_NO_VALUE: Final = frozenset(("", "na", "n/a", "nan", "null", "none"))


class Kind(StrEnum):
    """What a column must hold: numbers, texts, or whatever is there."""

    NUMBER = "number"
    TEXT = "text"
    ANY = "any"


class NotANumberError(ValueError):
    """A value in a column of numbers is none; ``value`` is what is there instead."""

    def __init__(self, value: object) -> None:
        super().__init__(value)
        self.value = value


class ColumnTally:
    """Counts one column. Memory is bounded whatever it holds: of very many different texts, those that come first are counted.

    Null, NaN and empty texts are missing, and words for that (``NA``, ``null``) where all others are numbers.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._buckets: Counter[int] = Counter()
        self._few: Counter[float] = Counter()
        self._texts: Counter[str] = Counter()
        self._others = 0  # texts that found no room
        self._odd = 0  # texts that are neither numbers nor words for what is missing
        self._words = 0
        self._missing = 0

    def add(self, values: Iterable[str | float | None]) -> None:
        """Count some values: texts as a CSV file has them, numbers, truth values, None.

        :raises NotANumberError: where the column must hold numbers.
        """
        for value, count in Counter(values).items():
            self._add(value, count)

    def feature(self, name: str, title: str = "") -> Feature:
        """Return the column as a feature: by bins where all its values are numbers and many, else by its commonest classes."""
        if self._kind is Kind.TEXT or self._odd or not self._buckets:
            return self._by_class(name, title, self._texts, self._others, self._missing)
        numbers, missing = self._buckets.total(), self._missing + self._words
        if len(self._few) <= FEW:
            found = Counter({class_of(number) or repr(number): count for number, count in self._few.items()})
            return self._by_class(name, title, found, 0, missing)
        cuts = shift.edges(self._buckets, BINS)
        shares = tuple(count / numbers for count in shift.binned(self._buckets, cuts))
        return Feature(
            name=name, title=title, cuts=cuts, shares=shares, missing=missing / (missing + numbers)
        )

    def _by_class(self, name: str, title: str, texts: Counter[str], others: int, missing: int) -> Feature:
        ranked = sorted(texts, key=lambda text: (-texts[text], text))[:CLASSES]
        present = texts.total() + others
        counts = [texts[text] for text in ranked]
        shares = tuple(count / present for count in (*counts, present - sum(counts))) if present else ()
        part = missing / (missing + present) if missing else 0.0
        return Feature(name=name, title=title, values=tuple(ranked), shares=shares, missing=part)

    def _add(self, value: str | float | None, count: int) -> None:
        number = None if self._kind is Kind.TEXT else _number(value)
        word = isinstance(value, str) and value.strip().lower() in _NO_VALUE
        if value is None or _is_nothing(value):
            self._missing += count
        elif self._kind is Kind.NUMBER:
            if number is None and not word:
                raise NotANumberError(value)
            self._add_number(number, count)
        else:
            if word:
                self._words += count
            elif number is not None:
                self._add_number(number, count)
            else:
                self._odd += count
            self._add_text(value, count)

    def _add_number(self, number: float | None, count: int) -> None:
        bucket = None if number is None else bucket_of(number)
        if number is None or bucket is None:
            self._missing += count
            return
        self._buckets[bucket] += count
        if len(self._few) <= FEW:  # one too many says that there are many
            self._few[number] += count

    def _add_text(self, value: str | float, count: int) -> None:
        if isinstance(value, float) and len(self._few) > FEW and len(self._texts) == _TEXTS_MAX:
            self._others += count  # to write each of so many numbers would take longest of all
            return
        cut = (value if isinstance(value, str) else class_of(value) or repr(value))[:TEXT_CHARACTERS_MAX]
        if cut in self._texts or len(self._texts) < _TEXTS_MAX:
            self._texts[cut] += count
        else:
            self._others += count


def _is_nothing(value: str | float) -> bool:
    return not value.strip() if isinstance(value, str) else isinstance(value, float) and math.isnan(value)


def _number(value: str | float | None) -> float | None:
    """Return the number that a value is or spells; NaN where it is or spells that."""
    if not isinstance(value, str):
        return value
    try:
        return float(value) if value.isascii() and "_" not in value else None
    except ValueError:
        return None
