"""The account of each request: counted once, for the version it was first meant for, or for no arm at all."""

from lastgood.gateway.firsts import ERRORS, INVALID, TIMEOUTS
from lastgood.gateway.flight import Flight
from lastgood.gateway.telemetry import Telemetry
from lastgood.wire.frames import Counts


class Account:
    """Writes down what became of the flights. ``flights`` are those under way."""

    def __init__(self, telemetry: Telemetry, flights: dict[int, Flight]) -> None:
        self._telemetry = telemetry
        self._flights = flights

    def detail(self, flight: Flight, counts: Counts | None) -> None:
        """Count the key and the version's own counters of a request that its version answered."""
        tally = flight.tally
        counted = [one for one in counts.bad if tally.count(*one)] if counts is not None else []
        if flight.key is not None:
            tally.keyed += 1
            if tally.firsts is not None:
                tally.firsts.count(flight.key, (), counted)

    def blame(
        self, flight: Flight, latency: int | None, *, invalid: bool = False, timed_out: bool = False
    ) -> None:
        """Count one request and its failure for the version first chosen; a timeout is an error too."""
        tally = flight.tally
        tally.measure(latency)
        if invalid:
            tally.invalid += 1
        else:
            tally.errors += 1
        if timed_out:
            tally.timeouts += 1
        if flight.key is not None:
            tally.keyed += 1
            if tally.firsts is not None:
                bad = (INVALID,) if invalid else (ERRORS, TIMEOUTS) if timed_out else (ERRORS,)
                tally.firsts.count(flight.key, bad, ())
        if tally.reflex is not None and tally.reflex.failed(*self._telemetry.failures(tally.beside)):
            self._close_release(flight.release)

    def leave_release(self, flight: Flight) -> None:
        """Count a request that says nothing (more) of its version: in no arm of the release."""
        flight.tally = flight.tally.outside
        flight.tally.unmeasured += 1
        if flight.key is not None:
            flight.tally.keyed += 1

    def _close_release(self, release: int | None) -> None:
        """Count nothing more for either arm: the candidate is asked no more, so nothing can be compared."""
        for flight in self._flights.values():
            if flight.release == release:
                flight.tally = flight.tally.outside
