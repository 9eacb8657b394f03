"""The order in which the requests of one stage count: that in which they were sent, whenever each is over.

Counted when they end, quick outcomes come before slow ones. A version that fails at once and takes its time to answer
well would show its failures first whenever a step begins, and look worse than it is. So an outcome waits here until
every request that was sent earlier in the same stage by this worker, to either arm, is over or has left the release:
what is counted at any moment is all of the first so many requests sent, whatever became of them.

A place is a number; only what ended before its turn takes memory. Nobody holds a place for longer than a request may
take, so that what waits is at most what a worker answers in that time.
"""

from typing import Protocol

from lastgood.wire.frames import Counts


class Arm(Protocol):
    """What a stage's outcomes are added to. ``waiting`` of its requests are over and wait, ``waiting_bad`` failed."""

    waiting: int
    waiting_bad: int

    def add(
        self, bucket: int | None, bad: tuple[str, ...], key: int | None = None, counts: Counts | None = None
    ) -> None:
        """Count one request."""


class Turns(Protocol):
    """Where a request has its place until it is over."""

    def end(
        self,
        place: int,
        arm: Arm,
        bucket: int | None,
        bad: tuple[str, ...],
        key: int | None = None,
        counts: Counts | None = None,
    ) -> None:
        """Take what became of the request."""

    def leave(self, place: int) -> None:
        """Hear that the request counts in no arm."""


class Order:
    """Both arms of one stage of a release, in one worker.

    ``sent`` is the place of the next request: who sends one takes it and adds one. Every place taken is ended by
    :meth:`end` or given up by :meth:`leave`, once.
    """

    __slots__ = ("_turn", "_waiting", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self._turn = 0  # the first place that is not over
        self._waiting: dict[
            int, tuple[Arm, int | None, tuple[str, ...], int | None, Counts | None] | None
        ] = {}

    def __len__(self) -> int:
        """Return how many places wait for an earlier one."""
        return len(self._waiting)

    def end(
        self,
        place: int,
        arm: Arm,
        bucket: int | None,
        bad: tuple[str, ...],
        key: int | None = None,
        counts: Counts | None = None,
    ) -> None:
        """Count what became of a request, now or when its turn comes; the parameters are those of ``Tally.add``."""
        if place != self._turn:
            self._waiting[place] = (arm, bucket, bad, key, counts)
            arm.waiting += 1
            arm.waiting_bad += bool(bad)
            return
        arm.add(bucket, bad, key, counts)
        self._turn = place + 1
        if self._waiting:
            self._go_on()

    def leave(self, place: int) -> None:
        """Give up a place: its request counts in no arm, and nobody waits for it."""
        if place != self._turn:
            self._waiting[place] = None
            return
        self._turn = place + 1
        self._go_on()

    def _go_on(self) -> None:
        waiting, turn = self._waiting, self._turn
        while turn in waiting:
            outcome = waiting.pop(turn)
            turn += 1
            if outcome is not None:
                arm, bucket, bad, key, counts = outcome
                arm.waiting -= 1
                arm.waiting_bad -= bool(bad)
                arm.add(bucket, bad, key, counts)
        self._turn = turn
