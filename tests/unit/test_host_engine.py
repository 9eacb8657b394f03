"""The host's engine without a process: decoding, batching, checking, answering."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from lastgood.domain.version import Signature, Tensor
from lastgood.errors import Code, LastgoodError
from lastgood.host.engine import Engine, warm_up
from lastgood.host.model import Model, agreed
from lastgood.host.request import Work
from lastgood.wire.frames import Request, Status
from models import v2_body

PAIR = Signature((Tensor("x", "FP32", (-1, 2)),), (Tensor("y", "FP64", (-1,)),))


def engine_of(
    predict: Callable[[dict[str, Any]], Any], signature: Signature | None = PAIR, max_rows: int = 8
) -> Engine:
    return Engine(model_of(predict, signature), version=3, max_rows=max_rows)


def model_of(predict: Callable[[dict[str, Any]], Any], signature: Signature | None = PAIR) -> Model:
    return Model(platform="test", signature=signature, predict=predict)


def ask(engine: Engine, body: bytes, kind: Request = Request.INFER) -> tuple[Status, Any]:
    work = engine.parse(kind, b"churn", memoryview(body))
    engine.run([work])
    return Status(work.status), json.loads(work.body)


def total(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"y": inputs["x"].sum(axis=1)}


def body(**changes: Any) -> bytes:
    given = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2], **changes}
    return json.dumps({"inputs": [{k: v for k, v in given.items() if v is not None}]}).encode()


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":' + b"[" * 100_000, "not valid JSON"),
        (b"[]", "not an inference request"),
        (b'{"inputs": []}', "no inputs"),
        (body(name="z"), "no input 'z'; it takes x"),
        (body(datatype="INT64"), "datatype INT64, the model takes FP32"),
        (body(datatype="FP31"), "unknown datatype"),
        (body(shape=[1, 3], data=[1, 2, 3]), "shape [1, 3], the model takes [-1, 2]"),
        (body(shape=[2]), "shape [2], the model takes [-1, 2]"),
        (body(shape=[2, 2]), "2 values, its shape [2, 2] needs 4"),
        (body(shape=[0, 2], data=[]), "has no rows"),
        (body(shape=[-1, 2]), "has no rows"),
        (body(shape=[1, 10**30]), "the model takes [-1, 2]"),
        (body(shape=[2, 2], data=[[1, 2], [3]]), "nested otherwise"),
        (body(data=[1, "NaN"]), "Expected `float`"),
        (body(data=[1, None]), "Expected `float`"),
        (body(data=[1, True]), "Expected `float`"),
        (body(data=[1, 1e39]), "does not fit FP32"),
        (body(data="1,2"), "not a list"),
        (body(data=None), "not an inference request"),
        (b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,NaN]}]}', "not valid JSON"),
        (v2_body([[1, 2]], name="x", outputs=[{"name": "p"}]), "no output 'p'; it gives y"),
    ],
)
def test_callers_mistakes_are_named(sent: bytes, sentence: str) -> None:
    """Every wrong body is the caller's fault, with a sentence that says what is wrong."""
    status, answer = ask(engine_of(total), sent)

    assert status is Status.BAD_INPUT
    assert sentence in answer["error"]


def test_too_many_rows_are_too_large() -> None:
    """A request above max_rows is refused as too large, and the model never sees it."""
    status, answer = ask(engine_of(total), v2_body(np.zeros((9, 2)), name="x"))

    assert status is Status.TOO_LARGE
    assert "at most 8" in answer["error"]


def test_answer_follows_the_protocol() -> None:
    """Flat and nested data give the same answer; id, shape, datatype and version are in it."""
    nested = json.loads(v2_body([[1, 2], [3, 4]], name="x", id="q7", parameters={"any": 1}))
    flat = json.dumps(nested).encode()
    nested["inputs"][0]["data"] = [[1, 2], [3, 4]]

    assert ask(engine_of(total), flat) == ask(engine_of(total), json.dumps(nested).encode())
    assert ask(engine_of(total), flat)[1] == {
        "model_name": "churn",
        "model_version": "3",
        "id": "q7",
        "outputs": [{"name": "y", "datatype": "FP64", "shape": [2], "data": [3.0, 7.0]}],
    }


def run_all(engine: Engine, bodies: list[bytes]) -> list[Work]:
    works = [engine.parse(Request.INFER, b"churn", memoryview(one)) for one in bodies]
    engine.run(works)
    return works


