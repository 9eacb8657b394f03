"""Are the candidate's outputs distributed otherwise than stable's? One guardrail's evidence.

Of each output both arms' counts by bin are compared by :mod:`lastgood.stats.shift`, within the rows of one stage that came
together. They are gathered until there are some of both arms and :data:`MIN_ROWS` in all, a number that is no outcome.
Several outputs share the guardrail's part of the false rollback rate evenly.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from lastgood.analysis.drift_bins import bins_of
from lastgood.domain.drift import ArmBins, BinCounts
from lastgood.domain.plan import Guardrail
from lastgood.domain.sketch import Feature
from lastgood.stats import shift
from lastgood.stats.shift import Shift

MIN_ROWS: Final = 20
OUTPUTS_MAX: Final = 16


class OutputState(msgspec.Struct, frozen=True, kw_only=True):
    """One output's evidence for one guardrail: all rows in ``total``, by stage in ``open`` those that no test has seen."""

    test: Shift
    total: ArmBins
    open: dict[int, ArmBins] = {}
    compared: int = 0


def outputs_of(guardrail: Guardrail, looked_at: tuple[str, ...]) -> tuple[str, ...]:
    """Return the outputs that a guardrail looks at: its own, or the parts of its own (``probabilities[0]``), or all."""
    asked = "" if guardrail.drift is None else guardrail.drift.output
    if not asked:
        return looked_at[:OUTPUTS_MAX]
    exact = tuple(name for name in looked_at if name == asked)
    parts = tuple(name for name in looked_at if name.startswith(f"{asked}["))
    return exact or parts[:OUTPUTS_MAX]


def initial(guardrail: Guardrail, feature: Feature, alpha: float) -> OutputState:
    """Return the evidence on one output, whose bins are known, before any row."""
    distance = 0.1 if guardrail.drift is None else guardrail.drift.distance
    none = BinCounts((0,) * bins_of(feature))
    test = shift.initial(alpha, distance, bins_of(feature) + 1)  # missing values are an outcome too
    return OutputState(test=test, total=ArmBins(none, none))


def with_rows(state: OutputState, stage: int, fresh: ArmBins) -> OutputState:
    """Return the evidence after some more rows of one stage."""
    known = state.open.get(stage)
    gathered = fresh if known is None else known.plus(fresh)
    total = state.total.plus(fresh)
    own, other = gathered.candidate.all, gathered.stable.all
    if not (own and other and own + other >= MIN_ROWS):
        return msgspec.structs.replace(state, total=total, open=state.open | {stage: gathered})
    test = shift.update(state.test, _outcomes(gathered.candidate), _outcomes(gathered.stable))
    return OutputState(
        test=test,
        total=total,
        open={number: kept for number, kept in state.open.items() if number != stage},
        compared=state.compared + own,
    )


def reached(states: Mapping[str, OutputState]) -> bool:
    """Return whether the evidence on any output has ever been enough."""
    return any(shift.reached(one.test) for one in states.values())


def distance_of(total: ArmBins) -> float | None:
    """Return the total variation between what both arms answered; None before both did."""
    own, other = _outcomes(total.candidate), _outcomes(total.stable)
    n1, n0 = sum(own), sum(other)
    if not (n1 and n0):
        return None
    return 0.5 * sum(abs(one / n1 - two / n0) for one, two in zip(own, other, strict=True))


def _outcomes(counts: BinCounts) -> tuple[int, ...]:
    return (*counts.bins, counts.missing)
