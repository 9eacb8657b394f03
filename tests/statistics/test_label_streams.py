"""KPI guardrails over whole streams of labels: how often a harmless candidate fails, and how soon a worse one does."""

from collections.abc import Callable

import numpy as np
import pytest

from lastgood.analysis import kpi_state
from lastgood.analysis.kpi_state import LabelRecord
from lastgood.domain.kpi import Kpi, KpiCounts, Labels
from lastgood.domain.plan import Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.stats.means import BINS

ALPHA = 0.05
LOOKS = 60
RUNS = 200
Draw = Callable[[np.random.Generator, int, int], tuple[KpiCounts, KpiCounts]]


def plan(text: str) -> Plan:
    return parse_plan(
        f"steps: [{{weight: 20%, for: 1s}}]\nguardrails: [{text}]\nfalse_rollback_rate: {ALPHA:.0%}"
    )


def failed_at(used: Plan, draw: Draw, seed: int) -> int | None:
    """Return the look at which the guardrail has had enough evidence, None when it never had."""
    chance = np.random.default_rng(seed)
    (name,) = (one.name for one in used.guardrails if one.kpi is not None)
    record = LabelRecord()
    for look in range(LOOKS):
        n1, n0 = int(chance.binomial(12, 0.25)), int(chance.binomial(12, 0.75))
        candidate, stable = draw(chance, look, n1), draw(chance, look, n0)
        kpi = Kpi(candidate=candidate[0], stable=stable[1])
        record = kpi_state.with_labels(used, record, Labels(kpis={name: kpi}), stage=look // 20)
        if kpi_state.reached(record.states[name]):
            return look
    return None


def wrong(rates: Callable[[int], tuple[float, float]]) -> Draw:
    """Return a stream of right and wrong rows; both rates may follow the time of day."""

    def draw(chance: np.random.Generator, look: int, rows: int) -> tuple[KpiCounts, KpiCounts]:
        own, other = rates(look)
        return tuple(
            KpiCounts(rows=rows, trials=rows, bad=int(chance.binomial(rows, rate))) for rate in (own, other)
        )

    return draw


def rewards(means: Callable[[int], tuple[float, float]]) -> Draw:
    """Return a stream of rewards from 0 to 1, most of them 0, as revenue is."""

    def draw(chance: np.random.Generator, look: int, rows: int) -> tuple[KpiCounts, KpiCounts]:
        found = []
        for mean in means(look):
            values = chance.beta(2.0, 2.0, rows) * (chance.random(rows) < 2.0 * mean)
            bins, counts = np.unique(np.minimum(BINS - 1, (values * BINS).astype(int)), return_counts=True)
            scores = dict(zip(bins.tolist(), counts.tolist(), strict=True))
            found.append(KpiCounts(rows=rows, trials=rows, scores=scores, total=float(values.sum())))
        return found[0], found[1]

    return draw


def day(look: int) -> float:
    """Return how much worse both arms are at this hour."""
    return 0.1 + 0.1 * np.sin(look / 5.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "draw"),
    [
        ("{metric: recall, positive: 1, margin: 1.0}", wrong(lambda look: (day(look), day(look)))),
        ("{metric: recall, positive: 1, margin: 2pp}", wrong(lambda look: (day(look) + 0.02, day(look)))),
        ("{metric: accuracy, margin: 1.5}", wrong(lambda _: (0.03, 0.03))),
        ("{metric: f1, positive: 1, margin: 2pp}", wrong(lambda look: (day(look) + 0.02, day(look)))),
        ("{metric: mean, range: [0, 1], margin: 0.01}", rewards(lambda look: (day(look), day(look)))),
        ("{metric: mae, range: [0, 1], margin: 0.02}", rewards(lambda look: (day(look) - 0.02, day(look)))),
    ],
)
def test_a_harmless_candidate_fails_no_more_often_than_promised(text: str, draw: Draw) -> None:
    """At the margin's very edge, with both arms following the time of day, over 60 looks."""
    used = plan(text)
    failures = sum(failed_at(used, draw, seed) is not None for seed in range(RUNS))
    bound = ALPHA * RUNS
    assert failures <= bound + 3.0 * np.sqrt(bound * (1.0 - ALPHA))


@pytest.mark.parametrize(
    ("text", "draw"),
    [
        ("{metric: recall, positive: 1}", wrong(lambda look: (day(look) + 0.35, day(look)))),
        ("{metric: f1, positive: 1, margin: 1.2}", wrong(lambda look: (day(look) + 0.35, day(look)))),
        ("{metric: mean, range: [0, 1], margin: 0.01}", rewards(lambda _: (0.05, 0.35))),
    ],
)
def test_a_much_worse_candidate_fails(text: str, draw: Draw) -> None:
    """A few hundred labels are enough, though few come in each look."""
    used = plan(text)
    found = [failed_at(used, draw, seed) for seed in range(8)]
    assert None not in found
