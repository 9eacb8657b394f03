"""Sketches of values: mergeable counts in bounded memory, and what a training set looked like through them.

Numbers fall into buckets that are log2-spaced on both sides of zero, with a relative error of 2.2 %; texts are counted up
to a bound, and what is over it is counted together.
"""

import math
from collections.abc import Iterable
from typing import Final

import msgspec

UNNAMED: Final = "input"
"""What an input is called where a request does not name it, which only a model with one input may be sent."""

BUCKETS_PER_OCTAVE: Final = 16
TEXTS_MAX: Final = 200
"""Different texts of one feature that are told apart."""

TEXT_CHARACTERS_MAX: Final = 100
"""Longer texts are cut."""

BUCKETS_MAX: Final = 512
"""Buckets of one sketch: where numbers need more, neighbours are put together, and the error grows, to 22 % at most."""

FEATURES_MAX: Final = 200
"""Features of one model that are looked at."""

_SMALLEST: Final = 2.0**-40
_LARGEST: Final = 2.0**60
_ZERO_TO_SMALLEST: Final = 40 * BUCKETS_PER_OCTAVE + 1


class Sketch(msgspec.Struct, frozen=True, kw_only=True):
    """How often which values came. ``numbers`` are by bucket, ``others`` texts that found no room, ``missing`` null or NaN."""

    numbers: dict[int, int] = {}
    texts: dict[str, int] = {}
    others: int = 0
    missing: int = 0

    @property
    def count(self) -> int:
        """All values, missing ones among them."""
        return sum(self.numbers.values()) + sum(self.texts.values()) + self.others + self.missing

    def plus(self, other: "Sketch") -> "Sketch":
        """Return both together; texts that find no room are counted together."""
        numbers = dict(self.numbers)
        for bucket, count in other.numbers.items():
            numbers[bucket] = numbers.get(bucket, 0) + count
        numbers = _folded(numbers)
        texts, others = dict(self.texts), self.others + other.others
        for text, count in other.texts.items():
            if text in texts or len(texts) < TEXTS_MAX:
                texts[text] = texts.get(text, 0) + count
            else:
                others += count
        return Sketch(numbers=numbers, texts=texts, others=others, missing=self.missing + other.missing)


def sketch_of(values: Iterable[object]) -> Sketch:
    """Return the sketch of some values: numbers, texts, None. A truth value is the text ``true`` or ``false``."""
    numbers: dict[int, int] = {}
    texts: dict[str, int] = {}
    others = missing = 0
    for given in values:
        value = ("true" if given else "false") if isinstance(given, bool) else given
        if isinstance(value, int | float):
            bucket = bucket_of(value)
            if bucket is None:
                missing += 1
            else:
                numbers[bucket] = numbers.get(bucket, 0) + 1
        elif isinstance(value, str):
            text = value[:TEXT_CHARACTERS_MAX]
            if text in texts or len(texts) < TEXTS_MAX:
                texts[text] = texts.get(text, 0) + 1
            else:
                others += 1
        elif value is None:
            missing += 1
        else:  # neither a number nor a text: all such values look alike
            others += 1
    return Sketch(numbers=_folded(numbers), texts=texts, others=others, missing=missing)


def bucket_of(number: float) -> int | None:
    """Return the bucket of a number: it grows with the number, and is 0 at zero; None for NaN."""
    try:
        size = abs(float(number))
    except OverflowError:
        size = math.inf
    if math.isnan(size):
        return None
    if size < _SMALLEST:
        return 0
    octaves = math.floor(math.log2(min(size, _LARGEST)) * BUCKETS_PER_OCTAVE)
    return (octaves + _ZERO_TO_SMALLEST) * (1 if number > 0 else -1)


def _folded(numbers: dict[int, int]) -> dict[int, int]:
    """Put neighbouring buckets together, 2, 4 or 8 at a time, until there are few enough; zero stays by itself."""
    together, folded = 1, numbers
    while len(folded) > BUCKETS_MAX:
        together *= 2
        folded = {}
        for bucket, count in numbers.items():
            size = (abs(bucket) - 1) // together * together + together // 2 + 1
            place = 0 if bucket == 0 else size if bucket > 0 else -size
            folded[place] = folded.get(place, 0) + count
    return folded


def middle_of(bucket: int) -> float:
    """Return a number from the middle of a bucket."""
    if bucket == 0:
        return 0.0
    octaves = (abs(bucket) - _ZERO_TO_SMALLEST + 0.5) / BUCKETS_PER_OCTAVE
    return math.copysign(2.0**octaves, bucket)


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """One feature (or output) as it was before.

    Of a numeric one ``cuts`` are the last bucket of each bin but the last (they never fall), of a categorical one ``values`` are the
    classes that are told apart. ``shares`` are the parts of the present values in each bin or class, in the same order,
    for a categorical one with a last part for all other values; ``missing`` is the part of missing ones among all.
    ``title`` is what people call it where ``name`` is only a place such as ``x[3]``.
    """

    name: str
    title: str = ""
    cuts: tuple[int, ...] = ()
    values: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    missing: float = 0.0

    @property
    def categorical(self) -> bool:
        """Whether it is told apart by classes."""
        return bool(self.values)

    @property
    def names(self) -> tuple[str, ...]:
        """What requests may call it: its name, that of a table's column, and for a place of a matrix the unnamed one."""
        bracket = self.name.rfind("[")
        unnamed = UNNAMED + self.name[bracket:] if bracket >= 0 else self.name
        return tuple(dict.fromkeys((self.name, self.shown, unnamed)))

    @property
    def shown(self) -> str:
        """What a person calls it."""
        return self.title or self.name


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What a version was trained on, feature by feature, over ``rows`` rows."""

    rows: int
    features: tuple[Feature, ...] = ()


class SketchRow(msgspec.Struct, frozen=True, kw_only=True):
    """Sketches of some requests that one version answered for one arm, as the prediction log keeps them.

    ``seq`` grows from row to row, ``at`` is when the last of the requests came (epoch seconds), ``rows`` how many rows they
    had. ``release``, ``stage`` and ``arm`` are None where no release counted them; such have no ``inputs``. ``inputs`` and
    ``outputs`` are by column; answers that stable gave for a candidate are in neither arm's outputs.
    """

    seq: int
    at: float
    deployment: str
    version: int
    release: int | None = None
    stage: int | None = None
    arm: str | None = None
    rows: int
    inputs: dict[str, Sketch] = {}
    outputs: dict[str, Sketch] = {}
