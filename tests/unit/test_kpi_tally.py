"""What a KPI guardrail counts of labelled rows: by metric, by class, by score, by key; and how it is judged."""

import random
from typing import Any

import msgspec
import pytest

from lastgood.analysis import kpi_state
from lastgood.analysis.fold import fold
from lastgood.analysis.judge import judge
from lastgood.analysis.kpi import tally
from lastgood.analysis.kpi_state import KpiState
from lastgood.analysis.kpi_strata import News, strata_of
from lastgood.domain.change import Evidence
from lastgood.domain.kpi import Cursor, KpiCounts, Outcome, class_of
from lastgood.domain.plan import Guardrail, Margin, MarginKind, Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.plan_kpi_rules import f1_of, wrong_of
from lastgood.domain.traffic import Baseline, Units
from lastgood.domain.verdict import Verdict
from lastgood.errors import LastgoodError

ONES = [(1, 1), (1, 1), (1, 0), (0, 0), (0, 0), (0, 0), (0, 1)]
"""Labels and predictions: two found, one missed, three right negatives, one false alarm."""


def plan(*guardrails: str, more: str = "") -> Plan:
    return parse_plan(f"steps: [{{weight: 20%, for: 1s}}]\nguardrails: [{', '.join(guardrails)}]\n{more}")


def guardrail(text: str) -> Guardrail:
    return plan(text).guardrails[-1]


def outcome(
    value: Any, answer: Any, *, arm: str = "candidate", key: int | None = None, **given: Any
) -> Outcome:
    known: dict[str, Any] = {
        "sequence": 1,
        "release": 1,
        "stage": 0,
        "arm": arm,
        "version": 2,
        "predicted_at": 1.0,
        "labelled_at": 2.0,
    }
    return Outcome(value=value, answer={"label": answer}, key=key, **(known | given))


def counted(text: str, outcomes: list[Outcome], remembered: bytes | None = None) -> KpiCounts:
    return tally(guardrail(text), outcomes, remembered)[0].candidate


@pytest.mark.parametrize(
    ("text", "trials", "bad"),
    [
        ("{metric: accuracy}", 7, 2),
        ("{metric: recall, positive: 1}", 3, 1),
        ("{metric: precision, positive: true}", 3, 1),
        ("{metric: f1, positive: '1'}", 4, 2),
        ("{metric: recall, positive: 0}", 4, 1),
    ],
)
def test_each_metric_counts_its_own_rows(text: str, trials: int, bad: int) -> None:
    """The confusion of seven rows, seen from each metric."""
    found = counted(text, [outcome(label, said) for label, said in ONES])
    assert (found.rows, found.trials, found.bad, found.unusable) == (7, trials, bad, 0)


def test_a_score_is_the_class_of_interest_from_its_threshold_on() -> None:
    """Also as the second of two probabilities, and for accuracy as one class against all others."""
    rows = [
        outcome("fraud", [0.4, 0.6]),
        outcome("fraud", 0.5),
        outcome("fraud", [0.49]),
        outcome("other", 0.9),
    ]
    found = counted("{metric: recall, positive: fraud, threshold: 0.5}", rows)
    assert (found.trials, found.bad) == (3, 1)
    found = counted("{metric: accuracy, positive: fraud, threshold: 0.5}", rows)
    assert (found.trials, found.bad) == (4, 2)


def test_the_output_that_is_named_is_looked_at() -> None:
    """Else the first; one that the answer does not have is unusable, and so is an answer that was not kept."""
    one = outcome(1, 0)
    two = msgspec.structs.replace(one, answer={"label": 0, "score": 1})
    gone = msgspec.structs.replace(one, answer=None)
    found = counted("{metric: recall, positive: 1, output: score}", [one, two, gone])
    assert (found.rows, found.trials, found.bad, found.unusable) == (3, 1, 0, 2)


def test_a_reward_is_counted_by_its_place_in_the_range() -> None:
    """Values beyond an end count as the end; a text that is no number is unusable; the answer does not matter."""
    rows = [outcome(value, "?") for value in (0, 25.0, "50", 70, -3, "free")]
    found = counted("{metric: mean, range: [0, 50], margin: 1}", rows)
    assert (found.trials, found.unusable, found.total) == (5, 1, 125.0)
    assert found.scores == {0: 2, 32: 1, 63: 2}


