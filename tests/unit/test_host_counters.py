"""Counters of a version's own in the host: said or returned, by row, taken out of what callers get."""

import json
import logging
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lastgood
from lastgood.domain.traffic import MAX_COUNTERS
from lastgood.domain.version import Signature, Tensor
from lastgood.errors import Code, LastgoodError
from lastgood.host.counters import without_counters
from lastgood.host.engine import Engine, warm_up
from lastgood.host.model import Model
from lastgood.wire.frames import Request, Status, pack_counts, unpack_counts
from models import v2_body

PAIR = Signature((Tensor("x", "FP32", (-1, 2)),), (Tensor("y", "FP64", (-1,)),))


def engine_of(predict: Any, signature: Signature | None = PAIR) -> Engine:
    return Engine(Model(platform="test", signature=signature, predict=predict), version=3, max_rows=8)


def answers(engine: Engine, *rows: Any, kind: Request = Request.INFER) -> list[tuple[int, bytes, Any]]:
    """Ask all at once, and return status, counts and outputs of each."""
    works = []
    for given_rows in rows:
        sent = v2_body(given_rows, name="x")
        if kind is Request.INVOCATIONS:
            sent = json.dumps({"inputs": {"x": given_rows}}).encode()
        works.append(engine.parse(kind, b"churn", memoryview(sent)))
    engine.run(works)
    return [(work.status, work.counts, json.loads(work.body)) for work in works]


def returning(inputs: dict[str, Any]) -> dict[str, Any]:
    total = inputs["x"].sum(axis=1)
    return {"y": total, "lastgood.large": (total > 10).reshape(-1, 1)}


def saying(inputs: dict[str, Any]) -> dict[str, Any]:
    total = inputs["x"].sum(axis=1)
    lastgood.count("large", total > 10)
    return {"y": total}


@pytest.mark.parametrize("predict", [returning, saying])
@pytest.mark.parametrize("signature", [PAIR, None])
@pytest.mark.parametrize("kind", [Request.INFER, Request.INVOCATIONS])
def test_rows_of_a_batch_go_back_to_their_requests(
    predict: Any, signature: Signature | None, kind: Request
) -> None:
    """Three requests in one batch: each is bad if one of its own rows is, and no caller sees the output."""
    calls = []

    def watched(inputs: dict[str, Any]) -> Any:
        calls.append(len(inputs["x"]))
        return predict(inputs)

    found = answers(
        engine_of(watched, signature), [[1, 2]], [[1, 2], [8, 9]], [[3, 4], [5, 5], [1, 1]], kind=kind
    )

    assert calls == [6]
    assert [(status, counts) for status, counts, _ in found] == [
        (Status.OK, b"large=0"),
        (Status.OK, b"large=1"),
        (Status.OK, b"large=0"),
    ]
    assert "lastgood" not in json.dumps([answer for _, _, answer in found])


def test_one_value_counts_for_all_rows_and_bad_stays_bad() -> None:
    """A single value stands for the whole batch; what was bad once is not made good by saying so again."""

    def predict(inputs: dict[str, Any]) -> dict[str, Any]:
        lastgood.count("old", True)
        lastgood.count("old", [False] * len(inputs["x"]))
        lastgood.count("slow", np.False_)
        return {"y": inputs["x"].sum(axis=1), "lastgood.slow": inputs["x"][:, 0]}

    ((_, counts, _),) = answers(engine_of(predict), [[1, 0]])

    assert sorted(unpack_counts(counts).bad) == [("old", True), ("slow", True)]