def test_batch_answers_as_one_by_one() -> None:
    """Requests of mixed sizes answered in few calls get the very bytes they get alone."""
    calls: list[int] = []

    def counting(inputs: dict[str, Any]) -> dict[str, Any]:
        calls.append(len(inputs["x"]))
        return total(inputs)

    rng = np.random.default_rng(1)
    bodies = [v2_body(rng.normal(size=(rows, 2)), name="x", id=str(rows)) for rows in (1, 3, 1, 2, 5, 1, 1)]
    together = [work.body for work in run_all(engine_of(counting), bodies)]
    alone = [run_all(engine_of(total), [one])[0].body for one in bodies]

    assert together == alone
    assert calls == [7, 7]


@pytest.mark.parametrize("fault", ["raise", "nan", "short"])
def test_one_bad_row_does_not_fail_its_neighbours(fault: str) -> None:
    """In a batch of sixteen only the request that the model cannot answer is failed."""

    def fragile(inputs: dict[str, Any]) -> dict[str, Any]:
        found = total(inputs)["y"]
        bad = inputs["x"][:, 0] == 13
        if bad.any() and fault == "raise":
            raise ValueError("thirteen")
        if fault == "nan":
            found[bad] = np.nan
        return {"y": found[~bad] if fault == "short" else found}

    works = run_all(
        engine_of(fragile, max_rows=100), [v2_body([[value, 0.0]], name="x") for value in range(16)]
    )
    expected = Status.MODEL_ERROR if fault == "raise" else Status.INVALID_OUTPUT

    assert [work.status for work in works] == [expected if value == 13 else Status.OK for value in range(16)]
    assert [json.loads(works[value].body)["outputs"][0]["data"] for value in (0, 12, 15)] == [[0], [12], [15]]


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ({"y": np.array([np.nan])}, "NaN or infinity"),
        ({"y": np.array([np.inf])}, "NaN or infinity"),
        ({"y": np.array([1e300]), "more": 1}, ""),
        ({"y": np.array([[1.0]])}, "promised is [-1]"),
        ({"y": np.array([1.0, 2.0])}, "for 1 rows"),
        ({"y": 4.0}, "for 1 rows"),
        ({"y": np.array(["a"])}, "promised is FP64"),
        ({"y": [object()]}, "not texts"),
        ({"y": [[1], [1, 2]]}, "not an array"),
        ({"z": [1.0]}, "did not return its output 'y'"),
        ([1.0], ""),
        (None, "for 1 rows"),
    ],
)
def test_outputs_are_checked(output: Any, sentence: str) -> None:
    """An answer that cannot be true counts against the version; one that is right passes."""
    status, answer = ask(engine_of(lambda _: output), v2_body([[1, 2]], name="x"))

    assert status is (Status.INVALID_OUTPUT if sentence else Status.OK)
    assert sentence in answer.get("error", "")


@pytest.mark.parametrize(
    ("datatype", "values", "back"),
    [
        ("BYTES", ["a", "ü"], ["a", "ü"]),
        ("INT8", [-3, 7], [-3, 7]),
        ("UINT64", [2**63, 1], [2**63, 1]),
        ("BOOL", [True, False], [True, False]),
        ("FP16", [0.5, 2], [0.5, 2.0]),
    ],
)
def test_datatypes_go_in_and_out(datatype: str, values: list[Any], back: list[Any]) -> None:
    """Each kind of datatype survives the way through the host unchanged."""
    signature = Signature((Tensor("x", datatype, (-1,)),), (Tensor("y", datatype, (-1,)),))
    engine = engine_of(lambda inputs: inputs["x"], signature)
    sent = {"inputs": [{"name": "x", "shape": [2], "datatype": datatype, "data": values}]}
    status, answer = ask(engine, json.dumps(sent).encode())

    assert status is Status.OK, answer
    assert answer["outputs"] == [{"name": "y", "datatype": datatype, "shape": [2], "data": back}]


def test_integers_out_of_range_are_refused() -> None:
    """A number that an INT8 cannot hold is the caller's mistake, not the model's."""
    signature = Signature((Tensor("x", "INT8", (-1,)),), (Tensor("y", "INT8", (-1,)),))
    sent = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [300]}]}
    status, answer = ask(engine_of(lambda inputs: inputs["x"], signature), json.dumps(sent).encode())

    assert status is Status.BAD_INPUT
    assert "does not fit INT8" in answer["error"]


TWO = Signature(
    (Tensor("age", "FP64", (-1, 1)), Tensor("city", "BYTES", (-1,))),
    (Tensor("y", "FP64", (-1, 1)), Tensor("where", "BYTES", (-1,))),
)


def echo_two(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"y": inputs["age"] * 2, "where": inputs["city"]}


