"""The file of a version's data contract: what it says is needed, and what is wrong is told at its line."""

import pytest

from lastgood.domain.data_file import contract_differences, contract_facts, parse_data_file
from lastgood.domain.snapshot import Column, Schema, schema_of
from lastgood.errors import Code, LastgoodError

WHOLE = """\
data:
  features:
    tables:
      customers: {id: INTEGER, age: " double  precision"}
      "order lines":
        "on": text
  images:
    tables:
      files: {}
"""


def tables(**columns: dict[str, str]) -> Schema:
    return schema_of({table: [Column(*one) for one in kinds.items()] for table, kinds in columns.items()})


def test_a_whole_file_is_read():
    """Sources, tables and columns come out, types in lower case as sources call them, names as they are."""
    needs = parse_data_file(WHOLE).needs
    assert needs == {
        "features": tables(
            customers={"id": "integer", "age": "double precision"}, **{"order lines": {"on": "text"}}
        ),
        "images": tables(files={}),
    }


FAULTS = [
    ("", 1, 1, "data: {}"),
    ("- data", 1, 1, "data: {}"),
    ("dat: {}", 1, 1, "Known here: data"),
    ("data: {}\nmodel: churn", 2, 1, "Known here: data"),
    ("data: features", 1, 7, "not a mapping"),
    ("data:\n  Features-1: {}", 2, 3, "small letters"),
    ("data:\n  f: {}", 2, 6, "'tables' is missing"),
    ("data:\n  f: [a]", 2, 6, "'data.f' is not a mapping"),
    ("data:\n  f:\n    table: {}", 3, 5, "Known here: tables"),
    ("data:\n  f:\n    tables: [a]", 3, 13, "not a mapping"),
    ("data:\n  f:\n    tables:\n      a: [id]", 4, 10, "{id: integer, age: integer}"),
    ("data:\n  f:\n    tables:\n      a: {id: 5}", 4, 15, "'id' is not a text"),
    ("data:\n  f:\n    tables:\n      a: {id: ''}", 4, 15, "'any' where it has none"),
    ("data:\n  f:\n    tables:\n      a:\n        id:", 5, 12, "missing"),
    ("data:\n  f:\n    tables:\n      a: {id: int, id: int}", 4, 20, "twice"),
    ("data: {f: {tables: {a: !!python/name:os.system {}}}}", 1, 24, "tag"),
]


@pytest.mark.parametrize(("text", "line", "column", "said"), FAULTS, ids=[fault[3] for fault in FAULTS])
def test_a_fault_is_told_at_its_line_with_what_to_do(text, line, column, said):
    """The error begins with file, line and column, and says what is accepted there."""
    with pytest.raises(LastgoodError) as caught:
        parse_data_file(text, source="models/lastgood.yaml")
    assert caught.value.code is Code.INVALID
    assert caught.value.message.startswith(f"models/lastgood.yaml:{line}:{column}: ")
    assert said in str(caught.value)


def test_a_file_that_todays_data_does_not_fulfil_names_every_column():
    """Missing tables, missing columns and other types are told together, at the source's line; more columns are no harm."""
    file = parse_data_file(
        "data:\n  f:\n    tables:\n      a: {id: integer, age: integer}\n      b: {x: text}\n"
    )
    file.check_fits("f", tables(a={"id": "integer", "age": "integer", "new": "text"}, b={"x": "text"}))
    with pytest.raises(LastgoodError) as caught:
        file.check_fits("f", tables(a={"age": "real"}))
    assert caught.value.message.startswith("lastgood.yaml:2:3: ")
    for said in ("a.id is missing", "a.age is real, not integer", "no table 'b'"):
        assert said in caught.value.message


def test_contracts_that_name_columns_in_another_order_are_the_same():
    """Order is how a person wrote it; what is needed is a set."""
    one = {"f": tables(a={"x": "text", "y": "real"}, b={})}
    other = {"f": tables(b={}, a={"y": "real", "x": "text"})}
    assert contract_differences(one, other) == ()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, ("f is no longer needed",)),
        ({"f": tables(a={"x": "text"}), "g": tables(c={"z": "text"})}, ("g is new",)),
        ({"f": tables(a={"x": "real"})}, ("f.a.x is real, not text",)),
        ({"f": tables(a={})}, ("f.a.x is no longer needed",)),
        ({"f": tables(a={"x": "text"}, b={"y": "text"})}, ("f.b is new",)),
        ({"f": tables(b={"x": "text"})}, ("f.a is no longer needed", "f.b is new")),
    ],
)
def test_contracts_that_differ_are_told_apart_part_by_part(given, says):
    """A column by its type, a table or a source once and not with all that is in it."""
    assert contract_differences({"f": tables(a={"x": "text"})}, given) == says


def test_names_with_dots_are_not_taken_for_paths():
    """The table 'a.b' with a column 'c' is not the table 'a' with a column 'b.c'."""
    one, other = {"f": tables(**{"a.b": {"c": "text"}})}, {"f": tables(a={"b.c": "text"})}
    assert contract_differences(one, other) == ("f.a is new", "f.a.b is no longer needed")


def test_facts_are_flat_and_complete():
    """Every source has its schema id, every column its type, and a table without columns is there too."""
    schema = tables(a={"x": "text"}, files={})
    assert contract_facts({"f": schema}) == {"f": schema.id, "f.a.x": "text", "f.files": "any columns"}