def test_a_failed_request_counts_nothing_and_neither_do_its_neighbours_twice() -> None:
    """What was said before the model raised is gone; the rows that are tried again count once, their own."""

    def predict(inputs: dict[str, Any]) -> dict[str, Any]:
        lastgood.count("large", inputs["x"][:, 0] > 10)
        if (inputs["x"] == 13).any():
            raise ValueError("thirteen")
        return {"y": inputs["x"].sum(axis=1)}

    found = answers(engine_of(predict), [[1, 1]], [[13, 1]], [[20, 1]])

    assert [(status, counts) for status, counts, _ in found] == [
        (Status.OK, b"large=0"),
        (Status.MODEL_ERROR, b""),
        (Status.OK, b"large=1"),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Large", True),
        ("a=1\r\nx", True),
        ("", True),
        ("a" * 33, True),
        (7, True),
        ("few", [True, False, True]),
        ("ragged", [[True], [True, False]]),
    ],
)
def test_what_cannot_be_counted_is_refused_at_warm_up_and_left_out_later(
    name: Any, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The warm-up names it; once the model serves, the caller gets the answer and the log gets the line."""

    def predict(inputs: dict[str, Any]) -> dict[str, Any]:
        lastgood.count(name, value)
        return {"y": inputs["x"].sum(axis=1)}

    with pytest.raises(LastgoodError, match="cannot be counted") as refused:
        warm_up(Model(platform="test", signature=PAIR, predict=predict), PAIR, max_rows=8)
    with caplog.at_level(logging.WARNING, logger="lastgood.host"):
        engine = engine_of(predict)
        found = [answers(engine, [[1, 2], [3, 4]])[0] for _ in range(5)]

    assert refused.value.code is Code.REFUSED
    assert [(status, counts) for status, counts, _ in found] == [(Status.OK, b"")] * 5
    assert [record.args[0] for record in caplog.records] == [1, 2, 4]


def test_a_version_has_only_so_many_counters_in_its_life() -> None:
    """New names beyond the limit are left out, however they come; the known ones go on."""
    turn = [0]

    def predict(inputs: dict[str, Any]) -> dict[str, Any]:
        turn[0] += 1
        lastgood.count(f"c{turn[0]}", False)
        lastgood.count("c1", True)
        return {"y": inputs["x"].sum(axis=1)}

    engine = engine_of(predict)
    found = [answers(engine, [[1, 2]])[0][1] for _ in range(MAX_COUNTERS + 2)]

    assert found[MAX_COUNTERS - 1] == b"c%d=0,c1=1" % MAX_COUNTERS
    assert found[MAX_COUNTERS:] == [b"c1=1"] * 2


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        (("y", "lastgood.Bad"), "'lastgood.Bad' is no name of a counter"),
        (("y", *(f"lastgood.c{n}" for n in range(MAX_COUNTERS + 1))), f"there are {MAX_COUNTERS + 1}"),
        (("lastgood.low",), "no output that a caller could get"),
    ],
)
def test_a_signature_with_wrong_counters_is_refused(outputs: tuple[str, ...], sentence: str) -> None:
    """A wrong name, too many counters, or counters alone are told when the model is loaded."""
    signature = Signature(PAIR.inputs, tuple(Tensor(name, "BOOL", (-1,)) for name in outputs))

    with pytest.raises(LastgoodError, match=sentence):
        without_counters(signature)


NAMES = st.from_regex(r"\A[a-z][a-z0-9_]{0,31}\Z")


@given(st.dictionaries(NAMES, st.booleans(), min_size=1, max_size=MAX_COUNTERS))
def test_counts_come_back_from_the_wire(bad: dict[str, bool]) -> None:
    """What a host packs is what the gateway unpacks, in order."""
    assert unpack_counts(pack_counts(bad.items())).bad == tuple(bad.items())


@pytest.mark.parametrize(
    "field",
    [
        b"a",
        b"a=2",
        b"a=1,",
        b",a=1",
        b"A=1",
        b"a=1\n",
        b"a=1\r\nset-cookie: x=1",
        b"a=1,a=0",
        b"\xff=1",
        b"a" * 33 + b"=1",
        b",".join(b"c%d=1" % number for number in range(MAX_COUNTERS + 1)),
    ],
)
def test_a_field_that_is_no_counts_is_refused(field: bytes) -> None:
    """A host, which runs a stranger's code, cannot write into a caller's headers or fill the gateway."""
    with pytest.raises(ValueError, match="no counts"):
        unpack_counts(field)
