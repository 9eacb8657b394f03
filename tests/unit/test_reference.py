"""The reference of a version: what a file becomes, how it fits the model's inputs, and what a wrong file is told."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lastgood.analysis.reference import CLASSES, FEW, ColumnTally, Kind
from lastgood.control import reference_file
from lastgood.control.contract import reference_beside
from lastgood.control.reference_file import read_reference
from lastgood.domain.data_file import parse_data_file
from lastgood.domain.sketch import Feature, Reference, bucket_of, middle_of
from lastgood.domain.version import Signature, Tensor
from lastgood.errors import Code, LastgoodError
from lastgood.integrations.table_file import open_table

MATRIX = Signature((Tensor("x", "FP32", (-1, 3)),), ())
NAMED = Signature(
    (Tensor("age", "FP64", (-1,)), Tensor("land", "BYTES", (-1, 1)), Tensor("vip", "BOOL", (-1,))), ()
)


def feature(values: list[Any], kind: Kind = Kind.ANY) -> Feature:
    tally = ColumnTally(kind)
    for start in range(0, len(values), 7):
        tally.add(values[start : start + 7])
    return tally.feature("f")


def write(folder: Path, text: str, name: str = "train.csv") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def read(file: Path, signature: Signature | None = None, *without: str) -> Reference:
    return read_reference(file, signature, without, open_table)


@pytest.mark.parametrize("spelled", [False, True])
def test_many_numbers_become_bins_of_about_equal_parts(spelled: bool) -> None:
    """Of a normal column each of 16 bins holds about a sixteenth, and the middle cut is at the median."""
    chance = random.Random(4)
    numbers = [chance.gauss(0, 30) for _ in range(20_000)]
    found = feature([repr(one) for one in numbers] if spelled else numbers)
    assert (len(found.cuts), len(found.shares), found.categorical) == (15, 16, False)
    assert sum(found.shares) == pytest.approx(1.0)
    assert list(found.cuts) == sorted(found.cuts)
    assert all(share == pytest.approx(1 / 16, abs=0.02) for share in found.shares)
    assert abs(middle_of(found.cuts[7])) < 2


def test_the_share_of_a_bin_is_what_lies_up_to_its_cut() -> None:
    """Shares are the parts of the values between one cut and the next."""
    numbers = [float(one) for one in range(1, 101)]
    found = feature(numbers)
    for place, cut in enumerate(found.cuts):
        below = sum((bucket_of(one) or 0) <= cut for one in numbers)
        assert sum(found.shares[: place + 1]) == pytest.approx(below / 100)


def test_few_numbers_are_classes() -> None:
    """A column with few different numbers is told apart by them, however they are written."""
    assert feature(["1", "1.0", "2", "1"]) == Feature(name="f", values=("1", "2"), shares=(0.75, 0.25, 0.0))
    assert feature([True, False, True, True]).values == ("1", "0")
    assert len(feature(list(range(FEW))).values) == FEW
    assert feature(list(range(FEW + 1))).cuts


def test_texts_are_ranked_and_the_rest_is_counted_together() -> None:
    """The commonest classes have their parts, and the last part is that of all others."""
    values = [f"text {number}" for number in range(CLASSES + 10) for _ in range(CLASSES + 10 - number)]
    found = feature(values)
    assert (len(found.values), found.values[0], len(found.shares)) == (CLASSES, "text 0", CLASSES + 1)
    assert found.shares[0] == pytest.approx((CLASSES + 10) / len(values))
    assert found.shares[-1] == pytest.approx(sum(range(1, 11)) / len(values))


def test_a_hundred_thousand_texts_take_bounded_room() -> None:
    """Of a column where every value is another, shares still add up to one."""
    found = feature([f"id {number}" for number in range(100_000)])
    assert (len(found.values), sum(found.shares)) == (CLASSES, pytest.approx(1.0))


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ([None, "", " ", "1", "2"], 0.6),
        (["NA", "nan", "3", "4"], 0.5),
        (["NA", "nan", "de", ""], 0.25),  # among texts they may be classes
        ([float("nan"), 1.0], 0.5),
        ([None, None], 1.0),
        ([1.0], 0.0),
    ],
)
def test_what_is_missing_is_no_value(values: list[Any], missing: float) -> None:
    """Null, NaN and nothing are missing everywhere, and words for that where all else are numbers."""
    assert feature(values).missing == pytest.approx(missing)


def test_a_column_without_a_value_has_no_shares() -> None:
    """Nothing can be told of how its values lie."""
    assert feature([None, ""]) == Feature(name="f", missing=1.0)


@pytest.mark.parametrize(
    "numbers", [["inf", "-inf", *map(str, range(30))], ["9" * 5_000, *map(str, range(30))]]
)
def test_numbers_that_are_too_large_are_numbers(numbers: list[str]) -> None:
    """What no float can hold lies in the outermost bin."""
    assert not feature(numbers).categorical
    assert not feature(numbers, Kind.NUMBER).categorical


# --- files ------------------------------------------------------------------------------------------


def test_a_matrix_takes_the_columns_one_after_another(tmp_path: Path) -> None:
    """Place i of the model's only input is column i without the label, and keeps the column's name for people."""
    found = read(write(tmp_path, "a,label,b,c\n1,yes,2,3\n4,no,5,6\n\n"), MATRIX, "label")
    assert found.rows == 2
    assert [(one.name, one.title, one.shown) for one in found.features] == [
        ("x[0]", "a", "a"),
        ("x[1]", "b", "b"),
        ("x[2]", "c", "c"),
    ]
    assert found.features[2].values == ("3", "6")


def test_columns_are_matched_by_the_names_of_inputs(tmp_path: Path) -> None:
    """Inputs are found wherever their columns stand; texts stay texts, and other columns are passed over."""
    found = read(write(tmp_path, "label,vip,land,age\n1,true,07,1.5\n0,false,7,NA\n"), NAMED)
    assert [one.name for one in found.features] == ["age", "land", "vip"]
    assert [one.values for one in found.features] == [("1.5",), ("07", "7"), ("false", "true")]
    assert found.features[0].missing == 0.5


def test_columns_may_be_named_by_places(tmp_path: Path) -> None:
    """Columns called as the places of a matrix are those places, in whatever order they stand."""
    found = read(write(tmp_path, "x[2],x[0],label,x[1]\n3,1,9,2\n"), MATRIX)
    assert [(one.name, one.values) for one in found.features] == [
        ("x[0]", ("1",)),
        ("x[1]", ("2",)),
        ("x[2]", ("3",)),
    ]


def test_without_a_signature_every_column_is_a_feature(tmp_path: Path) -> None:
    """A model that does not say what it takes is measured by the names in the file."""
    found = read(write(tmp_path, "\ufeffa,b\n1,x\n", "TRAIN.CSV"), None)
    assert [(one.name, one.values) for one in found.features] == [("a", ("1",)), ("b", ("x",))]


def test_a_parquet_file_gives_what_the_same_csv_file_gives(tmp_path: Path) -> None:
    """Numbers, texts and nulls of all types come out alike."""
    chance = random.Random(8)
    ages = [None if chance.random() < 0.1 else chance.gauss(40, 9) for _ in range(500)]
    lands = [chance.choice(["de", "fr", None]) for _ in range(500)]
    table = pa.table(
        {"age": ages, "land": pa.array(lands).dictionary_encode(), "n": [one % 5 for one in range(500)]}
    )
    pq.write_table(table, tmp_path / "train.parquet", row_group_size=64)
    lines = [
        f"{'' if age is None else age},{land or ''},{one % 5}"
        for one, (age, land) in enumerate(zip(ages, lands, strict=True))
    ]
    same = write(tmp_path, "\n".join(["age,land,n", *lines]))
    assert read(tmp_path / "train.parquet") == read(same)


def test_rows_and_columns_beyond_the_bounds_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long file counts as far as the bound, and a wide one too."""
    monkeypatch.setattr(reference_file, "ROWS_MAX", 3)
    monkeypatch.setattr(reference_file, "FEATURES_MAX", 2)
    found = read(write(tmp_path, "a,b,c\n1,1,1\n2,2,2\n3,3,3\n4,4,4\n"))
    assert (found.rows, [one.name for one in found.features]) == (3, ["a", "b"])
    assert found.features[0].values == ("1", "2", "3")


