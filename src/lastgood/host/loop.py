"""The host's one loop: reads every request that has arrived, answers them together, writes each connection once.

Single-threaded on purpose: the model is the work, and whatever arrives while it predicts is the next batch. A
reader that does not take its answers is not read from until it does, so its buffer stays bounded and it
delays nobody else.
"""

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lastgood.host.engine import Engine
from lastgood.host.memory import is_exhausted
from lastgood.host.request import Work
from lastgood.wire.frames import HEADER, HEADER_BYTES, MAX_FRAME_BYTES
from lastgood.wire.sockets import short_path

DRAIN_SECONDS: Final = 5.0
_READ_BYTES: Final = 256 * 1024
_READS_PER_TURN: Final = 4
_UNSENT_BYTES_MAX: Final = 8 * 1024 * 1024
_READ, _WRITE = select.EPOLLIN, select.EPOLLOUT
_GONE: Final = select.EPOLLHUP | select.EPOLLERR
_pack_header = HEADER.pack
_AFTER_LENGTH: Final = HEADER_BYTES - 4


class Connection:
    """One gateway worker: the bytes of an unfinished frame, and the answers that it has not taken yet."""

    __slots__ = ("answers", "closing", "events", "partial", "socket", "unsent")

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.partial = bytearray()
        self.unsent = bytearray()
        self.answers: list[bytes] = []
        self.events = _READ
        self.closing = False


