"""Slices of KPI guardrails: which rows each counts, the part of the rate that each may spend, and what they decide."""

import math
import random
from collections import defaultdict
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.analysis import kpi_state
from lastgood.analysis.budget import alphas
from lastgood.analysis.fold import fold
from lastgood.analysis.judge import judge
from lastgood.analysis.kpi import tally
from lastgood.analysis.kpi_strata import News, strata_of
from lastgood.analysis.record import read
from lastgood.analysis.slices import MAX_VALUES, slice_part, whole_part
from lastgood.domain.change import Evidence
from lastgood.domain.kpi import Cursor, Kpi, Outcome
from lastgood.domain.plan import Guardrail, Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.traffic import Baseline
from lastgood.domain.verdict import Finding, Verdict

RECALL = "{metric: recall, positive: 1, margin: 2pp, slices: [country, device]}"


def plan(text: str = RECALL) -> Plan:
    return parse_plan(f"steps: [{{weight: 20%, for: 1s}}]\nguardrails: [{text}]")


def guardrail(text: str = RECALL) -> Guardrail:
    return plan(text).guardrails[-1]


def outcome(
    value: Any, answer: Any, *, arm: str = "candidate", stage: int = 0, key: int | None = None, **slices: str
) -> Outcome:
    return Outcome(
        sequence=1,
        release=1,
        stage=stage,
        arm=arm,
        version=2,
        predicted_at=1.0,
        labelled_at=2.0,
        value=value,
        answer={"label": answer},
        key=key,
        slices=slices,
    )


def counted(kpi: Kpi) -> dict[tuple[str, str, str], tuple[int, int, int]]:
    return {
        (one.column, one.value if one.rank else "(others)", arm): (counts.rows, counts.trials, counts.bad)
        for one in kpi.slices or ()
        for arm, counts in (("candidate", one.kpi.candidate), ("stable", one.kpi.stable))
        if counts.rows
    }


def judged(used: Plan, outcomes: list[Outcome]) -> tuple[Evidence, Finding]:
    """Return the evidence and the last finding after all outcomes, a hundred at a time."""
    evidence = Evidence(release=1)
    for start in range(0, len(outcomes), 100):
        news = {0.0: News(outcomes[start : start + 100], Cursor(start + 100, 1.0, 1))}
        strata = strata_of(used, Baseline(), evidence, news, sequence=evidence.sequence, now=1.0)
        evidence = fold(used, Baseline(), evidence, strata)
    return evidence, judge(used, Baseline(), evidence, misses=0)[-1]


ROWS = st.builds(
    outcome,
    st.sampled_from([0, 1]),
    st.sampled_from([0, 1]),
    arm=st.sampled_from(["candidate", "stable", "shadow"]),
    stage=st.sampled_from([0, 1]),
    key=st.sampled_from([None, 1, 2, 3]),
    country=st.integers(0, 30).map(str),
    device=st.sampled_from(["", "phone", "desk"]),
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROWS, max_size=120), cut=st.integers(0, 120), by_key=st.booleans())
def test_the_tally_of_slices_is_what_a_simple_count_gives(
    rows: list[Outcome], cut: int, by_key: bool
) -> None:
    """However outcomes are cut into looks, in every stage: each value's own rows, and all past the twentieth together."""
    one, used = guardrail(), plan()
    found: dict[int, dict[Any, list[int]]] = {}
    remembered, state = b"", kpi_state.initial(used, one)
    for part in (rows[:cut], rows[cut:]):
        taken = tally(one, part, remembered if by_key else None, kpi_state.appeared(state))
        for stage, kpi in taken.items():
            for place, counts in counted(kpi).items():
                sums = found.setdefault(stage, {}).setdefault(place, [0, 0, 0])
                sums[:] = [known + more for known, more in zip(sums, counts, strict=True)]
            labels = msgspec.convert({"kpis": {one.name: msgspec.to_builtins(kpi)}}, kpi_state.Labels)
            state = kpi_state.with_labels(
                used, kpi_state.LabelRecord(states={one.name: state}), labels, stage
            ).states[one.name]
        remembered = state.keys
    expected: dict[int, dict[Any, list[int]]] = {}
    seen: dict[str, list[str]] = defaultdict(list)
    over = set()
    for row in rows:
        if row.arm == "shadow":
            continue
        gone = by_key and row.key is not None and row.key in over
        for column in ("country", "device"):
            value = row.slices[column]
            if value not in seen[column]:
                seen[column].append(value)
            name = value if value in seen[column][:MAX_VALUES] else "(others)"
            sums = expected.setdefault(row.stage, {}).setdefault((column, name, row.arm), [0, 0, 0])
            sums[0] += 1
            sums[1] += row.value == 1 and not gone
            sums[2] += row.value == 1 and row.answer == {"label": 0} and not gone
        if row.value == 1 and row.answer == {"label": 0} and row.key is not None:
            over.add(row.key)
    assert found == expected


