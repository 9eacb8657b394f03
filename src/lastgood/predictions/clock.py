"""The clock that retention goes by. Pure: both clocks are given.

What is dropped is gone for good, and a wall clock can be set wrong by a year within a second.
"""

from typing import Final

JUMP_SECONDS: Final = 3_600.0
BELIEVED_AFTER_SECONDS: Final = 86_400.0


class RetentionClock:
    """Follows the wall clock, but not at once where that jumps ahead; where it goes back, less is dropped."""

    def __init__(self, wall: float, steady: float) -> None:
        """Begin at ``wall`` (epoch seconds), which is believed, and ``steady`` (seconds that nobody sets)."""
        self._wall = wall
        self._steady = steady
        self._jumped: float | None = None

    @property
    def doubting(self) -> bool:
        """Whether the wall clock has jumped ahead and is not believed yet."""
        return self._jumped is not None

    def believed(self, wall: float, steady: float) -> float:
        """Return the time to go by, in epoch seconds.

        A wall clock that has jumped ahead by more than an hour is believed once it has been ahead for a day; until then
        time goes on from where it was.
        """
        passed = steady - self._steady
        if wall - self._wall - passed > JUMP_SECONDS:
            if self._jumped is None:
                self._jumped = steady
            if steady - self._jumped < BELIEVED_AFTER_SECONDS:
                return self._wall + passed
        self._wall, self._steady, self._jumped = wall, steady, None
        return wall
