"""Notifications to a command of the operator's: the event on its standard input, its key in the environment.

No shell reads the command. It runs in the folder that holds the server's home, in a process group of its own,
and has 30 seconds.
"""

import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

from lastgood.domain.channel import Channel
from lastgood.domain.event import AuditEvent
from lastgood.errors import Code, LastgoodError
from lastgood.integrations.cloud_event import encode_cloud_event
from lastgood.settings import Settings
from lastgood.wire.process import unmarked

LIMIT_SECONDS: Final = 30.0
_SHOWN_CHARACTERS: Final = 200
_LOOK_SECONDS: Final = 0.05


def create(settings: Settings) -> "Command":
    """Return the notifier."""
    return Command(folder=Path(settings.home).parent, environ=os.environ)


class Command:
    """The :class:`~lastgood.ports.Notifier` for channels with a ``command``. Safe from any thread."""

    def __init__(
        self, *, folder: Path, environ: Mapping[str, str], limit_seconds: float = LIMIT_SECONDS
    ) -> None:
        self._folder = folder
        self._environ = environ
        self._limit_seconds = limit_seconds

    def send(self, channel: Channel, event: AuditEvent, key: str) -> None:
        """Run the command; returns when it has exited with status 0.

        Its environment is the server's, with ``LASTGOOD_EVENT_KEY``, ``LASTGOOD_EVENT_TYPE``,
        ``LASTGOOD_DEPLOYMENT`` and ``LASTGOOD_RELEASE`` (empty where there is none), and without the marks by
        which a server finds its own processes and ends them.

        :raises LastgoodError: ``timeout`` when it took too long (its process group is killed), ``unavailable``
            when it exited otherwise, ``refused`` when it cannot be started.
        """
        if not channel.command:
            raise LastgoodError(Code.REFUSED, "The channel has no command.", "Correct the plan.")
        name = Path(channel.command[0]).name
        with tempfile.TemporaryFile() as body:  # a file, so that a command that never reads blocks nobody
            body.write(encode_cloud_event(event, key))
            body.seek(0)
            process = self._start(channel.command, body, event, key)
            with process:
                said = self._wait(process, name)
        if process.returncode != 0:
            why = f": {said}" if said else ""
            raise LastgoodError(
                Code.UNAVAILABLE,
                f"The command {name!r} exited with {process.returncode}{why}.",
                "It is tried again.",
            )

    def _start(
        self, argv: tuple[str, ...], body: IO[bytes], event: AuditEvent, key: str
    ) -> subprocess.Popen[bytes]:
        told = {
            "LASTGOOD_EVENT_KEY": key,
            "LASTGOOD_EVENT_TYPE": event.type,
            "LASTGOOD_DEPLOYMENT": event.deployment or "",
            "LASTGOOD_RELEASE": "" if event.release is None else str(event.release),
        }
        try:
            return subprocess.Popen(
                argv,
                stdin=body,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**unmarked(self._environ), **told},
                cwd=self._folder,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not a possible command"
            raise LastgoodError(
                Code.REFUSED,
                f"The command {Path(argv[0]).name!r} cannot be started: {why}.",
                "Check that the server may run it.",
            ) from None

    def _wait(self, process: subprocess.Popen[bytes], name: str) -> str:
        """Wait for the end and return the beginning of what it said on standard error."""
        deadline = time.monotonic() + self._limit_seconds
        assert process.stderr is not None
        os.set_blocking(process.stderr.fileno(), False)
        said = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stderr, selectors.EVENT_READ)
            while process.poll() is None:
                if time.monotonic() >= deadline:
                    _kill_group(process)
                    raise LastgoodError(
                        Code.TIMEOUT,
                        f"The command {name!r} did not end within {self._limit_seconds:g} s and was killed.",
                        "It is tried again.",
                    )
                if selector.get_map():
                    said = self._read(process.stderr, selector, said)
                else:  # it closed its standard error and runs on
                    _wait_briefly(process)
            if selector.get_map():
                said = self._read(process.stderr, selector, said)
        text = said.decode("utf-8", "replace")
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_SHOWN_CHARACTERS]

    def _read(self, pipe: IO[bytes], selector: selectors.BaseSelector, said: bytes) -> bytes:
        if not selector.select(_LOOK_SECONDS):
            return said
        chunk = os.read(pipe.fileno(), 65_536)
        if not chunk:
            selector.unregister(pipe)
        return (said + chunk)[: 4 * _SHOWN_CHARACTERS]


def _wait_briefly(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        return  # the caller looks at its deadline and comes back


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended by itself just now