def test_an_error_is_the_distance_and_a_large_one_is_a_low_score() -> None:
    """So that the mean of the scores falls where the mean error rises."""
    rows = [outcome(10.0, 10.0), outcome(10.0, 12.5), outcome(10, 99)]
    found = counted("{metric: mae, range: [0, 10], margin: 1}", rows)
    assert (found.trials, found.total) == (3, 12.5)
    assert found.scores == {0: 1, 48: 1, 63: 1}


def test_of_a_key_nothing_counts_after_its_first_wrong_row() -> None:
    """Within one look and over several, on both arms alike; rows without a key all count."""
    text = "{metric: recall, positive: 1}"
    rows = [outcome(1, said, key=key) for key, said in ((5, 1), (5, 0), (5, 0), (6, 1), (None, 0), (None, 0))]
    first = tally(guardrail(text), rows, b"")[0]
    assert (first.candidate.trials, first.candidate.bad, first.candidate.repeated) == (5, 3, 1)
    assert first.keys == [5]
    later = tally(guardrail(text), [outcome(1, 1, key=5, arm="stable")], (5).to_bytes(4, "little"))[0]
    assert (later.stable.trials, later.stable.repeated) == (0, 1)
    assert tally(guardrail(text), rows, None)[0].keys == []


def test_of_a_key_a_mean_takes_its_first_row() -> None:
    """A busy caller has one vote."""
    rows = [outcome(value, 0, key=key) for key, value in ((5, 10), (5, 50), (6, 20))]
    found = counted("{metric: mean, range: [0, 50], margin: 1}", rows, b"")
    assert (found.trials, found.total, found.repeated) == (2, 30.0, 1)


def test_stages_and_arms_stay_apart() -> None:
    """What was answered at another split is another stratum; what neither arm answered counts nowhere."""
    rows = [outcome(1, 1, stage=1), outcome(1, 1, arm="stable"), outcome(1, 1, arm="shadow")]
    found = tally(guardrail("{metric: accuracy}"), rows, None)
    assert {stage: (one.candidate.trials, one.stable.trials) for stage, one in found.items()} == {
        0: (0, 1),
        1: (1, 0),
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, "1"), (1.0, "1"), (True, 1), ("true", True), (" a ", "a"), (2.5, "2.5"), ("1e2", 100)],
)
def test_one_class_has_one_name(one: Any, other: Any) -> None:
    """However a label and an answer write it."""
    assert class_of(one) == class_of(other)