def test_the_parts_of_all_slices_and_of_the_whole_are_never_more_than_the_rate() -> None:
    """With one column and with five, each with as many values as are judged; no other value has a part."""
    for columns in ("[a]", "[a, b, c, d, e]"):
        one = guardrail(f"{{metric: accuracy, slices: {columns}}}")
        each = [slice_part(one, rank) for rank in range(1, MAX_VALUES + 1)]
        assert each == sorted(each, reverse=True)
        assert 0.95 < whole_part(one) + len(one.slices) * sum(each) <= 1.0
        assert slice_part(one, 0) == slice_part(one, MAX_VALUES + 1) == 0.0
    plain = guardrail("{metric: accuracy}")
    assert (whole_part(plain), slice_part(plain, 1)) == (1.0, 0.0)


def test_each_test_has_the_rate_of_its_place() -> None:
    """The states that are folded spend what the budget says, and what comes after the last place has no test."""
    used = plan("{metric: accuracy, slices: [country]}")
    rows = [
        outcome(1, 1, arm=arm, country=f"c{number}")
        for number in range(25)
        for arm in ("candidate", "stable")
    ]
    evidence, finding = judged(used, rows)
    labels = read(evidence.states).labels
    assert labels
    state = labels.states["accuracy"]
    whole = alphas(used)["accuracy"]
    assert state.test is not None
    assert state.test.state.alpha == pytest.approx(whole / 2)
    others, *ranked = state.slices or ()
    assert (others.rank, others.state.test, others.state.total.candidate.rows) == (0, None, 5)
    for rank, one in enumerate(ranked, 1):
        assert (one.rank, one.value) == (rank, f"c{rank - 1}")
        assert one.state.test is not None
        assert one.state.test.state.alpha == pytest.approx(whole / 2 / (rank * (rank + 1)))
    assert finding.numbers["slices_judged"] == MAX_VALUES
    assert finding.numbers["slices"][-1]["name"] == "country=(others)"
    assert finding.numbers["slices"][-1]["candidate"]["labelled"] == 5


def worse_in_one(rows: int) -> list[Outcome]:
    """Return rows of which a tenth is from BR, where the candidate misses half of all; elsewhere it is the better one."""
    chance = random.Random(3)
    found = []
    for _ in range(rows):
        arm = "candidate" if chance.random() < 0.3 else "stable"
        country = "BR" if chance.random() < 0.1 else "DE"
        missed = 0.15 if arm == "stable" else 0.5 if country == "BR" else 0.05
        found.append(outcome(1, int(chance.random() >= missed), arm=arm, country=country))
    return found


def test_a_candidate_that_is_better_in_all_and_worse_for_some_fails_and_they_are_named() -> None:
    """The sentence has the whole first, then the slice with its own counts, evidence and bound."""
    _, finding = judged(plan(), worse_in_one(3_000))
    assert finding.verdict is Verdict.FAILED
    assert "overall; evidence" in finding.sentence
    assert "; worse for country=BR: " in finding.sentence
    worst = finding.numbers["slices"][0]
    assert (worst["name"], worst["reached"], worst["failed"]) == ("country=BR", True, True)
    assert worst["log_e"] >= 0.99 * math.log(worst["bound"])
    assert finding.numbers["candidate"]["value"] > finding.numbers["stable"]["value"]
    unsliced = plan(RECALL.replace(", slices: [country, device]", ""))
    _, without = judged(unsliced, worse_in_one(3_000))
    assert without.verdict is Verdict.PASSED
    assert "slices" not in without.numbers


def test_a_slice_fails_with_the_wrong_rows_that_the_guardrail_asks_for() -> None:
    """Evidence that is enough with fewer than ``min_bad`` wrong rows is not called worse, and not passed either."""
    demanding = plan(RECALL.replace("margin: 2pp", "margin: 2pp, min_bad: 5000"))
    _, finding = judged(demanding, worse_in_one(3_000))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "missing to call it worse for country=BR" in finding.sentence
    assert finding.numbers["slices"][0]["reached"]
    assert not finding.numbers["slices"][0]["failed"]


