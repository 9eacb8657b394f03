"""Flights on their way: sent, answered, sent again to stable, given up. Each gets exactly one answer.

The rules: whatever goes wrong on the candidate, stable answers the same bytes within the caller's
deadline; a request that named its version goes nowhere else; a version that leaves the route
loses its flights at once; while a deployment is held, its flights wait. A candidate's connection that is lost is one
error of the candidate, however many requests were on it: they failed together, and the tests of a release take requests
for independent. A host that ends again and again is convicted by the health guardrail, which counts its exits.
"""

import time
from collections.abc import Callable
from typing import Final

from lastgood.domain.deployment import Role
from lastgood.gateway.account import Account
from lastgood.gateway.answers import problem
from lastgood.gateway.copies import FIRST_IDENTIFIER, Copies, never, soon
from lastgood.gateway.flight import Flight
from lastgood.gateway.ids import Ids
from lastgood.gateway.links import Connection
from lastgood.gateway.pairs import Pair
from lastgood.gateway.recording import Recording
from lastgood.gateway.table import Lane, Table
from lastgood.gateway.tally import bucket_of
from lastgood.gateway.telemetry import Telemetry
from lastgood.gateway.ways import Ways
from lastgood.settings import Settings
from lastgood.wire.frames import CALLERS_FAULT, Counts, Request, Status

_LOSSES_MAX: Final = 4  # a request that ended its host twice is not tried on a third one
_EMPTY: Final = Table(0, {})
_monotonic_ns = time.monotonic_ns


