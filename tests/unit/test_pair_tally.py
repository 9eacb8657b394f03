"""What labels say of pairs: against a naive count, with keys, with answers that are missing, and in whole evidence."""

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.analysis import kpi_state
from lastgood.analysis.kpi import tally
from lastgood.analysis.kpi_findings import judged
from lastgood.analysis.kpi_state import LabelRecord
from lastgood.domain.kpi import Kpi, Labels, Outcome, Pairs
from lastgood.domain.plan import Guardrail, Plan, PromoteWhen
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.traffic import Units

ANSWER = st.sampled_from([0, 1])
ROW = st.tuples(
    ANSWER, ANSWER, st.one_of(st.none(), ANSWER), st.booleans(), st.one_of(st.none(), st.integers(1, 4))
)
"""A label, the caller's answer, the copy's (None where it gave none), whether it was copied, and a key."""


def plan(text: str, steps: str = "[{shadow: 20%, for: 1s}, {weight: 20%, for: 1s}]") -> Plan:
    return parse_plan(f"steps: {steps}\nguardrails: [{text}]\n")


def guardrail(text: str) -> Guardrail:
    return plan(text).guardrails[-1]


def outcome(
    value: Any, answer: Any, other: Any = None, *, copied: bool = True, arm: str = "stable", **given: Any
) -> Outcome:
    return Outcome(
        sequence=1,
        release=1,
        stage=given.pop("stage", 0),
        arm=arm,
        version=1,
        predicted_at=1.0,
        labelled_at=2.0,
        value=value,
        answer={"label": answer},
        other=None if other is None else {"label": other},
        copied=copied,
        **given,
    )


def naive(metric: str, rows: list[tuple[Any, ...]], *, keyed: bool) -> tuple[list[int], list[int], Pairs]:
    """Return trials and wrong ones of the candidate and of stable, and the pairs, counted one by one."""
    ended: set[int] = set()
    own, beside, pairs = [0, 0], [0, 0], [0, 0, 0, 0, 0]
    for label, answer, other, copied, key in rows:
        if keyed and key in ended:
            continue
        counts = metric == "accuracy" or label == 1
        wrong0, wrong1 = answer != label, other != label
        if not copied:
            if counts:
                beside[0] += 1
                beside[1] += wrong0
                if wrong0:
                    ended.add(key)
        elif other is None:
            pairs[4] += 1
        elif counts:
            for arm, wrong in ((own, wrong1), (beside, wrong0)):
                arm[0] += 1
                arm[1] += wrong
            pairs[0] += 1
            pairs[1] += wrong1 and not wrong0
            pairs[2] += wrong0 and not wrong1
            pairs[3] += wrong0 and wrong1
            if wrong0 != wrong1:
                ended.add(key)
        ended.discard(None)
    named = zip(("pairs", "only1", "only0", "both", "alone"), pairs, strict=True)
    return own, beside, Pairs(**dict(named))


