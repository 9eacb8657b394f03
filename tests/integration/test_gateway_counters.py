"""Counters of a version's own, from a model to the report. Hosts are REAL where a model counts, else FAKE."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from gateway_rig import Rig, wait_for

from lastgood.domain.version import Format
from lastgood.host.inspect import inspect_artifact
from models import host_spec, running_host, save_source, v2_body

SAYS = """
import lastgood

def make():
    def predict(inputs):
        total = inputs["x"].sum(axis=1)
        lastgood.count("large", total > 10)
        return {"y": total, "lastgood.negative": total < 0}
    return predict
"""

PICKLED = """
class Scorer:
    n_features_in_ = 2

    def predict(self, rows):
        total = rows.sum(axis=1)
        return {"y": total, "lastgood.large": total > 10, "lastgood.negative": total < 0}
"""


@pytest.fixture
def rig():
    opened = Rig()
    yield opened
    opened.close()


def save_counting_onnx(folder):
    """A graph with the output y and two counters, of shape [rows, 1] and [rows]."""
    from onnx import TensorProto, helper

    def info(name, kind, *shape):
        return helper.make_tensor_value_info(name, kind, ["rows", *shape])

    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        helper.make_tensor("ten", TensorProto.FLOAT, [], [10.0]),
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
    ]
    nodes = [
        helper.make_node("ReduceSum", ["x", "axes"], ["wide"], keepdims=1),
        helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0),
        helper.make_node("Greater", ["wide", "ten"], ["lastgood.large"]),
        helper.make_node("Less", ["y", "zero"], ["lastgood.negative"]),
    ]
    outputs = [
        info("lastgood.large", TensorProto.BOOL, 1),
        info("y", TensorProto.FLOAT),
        info("lastgood.negative", TensorProto.BOOL),
    ]
    graph = helper.make_graph(nodes, "sum", [info("x", TensorProto.FLOAT, 2)], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def save_counting_pickle(folder):
    """An estimator of the author's own, whose class the host can import: it comes in a module on the path."""
    import pickle
    import sys
    import types

    module = types.ModuleType("counting_scorer")
    exec(PICKLED, module.__dict__)
    sys.modules["counting_scorer"] = module
    (folder / "counting_scorer.py").write_text(PICKLED)
    path = folder / "model.pkl"
    try:
        module.Scorer.__module__ = "counting_scorer"
        path.write_bytes(pickle.dumps(module.Scorer()))
    finally:
        del sys.modules["counting_scorer"]
    return path


@pytest.mark.parametrize("kind", [Format.ONNX, Format.PICKLE, Format.CALLABLE])
def test_every_format_counts_from_host_to_report(rig, tmp_path, monkeypatch, kind):
    """Requests of many callers at once: each answer says its own counts, no body does, and the report adds up."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    artifact = {
        Format.ONNX: save_counting_onnx,
        Format.PICKLE: save_counting_pickle,
        Format.CALLABLE: lambda folder: save_source(folder, SAYS),
    }[kind](tmp_path)
    name = "input" if kind is Format.PICKLE else "x"
    spec = host_spec(
        rig.run,
        artifact,
        kind,
        socket=rig.socket_of(1),
        factory="scorer:make",
        trust_pickle=True,
        trust_callable=True,
    )
    rows = [[[1.0, 2.0]], [[9.0, 9.0]], [[-1.0, -2.0], [1.0, 1.0]], [[9.0, 9.0], [-9.0, 0.0]]] * 10
    with running_host(spec, rig.run) as (_, status):
        assert status.error == ""
        rig.publish(rig.route(1))
        rig.reach(1)
        with ThreadPoolExecutor(8) as callers:
            answers = list(callers.map(lambda one: rig.infer(v2_body(one, name=name)), rows))
        mlflow = rig.ask("POST", "/invocations", {"inputs": {name: [[9.0, 9.0]]}})
        metadata = rig.ask("GET", "/v2/models/churn").json()
        (total,) = rig.report().totals

    for sent, answer in zip(rows, answers, strict=True):
        sums = np.sum(sent, axis=1)
        expected = {"large": max(sums) > 10, "negative": min(sums) < 0}
        told = dict(part.split("=") for part in answer.headers["lastgood-counts"].split(","))
        assert {counter: bad == "1" for counter, bad in told.items()} == expected
        assert [output["name"] for output in answer.json()["outputs"]] == ["y"]
        assert answer.json()["outputs"][0]["data"] == sums.tolist()
    assert mlflow.json() == {"predictions": [18.0]}
    assert "lastgood-counts" in mlflow.headers
    assert "lastgood." not in json.dumps(metadata)
    found = {name: (one.total, one.bad) for name, one in total.counts.counters.items()}
    assert found == {"large": (41, 21), "negative": (41, 20)}


def test_counters_are_no_part_of_what_is_registered(tmp_path):
    """The signature that a registration reads from the artifact has the outputs that callers get."""
    signature = inspect_artifact(save_counting_onnx(tmp_path), Format.ONNX)

    assert [tensor.name for tensor in signature.outputs] == ["y"]


def test_only_the_version_first_meant_is_counted(rig):
    """What stable counts while it answers for a candidate is shown to the caller and counted for nobody."""
    for version in (1, 2):
        rig.start_host(version)
    rig.publish(rig.route(1, 2))
    rig.reach(1, 2)
    good = rig.infer({"v2": "counts:low=1,old=0", "v1": "counts:low=0"})
    failed = [rig.infer({"v2": order, "v1": "counts:low=1"}) for order in ("error", "bad", "counts-error")]
    rig.page.renew_lease(0)
    plain = rig.infer({"v1": "counts:low=1"})
    report = rig.report()
    (stage,) = report.stages
    (stable,) = [total for total in report.totals if total.role == "stable"]

    assert (good.version, good.headers["lastgood-counts"]) == ("2", "low=1,old=0")
    assert [(answer.version, answer.headers["lastgood-counts"]) for answer in failed] == [("1", "low=1")] * 3
    assert {name: (one.total, one.bad) for name, one in stage.candidate.counters.items()} == {
        "low": (1, 1),
        "old": (1, 0),
    }
    assert (stage.candidate.requests, stage.candidate.errors) == (4, 3)
    assert stage.stable.counters == {}
    assert plain.headers["lastgood-counts"] == "low=1"
    assert [(one.total, one.bad) for one in stable.counts.counters.values()] == [(1, 1)]


def test_counts_that_are_none_end_the_connection(rig):
    """A host that would write a header of its own is cut off; the caller gets stable's answer."""
    for version in (1, 2):
        rig.start_host(version)
    rig.publish(rig.route(1, 2))
    rig.reach(1, 2)
    answer = rig.infer({"v2": "counts:low=1\r\nset-cookie: a=b"})
    wait_for(lambda: rig.hosts_reached() == {"1", "2"}, "it is connected anew")

    assert (answer.status, answer.version, answer.fallback) == (200, "1", "unavailable")
    assert "set-cookie" not in answer.headers


def test_too_many_counters_of_a_misbehaving_host_fill_no_memory(rig):
    """A host with new names in every answer gets sixteen of them counted."""
    rig.start_host(1)
    rig.publish(rig.route(1))
    rig.reach(1)
    for number in range(20):
        assert rig.infer({"v1": f"counts:c{number}=1"}).status == 200
    (total,) = rig.report().totals

    assert (len(total.counts.counters), total.counts.requests) == (16, 20)
