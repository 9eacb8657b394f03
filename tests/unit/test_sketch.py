"""Sketches of values: order, error, bounds, and that it does not matter in which order they are put together."""

import math
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.domain.sketch import (
    BUCKETS_MAX,
    TEXT_CHARACTERS_MAX,
    TEXTS_MAX,
    Feature,
    Sketch,
    bucket_of,
    middle_of,
    sketch_of,
)

NUMBERS = st.floats(allow_nan=False) | st.integers()
SIZES = st.floats(min_value=2.0**-39, max_value=2.0**59)
VALUES = st.lists(NUMBERS | st.text(max_size=3) | st.none() | st.booleans() | st.just(math.nan), max_size=40)
ANY = st.lists(VALUES, min_size=1, max_size=4)


@given(NUMBERS, NUMBERS)
def test_buckets_keep_the_order_of_numbers(one: float, other: float) -> None:
    """A greater number is never in a lower bucket."""
    low, high = sorted((one, other))
    first, second = bucket_of(low), bucket_of(high)
    assert first is not None
    assert second is not None
    assert first <= second


@given(SIZES, st.sampled_from([1.0, -1.0]))
def test_a_bucket_tells_its_number_to_a_few_percent(size: float, sign: float) -> None:
    """The middle of a number's bucket is within 2.2 % of it, on either side of zero."""
    bucket = bucket_of(sign * size)
    assert bucket is not None
    assert middle_of(bucket) == pytest.approx(sign * size, rel=0.0221)


@pytest.mark.parametrize(
    ("number", "like"),
    [(10**400, math.inf), (-(10**400), -math.inf), (1e300, math.inf), (1e-300, 0), (-0.0, 0)],
)
def test_numbers_out_of_range_are_in_the_outermost_buckets(number: float, like: float) -> None:
    """What no float can hold is like infinity, and what is next to nothing like zero."""
    assert bucket_of(number) == bucket_of(like)


def test_what_is_no_value_is_missing() -> None:
    """Null and NaN are missing, truth values are texts, and everything else is one kind of value."""
    found = sketch_of([None, math.nan, True, False, "true", [1], {"a": 1}, 0])
    assert found == Sketch(numbers={0: 1}, texts={"true": 2, "false": 1}, others=2, missing=2)
    assert found.count == 8


@given(ANY)
def test_within_bounds_parts_may_be_put_together_in_any_order(parts: list[list[object]]) -> None:
    """The sketch of all values is the sum of the parts' sketches, forwards, backwards and in pairs."""
    sketches = [sketch_of(part) for part in parts]
    whole = sketch_of(value for part in parts for value in part)
    assert reduce(Sketch.plus, sketches) == whole
    assert reduce(Sketch.plus, reversed(sketches)) == whole
    assert reduce(lambda known, more: more.plus(known), sketches, Sketch()) == whole


@given(st.lists(st.lists(st.integers(-1601, 1601), max_size=600), min_size=1, max_size=4))
def test_beyond_the_bound_neighbours_share_a_bucket_and_nothing_is_lost(parts: list[list[int]]) -> None:
    """Whatever is put together, there are few buckets, every value is in one, and signs are kept."""
    known = Sketch()
    for part in parts:
        known = known.plus(sketch_of(middle_of(bucket) for bucket in part))
        assert len(known.numbers) <= BUCKETS_MAX
    values = [bucket for part in parts for bucket in part]
    assert known.count == len(values)
    for sign in (-1, 0, 1):
        theirs = sum(count for bucket, count in known.numbers.items() if _sign(bucket) == sign)
        assert theirs == sum(_sign(value) == sign for value in values)


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def test_all_buckets_at_once_are_told_to_a_fifth() -> None:
    """With every bucket there is in use, the middle of what is left is within 22 % of each number."""
    numbers = [sign * 2.0 ** (place / 16 + 0.03) for place in range(-16 * 39, 16 * 59) for sign in (1, -1)]
    every = sketch_of(numbers)
    assert len(every.numbers) <= BUCKETS_MAX
    middles = sorted(middle_of(bucket) for bucket, count in every.numbers.items() for _ in range(count))
    assert all(
        math.isclose(found, true, rel_tol=0.22) for found, true in zip(middles, sorted(numbers), strict=True)
    )


def test_texts_are_bounded_in_number_and_length() -> None:
    """A hundred thousand different texts take no more room than the bound, and are all counted."""
    found = sketch_of(f"{number}-{'x' * 300}" for number in range(100_000))
    twice = found.plus(sketch_of(f"other {number}" for number in range(1_000)))
    assert (len(twice.texts), twice.count) == (TEXTS_MAX, 101_000)
    assert max(map(len, twice.texts)) == TEXT_CHARACTERS_MAX


def test_a_feature_is_found_by_whatever_requests_call_it() -> None:
    """A place of a matrix has its own name, its column's in a table, and the unnamed one; a plain feature has its own."""
    assert Feature(name="x[3]", title="age").names == ("x[3]", "age", "input[3]")
    assert Feature(name="input[3]").names == ("input[3]",)
    assert Feature(name="age").names == ("age",)
