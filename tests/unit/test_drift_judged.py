"""Drift guardrails from sketches to verdicts: strata, folding, findings, replays."""

import random
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from lastgood.analysis.course import course
from lastgood.analysis.drift_strata import Known, drift_record, strata_of
from lastgood.analysis.fold import fold
from lastgood.analysis.judge import judge
from lastgood.analysis.traces import traces
from lastgood.domain.change import Evidence
from lastgood.domain.plan import OnFail, Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.sketch import Feature, Reference, SketchRow, sketch_of
from lastgood.domain.traffic import Baseline, Stratum, Units
from lastgood.domain.verdict import Finding, Verdict
from lastgood.stats import shift

BASELINE = Baseline()
Make = Callable[[random.Random], dict[str, Any]]


def numeric(name: str, values: list[float], title: str = "") -> Feature:
    sketch = sketch_of(values)
    cuts = shift.edges(sketch.numbers, 16)
    counts = shift.binned(sketch.numbers, cuts)
    return Feature(name=name, title=title, cuts=cuts, shares=tuple(count / sum(counts) for count in counts))


def trained() -> Reference:
    chance = random.Random(1)
    charges = numeric("x[0]", [chance.gauss(58.0, 15.0) for _ in range(5000)], "monthly_charges")
    tenure = numeric("x[1]", [chance.uniform(1.0, 72.0) for _ in range(5000)], "tenure")
    country = Feature(name="country", values=("DE", "FR"), shares=(0.7, 0.3, 0.0), missing=0.01)
    return Reference(rows=5000, features=(charges, tenure, country))


def usual(chance: random.Random) -> dict[str, Any]:
    return {
        "x[0]": chance.gauss(58.0, 15.0),
        "x[1]": chance.uniform(1.0, 72.0),
        "country": "DE" if chance.random() < 0.7 else "FR",
    }


def moved(chance: random.Random) -> dict[str, Any]:
    """Charges went up, and there is a new country."""
    return {
        **usual(chance),
        "x[0]": chance.gauss(74.0, 15.0),
        "country": "IT" if chance.random() < 0.3 else "DE",
    }


def row(
    seq: int, at: float, arm: str, inputs: list[dict[str, Any]], scores: Iterable[Any] = (), **more: Any
) -> SketchRow:
    columns = {name: sketch_of([one[name] for one in inputs]) for name in (inputs[0] if inputs else ())}
    outputs = {"score": sketch_of(list(scores))} if scores else {}
    known: dict[str, Any] = {"deployment": "churn", "version": 2, "release": 1, "stage": 0}
    return SketchRow(
        **(
            known
            | {"seq": seq, "at": at, "arm": arm, "rows": len(inputs), "inputs": columns, "outputs": outputs}
            | more
        )
    )


def plan(*guardrails: str, **more: str) -> Plan:
    extra = "".join(f"{key}: {value}\n" for key, value in more.items())
    return parse_plan(f"steps: [{{weight: 50%, for: 1h}}]\nguardrails: [{', '.join(guardrails)}]\n{extra}")


DRIFT = "{metric: drift, min_samples: 50}"
OUTPUTS = "{metric: prediction_drift, min_samples: 50, on_fail: rollback}"


def folded(
    asked: Plan, rows: list[SketchRow], known: Known, baseline: Baseline = BASELINE
) -> tuple[Evidence, list[Stratum]]:
    """Return the evidence after rows that came in lots of four, and the strata, as the store gives them back."""
    evidence, strata = Evidence(release=1), []
    for begin in range(0, len(rows), 4):
        lot = rows[begin : begin + 4]
        found = strata_of(
            asked, evidence, lot, known, read_to=lot[-1].seq, sequence=evidence.sequence, now=lot[-1].at
        )
        stored = [msgspec.json.decode(msgspec.json.encode(one), type=Stratum) for one in found]
        evidence, strata = fold(asked, baseline, evidence, stored), [*strata, *stored]
    return evidence, strata


def inputs_of(
    make: Make, minutes: int, *, arms: tuple[str, ...] = ("candidate", "stable"), **more: Any
) -> list[SketchRow]:
    chance = random.Random(5)
    return [
        row(2 * index + place, 60.0 * index, arm, [make(chance) for _ in range(60)], **more)
        for index in range(1, minutes + 1)
        for place, arm in enumerate(arms)
    ]


def drift_of(asked: Plan, evidence: Evidence, baseline: Baseline = BASELINE) -> Finding:
    return judge(asked, baseline, evidence, misses=0)[-1]


def test_inputs_like_those_of_training_pass() -> None:
    """Both arms' rows count together; the sentence says how many and what is furthest."""
    asked = plan(DRIFT)
    evidence, _ = folded(asked, inputs_of(usual, 30), Known(reference=trained()))
    found = drift_of(asked, evidence)
    assert found.verdict is Verdict.PASSED
    assert "3 600 rows looked at; of 3 features" in found.sentence
    assert [one["reached"] for one in found.numbers["features"]] == [False] * 3


