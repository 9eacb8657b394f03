"""Agreement: what is the same, what a release makes of it, what a plan may say, and what a log gives."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from lastgood.analysis import agreement
from lastgood.analysis.fold import fold
from lastgood.analysis.judge import judge
from lastgood.analysis.record import read
from lastgood.analysis.traps import traps
from lastgood.cli.watch_words import agreement_when
from lastgood.control.preflight import check_labels
from lastgood.domain.agreement import Agreed, AgreementTerms, PairRow
from lastgood.domain.change import Evidence
from lastgood.domain.plan import NoData, OnFail, Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.prediction import Copy, Prediction
from lastgood.domain.traffic import Baseline
from lastgood.domain.verdict import Verdict
from lastgood.errors import LastgoodError
from lastgood.predictions.log import PredictionLog
from lastgood.predictions.outcomes import LoggedOutcomes
from lastgood.quality_ports import PAIR_ROWS
from lastgood.settings import Settings


def plan(text: str, steps: str = "[{shadow: 20%, for: 1s}, {weight: 20%, for: 1s}]", more: str = "") -> Plan:
    return parse_plan(f"steps: {steps}\nguardrails: [{{metric: errors}}, {text}]\n{more}")


def row(answer: Any, other: Any, *, arm: str = "stable", sequence: int = 1) -> PairRow:
    given = [None if value is None else {"label": value} for value in (answer, other)]
    return PairRow(sequence=sequence, stage=0, arm=arm, answer=given[0], other=given[1])


@pytest.mark.parametrize(
    ("terms", "rows", "expected"),
    [
        (AgreementTerms(), [row(1, 1.0), row("no", "yes"), row(True, "1")], (3, 2, 0)),
        (AgreementTerms(), [row(1, None), row(None, None), row([1, 2], 1)], (0, 0, 3)),
        (AgreementTerms(within=0.05), [row(0.5, 0.54), row(0.5, 0.56), row("x", 0.5)], (2, 1, 1)),
        (
            AgreementTerms(within=0.05),
            [row([0.5, 0.5], [0.46, 0.54]), row([0.5, 0.5], [0.7, 0.3])],
            (2, 1, 0),
        ),
        (AgreementTerms(within=0.05), [row([0.1, 0.2, 0.7], [0.1, 0.2, 0.7])], (0, 0, 1)),
        (AgreementTerms(output="score"), [row(1, 1)], (0, 0, 1)),
    ],
)
def test_rows_are_the_same_by_class_or_within_a_distance(
    terms: AgreementTerms, rows: list[PairRow], expected: tuple[int, int, int]
) -> None:
    """Classes as labels name them, numbers by their distance; of two scores the second; a missing or unreadable answer is no row."""
    found = agreement.tally(terms, rows)
    assert (found.rows, found.same, found.unusable) == expected


def test_the_shift_is_the_candidates_whoever_answered_the_caller() -> None:
    """In a shadow step the copy is the candidate's, in the watch the answer is."""
    terms = AgreementTerms(within=1.0)
    assert agreement.tally(terms, [row(0.2, 0.5)]).shift == pytest.approx(0.3)
    assert agreement.tally(terms, [row(0.2, 0.5, arm="candidate")]).shift == pytest.approx(-0.3)


def evidence_of(used: Plan, rows: list[PairRow]) -> Evidence:
    evidence = Evidence(release=1)
    strata = agreement.strata_of(used, evidence, rows, read_to=rows[-1].sequence, sequence=0, now=60.0)
    return fold(used, Baseline(), evidence, strata)


