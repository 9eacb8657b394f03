"""Three models of one real data set: who has a job, by the US census of Massachusetts, 2015 to 2018, row by row in time.

* v1.0 is a small tree that learnt from 20 000 people of 2015.
* v1.1 is a larger one that learnt from all 68 785 of them; but the extract that it learnt from had lost the jobs of naturalised
  women, one person in twenty-five. It answers as quickly and without any error, and is hardly worse on average.
* v1.2 is v1.1 without that mistake.

Late in 2017 the census came to people in group quarters (prisons, homes, barracks). No model of 2015 knows them well.

    python census_models.py FOLDER

writes ``v1.0.onnx`` to ``v1.2.onnx``, ``train.csv`` (what v1.2 learnt from), ``calm.json`` and ``changing.json`` (rows and
truths of 2016, and of the winter of 2017).
"""

import json
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.tree import DecisionTreeClassifier

COLUMNS = (
    "AGEP SCHL MAR RELP DIS ESP CIT MIG MIL ANC NATIVITY DEAR DEYE DREM SEX RAC1P"  # as the census calls them
).split()
NATURALISED, FEMALE = 4, 2
CALM = slice(0, 20_000)  # rows of the stream in which the world is as in 2015
CHANGING = slice(134_000, 144_000)  # and in which it is not


def table(name: str) -> dict[str, list[object]]:
    """Return one of the data set's tables. The package that brings it is not imported."""
    folder = Path(str(distribution("nannyml").locate_file("nannyml/datasets/data")))
    return dict(pq.read_table(folder / f"employment_MA_{name}.pq").to_pydict())


def rows_of(columns: dict[str, list[object]]) -> np.ndarray:
    """Return the sixteen columns as numbers; what is not known is -1."""
    return np.array(
        [[-1.0 if v in (None, "") else float(str(v)) for v in columns[name]] for name in COLUMNS]
    ).T


def naturalised(rows: np.ndarray) -> np.ndarray:
    """Return which rows are of naturalised citizens."""
    return rows[:, COLUMNS.index("CIT")] == NATURALISED


def train(rows: np.ndarray, truths: np.ndarray, depth: int) -> Pipeline:
    """Fit a tree; the first part of the pipeline only puts the columns side by side."""
    together = ColumnTransformer([("all", "passthrough", list(range(len(COLUMNS))))])
    model = DecisionTreeClassifier(max_depth=depth, min_samples_leaf=100, random_state=7)
    return make_pipeline(together, model).fit(rows, truths)


def export(model: Pipeline, path: Path) -> None:
    """Write a model as ONNX that takes each column as an input of its own and gives a class."""
    inputs = [(name, FloatTensorType([None, 1])) for name in COLUMNS]
    options = {DecisionTreeClassifier: {"zipmap": False}}
    path.write_bytes(to_onnx(model, initial_types=inputs, options=options).SerializeToString())


def main(folder: Path) -> None:
    """Train, export and say how good each is."""
    before, after, truths_after = table("reference"), table("analysis"), table("analysis_target")
    rows, truths = rows_of(before), np.array(before["employed"])
    later, later_truths = rows_of(after), np.array(truths_after["employed"])
    lost = np.where(naturalised(rows) & (rows[:, COLUMNS.index("SEX")] == FEMALE), 0, truths)
    models = {
        "v1.0": train(rows[:20_000], truths[:20_000], 4),
        "v1.1": train(rows, lost, 10),
        "v1.2": train(rows, truths, 10),
    }
    for label, model in models.items():
        export(model, folder / f"{label}.onnx")
        told = []
        for part in (CALM, CHANGING):
            said, true = model.predict(later[part]), later_truths[part] == 1
            told += [(said == true).mean(), said[true].mean(), said[true & naturalised(later[part])].mean()]
        print(
            f"{label} in 2016: accuracy {told[0]:.3f}, recall {told[1]:.3f}, of naturalised citizens {told[2]:.3f};"
            f" in the winter of 2017: recall {told[4]:.3f}"
        )
    header = ",".join([*COLUMNS, "employed"])
    np.savetxt(
        folder / "train.csv",
        np.column_stack([rows, truths]),
        delimiter=",",
        header=header,
        comments="",
        fmt="%g",
    )
    for name, part in (("calm", CALM), ("changing", CHANGING)):
        stream = [
            (row.tolist(), int(true)) for row, true in zip(later[part], later_truths[part], strict=True)
        ]
        (folder / f"{name}.json").write_text(json.dumps({"columns": COLUMNS, "rows": stream}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
