"""A chore: work that is looked at again and again in a thread of its own, and that nothing else waits for."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Chore:
    """Calls ``look`` until it is stopped. It is told whether somebody woke it, and says after how many seconds it looks again.

    A look that fails is told in the log with ``fault`` and repeated after ``again`` seconds; the same failure is told
    once, not at every look.
    """

    def __init__(self, name: str, look: Callable[[bool], float], *, fault: str, again: float = 1.0) -> None:
        self._name = name
        self._look = look
        self._fault = fault
        self._again = again
        self._told = ""
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def stopping(self) -> bool:
        """Whether the present look is the last one."""
        return self._stop.is_set()

    def start(self) -> None:
        """Begin to look."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """End after the present look; one that takes longer than ``seconds`` is left to end by itself."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=seconds)

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            woken = self._wake.is_set()
            self._wake.clear()  # before the look: whoever wakes it meanwhile is heard after it
            self._wake.wait(self._tried(woken))

    def _tried(self, woken: bool) -> float:
        try:
            pause = self._look(woken)
        except Exception as error:
            if repr(error) != self._told:
                self._told = repr(error)
                logger.exception("%s", self._fault)
            return self._again
        self._told = ""
        return pause
