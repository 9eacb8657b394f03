"""The door: which lane a request takes, or why it takes none."""

import time
from collections.abc import Callable
from random import random
from typing import Final

import msgspec

from lastgood.gateway.assignment import hash_of, mark_of, point_at, takes_candidate
from lastgood.gateway.dispatch import Dispatcher
from lastgood.gateway.flight import Flight
from lastgood.gateway.ids import given_id
from lastgood.gateway.routes import RouteReader
from lastgood.gateway.table import Endpoint, Header, Split, Table
from lastgood.gateway.telemetry import Telemetry
from lastgood.settings import Settings
from lastgood.wire.frames import Request
from lastgood.wire.page import LEASE_WORD, STATE_WORD

KEY_BYTES_MAX: Final = 1024
_now = time.monotonic_ns


class _Parameters(msgspec.Struct):
    key: str | int | float | None = None


class _Keyed(msgspec.Struct):
    parameters: _Parameters | None = None


_decode_key = msgspec.json.Decoder(_Keyed).decode


class RefusedError(Exception):
    """The request is not passed on to any version."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Admission:
    """Lets requests in by the newest route there is."""

    def __init__(
        self, settings: Settings, reader: RouteReader, dispatcher: Dispatcher, telemetry: Telemetry
    ) -> None:
        self.body_bytes_max = settings.max_body_bytes
        self.body_seconds_max = settings.request_timeout
        self._words = reader.words
        self._reader = reader
        self._dispatcher = dispatcher
        self._telemetry = telemetry

    def table(self) -> Table:
        """Return the table in force, reading the page first if it changed."""
        if self._words[STATE_WORD] != self._reader.state:
            self._reader.refresh()
        return self._dispatcher.table

    def launch(
        self, endpoint: Endpoint, headers: list[Header], body: bytes, deliver: Callable[[Flight], None]
    ) -> None:
        """Choose the lane and send the request there; ``deliver`` gets its flight once it is answered.

        :raises RefusedError: if it can go nowhere; ``deliver`` is not called then.
        """
        if endpoint.kind is Request.INVOCATIONS:
            _check_media_type(headers)
        table = self.table()  # it may have changed while the body came
        route = table.routes.get(endpoint.route.deployment)
        if route is None:
            raise RefusedError(
                404, f"deployment {endpoint.route.deployment} was withdrawn while it was asked"
            )
        now = _now()
        key = _key(endpoint.kind, headers, body)
        mark = None if key is None else 0
        given = given_id(headers)
        launch = self._dispatcher.launch
        if endpoint.number is not None:
            direct = route.direct.get(endpoint.number)
            if direct is None:
                raise RefusedError(409, f"version {endpoint.number} was withdrawn while it was asked")
            launch(endpoint.kind, direct, body, now, deliver, direct=True, key=mark, given=given)
            return
        lane, split, pair = route.stable, route.split, None
        if split is not None and self._takes_part(split, now):
            if key is None:
                point = random()  # noqa: S311 - a draw, not a secret
            else:
                hashed = hash_of(split.release, key)
                point, mark = point_at(hashed), mark_of(hashed)
            lane = split.candidate if takes_candidate(point, split.weight) else split.stable
        elif route.shadow is not None and lane is not None:
            pair = self._dispatcher.copies.draw(route.shadow, len(body))
            if pair is not None and key is not None:
                mark = mark_of(hash_of(pair.shadow.release, key))
        if lane is None:
            raise RefusedError(503, f"deployment {route.deployment} has no stable version yet")
        launch(endpoint.kind, lane, body, now, deliver, direct=False, key=mark, given=given, pair=pair)

    def _takes_part(self, split: Split, now: int) -> bool:
        """Whether a request that comes now belongs to an arm. If not, plain stable answers.

        It does not without a lease, while the candidate cannot be reached, and once this worker has taken it out.
        Such a request counts for neither arm of the release. Whether the candidate's host is connected is known
        before the request is looked at, so leaving it out selects nothing by how it would have ended; a host that
        restarts would otherwise fail every request of that moment, which is one fault and not hundreds.
        A sticky key is back on the candidate as soon as its host is.
        """
        reachable = split.candidate.link.connection is not None
        return self._words[LEASE_WORD] > now and reachable and not split.reflex.tripped

    def count(self, refused: RefusedError) -> None:
        """Count a request that no version was asked."""
        if refused.status >= 500:
            self._telemetry.unanswered += 1
        else:
            self._telemetry.bad_requests += 1

    def too_large(self) -> RefusedError:
        """Return the refusal of a body over the limit."""
        return RefusedError(
            413, f"the body is larger than {self.body_bytes_max} bytes (setting max_body_bytes)"
        )

    def check_length(self, headers: list[Header]) -> None:
        """Refuse a body that is announced as larger than the limit, before it comes.

        :raises RefusedError: 413.
        """
        for name, value in headers:
            if name == b"content-length" and int(value) > self.body_bytes_max:
                raise self.too_large()


def _key(kind: Request, headers: list[Header], body: bytes) -> bytes | None:
    """Return what the request shall stick by: the header, or ``parameters.key`` of a V2 body."""
    key: bytes | None = None
    for name, value in headers:
        if name == b"lastgood-key":
            key = value
            break
    else:
        # Most bodies have no k at all, and one letter is found many times as fast as a word.
        if kind is Request.INFER and b"k" in body and b'"key"' in body:
            key = _key_in(body)
    if key is not None and len(key) > KEY_BYTES_MAX:
        raise RefusedError(400, f"the key is longer than {KEY_BYTES_MAX} bytes")
    return key


def _key_in(body: bytes) -> bytes | None:
    try:
        parameters = _decode_key(body).parameters
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # the host says what is wrong with the body
    if parameters is None or parameters.key is None:
        return None
    return str(parameters.key).encode()


def _check_media_type(headers: list[Header]) -> None:
    for name, value in headers:
        if name == b"content-type":
            kind, _, rest = value.lower().partition(b";")
            if kind.strip() != b"application/json" or (b"charset" in rest and b"utf-8" not in rest):
                raise RefusedError(415, "the body must be application/json in UTF-8")
