"""Feedback: labels in, and what became of each out."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from lastgood.domain.feedback import Fate, Fated, GivenLabel, checked
from lastgood.domain.prediction import Label
from lastgood.errors import LastgoodError
from lastgood.predictions.labels import WAITING_MAX, kept_since, labels_of, take, waiting
from lastgood.predictions.log import PredictionLog

_TOGETHER: Final = 500  # labels in one transaction: the recorder waits for no more
_LABEL_BYTES: Final = 400  # of one that waits, with its keys; fewer more often than not
_WAITING_PART: Final = (
    4  # one in so many bytes of the log: ids that nobody has must not drive predictions out
)


class Feedback:
    """Takes labels for one prediction log. For several threads, and several processes."""

    def __init__(
        self,
        log: PredictionLog,
        *,
        keep_seconds: float,
        bytes_max: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Take labels for a log of at most ``bytes_max``, that keeps predictions for ``keep_seconds``."""
        self._log = log
        self._keep_seconds = keep_seconds
        self._waiting_max = min(WAITING_MAX, bytes_max // _WAITING_PART // _LABEL_BYTES)
        self._now = now

    def take(self, given: Sequence[GivenLabel]) -> list[Fated]:
        """Keep labels and return what became of each, in their order. Taking one again changes nothing.

        :raises LastgoodError: ``storage``, ``corrupt`` or ``conflict`` when the log cannot be used; some of the first
            labels are kept then, and the same ones may be given again.
        """
        found: list[Fated] = []
        for first in range(0, len(given), _TOGETHER):
            now = self._now()
            with self._log.changing() as connection:
                since = kept_since(connection, now - self._keep_seconds)
                room = self._waiting_max - waiting(connection)
                for one in given[first : first + _TOGETHER]:
                    try:
                        label = checked(one, now)
                    except LastgoodError as error:
                        fated = Fated(id=one.id[:200], row=one.row, fate=Fate.REFUSED, why=error.message)
                    else:
                        fated = take(connection, label, now=now, since=since, room=room > 0)
                    room -= fated.fate is Fate.UNKNOWN
                    found.append(fated)
        return found

    def of(self, id_: str) -> list[Label]:
        """Return what is known of a request, by the id that its prediction is kept under: a label for each row."""
        with self._log.reading() as connection:
            return labels_of(connection, id_)