def test_a_release_is_judged_by_the_share_of_rows() -> None:
    """Nothing before min_samples; then the limit, with on_fail as the plan says, and no data is nobody's matter."""
    used = plan("{metric: agreement, min: 80%, min_samples: 10, on_fail: hold}")
    empty = judge(used, Baseline(), Evidence(release=1), misses=0)[-1]
    assert (empty.verdict, empty.no_data) == (Verdict.INCONCLUSIVE, NoData.IGNORE)

    few = judge(used, Baseline(), evidence_of(used, [row(1, 0)] * 9), misses=0)[-1]
    assert (few.verdict, few.no_data) == (Verdict.INCONCLUSIVE, None)
    assert "1 more row is needed" in few.sentence

    good = judge(used, Baseline(), evidence_of(used, [row(1, 1)] * 8 + [row(1, 0)] * 2), misses=0)[-1]
    assert (good.verdict, good.numbers["share"]) == (Verdict.PASSED, 0.8)

    evidence = evidence_of(used, [row(1, 1)] * 7 + [row(1, 0)] * 3 + [row(1, None)])
    bad = judge(used, Baseline(), evidence, misses=0)[-1]
    assert (bad.verdict, bad.on_fail) == (Verdict.FAILED, OnFail.HOLD)
    assert bad.sentence == (
        "agreement: 70.0 % of both versions' answers are the same, 7 of 10; 1 row without two answers to compare; under the "
        "minimum of 80.0 %: hold."
    )
    stored = read(msgspec.json.decode(msgspec.json.encode(read(evidence.states))))
    assert stored == read(evidence.states)
    assert agreement.read_until(evidence) == 1


def test_numbers_say_which_way_they_moved() -> None:
    """With a distance the sentence tells the candidate's mean difference."""
    used = plan("{metric: agreement, within: 0.05, min_samples: 1}")
    found = judge(used, Baseline(), evidence_of(used, [row(0.5, 0.4)] * 4), misses=0)[-1]
    assert (
        "are within 0.05 of each other, 0 of 4; the candidate's are 0.1 lower in the mean" in found.sentence
    )
    assert found.numbers["shift"] == pytest.approx(-0.1)


def test_what_a_plan_says() -> None:
    """It alerts unless told otherwise, takes no share, says when it fails, and a plan that copies nothing is told so."""
    used = plan("{metric: agreement}")
    (one,) = [guardrail for guardrail in used.guardrails if guardrail.agreement is not None]
    assert (one.on_fail, one.share, one.no_data) == (OnFail.ALERT, 0.0, NoData.IGNORE)
    assert agreement_when(one) == [
        "under 90.0 % of both versions' answers to copied requests are the same (looked at from 100 rows on)"
    ]
    assert not [trap for trap in traps(used, ()) if trap.guardrail == "agreement"]
    alone = plan("{metric: agreement}", "[{weight: 20%, for: 1s}]", more="watch: 0s")
    assert [trap.guardrail for trap in traps(alone, ()) if trap.guardrail] == ["agreement"]
    with pytest.raises(LastgoodError, match="0% is never broken"):
        plan("{metric: agreement, min: 0%}")
    with pytest.raises(LastgoodError, match="no predictions are recorded"):
        check_labels(used, Settings(home="home", record_predictions=False))


def paired(number: int, answer: bytes, copy: Copy | None, release: int | None = 7) -> Prediction:
    return Prediction(
        id=f"r{number}",
        at=float(number),
        deployment="churn",
        model="churn",
        version=1,
        role="stable",
        status=200,
        seconds=0.1,
        release=release,
        stage=None if release is None else 0,
        arm=None if release is None else "stable",
        answer=answer,
        copy=copy,
    )