WRONG = [
    ("", None, "train.csv is empty"),
    ("a,b\n", None, "train.csv has no rows"),
    ("a,a\n1,2\n", None, "two columns are called 'a'"),
    ("a,\n1,2\n", None, "a column has no name"),
    ("a,b\n1,2\n3\n", None, "line 3: 1 cells under 2"),
    ("a,b\n1,2\n3,4,5\n", None, "line 3: 3 cells under 2"),
    (
        "a,b,c\n1,2,3\n4,five,6\n",
        MATRIX,
        "row 2, column 'b': 'five' is not a number, and the model's input 'x[1]'",
    ),
    ("a,b,c,label\n1,2,3,4\n", MATRIX, "'x' has 3 places, and here are 4 columns"),
    ("age,vip\n1,true\n", NAMED, "no column for the model's input 'land'"),
]


@pytest.mark.parametrize(("text", "signature", "said"), WRONG)
def test_a_wrong_file_is_told_with_the_place(
    tmp_path: Path, text: str, signature: Signature | None, said: str
) -> None:
    """The error names the file, the line or row, and the column."""
    with pytest.raises(LastgoodError) as caught:
        read(write(tmp_path, text), signature)
    assert caught.value.code is Code.INVALID
    assert said in caught.value.message
    assert "train.csv" in caught.value.message


