"""Slices: the rows of a KPI guardrail by what they have in the plan's columns, and what part of its rate each may spend.

Half of the guardrail's rate is for all rows, half for its columns, evenly. Within a column the value that appears as the
``k``-th is judged at ``1/(k (k + 1))`` of the column's part: whatever number of values there is, these sum to less than 1.
A value has its place before the first of its rows is judged, so no outcome chooses it, and the chance that any slice of a
harmless candidate ever fails is at most the sum. Frequent values appear first, as a rule, and have the larger parts.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from lastgood.domain.kpi import Kpi, Outcome
from lastgood.domain.plan import Guardrail

MAX_VALUES: Final = 20
"""Values of a column that are judged; the rows of all others are counted together (rank 0) and not judged."""


class Places:
    """The places of values in the order in which they appear, for one run over outcomes.

    ``appeared`` are the values of each column that have one already.
    """

    def __init__(self, columns: Sequence[str], appeared: Mapping[str, Sequence[str]]) -> None:
        self._ranks = {
            column: {value: rank for rank, value in enumerate(appeared.get(column, ()), 1)}
            for column in columns
        }

    def of(self, outcome: Outcome) -> Iterator[tuple[str, int]]:
        """Yield the column and the rank of each slice that a row is in, one for each column."""
        for column, ranks in self._ranks.items():
            value = outcome.slices.get(column, "")
            if value not in ranks and len(ranks) < MAX_VALUES:
                ranks[value] = len(ranks) + 1
            yield column, ranks.get(value, 0)

    def value(self, column: str, rank: int) -> str:
        """Return the value that has a place; empty for rank 0."""
        return next((value for value, own in self._ranks[column].items() if own == rank), "")


def appeared_after(appeared: Mapping[str, Sequence[str]], kpi: Kpi) -> dict[str, list[str]]:
    """Return the values of each column that have a place, once ``kpi`` has been counted too, in the order of their places."""
    found = {column: list(values) for column, values in appeared.items()}
    for one in sorted(kpi.slices or (), key=lambda one: one.rank):
        if one.rank > len(found.setdefault(one.column, [])):
            found[one.column].append(one.value)
    return found


def whole_part(guardrail: Guardrail) -> float:
    """Return what part of a guardrail's rate is for all rows."""
    return 0.5 if guardrail.slices else 1.0


def slice_part(guardrail: Guardrail, rank: int) -> float:
    """Return what part of a guardrail's rate a slice may spend; 0 for one that is not judged."""
    if not guardrail.slices or not 1 <= rank <= MAX_VALUES:
        return 0.0
    return (1.0 - whole_part(guardrail)) / len(guardrail.slices) / (rank * (rank + 1))
