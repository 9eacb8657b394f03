"""From new outcomes to strata of labels."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from lastgood.analysis.kpi import tally
from lastgood.analysis.kpi_state import KpiState, LabelRecord, appeared, by_key
from lastgood.analysis.record import read
from lastgood.domain.change import Evidence
from lastgood.domain.kpi import Cursor, Kpi, Labels, Outcome, Pairs
from lastgood.domain.plan import KPIS, Guardrail, Plan
from lastgood.domain.traffic import ArmCounts, Baseline, Stratum


class News(msgspec.Struct, frozen=True):
    """The outcomes of one maturity that had not been read, and how far they have been now."""

    outcomes: Sequence[Outcome]
    read: Cursor


def maturities(plan: Plan) -> tuple[float, ...]:
    """Return how old, in seconds, predictions must be for the plan's KPI guardrails; empty without any."""
    return tuple(sorted({_after(one) for one in plan.guardrails if one.metric in KPIS}))


def read_until(evidence: Evidence, after: float) -> Cursor:
    """Return how far the outcomes of a maturity have been read."""
    return label_record(evidence).read.get(_name(after), Cursor())


def label_record(evidence: Evidence) -> LabelRecord:
    """Return what the evidence holds of labels."""
    return read(evidence.states).labels or LabelRecord()


def strata_of(
    plan: Plan,
    baseline: Baseline,
    evidence: Evidence,
    news: Mapping[float, News],
    *,
    sequence: int,
    now: float,
) -> tuple[Stratum, ...]:
    """Return one stratum for each stage that the news are about, numbered after ``sequence``; none without outcomes.

    The last one says how far outcomes have been read, so that it is known once all of them are folded in.
    """
    known = label_record(evidence)
    stages: dict[int, dict[str, Kpi]] = {}
    for guardrail in plan.guardrails:
        if guardrail.metric not in KPIS or _after(guardrail) not in news:
            continue
        state = known.states.get(guardrail.name, KpiState())
        remembered = state.keys if by_key(baseline) else None
        outcomes = news[_after(guardrail)].outcomes
        for stage, kpi in tally(guardrail, outcomes, remembered, appeared(state)).items():
            looked_at = stage >= plan.watch_stage and not kpi.pairs
            told = msgspec.structs.replace(kpi, pairs=Pairs()) if looked_at else kpi
            stages.setdefault(stage, {})[guardrail.name] = told
    far = {_name(after): one.read for after, one in sorted(news.items()) if one.outcomes}
    closed_at = max(now, read(evidence.states).closed_at)
    return tuple(
        Stratum(
            release=evidence.release,
            sequence=sequence + index,
            stage=stage,
            closed_at=closed_at,
            candidate=ArmCounts(),
            stable=ArmCounts(),
            labels=Labels(kpis=kpis, read=far if index == len(stages) else {}),
        )
        for index, (stage, kpis) in enumerate(sorted(stages.items()), 1)
    )


def names(guardrails: Iterable[Guardrail]) -> tuple[str, ...]:
    """Return the names of those guardrails that need labels."""
    return tuple(one.name for one in guardrails if one.metric in KPIS)


def _after(guardrail: Guardrail) -> float:
    return 0.0 if guardrail.kpi is None else guardrail.kpi.after


def _name(after: float) -> str:
    return repr(after)
