"""How soon drift would be noticed: the guardrails' own tests over invented values. Pure.

Values are independent and spread evenly over sixteen bins, from whose lower half some have moved to the upper one. A
guardrail on inputs that names no features is taken to look at :data:`FEATURES`, of which one moves.
"""

from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np

from lastgood.analysis import drift_inputs
from lastgood.analysis.drift_bins import BINS
from lastgood.domain.drift import BinCounts, DriftTerms
from lastgood.domain.plan import Guardrail, Metric, Plan
from lastgood.domain.sketch import Feature
from lastgood.stats import shift

MULTIPLES: Final = (1.5, 2.0, 3.0)
"""How far values are, in multiples of the distance that is tolerated."""

FEATURES: Final = 30
RUNS: Final = 12
_MINUTES_MAX: Final = 600

Chance = np.random.Generator


class DriftForesight(msgspec.Struct, frozen=True, kw_only=True):
    """How soon a feature that is so far from its reference is noticed.

    ``distance`` is that of the feature, ``minutes`` and ``rows`` the means until then; None where more than half of the runs
    were given up after ten hours.
    """

    guardrail: str
    distance: float
    minutes: float | None
    rows: float | None


def foresee_inputs(
    plan: Plan, *, per_minute: float, seed: int, runs: int = RUNS
) -> tuple[DriftForesight, ...]:
    """Return what the guardrails on inputs would notice at so many rows a minute. The same arguments give the same answer."""
    found = []
    for index, guardrail in enumerate(plan.guardrails):
        if guardrail.metric is not Metric.DRIFT:
            continue
        chance = np.random.default_rng([seed, index])
        for away in drops(guardrail):
            minutes = [_minutes(guardrail, away, max(1, round(per_minute)), chance) for _ in range(runs)]
            noticed = [one for one in minutes if one is not None]
            mean = float(np.mean(noticed)) if 2 * len(noticed) >= runs else None
            rows = None if mean is None else mean * per_minute
            found.append(DriftForesight(guardrail=guardrail.name, distance=away, minutes=mean, rows=rows))
    return tuple(found)


def drops(guardrail: Guardrail) -> tuple[float, ...]:
    """Return the distances that are tried: those that half of the values are enough for."""
    distance = (guardrail.drift or DriftTerms()).distance
    return tuple(round(one * distance, 9) for one in MULTIPLES if one * distance <= 0.5) or (0.5,)


def notices_outputs(guardrail: Guardrail, alpha: float, away: float) -> Callable[[int, int, Chance], bool]:
    """Return what takes so many rows of both arms and says whether the candidate's, so far away, have been found."""
    test = shift.initial(alpha, (guardrail.drift or DriftTerms()).distance, BINS)

    def look(candidate: int, stable: int, chance: Chance) -> bool:
        nonlocal test
        own, other = chance.multinomial(candidate, _law(away)), chance.multinomial(stable, _law(0.0))
        test = shift.update(test, own.tolist(), other.tolist())
        return shift.reached(test)

    return look


def _minutes(guardrail: Guardrail, away: float, rows: int, chance: Chance) -> int | None:
    feature = Feature(name="one", cuts=tuple(range(BINS - 1)), shares=(1.0 / BINS,) * BINS)
    terms = guardrail.drift or DriftTerms()
    alone = msgspec.structs.replace(guardrail, drift=msgspec.structs.replace(terms, features=()))
    state = drift_inputs.initial(alone, {feature.name: feature}, 0)
    others = len(terms.features) or FEATURES
    state = msgspec.structs.replace(state, run_length=others * state.run_length)
    for minute in range(1, _MINUTES_MAX + 1):
        counts = {feature.name: BinCounts((*chance.multinomial(rows, _law(away)).tolist(), 0))}
        state = drift_inputs.with_minute(state, alone, {feature.name: feature}, minute, counts)
        if state.features[feature.name].reached:
            return minute
    return None


def _law(away: float) -> list[float]:
    half = BINS // 2
    return [(0.5 - away) / half] * half + [(0.5 + away) / half] * half
