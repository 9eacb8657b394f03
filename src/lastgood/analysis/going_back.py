"""Would going back help? What the version before does on the same requests, told as one answer.

``yes``: it does better there. ``no``: it does no better, or
hardly (half of what was lost would stay lost), so the world changed and not the version. ``unknown``: nobody can say yet.
"""

from enum import StrEnum
from typing import Any

import msgspec

from lastgood.domain.plan import OnFail


class Helps(StrEnum):
    """Whether going back would help."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer and what it rests on.

    ``pairs`` are requests that both answered (None where no requests were copied), in ``differ`` of which just one was wrong (None
    where that is not known). Both rates of wrong answers are of them, None without any.
    """

    verdict: Helps
    pairs: int | None = None
    differ: int | None = None
    candidate_wrong: float | None = None
    stable_wrong: float | None = None

    def numbers(self) -> dict[str, Any]:
        """Return the answer as a finding's numbers say it."""
        return {**msgspec.structs.asdict(self), "verdict": self.verdict.value}


def on_fail(asked: OnFail, *, world: bool) -> OnFail:
    """Return what follows from a failure: nothing goes back to a version that is no better."""
    return OnFail.HOLD if world and asked is OnFail.ROLLBACK else asked


def no_better(value: float, other: float, limit: float) -> bool:
    """Return whether both are over a hard limit and going back would win back less than half of what is over it."""
    return value > limit and other > limit and value - other < 0.5 * (value - limit)


def compared(own: float | None, other: float | None) -> str:
    """Say of a version that is no help how it does, by both rates of wrong answers where these are known."""
    if own is None or other is None:
        return "hardly better, if at all"
    return "no better" if other >= own else "hardly better"


def rate(bad: int, trials: int) -> float | None:
    """Return a rate; None, never 0, without trials."""
    return bad / trials if trials else None