class Dispatcher:
    """All flights of one worker, in the order in which they arrived."""

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry,
        ids: Ids,
        recording: Recording | None = None,
        *,
        lease_holds: Callable[[], bool] = never,
        later: Callable[[Callable[[], None]], None] = soon,
    ) -> None:
        """Start with no route. What is answered goes to ``recording``; copies are as :class:`Copies` has them."""
        self.table = _EMPTY
        self.flights: dict[int, Flight] = {}
        self._telemetry = telemetry
        self._make_id = ids.make
        self._record = None if recording is None else recording.add
        self._account = Account(telemetry)
        self._ways = Ways(settings, self._account, fail=self._fail, withdraw=self._withdraw)
        self.copies = Copies(
            settings, self._ways, telemetry, record=self._record, lease_holds=lease_holds, later=later
        )
        self._next = 0
        self._cap = self._ways.cap

    # --- a request comes in -----------------------------------------------------------------------

    def launch(
        self,
        kind: Request,
        lane: Lane,
        body: bytes,
        now: int,
        deliver: Callable[[Flight], None],
        *,
        direct: bool,
        key: int | None = None,
        given: bytes | None = None,
        pair: Pair | None = None,
    ) -> None:
        """Send a request to ``lane``; ``deliver`` is called with its flight once, when it is answered.

        ``given`` is the id that the caller gave it; ``key`` and ``pair`` are those of :class:`~lastgood.gateway.flight.Flight`.
        """
        asked = kind is Request.METADATA
        tally = lane.tally.unreported() if asked else lane.tally
        identifier = self._next = (self._next + 1) % FIRST_IDENTIFIER
        flight = Flight(identifier, kind, lane, tally, body, direct, key, now, deliver)
        self.flights[identifier] = flight
        if given is not None:
            flight.id, flight.given = given, True
        elif not asked:
            flight.id = self._make_id(now)
        order = tally.order
        if pair is not None:
            flight.join(pair)
        elif order is not None:
            flight.place = order.sent
            order.sent += 1
        connection = lane.link.connection
        if connection is None or connection.load >= self._cap or connection.paused:
            self._ways.send_elsewhere(flight, now)
        else:
            self._ways.send(flight, connection, now)

    # --- a host answers ---------------------------------------------------------------------------

    def answered(
        self,
        connection: Connection,
        identifier: int,
        status: int,
        body: bytes,
        now: int,
        counts: Counts | None = None,
    ) -> None:
        """Give a host's answer to its caller, or to stable if it is the candidate's failure."""
        flight = self.flights.get(identifier)
        if flight is None or flight.connection is not connection:
            # It was taken back or gave up waiting, or it is a copy.
            self.copies.answered(connection, identifier, status, body, now, counts)
            return
        connection.load -= 1
        if status:
            self._failed(flight, status, body, now)
            return
        del self.flights[identifier]
        if flight.fallback is None:
            tally, order, bucket = flight.tally, flight.order, bucket_of(now - flight.sent)
            if tally.reflex is not None:
                tally.reflex.succeeded()
            if order is not None:
                order.end(flight.place, tally, bucket, (), flight.key, counts)
            elif counts is None and flight.key is None:
                tally.latency[bucket] += 1
            else:
                tally.add(bucket, (), flight.key, counts)
        else:
            if flight.disputed is not None:
                self._account.blame(flight, flight.disputed)
            flight.tally.fell_back(flight.fallback)
        flight.answer(200, body, b"" if counts is None else counts.text)
        if flight.pair is not None:
            self.copies.begin(flight.pair, flight, now)
        elif self._record is not None and flight.id:
            self._record(flight, now)

    def _failed(self, flight: Flight, status: int, body: bytes, now: int) -> None:
        first = flight.fallback is None
        latency = now - flight.sent
        fault = CALLERS_FAULT.get(Status(status))
        if first and flight.lane.role is Role.CANDIDATE and not flight.direct:
            flight.connection = None
            if fault is not None:
                flight.disputed = latency
                self._ways.ask_stable(flight, "refused", now)
            else:
                self._account.blame(flight, latency, invalid=status == Status.INVALID_OUTPUT)
                self._ways.ask_stable(flight, _reason(status), now)
            return
        del self.flights[flight.identifier]
        if fault is not None:
            if first and flight.pair is not None:
                flight.pair.refuse(bucket_of(latency))
            else:
                self._account.leave_order(flight)
            self._telemetry.bad_requests += 1
            flight.answer(fault, body)
            self._answered_badly(flight)
            return
        if first:
            self._account.blame(flight, latency, invalid=status == Status.INVALID_OUTPUT)
        self._account.leave_order(flight)
        self._telemetry.unanswered += 1
        version = f"version {flight.lane.version}"
        said = f"{version} gave an invalid output" if status == Status.INVALID_OUTPUT else f"{version} failed"
        flight.answer(500, body or problem(flight.kind, 500, said))
        self._answered_badly(flight)

    def _fail(self, flight: Flight, status: int, sentence: str) -> None:
        """Give up: no version answers this one. It counts against the version first chosen, once."""
        if flight.fallback is None:
            timed_out = status == 504
            measured = self._ways.request_timeout if timed_out and flight.connection is not None else None
            self._account.blame(flight, measured, timed_out=timed_out)
        self._refuse(flight, status, sentence)

    # --- hosts come and go ------------------------------------------------------------------------

    def settled(self) -> None:
        """Send every flight that waits for stable, if it or standby can be asked now."""
        self._ways.retry(_monotonic_ns())

    def lost(self, connection: Connection) -> None:
        """Find another way for every flight on a connection that ended."""
        now = _monotonic_ns()
        charged: set[int | None] = set()  # the releases that have this fault in their counts
        for flight in [found for found in self.flights.values() if found.connection is connection]:
            flight.connection = None
            self._lost(flight, charged, now, loss=1 if connection.untaken else 2)
        self.copies.lost(connection, now)

    def _lost(self, flight: Flight, charged: set[int | None], now: int, *, loss: int) -> None:
        if flight.direct:
            self._fail(flight, 503, f"the host of version {flight.lane.version} ended while it was asked")
        elif flight.lane.role is Role.CANDIDATE and flight.fallback is None:
            if flight.release in charged:
                self._account.leave_release(flight)
            else:
                charged.add(flight.release)
                self._account.blame(flight, None)
            self._ways.ask_stable(flight, "unavailable", now)
        elif flight.losses + loss >= _LOSSES_MAX:
            self._fail(flight, 503, "the host ended twice while it was asked")
        else:
            flight.losses += loss
            self._ways.send_stable(flight, now)

    # --- time passes ------------------------------------------------------------------------------

    def sweep(self, now: int) -> None:
        """Give up what has waited too long. Call it every few hundredths of a second."""
        self.copies.sweep(now)
        young = now - min(self._ways.candidate_timeout, self._ways.request_timeout)
        late = []
        for flight in self.flights.values():
            if flight.arrived > young:
                break
            if flight.expires <= now:
                late.append(flight)
        for flight in late:
            if flight.connection is not None:
                flight.connection.load -= 1
            waited = self._ways.waits(flight)
            self._ways.forget(flight)
            if self._ways.holds(flight):
                self._refuse(flight, 504, "data and version changed for longer than a request may take")
            elif flight.lane.role is Role.CANDIDATE and flight.fallback is None and not flight.direct:
                flight.connection = None
                self._account.blame(flight, self._ways.candidate_timeout, timed_out=True)
                self._ways.ask_stable(flight, "timeout", now)
            elif waited:
                away = f"the host of version {flight.lane.version} was away for as long as a request may take"
                self._fail(flight, 503, f"{away}, and no other version may stand in")
            else:
                self._fail(flight, 504, f"version {flight.lane.version} did not answer in time")

    # --- the route changes ------------------------------------------------------------------------

    def adopt(self, table: Table) -> None:
        """Obey ``table`` from now on: flights on versions that it does not name are taken back at once."""
        self.table = self._ways.table = table
        self.copies.adopt(table)
        now = _monotonic_ns()
        for flight in list(self.flights.values()):
            route = table.routes.get(flight.lane.deployment)
            named = route is not None and flight.lane.version in route.direct
            if self._ways.waits(flight) or (route is not None and named and not route.held):
                continue
            if flight.connection is not None:
                flight.connection.load -= 1
                flight.connection = None
            if route is not None and route.held:
                self._ways.catch(flight, route)
            elif flight.direct:
                self._withdraw(flight)
            else:
                self._ways.take_back(flight, now)
        self._ways.retry(now)

    def _withdraw(self, flight: Flight) -> None:
        self._refuse(flight, 409, f"version {flight.lane.version} was withdrawn while it was asked")

    def _refuse(self, flight: Flight, status: int, sentence: str) -> None:
        """Give up a request for which no version is to blame."""
        self.flights.pop(flight.identifier, None)
        self._account.leave_order(flight)
        self._telemetry.unanswered += 1
        flight.refuse(status, problem(flight.kind, status, sentence))
        self._answered_badly(flight)

    def _answered_badly(self, flight: Flight) -> None:
        if flight.pair is not None:
            self.copies.begin(flight.pair, flight, _monotonic_ns())
        elif self._record is not None and flight.id:
            self._record(flight, _monotonic_ns())


def _reason(status: int) -> str:
    return "invalid-output" if status == Status.INVALID_OUTPUT else "error"
