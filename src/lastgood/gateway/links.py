"""Connections to model hosts: one unix socket per worker and host, kept open and opened again.

Frames that come close together leave in one write, and whatever a host finds waiting is one micro-batch. A host that breaks the format is cut off: its requests go elsewhere.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import Final, Protocol, cast

from lastgood.wire.frames import HEADER, HEADER_BYTES, MAX_FRAME_BYTES, Counts, Status, unpack_counts
from lastgood.wire.sockets import short_path

_AFTER_LENGTH: Final = HEADER_BYTES - 4
_LAST_STATUS: Final = max(Status)
_BUFFERED_BYTES_MAX: Final = 64 * 1024 * 1024  # unsent towards one host; more is overload
_LOOKS_MAX: Final = 3
_RETRY_FIRST: Final = 0.005
_RETRY_LONGEST: Final = 0.25
_STEADY_SECONDS: Final = 1.0  # a connection that lived this long starts the backoff anew
_pack = HEADER.pack
_unpack = HEADER.unpack_from
_now = time.monotonic_ns


class Receiver(Protocol):
    """Who hears what becomes of the frames. Every call comes from the event loop."""

    def answered(
        self,
        connection: "Connection",
        identifier: int,
        status: int,
        body: bytes,
        now: int,
        counts: Counts | None = None,
    ) -> None:
        """Take one whole frame; ``now`` is CLOCK_MONOTONIC nanoseconds, ``counts`` what the version counted."""

    def settled(self) -> None:
        """Hear that some host can be asked now, or that the first try to reach it failed."""

    def lost(self, connection: "Connection") -> None:
        """Nothing more will come on this connection."""


class Connection(asyncio.Protocol):
    """One life of the connection to a host. ``load`` is the number of requests it has not answered.

    ``untaken`` says of one that has ended that no host had taken it, as far as can be seen: a host that is killed may
    still be connected to, for a moment, and asks for nothing any more.
    """

    def __init__(self, link: "HostLink", receiver: Receiver, loop: asyncio.AbstractEventLoop) -> None:
        self.link = link
        self.load = 0
        self.paused = False
        self.untaken = False
        self.ended: asyncio.Future[None] = loop.create_future()
        self._receiver = receiver
        self._call_soon = loop.call_soon
        self._out: list[bytes] = []
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 0
        self._heard = False
        self._seen = 0
        self._looks = 0
        self._transport: asyncio.Transport | None = None

    def send(self, identifier: int, kind: int, name: bytes, body: bytes) -> None:
        """Queue one frame; all frames of a few turns of the loop leave together."""
        out = self._out
        if not out:
            self._call_soon(self._flush)
        out.append(_pack(_AFTER_LENGTH + len(name) + len(body), identifier, kind, 0, len(name)) + name)
        out.append(body)
        self.load += 1

    def _flush(self) -> None:
        """Write what there is, once a turn of the loop brought nothing more.

        Requests come in a stream while earlier answers go out. Looking once more costs microseconds; a host woken
        for a part of them costs a process switch, and so do the answers of each part.
        """
        out = self._out
        if len(out) != self._seen and self._looks < _LOOKS_MAX:
            self._seen = len(out)
            self._looks += 1
            self._call_soon(self._flush)
            return
        self._out = []
        self._seen = self._looks = 0
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(out))

    def drop(self) -> None:
        """Cut the connection at once; nothing new is sent on it."""
        if self.link.connection is self:
            self.link.connection = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to use it."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_BUFFERED_BYTES_MAX)
        self.link.connection = self
        self.link.tried = True
        self._receiver.settled()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand back what was in flight. The kernel says with an error that not all was read that was sent."""
        self.untaken = exc is not None and not self._heard
        if self.link.connection is self:
            self.link.connection = None
        self._transport = None
        if not self.ended.done():
            self.ended.set_result(None)
        self._receiver.lost(self)

    def pause_writing(self) -> None:
        """Take no more for a host that reads too slowly."""
        self.paused = True

    def resume_writing(self) -> None:
        """Go on: the host caught up."""
        self.paused = False

    def data_received(self, data: bytes) -> None:
        """Hand on every whole frame; keep the beginning of the next."""
        self._heard = True
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
            self._parts = []
        now = _now()
        answered = self._receiver.answered
        at, end = 0, len(data)
        need = HEADER_BYTES
        while end - at >= HEADER_BYTES:
            length, identifier, status, _, name = _unpack(data, at)
            if status > _LAST_STATUS or not _AFTER_LENGTH <= length <= MAX_FRAME_BYTES:
                self.drop()
                return
            stop = at + 4 + length
            if stop > end:
                need = 4 + length
                break
            if name:
                body = at + HEADER_BYTES + name
                counts = _counts(data[at + HEADER_BYTES : body]) if body <= stop else None
                if counts is None:
                    self.drop()
                    return
                answered(self, identifier, status, data[body:stop], now, counts)
            else:
                answered(self, identifier, status, data[at + HEADER_BYTES : stop], now)
            at = stop
        if at < end:
            self._parts = [data[at:] if at else data]
            self._have = end - at
            self._need = need


def _counts(field: bytes) -> Counts | None:
    try:
        return unpack_counts(field)
    except ValueError:
        return None


class HostLink:
    """The way to one host, whether or not it is there now.

    ``tried`` tells whether an attempt to connect has ended: before that, nobody knows if the host is there.
    """

    def __init__(self, path: str, receiver: Receiver) -> None:
        self.path = path
        self.connection: Connection | None = None
        self.tried = False
        self._receiver = receiver
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Connect, and keep connected until :meth:`close`."""
        self._task = asyncio.get_running_loop().create_task(self._keep_connected())

    async def close(self) -> None:
        """Stop connecting and cut what is open."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self.connection is not None:
            self.connection.drop()

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        delay = _RETRY_FIRST
        while True:
            began = loop.time()
            try:
                with short_path(self.path) as address:
                    _, connection = await loop.create_unix_connection(
                        lambda: Connection(self, self._receiver, loop), address
                    )
            except OSError:
                if not self.tried:
                    self.tried = True
                    self._receiver.settled()
            else:
                await connection.ended
                if loop.time() - began >= _STEADY_SECONDS:
                    delay = _RETRY_FIRST
            await asyncio.sleep(delay)
            delay = min(delay * 2, _RETRY_LONGEST)


class HeldLink:
    """The way to a host that may be asked nothing now. The real link stays open behind it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.connection: Connection | None = None
        self.tried = False


class Links:
    """The links by socket path. Two deployments on one host share one."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._links: dict[str, HostLink] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def link(self, path: str) -> HostLink:
        """Return the link to that socket, opening it when there is none yet."""
        link = self._links.get(path)
        if link is None:
            link = self._links[path] = HostLink(path, self._receiver)
            link.open()
        return link

    def keep(self, paths: Iterable[str]) -> None:
        """Close every link that is not in ``paths`` once nothing is in flight on it."""
        wanted = set(paths)
        for path in [path for path in self._links if path not in wanted]:
            connection = self._links[path].connection
            if connection is None or connection.load <= 0:
                task = asyncio.get_running_loop().create_task(self._links.pop(path).close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all."""
        for link in self._links.values():
            await link.close()
        self._links.clear()
