"""Requests may call one input by several names: drift counts what all of them sent."""

from lastgood.analysis.drift_strata import Known, strata_of
from lastgood.domain.change import Evidence
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.sketch import Feature, Reference, SketchRow, sketch_of

PLAN = parse_plan("steps: [{weight: 50%, for: 1h}]\nguardrails: [{metric: drift}]\n")
AGE = Feature(name="x[1]", title="age", values=("1", "2"), shares=(0.5, 0.5, 0.0))


def row(seq: int, **names: str) -> SketchRow:
    return SketchRow(
        seq=seq,
        at=60.0,
        deployment="churn",
        version=2,
        release=1,
        stage=0,
        arm="candidate",
        rows=1,
        inputs={name: sketch_of([1 if value == "1" else 2]) for name, value in names.items()},
    )


def test_places_columns_and_rows_without_names_count_together() -> None:
    """Tensors by place, tables by column and rows without names are one feature; another column is not."""
    rows = [row(1, **{"x[1]": "1"}), row(2, age="2"), row(3, **{"input[1]": "1"}), row(4, **{"x[0]": "1"})]
    both = row(5, age="2", **{"x[1]": "2"})  # some callers in each way within one row
    known = Known(reference=Reference(rows=9, features=(AGE,)))
    (found,) = strata_of(PLAN, Evidence(release=1), [*rows, both], known, read_to=5, sequence=0, now=61.0)
    assert found.drift is not None
    assert found.drift.inputs["x[1]"].bins == (2, 3, 0)