class Loop:
    """Serves one engine on one unix socket until :meth:`stop`."""

    def __init__(self, engine: Engine, path: Path) -> None:
        """Listen on ``path`` (mode 0600), replacing a socket that a predecessor left there."""
        self._engine = engine
        self._path = path
        self._epoll = select.epoll()  # bare: a selectors.Selector costs a small batch a tenth of its time
        self._connections: dict[int, Connection] = {}
        self._others: dict[int, Callable[[], None]] = {}
        self._buffer = bytearray(_READ_BYTES)
        self._view = memoryview(self._buffer)
        self._deadline: float | None = None
        self._listener = _listen(path)
        self._inode = path.stat().st_ino
        self._hear(self._listener, self._accept)
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._hear(self._wake_reader, self._woken)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)

    def _hear(self, listening: socket.socket, call: Callable[[], None]) -> None:
        self._others[listening.fileno()] = call
        self._epoll.register(listening, _READ)

    def stop(self) -> None:
        """Take no more connections; serve those there are until they close, at most DRAIN_SECONDS."""
        if self._deadline is None:
            self._deadline = time.monotonic() + DRAIN_SECONDS

    def run(self) -> bool:
        """Serve. Returns True after :meth:`stop`, False once the model has used up its memory for good."""
        listening, healthy = True, True
        while healthy:
            timeout = None
            if self._deadline is not None:
                if listening:
                    self._epoll.unregister(self._listener)
                    self._listener.close()
                    listening = False
                timeout = self._deadline - time.monotonic()
                if not self._connections or timeout <= 0:
                    break
            self._turn(timeout)
            if self._engine.short_of_memory:
                self._engine.short_of_memory = False
                healthy = not is_exhausted()
        self._close()
        return healthy

    def _turn(self, timeout: float | None) -> None:
        works: list[Work] = []
        for descriptor, ready in self._epoll.poll(timeout):
            connection = self._connections.get(descriptor)
            if connection is None:
                self._others[descriptor]()
                continue
            # Of a connection that is gone, reading or writing tells how it ended.
            events = ready | connection.events if ready & _GONE else ready
            if events & _WRITE:
                self._flush(connection)
            if events & _READ and not connection.closing:
                self._receive(connection, works)
        if not works:
            return
        self._engine.run(works)
        answered: list[Connection] = []
        for work in works:
            connection = work.connection
            body, counts = work.body, work.counts
            if not connection.answers:
                answered.append(connection)
            named = len(counts)
            connection.answers.append(
                _pack_header(_AFTER_LENGTH + named + len(body), work.identifier, work.status, 0, named)
            )
            if named:
                connection.answers.append(counts)
            connection.answers.append(body)
        for connection in answered:
            self._flush(connection)

    def _accept(self) -> None:
        try:
            connected, _ = self._listener.accept()
        except OSError:  # it gave up meanwhile, or there are no descriptors left: those who are here go on
            return
        connected.setblocking(False)
        connection = Connection(connected)
        self._connections[connected.fileno()] = connection
        self._epoll.register(connected, _READ)

    def _woken(self) -> None:
        self._wake_reader.recv(4096)

    def _receive(self, connection: Connection, works: list[Work]) -> None:
        for _ in range(_READS_PER_TURN):
            try:
                count = connection.socket.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError:
                count = 0
            if count == 0:
                self._end_of_input(connection)
                return
            if connection.partial:
                connection.partial += self._view[:count]
                whole = bytes(connection.partial) if _has_frame(connection.partial) else b""
                if whole:
                    used = self._frames(connection, memoryview(whole), works)
                    connection.partial = bytearray(whole[used:])
            else:
                used = self._frames(connection, self._view[:count], works)
                if used < count:
                    connection.partial += self._view[used:count]
            if connection.closing or count < _READ_BYTES:
                return

    def _frames(self, connection: Connection, view: memoryview, works: list[Work]) -> int:
        """Decode the whole frames of ``view``; return how many bytes they took."""
        at, end = 0, len(view)
        while end - at >= HEADER_BYTES:
            length, identifier, kind, _, name_bytes = HEADER.unpack_from(view, at)
            if not _AFTER_LENGTH + name_bytes <= length <= MAX_FRAME_BYTES:
                self._drop(connection)  # not our protocol; nothing after it can be trusted
                return end
            after = at + 4 + length
            if after > end:
                break
            body = at + HEADER_BYTES + name_bytes
            work = self._engine.parse(kind, bytes(view[at + HEADER_BYTES : body]), view[body:after])
            work.identifier = identifier
            work.connection = connection
            works.append(work)
            at = after
        return at

    def _end_of_input(self, connection: Connection) -> None:
        """Close, or first write what is left for a peer that only closed its sending side."""
        connection.closing = True
        if not connection.unsent:
            self._drop(connection)
        else:
            self._listen_for(connection, _WRITE)

    def _flush(self, connection: Connection) -> None:
        if connection.socket.fileno() < 0:
            connection.answers.clear()
            return
        data: bytes | bytearray = b"".join(connection.answers)
        connection.answers.clear()
        if connection.unsent:
            connection.unsent += data
            data = connection.unsent
        try:
            sent = connection.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(connection)
            return
        if sent == len(data):
            connection.unsent = bytearray()
            if connection.closing:
                self._drop(connection)
            else:
                self._listen_for(connection, _READ)
            return
        connection.unsent = bytearray(memoryview(data)[sent:])
        full = connection.closing or len(connection.unsent) > _UNSENT_BYTES_MAX
        self._listen_for(connection, _WRITE if full else _READ | _WRITE)

    def _listen_for(self, connection: Connection, events: int) -> None:
        if connection.events != events:
            connection.events = events
            self._epoll.modify(connection.socket, events)

    def _drop(self, connection: Connection) -> None:
        connection.closing = True
        if self._connections.pop(connection.socket.fileno(), None) is not None:
            self._epoll.unregister(connection.socket)
            connection.socket.close()

    def _close(self) -> None:
        signal.set_wakeup_fd(-1)
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._listener.close()
        self._wake_reader.close()
        self._wake_writer.close()
        self._epoll.close()
        if self._path.exists() and self._path.stat().st_ino == self._inode:
            self._path.unlink(missing_ok=True)  # a successor may listen there already


def _has_frame(partial: bytearray) -> bool:
    if len(partial) < HEADER_BYTES:
        return False
    length = int.from_bytes(partial[:4], "little")
    return length > MAX_FRAME_BYTES or len(partial) >= 4 + length


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        with short_path(path) as address:
            listener.bind(address)
    finally:
        os.umask(before)
    listener.listen(256)
    listener.setblocking(False)
    return listener