def test_rows_without_the_column_are_a_slice_of_their_own() -> None:
    """What nobody said is unknown, and named so."""
    rows = [outcome(1, int(arm == "stable"), arm=arm) for arm in ("candidate", "stable") * 200]
    _, finding = judged(plan("{metric: accuracy, slices: [country]}"), rows)
    assert finding.numbers["slices"][0]["name"] == "country=(unknown)"


def test_a_value_cannot_forge_a_line() -> None:
    """Callers choose values: what cannot be seen is shown escaped, and long ones are cut."""
    evil = "x\n\x1b[2J" + "y" * 200
    rows = [outcome(1, int(arm == "stable"), arm=arm, country=evil) for arm in ("candidate", "stable") * 200]
    _, finding = judged(plan("{metric: accuracy, slices: [country]}"), rows)
    assert finding.verdict is Verdict.FAILED
    assert finding.sentence.isprintable()
    assert "y" * 80 not in finding.sentence


def test_pairs_of_a_shadow_step_are_judged_pair_by_pair_in_their_slices() -> None:
    """A copy's answer counts in the slice of its request; few pairs are enough where the candidate alone is wrong."""
    used = parse_plan(
        "steps: [{shadow: 10%, for: 1s, samples: 1}, {weight: 20%, for: 1s}]\n"
        f"guardrails: [{RECALL.replace('margin: 2pp', 'margin: 1.2')}]"
    )
    chance, rows = random.Random(3), []
    for _ in range(600):
        country = "BR" if chance.random() < 0.1 else "DE"
        missed = 0.5 if country == "BR" else 0.0
        hard = chance.random() < 0.1  # both versions are wrong
        copy = {"label": int(not hard and chance.random() >= missed)}
        one = outcome(1, int(not hard), arm="stable", country=country)
        rows.append(msgspec.structs.replace(one, copied=True, other=copy))
    evidence, finding = judged(used, rows)
    labels = read(evidence.states).labels
    assert labels
    slices = labels.states["recall"].slices or []
    assert sum(one.state.total.candidate.rows for one in slices if one.column == "country") == 600
    assert all(one.state.total.candidate.rows == one.state.total.stable.rows for one in slices)
    spent = [one.state.paired.state.alpha + one.state.test.state.alpha for one in slices if one.state.paired]
    whole = alphas(used)["recall"]
    assert spent == pytest.approx([whole * slice_part(used.guardrails[-1], one.rank) for one in slices])
    assert finding.verdict is Verdict.FAILED
    assert finding.numbers["slices"][0]["name"] == "country=BR"
    assert finding.numbers["slices"][0]["failed"]


def test_means_have_slices_too() -> None:
    """A reward that falls for one device fails the guardrail there."""
    rows = []
    for number in range(4_000):
        arm = "candidate" if number % 2 else "stable"
        phone = number % 8 < 2
        value = (number * 7 % 11) / 11.0
        rows.append(
            outcome(
                value * (0.1 if phone and arm == "candidate" else 1.0),
                0,
                arm=arm,
                device="p" if phone else "d",
            )
        )
    _, finding = judged(plan("{metric: mean, range: [0, 1], margin: 0.2, slices: [device]}"), rows)
    assert finding.verdict is Verdict.FAILED
    assert "worse for device=p" in finding.sentence


def test_without_slices_a_stratum_and_its_evidence_are_written_as_before() -> None:
    """Their digests are kept for ever, so nothing new stands in them."""
    used = plan("{metric: accuracy}")
    evidence, _ = judged(used, [outcome(1, 1, country="DE"), outcome(1, 0, arm="stable")] * 30)
    taken = tally(guardrail("{metric: accuracy}"), [outcome(1, 1, country="DE")], None)[0]
    assert b"slices" not in msgspec.json.encode(taken)
    assert b"slices" not in msgspec.json.encode(evidence.states)


def test_evidence_with_slices_survives_the_store_bit_for_bit() -> None:
    """Read back from JSON it goes on as if it had stayed in memory."""
    used, rows = plan(), worse_in_one(400)
    whole, _ = judged(used, rows)
    half, _ = judged(used, rows[:200])
    half = msgspec.structs.replace(half, states=msgspec.json.decode(msgspec.json.encode(half.states)))
    for start in (200, 300):
        news = {0.0: News(rows[start : start + 100], Cursor(start + 100, 1.0, 1))}
        half = fold(
            used, Baseline(), half, strata_of(used, Baseline(), half, news, sequence=half.sequence, now=1.0)
        )
    assert msgspec.json.encode(half.states) == msgspec.json.encode(whole.states)
