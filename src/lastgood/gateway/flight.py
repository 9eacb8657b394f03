"""A flight: one caller's request, from the moment its body is whole until it has its one answer."""

from collections.abc import Callable
from typing import Final

from lastgood.gateway.links import Connection
from lastgood.gateway.order import Turns
from lastgood.gateway.pairs import Pair
from lastgood.gateway.table import JSON_TYPE, Header, Lane
from lastgood.gateway.tally import Tally
from lastgood.wire.frames import Request

RETRY_AFTER: Final[Header] = (b"retry-after", b"1")


class Flight:
    """Where a request is and what it has been through. Times are CLOCK_MONOTONIC nanoseconds.

    ``lane`` is where it is now or waits for, ``tally`` counts for the version first chosen. ``connection`` is
    None while it waits for a host. ``fallback`` says why another version answers than the one first chosen;
    ``losses`` is what the hosts that ended while they were asked amount to: two each, one where perhaps none was asked.
    ``disputed`` is how long the candidate took to refuse an input that stable is being asked about. ``direct``
    requests named their version and go nowhere else. ``id`` is what the answer's header says (``given`` if the caller gave
    it), empty for a question about a model. ``key`` is the 32-bit mark of the key that the request shall
    stick by within the release (any number outside one), None without a key. ``order`` is where it has its ``place``
    until it is over or leaves its release; None outside a release and after that. ``pair`` is the request with the copy that
    is made of it, None for most. ``deliver`` is called once, with the flight, when its answer
    (``status``, ``headers`` and ``payload``) is there; that may be before the launch returns.
    """

    __slots__ = (
        "arrived",
        "body",
        "connection",
        "deliver",
        "direct",
        "disputed",
        "expires",
        "fallback",
        "given",
        "headers",
        "id",
        "identifier",
        "key",
        "kind",
        "lane",
        "losses",
        "order",
        "pair",
        "payload",
        "place",
        "release",
        "sent",
        "status",
        "tally",
    )

    def __init__(
        self,
        identifier: int,
        kind: Request,
        lane: Lane,
        tally: Tally,
        body: bytes,
        direct: bool,
        key: int | None,
        arrived: int,
        deliver: Callable[["Flight"], None],
    ) -> None:
        self.identifier = identifier
        self.id = b""
        self.given = False
        self.kind = kind
        self.lane = lane
        self.tally = tally
        self.release = tally.release
        self.order: Turns | None = tally.order
        self.pair: Pair | None = None
        self.place = 0
        self.body = body
        self.direct = direct
        self.key = key
        self.arrived = arrived
        self.deliver = deliver
        self.connection: Connection | None = None
        self.sent = 0
        self.expires = 0
        self.losses = 0
        self.fallback: str | None = None
        self.disputed: int | None = None
        self.status = 0
        self.headers: list[Header] = []
        self.payload = b""

    def join(self, pair: Pair) -> None:
        """Count with a copy, in the pair's stage; its caller sees nothing of that."""
        self.pair = self.order = pair
        pair.alone, self.tally = self.tally, pair.shadow.request
        pair.key = self.key

    def answer(self, status: int, payload: bytes, counts: bytes = b"") -> None:
        """Give the bytes that the version in ``lane`` made, and what it counted of its own.

        An answer with nothing to add has the very list of headers that the lane has.
        """
        headers = self.lane.headers
        if self.fallback is not None:
            headers = [*headers, (b"lastgood-fallback", self.fallback.encode())]
            if self.release is not None:
                headers.append((b"lastgood-release", b"%d" % self.release))
        if counts:
            headers = [*headers, (b"lastgood-counts", counts)]
        self.status = status
        self.headers = headers
        self.payload = payload
        self.deliver(self)

    def refuse(self, status: int, payload: bytes) -> None:
        """Give an answer that no version made."""
        self.status = status
        self.headers = [JSON_TYPE, RETRY_AFTER] if status == 503 else [JSON_TYPE]
        self.payload = payload
        self.deliver(self)
