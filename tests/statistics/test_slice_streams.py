"""Slices over whole streams of labels: how often a harmless candidate fails with twenty of them, and who is found to be worse."""

import numpy as np
import pytest

from lastgood.analysis import kpi_state
from lastgood.analysis.kpi import tally
from lastgood.analysis.kpi_state import KpiState, LabelRecord
from lastgood.analysis.slice_findings import failed, name_of
from lastgood.domain.kpi import Labels, Outcome
from lastgood.domain.plan import Plan
from lastgood.domain.plan_file import parse_plan

ALPHA = 0.05
RUNS = 160
LOOKS = 30
VALUES = 20
_ROWS = 160  # labels in a look


def plan(margin: str, columns: str) -> Plan:
    return parse_plan(
        "steps: [{weight: 20%, for: 1s}]\n"
        f"guardrails: [{{metric: recall, positive: 1, margin: {margin}, slices: {columns}}}]\n"
        f"false_rollback_rate: {ALPHA:.0%}"
    )


def rows(chance: np.random.Generator, missed: dict[str, np.ndarray], often: np.ndarray) -> list[Outcome]:
    """Return a look of labelled rows; ``missed`` are both arms' rates by value, ``often`` how often each value comes."""
    values = chance.choice(len(often), _ROWS, p=often)
    arms = np.where(chance.random(_ROWS) < 0.4, "candidate", "stable")
    drawn = chance.random(_ROWS)
    return [
        Outcome(
            sequence=1,
            release=1,
            stage=0,
            arm=str(arm),
            version=1,
            predicted_at=1.0,
            labelled_at=1.0,
            value=1,
            answer={"label": int(luck >= missed[str(arm)][value])},
            slices={"country": f"c{value}", "device": f"d{value % 3}"},
        )
        for value, arm, luck in zip(values.tolist(), arms.tolist(), drawn.tolist(), strict=True)
    ]


def run(used: Plan, seed: int, missed: dict[str, np.ndarray], often: np.ndarray) -> KpiState:
    """Return the evidence where it first fails anything, or after all looks."""
    chance, guardrail = np.random.default_rng(seed), used.guardrails[-1]
    state = kpi_state.initial(used, guardrail)
    for _ in range(LOOKS):
        kpi = tally(guardrail, rows(chance, missed, often), None, kpi_state.appeared(state))[0]
        record = LabelRecord(states={guardrail.name: state})
        state = kpi_state.with_labels(used, record, Labels(kpis={guardrail.name: kpi}), stage=0).states[
            guardrail.name
        ]
        if kpi_state.reached(state) or failed(guardrail, state):
            break
    return state


def has_failed(used: Plan, state: KpiState) -> bool:
    return kpi_state.reached(state) or bool(failed(used.guardrails[-1], state))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("margin", "columns"), [("1.0", "[country]"), ("2pp", "[country]"), ("1.0", "[country, device]")]
)
def test_twenty_slices_fail_a_harmless_candidate_no_more_often_than_the_plan_says(
    margin: str, columns: str
) -> None:
    """At the very edge of the margin in each of them, some frequent and some rare, with rates from 5 to 40 %."""
    used = plan(margin, columns)
    stable = np.linspace(0.05, 0.4, VALUES)
    edge = stable + (0.02 if margin == "2pp" else 0.0)
    often = np.arange(1.0, VALUES + 1.0) / np.arange(1.0, VALUES + 1.0).sum()
    missed = {"candidate": edge, "stable": stable}
    failures = sum(has_failed(used, run(used, seed, missed, often)) for seed in range(RUNS))
    bound = ALPHA * RUNS
    assert failures <= bound + 3.0 * np.sqrt(bound * (1.0 - ALPHA))


def test_a_candidate_that_is_better_in_all_and_much_worse_in_a_tenth_is_found_there() -> None:
    """In every run within a few thousand labels, and never for another value or for all rows."""
    used = plan("2pp", "[country]")
    often = np.array([0.1, 0.3, 0.3, 0.3])
    missed = {"candidate": np.array([0.5, 0.05, 0.05, 0.05]), "stable": np.full(4, 0.12)}
    for seed in range(6):
        state = run(used, seed, missed, often)
        assert [name_of(one) for one in failed(used.guardrails[-1], state)] == ["country=c0"]
        assert not kpi_state.reached(state)
