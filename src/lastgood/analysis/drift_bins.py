"""From sketches to counts by bin, and how far those are from what was expected."""

import math
from bisect import bisect_left
from functools import lru_cache
from itertools import accumulate
from typing import Final

import msgspec

from lastgood.domain.drift import BinCounts
from lastgood.domain.kpi import class_of, number_of
from lastgood.domain.sketch import BUCKETS_PER_OCTAVE, Feature, Sketch, bucket_of, middle_of
from lastgood.stats import shift

BINS: Final = 16
CLASSES: Final = 30
"""Classes of an output that are told apart; the others count together."""

_NEARLY_ALL: Final = 0.75


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How ``rows`` values lie beside what was expected.

    ``distance`` is the total variation between the two, of the values that are not missing, ``missing`` the part that is,
    ``unseen`` the part of the others that fits no bin. ``median`` is of numbers. ``most`` is the class that has grown most, with its part.
    """

    rows: int
    distance: float = 0.0
    missing: float = 0.0
    unseen: float = 0.0
    median: float | None = None
    most: tuple[str, float, float] | None = None


def nothing(feature: Feature) -> BinCounts:
    """Return the counts before any value."""
    return BinCounts((0,) * bins_of(feature))


def bins_of(feature: Feature) -> int:
    """Return how many bins a feature's counts have, the one for what fits no other among them."""
    return len(feature.values) + 1 if feature.categorical else len(feature.cuts) + 2


def binned(feature: Feature, sketch: Sketch) -> BinCounts:
    """Return the counts of a sketch by the feature's bins. Classes are compared as labels are: ``1`` and ``true`` are one."""
    if feature.categorical:
        return BinCounts(_by_class(feature, sketch), sketch.missing)
    numbers, odd = dict(sketch.numbers), sketch.others
    for text, count in sketch.texts.items():
        bucket = _bucket(text)
        if bucket is None:
            odd += count
        else:
            numbers[bucket] = numbers.get(bucket, 0) + count
    counts = shift.binned(numbers, feature.cuts)
    return BinCounts((*counts, odd), sketch.missing, _middle(numbers) * sum(counts))


@lru_cache(maxsize=1024)
def expected(feature: Feature) -> tuple[float, ...]:
    """Return the part of the present values that each bin has in the reference; empty where it has none."""
    if not feature.shares:
        return ()
    if not feature.categorical:
        return (*feature.shares, 0.0)
    shares = [0.0] * bins_of(feature)
    places = _places(feature)
    for value, share in zip((*feature.values, None), feature.shares, strict=True):
        place = len(feature.values) if value is None else places[_named(value)]
        shares[place] += share
    return tuple(shares)


def shape(feature: Feature, counts: BinCounts) -> Shape:
    """Return how counts lie beside the feature's own shares."""
    known = expected(feature)
    if not counts.present or not known:
        return Shape(rows=counts.all, missing=counts.missing / counts.all if counts.all else 0.0)
    parts = [count / counts.present for count in counts.bins]
    grown = [part - share for part, share in zip(parts, known, strict=True)]
    most = None
    if feature.categorical:
        place = max(range(len(feature.values)), key=lambda index: grown[index])
        most = (feature.values[place], parts[place], known[place])
    return Shape(
        rows=counts.all,
        distance=0.5 * math.fsum(map(abs, grown)),
        missing=counts.missing / counts.all,
        unseen=parts[-1],
        median=median(feature, counts),
        most=most,
    )


def median(feature: Feature, counts: BinCounts) -> float | None:
    """Return about the median of the numbers; None without any, and where they are on both sides of the last cut.

    It lies in the bin in which half of the numbers are reached. There it is the mean of the strata's medians, or the bin's end
    where the bin is wide: some of the strata's medians lie outside of it, and a mean of 0 and 1 is neither.
    """
    bins = () if feature.categorical else counts.bins[:-1]
    numbers = sum(bins)
    if not numbers:
        return None
    place = next(index for index, below in enumerate(accumulate(bins)) if 2 * below >= numbers)
    middle, nearly_all = round(counts.middles / numbers), bins[place] >= _NEARLY_ALL * numbers
    if place == len(feature.cuts):
        return middle_of(max(middle, feature.cuts[-1] + 1)) if nearly_all else None
    end = feature.cuts[place]
    if not place:
        return middle_of(min(middle, end) if nearly_all else end)
    begin = feature.cuts[place - 1] + 1
    return middle_of(end if end - begin >= BUCKETS_PER_OCTAVE else min(max(middle, begin), end))


def reference_median(feature: Feature) -> float | None:
    """Return about the median of a numeric feature in the reference: the end of the bin that it lies in."""
    if feature.categorical or not feature.shares or not feature.cuts:
        return None
    half = 0.5 * math.fsum(feature.shares) - 1e-9
    place = next(index for index, below in enumerate(accumulate(feature.shares)) if below >= half)
    return middle_of(feature.cuts[min(place, len(feature.cuts) - 1)])


def bins_from(name: str, sketch: Sketch) -> Feature | None:
    """Return bins for an output by what it was before, without shares; None where nothing present is known."""
    numbers, texts = sum(sketch.numbers.values()), sum(sketch.texts.values()) + sketch.others
    if not numbers + texts:
        return None
    if numbers >= texts:
        return Feature(name=name, cuts=shift.edges(sketch.numbers, BINS))
    classes = sorted(sketch.texts, key=lambda text: (-sketch.texts[text], text))[:CLASSES]
    return Feature(name=name, values=tuple(classes)) if classes else None


def _by_class(feature: Feature, sketch: Sketch) -> tuple[int, ...]:
    places, buckets = _places(feature), _bucket_places(feature)
    counts = [0] * bins_of(feature)
    counts[-1] = sketch.others
    for text, count in sketch.texts.items():
        named = _named(text)
        counts[places.get(named, buckets.get(_bucket(named), -1))] += count
    for bucket, count in sketch.numbers.items():
        counts[buckets.get(bucket, -1)] += count
    return tuple(counts)


@lru_cache(maxsize=1024)
def _places(feature: Feature) -> dict[str, int]:
    """Return the bin of each class. Numbers that a sketch cannot tell apart are in the bin of the first of them."""
    places: dict[str, int] = {}
    buckets: dict[int, int] = {}
    for index, value in enumerate(feature.values):
        named, bucket = _named(value), _bucket(value)
        place = places.get(named, index) if bucket is None else buckets.setdefault(bucket, index)
        places.setdefault(named, place)
    return places


@lru_cache(maxsize=1024)
def _bucket_places(feature: Feature) -> dict[int | None, int]:
    return {
        bucket: place for named, place in _places(feature).items() if (bucket := _bucket(named)) is not None
    }


def _named(text: str) -> str:
    return class_of(text) or text


def _bucket(text: str) -> int | None:
    number = number_of(text)
    return None if number is None else bucket_of(number)


def _middle(numbers: dict[int, int]) -> int:
    if not numbers:
        return 0
    buckets = sorted(numbers)
    up_to = list(accumulate(numbers[bucket] for bucket in buckets))
    return buckets[bisect_left(up_to, (up_to[-1] + 1) // 2)]
