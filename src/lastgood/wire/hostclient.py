"""A small synchronous client of a model host: for health checks and for checks before a release.

One request at a time over one connection, with a deadline. The gateway has its own, asynchronous way.
"""

import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from lastgood.errors import Code, LastgoodError
from lastgood.wire.frames import HEADER, HEADER_BYTES, MAX_FRAME_BYTES, Request, Status, pack
from lastgood.wire.sockets import short_path


class HostClient:
    """One connection to one host. Use it as a context manager, or call :meth:`close`."""

    def __init__(self, path: str | Path, *, timeout: float = 2.0) -> None:
        """Connect within ``timeout`` seconds.

        :raises LastgoodError: ``unavailable`` if no host listens there.
        """
        self._path = str(path)
        self._identifier = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            with short_path(path) as address:
                self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise LastgoodError(
                Code.UNAVAILABLE, f"No model host answers at {path}: {error}.", "See the host's log."
            ) from None

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection. Closing twice is harmless."""
        self._socket.close()

    def ask(self, kind: Request, name: str, body: bytes, *, timeout: float) -> tuple[Status, bytes]:
        """Send one request and return the host's answer. After an error the connection is closed.

        :raises LastgoodError: ``timeout`` if there is no answer within ``timeout`` seconds, ``unavailable``
            if the host ends first.
        """
        self._identifier += 1
        deadline = time.monotonic() + timeout
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(pack(self._identifier, kind, name.encode(), body))
            while True:
                length, identifier, status, _, named = HEADER.unpack(self._read(HEADER_BYTES, deadline))
                if length > MAX_FRAME_BYTES:
                    raise ConnectionError("what it sent is not a frame")
                answer = self._read(length - (HEADER_BYTES - 4), deadline)[named:]
                if identifier == self._identifier:
                    return Status(status), answer
        except TimeoutError:
            self.close()
            raise LastgoodError(
                Code.TIMEOUT,
                f"The model host at {self._path} did not answer within {timeout:g} s.",
                "It is busy or hangs; see its log.",
            ) from None
        except (OSError, ValueError) as error:
            self.close()
            raise LastgoodError(
                Code.UNAVAILABLE, f"The model host at {self._path} went away: {error}.", "See its log."
            ) from None

    def infer(self, name: str, body: bytes, *, timeout: float = 30.0) -> tuple[Status, bytes]:
        """Send a V2 inference body for the deployment ``name``; as :meth:`ask`."""
        return self.ask(Request.INFER, name, body, timeout=timeout)

    def ping(self, timeout: float) -> bool:
        """Return whether the host's loop answers within ``timeout`` seconds."""
        try:
            status, _ = self.ask(Request.PING, "", b"", timeout=timeout)
        except LastgoodError:
            return False
        return status is Status.OK

    def _read(self, count: int, deadline: float) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            chunk = self._socket.recv(min(count - len(parts), 1 << 20))
            if not chunk:
                raise ConnectionError("it closed the connection")
            parts += chunk
        return bytes(parts)


def ping(path: str | Path, timeout: float) -> bool:
    """Return whether a host listens at ``path`` and answers within ``timeout`` seconds."""
    try:
        with HostClient(path, timeout=timeout) as client:
            return client.ping(timeout)
    except LastgoodError:
        return False
