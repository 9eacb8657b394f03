"""Outcomes out of a list: the port for tests that need no log."""

from lastgood.domain.agreement import PairRow
from lastgood.domain.kpi import Awaited, Cursor, Outcome

_ALL = 2**63 - 1


class ListedOutcomes:
    """Whatever a test appends to ``listed``; ``waiting`` are predictions without a label, by arm."""

    def __init__(self) -> None:
        self.listed: list[Outcome] = []
        self.waiting: dict[str, int] = {}
        self.copied: list[PairRow] = []

    def outcomes(
        self, release: int, since: Cursor, *, made_until: float, limit: int
    ) -> tuple[list[Outcome], Cursor]:
        """Return what is new."""

        def is_read(one: Outcome) -> bool:
            place = (one.predicted_at, one.sequence)
            return one.sequence <= since.sequence and place <= (since.made, since.among)

        own = [one for one in self.listed if one.release == release and one.predicted_at <= made_until]
        new = [one for one in own if not is_read(one)]
        assert len(new) < limit, "a test gives no more than one look takes"
        last = max((one.sequence for one in self.listed), default=0)
        return new, Cursor(last, max(made_until, since.made), _ALL)

    def awaited(self, release: int) -> dict[str, Awaited]:
        """Return the counts of the list."""
        arms = [one.arm for one in self.listed if one.release == release]
        return {
            arm: Awaited(predictions=arms.count(arm) + self.waiting.get(arm, 0), labelled=arms.count(arm))
            for arm in sorted({*arms, *self.waiting})
        }

    def pairs(self, release: int, since: int, limit: int) -> tuple[list[PairRow], int]:
        """Return what is new of ``copied``, whatever release it is for."""
        assert release > 0
        new = [one for one in self.copied if one.sequence > since]
        assert len(new) < limit, "a test gives no more than one look takes"
        return new, max((one.sequence for one in new), default=since)