@pytest.mark.parametrize("metric", ["accuracy", "recall"])
@pytest.mark.parametrize("keyed", [False, True])
@given(rows=st.lists(ROW, min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_pairs_are_counted_as_a_person_would(metric: str, keyed: bool, rows: list[Any]) -> None:
    """Both arms' totals hold both answers; a key ends with its first pair that differs, or its own wrong row."""
    text = f"{{metric: {metric}, positive: 1}}" if metric == "recall" else f"{{metric: {metric}}}"
    outcomes = [
        outcome(label, answer, other if copied else None, copied=copied, key=key)
        for label, answer, other, copied, key in rows
    ]
    found = tally(guardrail(text), outcomes, b"" if keyed else None)[0]

    own, beside, pairs = naive(metric, rows, keyed=keyed)
    assert [found.candidate.trials, found.candidate.bad] == own
    assert [found.stable.trials, found.stable.bad] == beside
    assert (found.pairs or Pairs()) == pairs


def test_the_caller_may_be_on_either_arm() -> None:
    """In the watch the promoted version answered the caller: a wrong copy is then stable's."""
    found = tally(guardrail("{metric: accuracy}"), [outcome(1, 1, 0, arm="candidate")], None)[0]
    assert (found.candidate.bad, found.stable.bad) == (0, 1)
    assert found.pairs == Pairs(pairs=1, only0=1)


def test_other_metrics_take_both_answers_as_two_arms() -> None:
    """Precision counts each arm's own predictions; a reward is that of the answer the caller had."""
    rows = [outcome(1, 1, 1), outcome(0, 0, 1), outcome(0, 1, 0)]
    precision = tally(guardrail("{metric: precision, positive: 1}"), rows, None)[0]
    assert (precision.candidate.trials, precision.candidate.bad) == (2, 1)
    assert (precision.stable.trials, precision.stable.bad) == (2, 1)

    reward = tally(guardrail("{metric: mean, range: [0, 1], margin: 0.1}"), [outcome(0.5, 1, 0)], None)[0]
    assert (reward.candidate.trials, reward.stable.trials) == (0, 1)
    far = tally(guardrail("{metric: mae, range: [0, 1], margin: 0.1}"), [outcome(0.5, 0.5, 0.1)], None)[0]
    assert (far.candidate.total, far.stable.total) == (pytest.approx(0.4), 0.0)


def test_answers_that_cannot_be_read_are_no_pair() -> None:
    """An answer without the output makes the guardrail's rows unusable, in its own arm."""
    found = tally(guardrail("{metric: accuracy}"), [outcome(1, 1, float("nan"))], None)[0]
    assert (found.candidate.unusable, found.stable.unusable) == (1, 0)
    assert (found.candidate.trials, found.stable.trials, found.pairs) == (0, 0, msgspec.UNSET)


def folded(used: Plan, pairs: Pairs, stage: int) -> kpi_state.KpiState:
    name = used.guardrails[-1].name
    return kpi_state.with_labels(used, LabelRecord(), Labels(kpis={name: Kpi(pairs=pairs)}), stage).states[
        name
    ]


def test_a_plan_with_a_shadow_step_gives_half_to_pairs() -> None:
    """Accuracy and recall spend half their rate on pairs, half on split traffic; others, and other plans, all on the split."""
    for text, steps, parts in (
        ("{metric: accuracy}", "[{shadow: 20%, for: 1s}, {weight: 20%, for: 1s}]", (0.5, 0.5)),
        ("{metric: accuracy, margin: 2pp}", "[{shadow: 20%, for: 1s}, {weight: 20%, for: 1s}]", (0.5, 0.5)),
        ("{metric: f1, positive: 1}", "[{shadow: 20%, for: 1s}, {weight: 20%, for: 1s}]", (1.0, 0.0)),
        ("{metric: accuracy}", "[{weight: 20%, for: 1s}]", (1.0, 0.0)),
    ):
        used = plan(text, steps)
        state = kpi_state.initial(used, used.guardrails[-1])
        assert state.test is not None
        assert state.test.state.alpha == pytest.approx(used.false_rollback_rate * parts[0])
        paired = state.paired.state.alpha if state.paired else 0.0
        assert paired == pytest.approx(used.false_rollback_rate * parts[1])


@pytest.mark.parametrize("margin", ["1.2", "2pp"])
def test_pairs_that_differ_against_the_candidate_are_enough(margin: str) -> None:
    """Forty to two convict it, and two to forty do not; both tests are read back as what they were."""
    used = plan(f"{{metric: accuracy, margin: {margin}}}")
    bad = folded(used, Pairs(pairs=400, only1=40, only0=2), 0)
    good = folded(used, Pairs(pairs=400, only1=2, only0=40), 0)
    assert kpi_state.reached(bad)
    assert not kpi_state.reached(good)
    plain = msgspec.json.decode(msgspec.json.encode(bad))
    assert msgspec.convert(plain, kpi_state.KpiState, str_keys=True) == bad


@pytest.mark.parametrize("margin", ["1.2", "1pp"])
def test_a_proof_may_be_shown_by_pairs(margin: str) -> None:
    """Pairs that mostly agree show a good candidate, at half the rate; a plan without a shadow step has the whole for its split."""
    text = f"{{metric: accuracy, margin: {margin}, proof_margin: 4pp}}"
    used = msgspec.structs.replace(plan(text), promote_when=PromoteWhen.PROVEN)
    good = folded(used, Pairs(pairs=2000, only1=20, only0=22), 0)
    bad = folded(used, Pairs(pairs=2000, only1=120, only0=22), 0)
    assert [proof.state.stopped for proof in good.paired_proofs or ()] == [True]
    assert [proof.state.stopped for proof in bad.paired_proofs or ()] == [False]
    assert good.proofs[0].state.alpha == pytest.approx(used.false_promotion_rate / 2.0)
    finding = judged(
        used.guardrails[-1], good, alpha=0.01, proving=True, units=Units.REQUESTS, strata=1, log=""
    )
    assert finding.proven
    assert [one["part"] for one in finding.numbers["proof"]["margins"]] == ["accuracy", "accuracy, pairs"]
    alone = msgspec.structs.replace(plan(text, "[{weight: 20%, for: 1s}]"), promote_when=PromoteWhen.PROVEN)
    state = kpi_state.initial(alone, alone.guardrails[-1])
    assert state.paired_proofs is msgspec.UNSET
    assert state.proofs[0].state.alpha == pytest.approx(used.false_promotion_rate)


def test_evidence_of_before_has_no_word_of_pairs() -> None:
    """Rows that nobody copied give the very same counts and state as before there were pairs."""
    chance = random.Random(3)
    rows = [outcome(1, chance.randint(0, 1), copied=False) for _ in range(30)]
    found = tally(guardrail("{metric: accuracy}"), rows, None)[0]
    assert "pairs" not in msgspec.to_builtins(found)
    used = plan("{metric: accuracy}", "[{weight: 20%, for: 1s}]")
    record = kpi_state.with_labels(used, LabelRecord(), Labels(kpis={"accuracy": found}), 0)
    assert {"paired", "watch"}.isdisjoint(msgspec.to_builtins(record, str_keys=True)["states"]["accuracy"])
