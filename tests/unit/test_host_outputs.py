"""The quick way of the host's checks decides as the careful one does, whatever the number of values."""

from typing import Any

import numpy as np
import pytest

from lastgood.domain.version import Signature, Tensor
from lastgood.host.outputs import Checker, InvalidOutputError, check
from lastgood.host.tensors import InputError, to_array

PAIRS = Signature(
    (Tensor("x", "FP32", (-1, 2)),), (Tensor("y", "FP64", (-1, 2)), Tensor("n", "INT64", (-1,)))
)


def answer(rows: int, **changes: Any) -> dict[str, Any]:
    return {"y": np.ones((rows, 2)), "n": np.arange(rows), **changes}


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_both_ways_give_the_same_outputs(rows: int) -> None:
    """A right answer comes out the same, values, order and the fixed parts of its JSON."""
    raw = answer(rows)
    quick, careful = Checker(PAIRS).check(raw, rows), check(raw, PAIRS, rows)

    assert [(one.form.name, one.form.head, one.form.middle, one.form.width, one.flat) for one in quick] == [
        (one.form.name, one.form.head, one.form.middle, one.form.width, one.flat) for one in careful
    ]


@pytest.mark.parametrize("rows", [1, 1000])
@pytest.mark.parametrize("values", [[np.nan, 1.0], [np.inf, 1.0], [-np.inf, 1.0], [np.inf, -np.inf]])
def test_one_value_that_is_not_finite_is_found(rows: int, values: list[float]) -> None:
    """NaN or infinity in one row is an invalid output, among few values and among many."""
    wrong = np.ones((rows, 2))
    wrong[-1] = values

    with pytest.raises(InvalidOutputError, match="NaN or infinity"):
        Checker(PAIRS).check(answer(rows, y=wrong), rows)


def test_finite_values_with_an_infinite_sum_are_right() -> None:
    """Values near the largest number are served, although they cannot be added."""
    raw = answer(1, y=np.full((1, 2), np.finfo(np.float64).max))

    assert Checker(PAIRS).check(raw, 1)[0].flat == [np.finfo(np.float64).max] * 2


@pytest.mark.parametrize(
    "raw",
    [
        {"y": np.ones((2, 2))},
        answer(3),
        answer(2, y=np.ones((2, 3))),
        answer(2, n=np.array(["a", "b"])),
        np.ones((2, 2)),
    ],
)
def test_a_wrong_answer_is_refused(raw: Any) -> None:
    """A missing output, other rows, another shape or datatype never pass the quick way."""
    with pytest.raises(InvalidOutputError):
        Checker(PAIRS).check(raw, 2)


def test_another_width_is_cast() -> None:
    """Numbers of the promised kind but another width come out as promised."""
    found = Checker(PAIRS).check(answer(1, y=np.ones((1, 2), np.float32)), 1)

    assert found[0].array.dtype == np.float64
    assert found[0].flat == [1.0, 1.0]


@pytest.mark.parametrize("count", [2, 1000])
@pytest.mark.parametrize(("datatype", "number"), [("FP32", 3.5e38), ("FP16", 65_520.0), ("FP32", -1e300)])
def test_numbers_that_do_not_fit_are_refused(count: int, datatype: str, number: float) -> None:
    """A float beyond its datatype is the caller's mistake, among few values and among many."""
    with pytest.raises(InputError, match=f"does not fit {datatype}"):
        to_array([0.0] * (count - 1) + [number], datatype, (count,), "x")


@pytest.mark.parametrize("count", [2, 1000])
@pytest.mark.parametrize("number", [65_504.0, 65_519.0, -65_519.0])
def test_numbers_that_round_into_their_datatype_fit(count: int, number: float) -> None:
    """What rounds to the largest value of a datatype is taken as that."""
    found = to_array([0.0] * (count - 1) + [number], "FP16", (count,), "x")

    assert abs(found[-1]) == np.finfo(np.float16).max
