"""Whether two versions say the same of the same rows: the values that a guardrail on agreement is judged by."""

from typing import Any, Final

import msgspec

MAX_SHIFT: Final = 1e300
"""The largest sum of differences that is kept: what no number holds could not be read back out of the store."""


class AgreementTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How a guardrail on agreement reads answers.

    ``output`` names the output that is looked at (empty for the only or first one). ``minimum`` is the least part of the rows (0
    to 1) on which both must agree. With ``within`` the output is a number, and two agree that are no further apart.
    """

    output: str = ""
    minimum: float = 0.9
    within: float | None = None


class PairRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a request that both versions answered.

    ``answer`` holds each output's value for the caller, who was meant for ``arm``, ``other`` what the copy's answer held;
    None where an answer was not kept, or is none. ``sequence`` is the request's, and grows with every later one.
    """

    sequence: int
    stage: int
    arm: str
    answer: dict[str, Any] | None = None
    other: dict[str, Any] | None = None


class Agreed(msgspec.Struct, frozen=True, kw_only=True):
    """What both versions said of the same ``rows``: the ``same`` of so many.

    ``unusable`` rows are not among them: an answer is missing, or holds no such value. ``numbers`` of the rows were numbers in
    both, and ``shift`` sums by how much the candidate's were higher.
    """

    rows: int = 0
    same: int = 0
    unusable: int = 0
    numbers: int = 0
    shift: float = 0.0

    def plus(self, other: "Agreed") -> "Agreed":
        """Return the sum."""
        return Agreed(
            rows=self.rows + other.rows,
            same=self.same + other.same,
            unusable=self.unusable + other.unusable,
            numbers=self.numbers + other.numbers,
            shift=min(max(self.shift + other.shift, -MAX_SHIFT), MAX_SHIFT),
        )


class AgreementCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What a stratum holds of agreement, by guardrail, and up to which request answers have been ``read``."""

    guardrails: dict[str, Agreed]
    read: int
