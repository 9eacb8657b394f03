"""Columns of a request's inputs, in every way in which callers write them."""

from typing import Any

import msgspec
import pytest

from lastgood.domain.sketch import FEATURES_MAX
from lastgood.predictions.input_rows import ROWS_MAX, SLICED_ROWS_MAX, columns_of, slices_of


def v2(*tensors: tuple[str, list[int], list[Any]]) -> dict[str, Any]:
    return {"inputs": [{"name": name, "shape": shape, "data": data} for name, shape, data in tensors]}


ROWS = [[1, "de"], [2.5, None]]
TABLE = {"age": [1, 2.5], "land": ["de", None]}


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (v2(("age", [2], [1, 2.5]), ("land", [2, 1], ["de", None])), TABLE),
        (v2(("x", [2, 2], [1, "de", 2.5, None])), {"x[0]": [1, 2.5], "x[1]": ["de", None]}),
        (v2(("x", [2, 2], ROWS)), {"x[0]": [1, 2.5], "x[1]": ["de", None]}),
        (
            v2(("x", [1, 2, 2], [[[1, 2], [3, 4]]])),
            {"x[0]": [1], "x[1]": [2], "x[2]": [3], "x[3]": [4]},
        ),
        ({"dataframe_split": {"columns": ["age", "land"], "data": ROWS}}, TABLE),
        ({"dataframe_split": {"columns": [0, 1], "data": ROWS}}, {"0": [1, 2.5], "1": ["de", None]}),
        ({"dataframe_records": [{"age": 1, "land": "de"}, {"age": 2.5}]}, TABLE),
        ({"instances": [{"age": 1, "land": "de"}, {"age": 2.5, "land": None}]}, TABLE),
        ({"instances": ROWS}, {"input[0]": [1, 2.5], "input[1]": ["de", None]}),
        ({"instances": [3, 4]}, {"input": [3, 4]}),
        ({"inputs": TABLE}, TABLE),
        ({"inputs": {"x": ROWS}}, {"x[0]": [1, 2.5], "x[1]": ["de", None]}),
        ({"inputs": ROWS}, {"input[0]": [1, 2.5], "input[1]": ["de", None]}),
    ],
)
def test_every_way_to_write_inputs_gives_its_columns(body: Any, wanted: dict[str, Any]) -> None:
    """Tensors, flat or nested, tables by row or by column, and rows without names."""
    assert columns_of(msgspec.json.encode(body)) == wanted


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"[1]",
        b'{"inputs": 3}',
        b'{"inputs": []}',
        b'{"inputs": {"x": 3}}',
        b'{"inputs": [{"name": "x", "shape": [3], "data": [1, 2]}]}',
        b'{"inputs": [{"name": "x", "shape": [], "data": [1]}]}',
        b'{"inputs": [{"name": "x", "shape": [-1, -2], "data": [1, 2]}]}',
        b'{"inputs": [{"name": "x"}]}',
        b'{"inputs": [[1, 2], [3]]}',
        b'{"inputs": [[1, 2, 3], [4]]}',
        b'{"inputs": [[1, 2], 3]}',
        b'{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}',
        b'{"dataframe_records": []}',
        b'{"instances": []}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_is_no_request_has_no_columns(body: bytes) -> None:
    """Whatever a caller sends, nothing is raised; a column is asked for in vain."""
    assert columns_of(body) == {}
    assert slices_of(body, ["x"]) == {"x": []}


def test_columns_and_rows_are_bounded() -> None:
    """A wide or long request gives as much as is looked at, of a later input too."""
    wide = v2(("x", [1, 150], [0] * 150), ("y", [1, 150], [1] * 150))
    found = columns_of(msgspec.json.encode(wide))
    assert len(found) == FEATURES_MAX
    assert (found["x[149]"], found["y[49]"]) == ([0], [1])
    long = msgspec.json.encode(v2(("x", [20_000, 2], list(range(40_000)))))
    assert columns_of(long) == {
        "x[0]": list(range(0, 2 * ROWS_MAX, 2)),
        "x[1]": list(range(1, 2 * ROWS_MAX, 2)),
    }
    assert len(slices_of(long, ["x[1]"])["x[1]"]) == SLICED_ROWS_MAX


def test_slices_are_texts_as_classes_are_written() -> None:
    """A number is one text however it is written, nothing and what is no value is empty, a long text is cut."""
    values = [1, 1.0, "1", True, False, 0.5, None, "", " de ", ["a"], {"a": 1}, "x" * 300, 10**200]
    found = slices_of(msgspec.json.encode({"inputs": {"land": values, "age": list(range(13))}}), ["land"])
    assert found == {
        "land": ["1", "1", "1", "1", "0", "0.5", "", "", "de", "", "", "x" * 100, "1" + "0" * 99]
    }


def test_only_columns_that_are_asked_for_are_slices() -> None:
    """A column of a matrix is named by its place, one that is not there has no rows, and no inputs have none."""
    body = msgspec.json.encode(v2(("x", [2, 300], list(range(600))), ("land", [2, 1], ["de", "at"])))
    columns = ["x[299]", "x[300]", "x", "land[0]", "land", "sea"]
    assert slices_of(body, columns) == {
        "x[299]": ["299", "599"],
        "x[300]": [],
        "x": [],
        "land[0]": ["de", "at"],
        "land": ["de", "at"],
        "sea": [],
    }
    assert slices_of(None, ["land"]) == {"land": []}
    assert slices_of(body, []) == {}


def test_rows_without_a_name_are_the_models_only_input() -> None:
    """A plan names the matrix as the model does; MLflow's callers may leave its name out."""
    body = msgspec.json.encode({"instances": ROWS})
    assert slices_of(body, ["x[1]", "x[2]", "x"]) == {"x[1]": ["de", ""], "x[2]": [], "x": []}
    assert slices_of(b'{"inputs": [3, 4]}', ["x"]) == {"x": ["3", "4"]}