def test_odds_of_f1_are_twice_those_of_the_right_part() -> None:
    """So an odds margin of F1 is one of the wrong rows, and points are translated safely for every F1."""
    for wrong in (0.01, 0.2, 0.5, 0.9):
        f1 = f1_of(wrong)
        assert f1 / (1 - f1) == pytest.approx(2 * (1 - wrong) / wrong)
        assert wrong_of(f1) == pytest.approx(wrong)
    margin = guardrail("{metric: f1, positive: 1, margin: 2pp}").margin
    assert margin.kind is MarginKind.ABSOLUTE
    for f1 in (0.05, 0.3, 0.6, 0.9, 1.0):
        assert wrong_of(f1 - 0.02) - wrong_of(f1) <= margin.value + 1e-12
    assert guardrail("{metric: f1, positive: 1, margin: 1.3}").margin == Margin(MarginKind.ODDS, 1.3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{metric: recall}", "which class"),
        ("{metric: accuracy, threshold: 0.5}", "which class"),
        ("{metric: recall, positive: ' '}", "names no class"),
        ("{metric: mean, range: [5, 5], margin: 1}", "range"),
        ("{metric: mean, range: [0, 5], margin: 5}", "all of the range"),
        ("{metric: mae, range: [-1, 5], margin: 1}", "distance"),
        ("{metric: mean, margin: 1}", "'range' is missing"),
        ("{metric: mean, range: [0, 5]}", "'margin' is missing"),
        ("{metric: recall, positive: 1, margin: 3pp, proof_margin: 2pp}", "not wider"),
        ("{metric: recall, positive: 1, max: 5%}", "'max' is not known"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(text: str, said: str) -> None:
    """A plan says what is wrong before anything is released by it."""
    with pytest.raises(LastgoodError, match=said):
        plan(text)


def test_without_traffic_on_stable_a_kpi_needs_a_hard_limit() -> None:
    """Nothing could be compared, so only a 'min' can act; of a mean there is none."""
    flat = "strategy: blue_green\nguardrails: [{text}]"
    with pytest.raises(LastgoodError, match="leaves no traffic on stable"):
        parse_plan(flat.format(text="{metric: recall, positive: 1}"))
    with pytest.raises(LastgoodError, match="leaves no traffic on stable"):
        parse_plan(flat.format(text="{metric: mean, range: [0, 1], margin: 0.1}"))
    limited = parse_plan(flat.format(text="{metric: recall, positive: 1, min: 80%}")).guardrails[-1]
    assert limited.maximum == pytest.approx(0.2)


def evidence_of(
    used: Plan, outcomes: list[Outcome], *, together: int, units: Units = Units.REQUESTS
) -> Evidence:
    """Fold outcomes, so many in each look."""
    baseline, found = Baseline(units=units), Evidence(release=1)
    for first in range(0, len(outcomes), together):
        news = {0.0: News(outcomes[first : first + together], Cursor(first + together))}
        strata = strata_of(used, baseline, found, news, sequence=found.sequence, now=float(first))
        found = fold(used, baseline, found, strata)
    return found


def drawn(count: int, found: float) -> list[Outcome]:
    chance = random.Random(5)
    rows = []
    for _ in range(count):
        arm = "candidate" if chance.random() < 0.3 else "stable"
        said = int(chance.random() < (found if arm == "candidate" else 0.9))
        rows.append(outcome(1, said, arm=arm))
    return rows


def test_trials_are_gathered_however_few_come_at_once() -> None:
    """One label a look gives the same tests as labels in lots: no look is too small."""
    used = plan("{metric: recall, positive: 1}")
    states = []
    for together in (1, 20, 20_000):
        found = evidence_of(used, drawn(400, 0.6), together=together)
        record = msgspec.json.decode(msgspec.json.encode(found), type=Evidence)
        assert judge(used, Baseline(), record, misses=0) == judge(used, Baseline(), found, misses=0)
        states.append(found.states.labels.states["recall"])
    assert [one.total for one in states] == [states[0].total] * 3
    assert states[0].test is not None
    assert kpi_state.log_e(states[0]) == kpi_state.log_e(states[1]) != 0.0
    assert all(isinstance(one, KpiState) and not one.open.get(9) for one in states)


@pytest.mark.parametrize(
    ("text", "rows", "verdict"),
    [
        ("{metric: recall, positive: 1}", drawn(1500, 0.5), Verdict.FAILED),
        ("{metric: recall, positive: 1}", drawn(1500, 0.9), Verdict.PASSED),
        ("{metric: recall, positive: 1, min_samples: 9999}", drawn(1500, 0.9), Verdict.INCONCLUSIVE),
        ("{metric: recall, positive: 1, min: 95%, margin: 20pp}", drawn(1500, 0.9), Verdict.FAILED),
        ("{metric: recall, positive: 1}", drawn(12, 0.9), Verdict.INCONCLUSIVE),
        ("{metric: recall, positive: 1}", [], Verdict.INCONCLUSIVE),
    ],
)
def test_verdicts(text: str, rows: list[Outcome], verdict: Verdict) -> None:
    """Worse fails, measured passes, too few wait, under the hard limit fails."""
    used = plan(text)
    found = judge(used, Baseline(), evidence_of(used, rows, together=100), misses=0)[-1]
    assert found.verdict is verdict, found.sentence
    assert (found.no_data is not None) == (not rows)


def test_proof_is_shown_by_enough_labels() -> None:
    """A plan that promotes by proof has one of classes; a mean shows none and has to pass."""
    used = plan(
        "{metric: recall, positive: 1, proof_margin: 15pp}",
        "{metric: mean, range: [0, 1], margin: 0.2}",
        more="promote_when: proven",
    )
    _, recall, mean = judge(used, Baseline(), evidence_of(used, drawn(2500, 0.9), together=50), misses=0)
    assert recall.proven is True
    assert (mean.proven, mean.verdict) == (None, Verdict.PASSED)