def test_files_that_are_no_tables_are_told(tmp_path: Path) -> None:
    """No such file, another kind of file, bytes that are no text, nested columns: each has its own sentence."""
    (tmp_path / "bytes.csv").write_bytes(b"a,b\n1,\xff\n")
    (tmp_path / "no.parquet").write_bytes(b"a,b\n1,2\n")
    pq.write_table(pa.table({"x": [[1, 2], [3, 4]]}), tmp_path / "nested.parquet")
    pq.write_table(pa.table({"x": pa.array([1], pa.duration("ns"))}), tmp_path / "duration.parquet")
    told = {
        "gone.csv": "There is no file",
        "model.onnx": "neither a .csv nor a .parquet",
        "bytes.csv": "is not UTF-8 text",
        "no.parquet": "is not a Parquet file",
        "nested.parquet": "column 'x' holds list",
        "duration.parquet": "column 'x' cannot be read",
    }
    write(tmp_path, "", "model.onnx")
    for name, said in told.items():
        with pytest.raises(LastgoodError, match=said):
            read(tmp_path / name)
    with pytest.raises(LastgoodError, match="no column 'label' to leave out"):
        read(write(tmp_path, "a\n1\n"), None, "label")


# --- the file beside the artifact -------------------------------------------------------------------


def test_the_file_beside_an_artifact_may_name_its_reference(tmp_path: Path) -> None:
    """The name counts from the file's folder, alone or beside a data contract."""
    artifact = write(tmp_path, "", "model.onnx")
    assert reference_beside(artifact) is None
    write(tmp_path, "reference: train.csv\nwithout: [label]\n", "lastgood.yaml")
    file, without = reference_beside(artifact) or (None, ())
    assert (file, without) == (tmp_path / "train.csv", ("label",))
    assert parse_data_file("data: {}\nreference: a.csv").reference == ("a.csv", ())
    assert parse_data_file("data: {}").reference is None


@pytest.mark.parametrize("name", ["../train.csv", "/etc/passwd", "link.csv"])
def test_a_reference_in_another_folder_is_not_read(tmp_path: Path, name: str) -> None:
    """An artifact that comes from elsewhere does not choose what is read on this machine."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    write(tmp_path, "a\n1\n")
    (folder / "link.csv").symlink_to(tmp_path / "train.csv")
    write(folder, f"reference: {name}\n", "lastgood.yaml")
    with pytest.raises(LastgoodError, match=r"lastgood.yaml:1:12: .*not in the folder"):
        reference_beside(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reference: [a]", "1:12: 'reference' names no file"),
        ("reference: ''", "1:12: 'reference' names no file"),
        ("reference: a.csv\nwithout: label", "2:10: 'without' is not a list"),
        ("data: {}\nwithout: [label]", "2:1: 'without' is of a reference"),
    ],
)
def test_a_reference_that_is_written_wrongly_is_told_at_its_place(text: str, said: str) -> None:
    """The error begins with the line and column."""
    with pytest.raises(LastgoodError, match=said):
        parse_data_file(text)
