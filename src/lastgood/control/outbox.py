"""Sending the notifications that wait in the outbox, without ever delaying a release or one another.

Each target (one webhook, one command) has at most one delivery in flight, in a thread of its own, so a dead or
slow receiver delays nobody else. What fails is tried again after a growing time, with the same key. While
a target fails, its later notifications wait behind the failed one, so that order holds through a short outage;
after :data:`ORDERED_TRIES` tries they may overtake it, and the event's sequence tells the order.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from lastgood.domain.change import Delivery
from lastgood.domain.channel import Channel
from lastgood.domain.event import AuditEvent
from lastgood.errors import Code, LastgoodError
from lastgood.ports import Notifier, Outbox

logger = logging.getLogger(__name__)

TRIES_MAX: Final = 20
AGE_SECONDS_MAX: Final = 86_400.0
ORDERED_TRIES: Final = 5
DELAY_SECONDS_MAX: Final = 300.0
_LOOK_SECONDS: Final = 0.5
_PAGE: Final = 64
_PAGE_MAX: Final = 4_096
_IN_FLIGHT_MAX: Final = 64
_RETRYABLE: Final = frozenset({Code.UNAVAILABLE, Code.TIMEOUT, Code.INTERNAL})

Target = tuple[str, ...]


def delay_before(tries: int, draw: float) -> float:
    """Return seconds to wait after ``tries`` failed tries: 1, 2, 4 ... 300, spread by ``draw`` (0 to 1).

    The spread is from half to the whole, so that many receivers are not all tried again in one moment.
    """
    whole = min(DELAY_SECONDS_MAX, 2.0 ** min(tries - 1, 16))
    return whole * (0.5 + draw / 2)


class Dispatcher:
    """Drains an outbox through notifiers, by kind of channel (``webhook``, ``command``)."""

    def __init__(
        self,
        outbox: Outbox,
        notifiers: Mapping[str, Notifier],
        *,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._notifiers = dict(notifiers)
        self._clock = clock
        self._draw = draw
        self._flights: dict[Target, threading.Thread] = {}
        self._resting: dict[Target, float] = {}
        self._changed = threading.Condition()
        self._woken = False
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin sending, in a thread of its own."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lastgood-outbox", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Say that something was queued; without it, it is found within half a second."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def stop(self, timeout: float = 5.0) -> bool:
        """Start nothing more and wait up to ``timeout`` seconds; whether everything in flight has ended.

        What has not ended is left alone: its delivery is still in the outbox and is made again after the
        next start, with the same key.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return self.settle(max(0.0, deadline - time.monotonic()))

    def settle(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until nothing is in flight; whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._flights, timeout)

    def dispatch(self) -> int:
        """Start the oldest due delivery of each free target; return how many were started.

        Called from one thread at a time: the dispatcher's own, or a test's.

        :raises LastgoodError: what the outbox raises.
        """
        now = self._clock()
        limit = _PAGE
        while True:
            with self._changed:  # before the page is read: whoever lands after that may still stand in it
                busy = set(self._flights)
            due = self._outbox.due(now, limit=limit)
            started = sum(
                self._start(*pair, now) for pair in _heads(due) if _target(pair[0].channel) not in busy
            )
            # A target that rests or is busy keeps its place in the page: look past it for the others.
            if started or len(due) < limit or limit >= _PAGE_MAX:
                return started
            limit *= 4

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._woken or self._stopping, _LOOK_SECONDS)
                self._woken = False
                if self._stopping:
                    return
            try:
                self.dispatch()
            except LastgoodError as error:  # the store is away: notifications wait, releases go on
                logger.warning("notifications wait: %s", error)

    def _start(self, delivery: Delivery, event: AuditEvent, now: float) -> bool:
        target = _target(delivery.channel)
        with self._changed:
            busy = target in self._flights or len(self._flights) >= _IN_FLIGHT_MAX
            if self._stopping or busy or self._resting.get(target, now) > now:
                return False
            self._resting.pop(target, None)
            thread = threading.Thread(
                target=self._fly, args=(delivery, event, target), name="lastgood-notify", daemon=True
            )
            try:
                thread.start()  # it waits for this lock before it takes itself out again
            except RuntimeError:
                logger.warning("no thread is left to send notification %s; it waits", delivery.key)
                return False
            self._flights[target] = thread
        return True

    def _fly(self, delivery: Delivery, event: AuditEvent, target: Target) -> None:
        try:
            self._settle_one(delivery, event, target, self._try(delivery, event))
        except LastgoodError as error:  # the store is away: it stays due and is sent again, with its key
            logger.warning("the outcome of notification %s is not recorded: %s", delivery.key, error)
            with self._changed:
                self._resting[target] = self._clock() + delay_before(ORDERED_TRIES, self._draw())
        finally:
            with self._changed:
                del self._flights[target]
                self._woken = True  # the next one for this target may be due
                self._changed.notify_all()

    def _try(self, delivery: Delivery, event: AuditEvent) -> LastgoodError | None:
        kind = "webhook" if delivery.channel.webhook is not None else "command"
        notifier = self._notifiers.get(kind)
        if notifier is None:
            return LastgoodError(
                Code.UNAVAILABLE, f"No notifier for a {kind} is installed.", "Install the extra that has it."
            )
        try:
            notifier.send(delivery.channel, event, delivery.key)
        except LastgoodError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a notifier of somebody else's must not end this thread
            # Neither message nor traceback: either may hold the receiver's URL with its key.
            return LastgoodError(
                Code.INTERNAL, f"The {kind} notifier raised {type(error).__name__}.", "It is tried again."
            )
        return None

    def _settle_one(
        self, delivery: Delivery, event: AuditEvent, target: Target, error: LastgoodError | None
    ) -> None:
        now = self._clock()
        if error is None:
            self._outbox.sent(delivery.id, now)
            return
        tries = delivery.attempts + 1
        hopeless = tries >= TRIES_MAX or now - event.at >= AGE_SECONDS_MAX
        if error.code not in _RETRYABLE or hopeless:
            logger.error("notification %s is given up after %d tries: %s", delivery.key, tries, error.message)
            self._outbox.give_up(delivery.id, now, error.message)
            return
        at = now + max(delay_before(tries, self._draw()), _asked_for(error))
        logger.warning("notification %s failed, try %d: %s", delivery.key, tries, error.message)
        if tries <= ORDERED_TRIES:
            with self._changed:
                self._resting[target] = at
        self._outbox.retry(delivery.id, at, error.message)


def _target(channel: Channel) -> Target:
    return (
        ("webhook", channel.webhook) if channel.webhook is not None else ("command", *(channel.command or ()))
    )


def _heads(due: list[tuple[Delivery, AuditEvent]]) -> list[tuple[Delivery, AuditEvent]]:
    """Return the oldest delivery of each target."""
    heads: dict[Target, tuple[Delivery, AuditEvent]] = {}
    for pair in sorted(due, key=lambda pair: pair[0].id):
        heads.setdefault(_target(pair[0].channel), pair)
    return list(heads.values())


def _asked_for(error: LastgoodError) -> float:
    asked = error.details.get("retry_after")
    return min(float(asked), DELAY_SECONDS_MAX) if isinstance(asked, int | float) else 0.0
