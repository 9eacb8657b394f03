"""Sketches against what was expected: bins of numbers and classes, distances, medians, the words of a finding."""

import random

import pytest

from lastgood.analysis.drift_bins import (
    binned,
    bins_from,
    bins_of,
    expected,
    median,
    nothing,
    reference_median,
    shape,
)
from lastgood.analysis.drift_sets import Watched, allowed
from lastgood.domain.drift import BinCounts
from lastgood.domain.sketch import Feature, Sketch, sketch_of
from lastgood.stats import shift


def numeric(values: list[float], name: str = "tenure") -> Feature:
    sketch = sketch_of(values)
    cuts = shift.edges(sketch.numbers, 16)
    counts = shift.binned(sketch.numbers, cuts)
    return Feature(name=name, cuts=cuts, shares=tuple(count / len(values) for count in counts))


def test_numbers_fall_into_the_bins_of_the_reference_and_all_else_beside_them() -> None:
    """Texts that spell numbers are numbers; other texts and missing values are counted apart; nothing is lost."""
    feature = numeric([float(one) for one in range(1, 101)])
    counts = binned(feature, sketch_of([1, 50.0, "100", "many", None, float("nan")]))
    assert len(counts.bins) == bins_of(feature) == 17
    assert (counts.present, counts.missing, counts.bins[-1]) == (4, 2, 1)
    assert counts.bins[0] == 1
    assert counts.bins[15] == 1


def test_classes_are_compared_as_labels_are() -> None:
    """1, 1.0, "1" and true are one class; numbers that a sketch cannot tell apart share a bin; others are the last."""
    feature = Feature(name="x", values=("1", "0", "100", "101"), shares=(0.5, 0.2, 0.1, 0.1, 0.1))
    counts = binned(feature, sketch_of([1, 1.0, "1", True, 0, 100, 101, "new", None]))
    assert counts == BinCounts((4, 1, 2, 0, 1), 1)
    assert expected(feature) == pytest.approx((0.5, 0.2, 0.2, 0.0, 0.1))


def test_what_was_trained_on_has_no_distance_and_another_half_has() -> None:
    """The reference's own values lie at 0; where all lie in the upper half it is a half."""
    values = [float(one) for one in range(1, 1601)]
    feature = numeric(values)
    assert shape(feature, binned(feature, sketch_of(values))).distance == pytest.approx(0.0, abs=1e-9)
    upper = shape(feature, binned(feature, sketch_of([one for one in values if one > 800.0])))
    assert upper.distance == pytest.approx(0.5, abs=0.03)
    assert upper.median == pytest.approx(1200.0, rel=0.03)
    assert reference_median(feature) == pytest.approx(800.0, rel=0.05)


def test_medians_of_strata_sum_up() -> None:
    """The mean of the strata's medians is near the median of all, also far outside of the reference."""
    chance = random.Random(3)
    feature = numeric([chance.gauss(58.0, 5.0) for _ in range(2000)])
    total = nothing(feature)
    for _ in range(40):
        total = total.plus(binned(feature, sketch_of([chance.gauss(740.0, 50.0) for _ in range(30)])))
    assert median(feature, total) == pytest.approx(740.0, rel=0.03)
    assert median(feature, nothing(feature)) is None


@pytest.mark.parametrize(("ones", "expected"), [(0.9, 1.0), (0.1, 0.0), (0.52, 1.0), (0.48, 0.0)])
def test_a_class_of_0_or_1_has_no_median_between_them(ones: float, expected: float) -> None:
    """Strata of both sides have no mean that means anything: it is the one that more are."""
    chance = random.Random(5)
    feature = numeric([0.0, 1.0] * 500)
    total = nothing(feature)
    for _ in range(60):
        total = total.plus(binned(feature, sketch_of([float(chance.random() < ones) for _ in range(30)])))
    assert median(feature, total) == pytest.approx(expected, abs=0.03)


def test_a_median_lies_in_its_bin() -> None:
    """Of values near 0.001 and near 100 in turns, with a few more near 100, it is near 100 and not between."""
    chance = random.Random(7)
    feature = numeric([chance.choice([0.001, 100.0]) * chance.uniform(0.9, 1.1) for _ in range(2000)])
    total = nothing(feature)
    for turn in range(41):
        value = 0.001 if turn % 2 else 100.0
        total = total.plus(binned(feature, sketch_of([value * chance.uniform(0.9, 1.1) for _ in range(30)])))
    assert median(feature, total) == pytest.approx(90.0, rel=0.1)


def test_a_class_that_grows_is_named() -> None:
    """The class whose part grew most comes with both parts; a class that training never saw is unseen."""
    feature = Feature(name="country", values=("DE", "FR"), shares=(0.5, 0.5, 0.0))
    found = shape(feature, binned(feature, Sketch(texts={"DE": 90, "XX": 10})))
    assert found.most == ("DE", pytest.approx(0.9), 0.5)
    assert found.unseen == pytest.approx(0.1)
    assert found.distance == pytest.approx(0.5)


def test_bins_of_outputs_come_from_what_was_there_before() -> None:
    """Numbers are cut into parts of about equal size, classes kept by how common they were; of nothing come none."""
    assert bins_from("score", Sketch()) is None
    scores = bins_from("score", sketch_of([one / 100.0 for one in range(1, 101)]))
    assert scores is not None
    assert len(scores.cuts) == 15
    labels = bins_from("label", sketch_of(["no"] * 5 + ["yes"] * 2))
    assert labels is not None
    assert labels.values == ("no", "yes")


def test_a_reference_without_values_expects_nothing() -> None:
    """A feature that was always missing has no shares, and no distance is made up."""
    feature = Feature(name="empty", missing=1.0)
    assert expected(feature) == ()
    assert shape(feature, binned(feature, sketch_of([1.0, None]))).distance == 0.0


def test_what_never_came_in_a_small_training_set_may_come() -> None:
    """Of 50 rows none with a missing value says less than of 50 000."""
    feature = Feature(name="x", values=("a",), shares=(1.0, 0.0))
    few, many = (allowed(Watched("missing"), feature, (), distance=0.01, rows=rows) for rows in (50, 50_000))
    assert few > 0.05
    assert many == pytest.approx(0.01, abs=0.001)
    assert allowed(Watched("missing"), feature, (), distance=0.01, rows=0) == 0.01