def test_inputs_that_moved_are_named_worst_first() -> None:
    """By the names that people use, with medians of numbers and the part of unseen classes."""
    asked = plan(DRIFT)
    evidence, _ = folded(asked, inputs_of(moved, 30), Known(reference=trained()))
    found = drift_of(asked, evidence)
    assert found.verdict is Verdict.FAILED
    assert found.on_fail is OnFail.ALERT
    assert found.sentence.startswith("drift: monthly_charges moved by ")
    assert "(median 7" in found.sentence
    assert "unseen classes of country in " in found.sentence
    assert found.sentence.endswith("10.0 % tolerated: alert.")
    names = [one["name"] for one in found.numbers["features"]]
    assert names == ["monthly_charges", "country", "tenure"]
    charges = found.numbers["features"][0]
    assert charges["median"] == pytest.approx(74.0, rel=0.05)
    assert charges["reference_median"] == pytest.approx(58.0, rel=0.06)
    assert charges["lately"] == pytest.approx(charges["distance"], abs=0.05)


def test_missing_values_are_a_shift_of_their_own() -> None:
    """A column that is null in a third of the rows is found, whatever the others say."""

    def gone(chance: random.Random) -> dict[str, Any]:
        return {**usual(chance), "country": None if chance.random() < 0.33 else "DE"}

    asked = plan(
        "{metric: drift, features: [country], distance: 45%}",
        "{metric: drift, name: strict, features: [country]}",
    )
    evidence, _ = folded(asked, inputs_of(gone, 30), Known(reference=trained()))
    wide, strict = judge(asked, BASELINE, evidence, misses=0)[-2:]
    assert wide.verdict is Verdict.PASSED
    assert strict.verdict is Verdict.FAILED
    assert "country missing in 3" in strict.sentence
    assert "(1.0 % in training)" in strict.sentence


def test_without_a_row_nothing_passes_and_nobody_waits() -> None:
    """It is inconclusive, and ignored at the end of the steps unless the plan says otherwise."""
    found = drift_of(plan(DRIFT), Evidence(release=1))
    assert (found.verdict, found.no_data) == (Verdict.INCONCLUSIVE, "ignore")
    assert "0 rows so far" in found.sentence


def test_features_that_no_request_has_are_an_error() -> None:
    """Where no name fits, the guardrail cannot be judged; where some do not, they are named."""
    asked = plan(DRIFT)
    strange = [msgspec.structs.replace(one, inputs={"y": one.inputs["x[0]"]}) for one in inputs_of(usual, 5)]
    evidence, _ = folded(asked, strange, Known(reference=trained()))
    found = drift_of(asked, evidence)
    assert found.verdict is Verdict.ERROR
    assert "no request has any feature of the reference by its name" in found.sentence
    some = [msgspec.structs.replace(one, inputs={"x[0]": one.inputs["x[0]"]}) for one in inputs_of(usual, 5)]
    evidence, _ = folded(asked, some, Known(reference=trained()))
    assert "never came: tenure, country" in drift_of(asked, evidence).sentence


def test_a_request_and_its_copy_count_once() -> None:
    """In the stage of pairs the promoted version's requests count, and not the copies with the same inputs."""
    asked = plan(DRIFT)
    evidence, _ = folded(asked, inputs_of(usual, 5, stage=asked.pair_stage), Known(reference=trained()))
    assert drift_record(evidence).rows == 5 * 60


def outputs_of(away: float, lots: int = 60, **more: Any) -> list[SketchRow]:
    chance, rows = random.Random(11), []
    for index in range(lots):
        own = [
            chance.uniform(0.8, 1.0) if chance.random() < away else chance.uniform(0.0, 1.0)
            for _ in range(20)
        ]
        other = [chance.uniform(0.0, 1.0) for _ in range(20)]
        rows.append(row(2 * index + 1, 10.0 * index, "candidate", [], own, **more))
        rows.append(row(2 * index + 2, 10.0 * index, "stable", [], other, **more))
    return rows


def before() -> Known:
    chance = random.Random(2)
    return Known(before={"score": sketch_of([chance.uniform(0.0, 1.0) for _ in range(1000)])})


def test_outputs_that_moved_are_found_and_said_with_their_medians() -> None:
    """Against stable's at the same time, at the guardrail's part of the false rollback rate."""
    asked = plan(OUTPUTS)
    evidence, _ = folded(asked, outputs_of(0.5), before())
    found = drift_of(asked, evidence)
    assert (found.verdict, found.on_fail) == (Verdict.FAILED, OnFail.ROLLBACK)
    assert found.numbers["alpha"] == asked.false_rollback_rate
    assert found.numbers["features"][0]["median"] > found.numbers["features"][0]["reference_median"]
    assert "prediction_drift: score is " in found.sentence
    alike, _ = folded(asked, outputs_of(0.0), before())
    assert drift_of(asked, alike).verdict is Verdict.PASSED


