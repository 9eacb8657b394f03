"""The account of each request: counted once, for the version it was first meant for, or for no arm at all."""

from lastgood.gateway.firsts import ERRORS, INVALID, TIMEOUTS
from lastgood.gateway.flight import Flight
from lastgood.gateway.tally import bucket_of
from lastgood.gateway.telemetry import Telemetry


class Account:
    """Writes down what became of the flights that their version did not answer well."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def blame(
        self, flight: Flight, latency: int | None, *, invalid: bool = False, timed_out: bool = False
    ) -> None:
        """Count one request and its failure for the version first chosen; a timeout is an error too.

        Within a release it counts when its turn comes, but the reflex hears of it at once.
        """
        tally, order = flight.tally, flight.order
        bad = (INVALID,) if invalid else (ERRORS, TIMEOUTS) if timed_out else (ERRORS,)
        bucket = None if latency is None else bucket_of(latency)
        if order is None:
            tally.add(bucket, bad, flight.key)
        else:
            flight.order = None
            order.end(flight.place, tally, bucket, bad, flight.key)
        if tally.reflex is not None:  # once it has tripped nobody is sent, but what was sent still counts
            tally.reflex.failed(*self._telemetry.failures(tally.beside))

    def leave_release(self, flight: Flight) -> None:
        """Count a request that says nothing (more) of its version: in no arm of the release."""
        self.leave_order(flight)
        flight.tally = flight.tally.outside
        flight.tally.add(None, (), flight.key)

    def leave_order(self, flight: Flight) -> None:
        """Let nobody wait for a request that leaves its release uncounted; does nothing for any other."""
        if flight.order is not None:
            flight.order.leave(flight.place)
            flight.order = None
