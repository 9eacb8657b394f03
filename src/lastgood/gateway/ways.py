"""The ways that a flight can take: to its version, to stable, to standby, or to wait for one of them.

Flights wait for stable's host to come back, and while their deployment is held: for the milliseconds in which its data
and its route change together.
"""

from collections.abc import Callable
from typing import Final

from lastgood.domain.deployment import Role
from lastgood.gateway.account import Account
from lastgood.gateway.flight import Flight
from lastgood.gateway.links import Connection
from lastgood.gateway.table import LiveRoute, Table
from lastgood.settings import Settings

_EMPTY: Final = Table(0, {})


class Ways:
    """Sends flights by the table in force. ``fail`` and ``withdraw`` are called for those that can go nowhere."""

    def __init__(
        self,
        settings: Settings,
        account: Account,
        *,
        fail: Callable[[Flight, int, str], None],
        withdraw: Callable[[Flight], None],
    ) -> None:
        self.table = _EMPTY
        self.cap = settings.max_in_flight
        self.request_timeout = int(settings.request_timeout * 1e9)
        # Half of the caller's time at most, so that stable always has a turn.
        self.candidate_timeout = int(min(settings.candidate_timeout, settings.request_timeout / 2) * 1e9)
        self._account = account
        self._fail = fail
        self._withdraw = withdraw
        self._waiting: dict[int, Flight] = {}

    def send(self, flight: Flight, connection: Connection, now: int) -> None:
        """Send a flight to its lane."""
        lane = flight.lane
        flight.connection = connection
        flight.sent = now
        if lane.role is Role.CANDIDATE and not flight.direct:
            flight.expires = now + self.candidate_timeout
        else:
            flight.expires = flight.arrived + self.request_timeout
        connection.send(flight.identifier, flight.kind, lane.name, flight.body)

    def send_elsewhere(self, flight: Flight, now: int) -> None:
        """Find another way for a flight whose first lane is not there, is held, or is full."""
        if flight.lane.held:
            self.hold(flight)
        elif flight.direct:
            self._fail(flight, 503, f"version {flight.lane.version} cannot be reached now")
        elif flight.lane.role is Role.CANDIDATE:  # admission chose it because it is there: so it is full
            self._account.blame(flight, None)
            self.ask_stable(flight, "overloaded", now)
        else:
            self.send_stable(flight, now)

    def ask_stable(self, flight: Flight, reason: str, now: int) -> None:
        """Send to stable what the candidate did not answer, for this ``reason`` unless there was one before."""
        if flight.fallback is None:
            flight.fallback = reason
        self.send_stable(flight, now)

    def send_stable(self, flight: Flight, now: int) -> None:
        """Send to stable, or to standby when stable's host is gone, or wait for it."""
        route = self.table.routes.get(flight.lane.deployment)
        if route is None or route.stable is None:
            self._fail(flight, 503, f"deployment {flight.lane.deployment} has no stable version")
            return
        if route.held:
            self.hold(flight)
            return
        if flight.fallback is not None:
            flight.lane = route.stable
        elif flight.lane.version != route.stable.version:  # stable changed before it was ever asked
            self._account.leave_order(flight)
            flight.lane, flight.tally = route.stable, route.stable.tally
        connection = route.stable.link.connection
        if connection is None:
            self._without_stable(flight, route, now)
        elif connection.load >= self.cap or connection.paused:
            self._fail(flight, 503, "stable has too many requests in flight")
        else:
            self.send(flight, connection, now)

    def _without_stable(self, flight: Flight, route: LiveRoute, now: int) -> None:
        standby = route.standby if route.stable is not None and route.stable.link.tried else None
        connection = standby.link.connection if standby is not None else None
        if standby is not None and connection is not None and connection.load < self.cap:
            if flight.fallback is None:
                self._account.blame(flight, None)
                flight.fallback = "stable-unavailable"
            flight.lane = standby
            self.send(flight, connection, now)
        else:
            self._wait(flight, "stable cannot be reached and too many requests wait for it")

    def send_direct(self, flight: Flight, now: int) -> None:
        """Send a request that named its version, wherever that is in the present table."""
        route = self.table.routes.get(flight.lane.deployment)
        lane = None if route is None else route.direct.get(flight.lane.version)
        if lane is None:
            self._withdraw(flight)
            return
        flight.lane = lane
        connection = lane.link.connection
        if lane.held:
            self.hold(flight)
        elif connection is None or connection.load >= self.cap or connection.paused:
            self._fail(flight, 503, f"version {lane.version} cannot be reached now")
        else:
            self.send(flight, connection, now)

    # --- waiting ----------------------------------------------------------------------------------

    def hold(self, flight: Flight) -> None:
        """Let a flight wait for the end of the hold on its deployment."""
        self._wait(flight, "too many requests wait for a change of version and data")

    def catch(self, flight: Flight, route: LiveRoute) -> None:
        """Let a flight wait that was on its way when its deployment was held; it says nothing of any version yet."""
        if not flight.direct and flight.fallback is None and route.stable is not None:
            self._account.leave_order(flight)
            flight.lane, flight.tally = route.stable, route.stable.tally
        self.hold(flight)

    def take_back(self, flight: Flight, now: int) -> None:
        """Send a flight to stable that was on its way to a version that the route does not name any more."""
        if flight.fallback is None:
            self._account.leave_release(flight)
            flight.fallback = "rolled-back"
        self.send_stable(flight, now)

    def holds(self, flight: Flight) -> bool:
        """Whether the flight's deployment is held."""
        route = self.table.routes.get(flight.lane.deployment)
        return route is not None and route.held

    def waits(self, flight: Flight) -> bool:
        """Whether this flight waits."""
        return flight.identifier in self._waiting

    def forget(self, flight: Flight) -> None:
        """Let it wait no longer: it is given up."""
        self._waiting.pop(flight.identifier, None)

    def retry(self, now: int) -> None:
        """Send every flight that waits, if it can be sent now."""
        waiting, self._waiting = self._waiting, {}
        for flight in waiting.values():
            if flight.direct:
                self.send_direct(flight, now)
            else:
                self.send_stable(flight, now)

    def _wait(self, flight: Flight, too_many: str) -> None:
        if len(self._waiting) >= self.cap:
            self._fail(flight, 503, too_many)
            return
        flight.connection = None
        flight.expires = flight.arrived + self.request_timeout
        self._waiting[flight.identifier] = flight
