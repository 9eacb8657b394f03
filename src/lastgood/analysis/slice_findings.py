"""What the slices of a KPI guardrail say: which have failed, in words and in numbers."""

import math
from typing import Any, Final

from lastgood.analysis import kpi_pairs, kpi_state, sentences
from lastgood.analysis.kpi_state import KpiState, SliceState
from lastgood.analysis.kpi_values import arm_numbers, both_told
from lastgood.domain.given_text import visible
from lastgood.domain.kpi import UNKNOWN
from lastgood.domain.plan import CONFUSIONS, Guardrail

SHOWN: Final = 20
"""Slices that are judged and told of one guardrail, the worst ones; every column's other values are told beside them."""

_VALUE_SHOWN: Final = 60  # letters of a value, which callers choose


def failed(guardrail: Guardrail, state: KpiState) -> list[SliceState]:
    """Return the slices whose evidence is enough, and which have ``min_bad`` wrong rows, the worst first."""
    return [one for one in _worst_first(state) if _has_failed(guardrail, one)]


def lacking(guardrail: Guardrail, state: KpiState) -> str:
    """Say how many wrong rows the worst slice lacks before it may fail, where its evidence is enough; else nothing."""
    found = [one for one in _worst_first(state) if kpi_state.reached(one.state)]
    missing = [one for one in found if not _has_failed(guardrail, one)]
    if not missing:
        return ""
    short = guardrail.min_bad - missing[0].state.total.candidate.bad
    rows = sentences.plural(short, "wrong row is", "wrong rows are")
    return f"{rows} missing to call it worse for {name_of(missing[0])}"


def told(guardrail: Guardrail, state: KpiState) -> str:
    """Return a clause about the slices that have failed, nothing while none has."""
    found = failed(guardrail, state)
    if not found:
        return ""
    worst = found[0].state
    bet = sentences.bet(*_nearest(worst))
    more = f" (and {sentences.plural(len(found) - 1, 'other slice', 'other slices')})" if found[1:] else ""
    return f"worse for {name_of(found[0])}{more}: {both_told(guardrail, worst.total)}, evidence {bet}"


def numbers(guardrail: Guardrail, state: KpiState) -> dict[str, Any]:
    """Return ``slices``, the worst first, and how many are judged; nothing for a guardrail without columns.

    ``reached`` is whether the evidence of a slice has ever been enough, ``failed`` whether the guardrail fails for it.
    """
    if not guardrail.slices:
        return {}
    judged = _worst_first(state)
    others = [one for one in state.slices or () if not one.rank]
    return {
        "slices": [_numbers(guardrail, one) for one in (*judged[:SHOWN], *others)],
        "slices_judged": len(judged),
    }


def name_of(one: SliceState) -> str:
    """Return how a slice is called: country=BR; what is no value of anybody's stands in brackets."""
    if not one.rank:
        return f"{visible(one.column)}=(others)"
    return f"{visible(one.column)}={visible(one.value[:_VALUE_SHOWN]) if one.value else UNKNOWN}"


def _worst_first(state: KpiState) -> list[SliceState]:
    """Return the slices that are judged by how near their evidence is to its bound, those that have reached it first."""
    judged = [one for one in state.slices or () if one.rank]
    return sorted(judged, key=lambda one: (not kpi_state.reached(one.state), -_part(one.state)))


def _part(state: KpiState) -> float:
    """Return the logarithm of the evidence in parts of that of its bound."""
    log_e, log_bound = _nearest(state)
    return log_e / log_bound


def _nearest(state: KpiState) -> tuple[float, float]:
    """Return the logarithms of evidence and bound, of split traffic or of pairs, whichever is nearer to its bound.

    A slice that is not judged has no evidence, and a bound that nobody reaches.
    """
    found = [] if state.test is None else [(kpi_state.log_e(state), -math.log(state.test.state.alpha))]
    if state.paired:
        found.append((kpi_pairs.log_e(state.paired), kpi_pairs.log_bound(state.paired)))
    return max(found, key=lambda one: one[0] / one[1], default=(0.0, math.inf))


def _has_failed(guardrail: Guardrail, one: SliceState) -> bool:
    least = guardrail.min_bad if guardrail.metric in CONFUSIONS else 0
    return kpi_state.reached(one.state) and one.state.total.candidate.bad >= least


def _numbers(guardrail: Guardrail, one: SliceState) -> dict[str, Any]:
    total = one.state.total
    log_e, log_bound = _nearest(one.state)
    return {
        "column": one.column,
        "value": one.value,
        "name": name_of(one),
        "candidate": arm_numbers(guardrail, total.candidate),
        "stable": arm_numbers(guardrail, total.stable),
        "log_e": log_e if math.isfinite(log_bound) else None,
        "bound": math.exp(log_bound) if math.isfinite(log_bound) else None,
        "reached": kpi_state.reached(one.state),
        "failed": bool(one.rank) and _has_failed(guardrail, one),
    }