def test_with_keys_as_units_outputs_only_alert() -> None:
    """Each caller has outputs of its own, so the arms differ without any fault of the candidate."""
    asked, keyed = plan(OUTPUTS), Baseline(units=Units.KEYS)
    evidence, _ = folded(asked, outputs_of(0.5), before(), keyed)
    found = drift_of(asked, evidence, keyed)
    assert (found.verdict, found.on_fail) == (Verdict.FAILED, OnFail.ALERT)
    assert "can only alert" in found.sentence


def test_bins_are_learnt_from_rows_that_are_no_evidence() -> None:
    """Where nothing is known of stable's outputs, the first values set the bins, in both arms together."""
    asked = plan(OUTPUTS)
    evidence, strata = folded(asked, outputs_of(0.5, lots=4), Known())
    assert all(one.drift and one.drift.learning and not one.drift.outputs for one in strata)
    assert "values so far, which only set the bins" in drift_of(asked, evidence).sentence
    evidence, strata = folded(asked, outputs_of(0.5), Known())
    assert sum(1 for one in strata if one.drift and one.drift.bins) == 1
    assert not drift_record(evidence).learning
    assert drift_of(asked, evidence).verdict is Verdict.FAILED


def test_an_output_that_the_model_does_not_give_is_an_error() -> None:
    """It never passes, and the sentence says which there are."""
    asked = plan("{metric: prediction_drift, output: label}")
    evidence, _ = folded(asked, outputs_of(0.0), before())
    found = drift_of(asked, evidence)
    assert found.verdict is Verdict.ERROR
    assert "the model gives no output 'label', but score" in found.sentence


def test_evidence_is_the_same_out_of_the_stored_strata() -> None:
    """Folded again, one by one and out of JSON, it is the same bit for bit; the pictures can be drawn from it."""
    asked = plan(DRIFT, OUTPUTS)
    chance = random.Random(4)
    rows = [
        msgspec.structs.replace(own, outputs={"score": sketch_of([chance.random() for _ in range(20)])})
        for own in inputs_of(moved, 20)
    ]
    evidence, strata = folded(asked, rows, Known(reference=trained()))
    again = Evidence(release=1)
    for one in strata:
        again = fold(asked, BASELINE, again, (one,))
        again = msgspec.json.decode(msgspec.json.encode(again), type=Evidence)
    assert msgspec.json.encode(again) == msgspec.json.encode(evidence)
    drawn = traces(asked, BASELINE, 1, strata, count=len(strata))
    assert drawn.points["prediction_drift"]
    assert "drift" not in drawn.points  # no evidence against the candidate
    assert drawn.stages == []


def test_another_plan_can_be_replayed_as_far_as_values_were_counted() -> None:
    """A wider distance does not fail; features that the release's plan did not look at are not replayed."""
    recorded = plan("{metric: drift, features: [tenure, monthly_charges]}")
    _, strata = folded(recorded, inputs_of(moved, 20), Known(reference=trained()))
    failed = course(recorded, BASELINE, strata, release=1, recorded=recorded)
    assert [one.guardrail for one in failed.turns] == ["drift"]
    wide = plan("{metric: drift, features: [tenure, monthly_charges], distance: 60%}")
    assert not course(wide, BASELINE, strata, release=1, recorded=recorded).turns
    table = course(recorded, BASELINE, (), release=0, recorded=recorded)
    assert "a table of outcomes holds no inputs" in table.not_replayed["drift"]
    every = course(plan(DRIFT), BASELINE, strata, release=1, recorded=recorded)
    assert "what the release's own plan looks at alone" in every.not_replayed["drift"]


@pytest.mark.parametrize(
    ("guardrail", "said"),
    [
        ("{metric: drift, on_fail: rollback}", "convicts neither"),
        ("{metric: drift, distance: 0%}", "forgives nothing"),
        ("{metric: drift, distance: 100%}", "forgives everything"),
        ("{metric: drift, features: [a, a]}", "listed twice"),
        ("{metric: drift, share: 20%}", "share"),
    ],
)
def test_what_makes_no_sense_in_a_plan_is_refused(guardrail: str, said: str) -> None:
    """With the reason, at its place."""
    with pytest.raises(Exception, match=said):
        plan("{metric: errors}", guardrail)


def test_only_outputs_take_part_in_the_false_rollback_rate() -> None:
    """Inputs are outside of it; a strategy without traffic on stable has nothing to compare outputs with."""
    shares = {one.name: one.share for one in plan("{metric: errors}", DRIFT, OUTPUTS).guardrails}
    assert shares == {"health": 0.0, "errors": 0.5, "drift": 0.0, "prediction_drift": 0.5}
    with pytest.raises(Exception, match="leaves no traffic on stable"):
        parse_plan(f"strategy: all_at_once\nguardrails: [{OUTPUTS}]")