@pytest.mark.parametrize(
    "sent",
    [
        {"dataframe_split": {"columns": ["city", "age"], "data": [["Bern", 4], ["Oslo", 5]]}},
        {"dataframe_records": [{"city": "Bern", "age": 4}, {"age": 5, "city": "Oslo"}]},
        {"instances": [{"city": "Bern", "age": 4}, {"city": "Oslo", "age": 5}]},
        {"inputs": {"age": [[4], [5]], "city": ["Bern", "Oslo"]}},
        {"inputs": {"age": [4, 5], "city": ["Bern", "Oslo"]}, "params": {}},
    ],
)
def test_invocations_name_columns(sent: dict[str, Any]) -> None:
    """Every form of a scoring body reaches a model with several named inputs, whatever the column order."""
    status, answer = ask(engine_of(echo_two, TWO), json.dumps(sent).encode(), Request.INVOCATIONS)

    assert status is Status.OK, answer
    assert answer == {"predictions": {"y": [[8.0], [10.0]], "where": ["Bern", "Oslo"]}}


@pytest.mark.parametrize(
    "sent",
    [
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}},
        {"dataframe_records": [{"a": 1, "b": 2}]},
        {"instances": [[1, 2]]},
        {"inputs": [[1, 2]]},
        {"inputs": {"x": [[1, 2]]}},
    ],
)
def test_invocations_fill_one_matrix(sent: dict[str, Any]) -> None:
    """Every form of a scoring body fills a model's one matrix in column order."""
    answer = ask(engine_of(total), json.dumps(sent).encode(), Request.INVOCATIONS)

    assert answer == (Status.OK, {"predictions": [3.0]})


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"instances": [[1, 2]], "inputs": [[1, 2]]},
        {"instances": [[1, 2], [3]]},
        {"instances": [[1, None]]},
        {"instances": []},
        {"instances": {"x": 1}},
        {"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}},
        {"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}},
        {"dataframe_records": [{"a": 1}, {"b": 1}]},
    ],
)
def test_wrong_invocations_are_the_callers_fault(sent: dict[str, Any]) -> None:
    """A wrong scoring body is answered in MLflow's form of error."""
    status, answer = ask(engine_of(total), json.dumps(sent).encode(), Request.INVOCATIONS)

    assert status is Status.BAD_INPUT
    assert answer["error_code"] == "BAD_REQUEST"
    assert answer["message"]


def test_fixed_batch_of_one_is_never_batched() -> None:
    """A model exported for one row sees one row at a time, and more rows are refused by shape."""
    seen: list[int] = []
    signature = Signature((Tensor("x", "FP32", (1, 2)),), (Tensor("y", "FP64", (-1,)),))

    def one_row(inputs: dict[str, Any]) -> dict[str, Any]:
        seen.append(len(inputs["x"]))
        return total(inputs)

    engine = engine_of(one_row, signature)
    works = run_all(engine, [v2_body([[1, 2]], name="x")] * 3 + [v2_body([[1, 2], [1, 2]], name="x")])

    assert [work.status for work in works] == [Status.OK] * 3 + [Status.BAD_INPUT]
    assert seen == [1, 1, 1]


def test_unsigned_callable_takes_what_comes() -> None:
    """Without a signature, requests of one layout share a call and others get their own."""
    engine = engine_of(lambda inputs: {name: value.sum(axis=1) for name, value in inputs.items()}, None)
    works = run_all(
        engine,
        [v2_body([[1, 2]], name="a"), v2_body([[1, 2, 3]], name="a"), v2_body([[5, 6]], name="b")],
    )
    found = [json.loads(work.body)["outputs"][0] for work in works]

    assert [(one["name"], one["data"]) for one in found] == [("a", [3.0]), ("a", [6.0]), ("b", [11.0])]


def test_warm_up_refuses_outputs_that_do_not_fit() -> None:
    """Outputs of the wrong shape are wrong whatever the input, so such a model is never ready."""
    model = model_of(lambda inputs: {"y": np.zeros((len(inputs["x"]), 7))})
    with pytest.raises(LastgoodError, match="warm-up") as caught:
        warm_up(model, PAIR, max_rows=100)

    assert caught.value.code is Code.REFUSED


@pytest.mark.parametrize(
    "answer", [lambda inputs: {"y": np.full(len(inputs["x"]), np.nan)}, lambda _: {"y": [1 / 0]}]
)
def test_warm_up_forgives_what_only_zeros_bring_about(answer: Any) -> None:
    """A row of zeros is our invention: raising on it, or NaN for it, proves nothing about real rows."""
    expected = warm_up(model_of(answer), PAIR, max_rows=100)

    assert expected is None


def test_signatures_must_agree() -> None:
    """A registered signature may narrow the model's own and may not contradict it."""
    own = Signature((Tensor("x", "FP32", (-1, -1)),), PAIR.outputs)

    assert agreed(own, PAIR) == PAIR
    with pytest.raises(LastgoodError, match="does not agree"):
        agreed(own, msgspec.structs.replace(PAIR, inputs=(Tensor("x", "FP64", (-1, 2)),)))
