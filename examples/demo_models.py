"""Three real models of one real data set (scikit-learn's breast cancer), as ONNX files.

* v1.0 is a logistic regression on the ten ``mean`` columns.
* v1.1 adds all columns and one more: concave points divided by concavity. Somebody forgot that some
  tumours have a concavity of exactly 0, so for those rows the ratio is 0/0, and the answer not a number.
* v1.2 is v1.1 with the division guarded.

All three take the same thirty columns, so that one client can talk to any of them.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

MEAN_COLUMNS = list(range(10))
CONCAVITY, CONCAVE_POINTS = 6, 7
GUARD = 1e-6


def ratio(rows: np.ndarray, guard: float) -> np.ndarray:
    """Return concave points over concavity, one column."""
    return (rows[:, CONCAVE_POINTS] / (rows[:, CONCAVITY] + guard))[:, None]


def train(rows: np.ndarray, labels: np.ndarray) -> tuple[StandardScaler, LogisticRegression]:
    """Fit a scaled logistic regression."""
    scaler = StandardScaler().fit(rows)
    return scaler, LogisticRegression(max_iter=5000).fit(scaler.transform(rows), labels)


def export(
    path: Path, scaler: StandardScaler, model: LogisticRegression, columns: list[int], guard: float | None
) -> None:
    """Write the scaled regression over ``columns`` (and the ratio, when ``guard`` is given) as an ONNX graph."""
    nodes, constants = [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    features = node("Gather", ["rows", constant("columns", np.array(columns, np.int64))], "picked", axis=1)
    if guard is not None:
        over = node(
            "Gather", ["rows", constant("over", np.array([CONCAVE_POINTS], np.int64))], "points", axis=1
        )
        under = node(
            "Gather", ["rows", constant("under", np.array([CONCAVITY], np.int64))], "concavity", axis=1
        )
        guarded = node("Add", [under, constant("guard", np.array(guard, np.float32))], "guarded")
        features = node("Concat", [features, node("Div", [over, guarded], "ratio")], "features", axis=1)
    centred = node("Sub", [features, constant("mean", scaler.mean_.astype(np.float32))], "centred")
    scaled = node("Div", [centred, constant("scale", scaler.scale_.astype(np.float32))], "scaled")
    product = node("MatMul", [scaled, constant("weights", model.coef_.T.astype(np.float32))], "product")
    score = node("Add", [product, constant("bias", model.intercept_.astype(np.float32))], "score")
    node("Sigmoid", [score], "probability")
    graph = helper.make_graph(
        nodes,
        "breast_cancer",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", 30])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["batch", 1])],
        constants,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString())


def build(folder: Path) -> dict[str, float]:
    """Train and export the three versions into ``folder``; return the area under the curve of each.

    Also writes ``train.csv`` (what they learnt from) and ``rows.json`` (what the client will ask).
    """
    data = load_breast_cancer()
    seen, unseen, labels, truth = train_test_split(data.data, data.target, test_size=0.4, random_state=7)
    np.savetxt(
        folder / "train.csv",
        np.column_stack([seen, labels]),
        delimiter=",",
        header=",".join([*(name.replace(" ", "_") for name in data.feature_names), "benign"]),
        comments="",
        fmt="%.6g",
    )
    (folder / "rows.json").write_text(json.dumps(data.data.tolist()))
    curves = {}

    scaler, model = train(seen[:, MEAN_COLUMNS], labels)
    export(folder / "v1.0.onnx", scaler, model, MEAN_COLUMNS, None)
    curves["v1.0"] = roc_auc_score(truth, model.decision_function(scaler.transform(unseen[:, MEAN_COLUMNS])))

    every = list(range(30))
    scaler, model = train(np.column_stack([seen, ratio(seen, GUARD)]), labels)
    export(folder / "v1.1.onnx", scaler, model, every, 0.0)
    export(folder / "v1.2.onnx", scaler, model, every, GUARD)
    better = model.decision_function(scaler.transform(np.column_stack([unseen, ratio(unseen, GUARD)])))
    curves["v1.1"] = curves["v1.2"] = roc_auc_score(truth, better)
    return {label: round(float(value), 4) for label, value in curves.items()}
