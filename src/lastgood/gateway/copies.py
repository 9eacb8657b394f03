"""Copies: what a shadow is asked, once the caller has the answer. They can fail, delay or change nothing for anybody.

A copy never waits and goes nowhere else. What stands in its way before it is sent (no room, no host, no lease) takes its
pair out of the counts. What becomes of it once it is sent is its version's doing and counts, in time or not. A connection
that is lost is one error, however many copies were on it, as for a candidate; the pairs of the others count nowhere.

How many there may be at a time, and how many bytes, is settled when the request comes, so that how it ends selects nothing.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from random import random
from typing import Final

from lastgood.domain.route import FULL_WEIGHT
from lastgood.gateway.firsts import ERRORS, INVALID, TIMEOUTS
from lastgood.gateway.flight import Flight
from lastgood.gateway.links import Connection
from lastgood.gateway.pairs import Outcome, Pair
from lastgood.gateway.recording import CopyAnswer
from lastgood.gateway.table import LiveShadow, Table
from lastgood.gateway.tally import bucket_of
from lastgood.gateway.telemetry import Telemetry
from lastgood.gateway.ways import Ways
from lastgood.settings import Settings
from lastgood.wire.frames import CALLERS_FAULT, Counts, Status

FIRST_IDENTIFIER: Final = 1 << 31
"""Copies have the identifiers from here on, requests those before: both may be on one connection."""

_monotonic_ns = time.monotonic_ns


def never() -> bool:
    """Say that no copies may be sent."""
    return False


def soon(act: Callable[[], None]) -> None:
    """Act once the event loop has done what it is at."""
    asyncio.get_running_loop().call_soon(act)


class Copies:
    """The pairs of one worker that are under way."""

    def __init__(
        self,
        settings: Settings,
        ways: Ways,
        telemetry: Telemetry,
        *,
        record: Callable[[Flight, int, CopyAnswer | None], None] | None,
        lease_holds: Callable[[], bool],
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        """Start with none. A pair goes to ``record`` once it is over; ``later`` acts after answers have left."""
        self._ways = ways
        self._telemetry = telemetry
        self._record = record
        self._lease_holds = lease_holds
        self._later = later
        self._number_max = settings.max_copies_in_flight
        self._bytes_max = settings.max_copies_bytes
        self._bytes = 0
        self._pairs: dict[Pair, Flight | None] = {}  # open ones, with the request once that is over
        self._sent: dict[int, Pair] = {}
        self._next = 0

    # --- the request ------------------------------------------------------------------------------

    def draw(self, shadow: LiveShadow, body_bytes: int) -> Pair | None:
        """Return the pair that a request becomes a part of, mostly None. Nothing is known yet of how it ends."""
        if random() * FULL_WEIGHT >= shadow.rate:  # noqa: S311 - a draw, not a secret
            return None
        connection = shadow.lane.link.connection
        if connection is None or not self._lease_holds():
            return None
        room = len(self._pairs) < self._number_max and self._bytes + body_bytes <= self._bytes_max
        if not room or self._is_full(connection):
            self._telemetry.copies_dropped += 1
            return None
        pair = Pair(shadow, body_bytes, self._give_up)
        self._pairs[pair] = None
        self._bytes += body_bytes
        return pair

    def begin(self, pair: Pair, flight: Flight, now: int) -> None:
        """Make the copy of a request whose caller has its answer since ``now``."""
        pair.answered = now
        if pair.open and not pair.needs_copy:
            self._give_up(pair)
        if not pair.open:
            self._end_alone(pair, flight, None)
            return
        self._pairs[pair] = flight
        pair.held_bytes += len(flight.payload)
        self._bytes += len(flight.payload)
        self._later(partial(self._send, pair, flight))

    def _send(self, pair: Pair, flight: Flight) -> None:
        if not pair.open:
            return
        lane, connection = pair.shadow.lane, pair.shadow.lane.link.connection
        if connection is None or self._is_full(connection) or not self._lease_holds():
            self._drop(pair)
            return
        # Both arms have the same time where the version before answers copies, a candidate what it has in a split.
        lasts = self._ways.candidate_timeout if pair.candidate_copies else self._ways.request_timeout
        pair.sent = _monotonic_ns()
        pair.expires = pair.sent + lasts
        pair.connection = connection
        pair.identifier = FIRST_IDENTIFIER + self._next
        self._next = (self._next + 1) % FIRST_IDENTIFIER
        self._sent[pair.identifier] = pair
        connection.send(pair.identifier, flight.kind, lane.name, flight.body)

    def _is_full(self, connection: Connection) -> bool:
        return connection.paused or connection.load >= self._ways.cap

    # --- the copy ---------------------------------------------------------------------------------

    def answered(
        self,
        connection: Connection,
        identifier: int,
        status: int,
        body: bytes,
        now: int,
        counts: Counts | None,
    ) -> None:
        """Take what may be the answer to a copy."""
        pair = self._sent.get(identifier)
        if pair is None or pair.connection is not connection:
            return
        took = now - pair.sent
        said = Status(status)
        bad = () if not status else (INVALID,) if said is Status.INVALID_OUTPUT else (ERRORS,)
        outcome = Outcome(bucket_of(took), bad, counts)
        code = 500 if status else 200
        if said in CALLERS_FAULT:
            outcome, code = Outcome(bucket_of(took), refused=True), CALLERS_FAULT[said]
        self._end(pair, outcome, code, took, None if status else body)

    def lost(self, connection: Connection, now: int) -> None:
        """Hear that nothing more comes on this connection."""
        charged: set[int] = set()  # the releases that have this fault in their counts
        for pair in [found for found in self._sent.values() if found.connection is connection]:
            if pair.shadow.release in charged:
                self._drop(pair)
            else:
                charged.add(pair.shadow.release)
                self._end(pair, Outcome(None, (ERRORS,)), 503, now - pair.sent)

    def sweep(self, now: int) -> None:
        """Give up the copies that have waited too long."""
        for pair in [found for found in self._sent.values() if found.expires <= now]:
            lasted = pair.expires - pair.sent
            self._end(pair, Outcome(bucket_of(lasted), (ERRORS, TIMEOUTS)), 504, now - pair.sent)

    def adopt(self, table: Table) -> None:
        """Obey ``table``: give up every pair whose shadow it does not name, or whose deployment it holds."""
        for pair in list(self._pairs):
            route = table.routes.get(pair.shadow.deployment)
            shadow = None if route is None or route.held else route.shadow
            if shadow is None or shadow.about != pair.shadow.about:
                self._give_up(pair)

    def stop(self) -> None:
        """Give up every pair, so that its request counts and is recorded."""
        for pair in list(self._pairs):
            self._drop(pair)

    # --- the end of a pair ------------------------------------------------------------------------

    def _end(self, pair: Pair, copy: Outcome, status: int, took: int, answer: bytes | None = None) -> None:
        flight = self._forget(pair)
        told = (pair.shadow.lane.version, status, took, answer)
        assert flight is not None  # its copy was sent
        if not pair.count(copy):
            self._end_alone(pair, flight, told)
        elif self._record is not None:
            self._record(flight, pair.answered, told)

    def _drop(self, pair: Pair) -> None:
        self._telemetry.copies_dropped += 1
        self._give_up(pair)

    def _give_up(self, pair: Pair) -> None:
        """End a pair that cannot be whole any more; harmless when it has ended. Its request may not be over yet."""
        if pair.open:
            flight = self._forget(pair)
            pair.give_up()
            if flight is not None:
                self._end_alone(pair, flight, None)

    def _forget(self, pair: Pair) -> Flight | None:
        """Let go of what a pair holds, and return its request if that is over."""
        if pair.connection is not None:
            del self._sent[pair.identifier]
            pair.connection.load -= 1
            pair.connection = None
        self._bytes -= pair.held_bytes
        return self._pairs.pop(pair)

    def _end_alone(self, pair: Pair, flight: Flight, copy: CopyAnswer | None) -> None:
        """Count a request as one without a copy, unless that was done or it was the caller's fault."""
        request = pair.request
        if request is not None and not request.refused:
            pair.alone.add(request.bucket, request.bad, pair.key, request.counts)
        if flight.tally is pair.shadow.request:
            flight.tally = pair.alone
        if self._record is not None:
            self._record(flight, pair.answered, copy)