def test_the_log_gives_each_copied_request_once(tmp_path: Path) -> None:
    """Row by row, in order, of one release; requests without a copy, and uncounted ones, are not among them."""
    log = PredictionLog(tmp_path / "log.db")

    def copy(answer: bytes | None, status: int = 200) -> Copy:
        return Copy(version=2, status=status, seconds=0.1, answer=answer)

    log.add(
        [
            paired(1, b'{"predictions": [1, 0]}', copy(b'{"predictions": [1, 1]}')),
            paired(2, b'{"predictions": [1]}', None),
            paired(3, b'{"predictions": [1]}', copy(b"{}", status=500)),
            paired(4, b'{"predictions": [1]}', copy(b'{"predictions": [0]}'), release=8),
            paired(5, b'{"predictions": [0]}', copy(None)),
        ]
    )
    outcomes = LoggedOutcomes(log)
    first, read_to = outcomes.pairs(7, 0, 1)
    assert [(one.answer, one.other) for one in first] == [
        ({"predictions": 1}, {"predictions": 1}),
        ({"predictions": 0}, {"predictions": 1}),
    ]
    rest, last = outcomes.pairs(7, read_to, 10)
    assert [(one.sequence, one.answer, one.other) for one in rest] == [
        (3, {"predictions": 1}, None),
        (5, {"predictions": 0}, None),
    ]
    assert outcomes.pairs(7, last, 10) == ([], last)
    assert agreement.tally(AgreementTerms(), first + rest) == Agreed(
        rows=2, same=1, unusable=2, numbers=2, shift=1.0
    )


def test_requests_of_many_rows_are_looked_at_a_few_at_a_time(tmp_path: Path) -> None:
    """A turn of the controller compares some thousand rows, and the next ones the rest: each request once."""
    log = PredictionLog(tmp_path / "log.db")
    many = b'{"predictions": [' + b",".join([b"1"] * 900) + b"]}"
    copy = Copy(version=2, status=200, seconds=0.1, answer=many)
    log.add([paired(number, many, copy) for number in range(1, 17)])
    outcomes, read_to, looks = LoggedOutcomes(log), 0, []
    while True:
        rows, read_to = outcomes.pairs(7, read_to, 500)
        if not rows:
            break
        looks.append(len({one.sequence for one in rows}))
        assert len(rows) <= PAIR_ROWS + 900
    assert looks == [6, 6, 4]


@pytest.mark.parametrize("within", [None, 0.1])
def test_answers_at_the_ends_of_all_numbers_are_stored_and_read_back(within: float | None) -> None:
    """Differences that no number holds would leave evidence that nobody can read."""
    used = plan(f"{{metric: agreement{'' if within is None else f', within: {within}'}}}")
    rows = [
        PairRow(
            sequence=at, stage=0, arm="stable", answer={"y": 1.7e308 * sign}, other={"y": -1.7e308 * sign}
        )
        for at, sign in enumerate((1, 1, 1, -1))
    ]
    evidence = Evidence(release=1)
    for _ in range(3):
        last = evidence.sequence
        strata = agreement.strata_of(used, evidence, rows, read_to=4, sequence=last, now=1.0)
        evidence = fold(used, Baseline(), evidence, strata)
    stored = msgspec.json.decode(msgspec.json.encode(evidence), type=Evidence)
    assert read(stored.states) == read(evidence.states)
    assert judge(used, Baseline(), stored, misses=0)[-1].numbers["same"] == 0


def test_a_log_that_begins_anew_is_read_once(tmp_path: Path) -> None:
    """Its places begin at 1 again: what was read of the log before is not the place to read on from."""
    used = plan("{metric: agreement}")
    copy = Copy(version=2, status=200, seconds=0.1, answer=b'{"predictions": [1]}')
    evidence = Evidence(release=7)
    for name, number in (("old", 9), ("new", 3)):
        log = PredictionLog(tmp_path / f"{name}.db")
        log.add([paired(at, b'{"predictions": [1]}', copy) for at in range(1, number + 1)])
        for _ in range(3):
            rows, read_to = LoggedOutcomes(log).pairs(7, agreement.read_until(evidence), 500)
            last = evidence.sequence
            strata = agreement.strata_of(used, evidence, rows, read_to=read_to, sequence=last, now=1.0)
            evidence = fold(used, Baseline(), evidence, strata)
    assert judge(used, Baseline(), evidence, misses=0)[-1].numbers["rows"] == 12
