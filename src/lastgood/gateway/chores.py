"""Chores: what a worker does again and again. A fault of one is logged, and ends neither it nor the others."""

import logging
from collections.abc import Callable
from typing import Final

FAULTS_MAX: Final = 20
_log: Final = logging.getLogger(__name__)


class Chore:
    """One thing to do every ``seconds`` (0: every time it is run)."""

    def __init__(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        self._name = name
        self._seconds = seconds
        self._act = act
        self._last = float("-inf")
        self._faults = 0

    def run(self, now: float) -> None:
        """Do it if it is due. ``now`` is CLOCK_MONOTONIC seconds.

        :raises Exception: what went wrong, once it did so :data:`FAULTS_MAX` times in a row.
        """
        if now - self._last < self._seconds:
            return
        self._last = now
        try:
            self._act()
        except Exception as error:
            self._faults += 1
            if self._faults >= FAULTS_MAX:
                _log.critical("%s failed %d times in a row; this worker ends", self._name, self._faults)
                raise
            _log.error("%s failed and is tried again: %r", self._name, error, exc_info=self._faults == 1)
        else:
            self._faults = 0
