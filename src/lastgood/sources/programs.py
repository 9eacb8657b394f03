"""The programs that migrate live data for a release: run to their end, or ended with everything they started.

No shell reads the arguments. A program is the leader of a process group, whose number is written down before it begins:
a process that starts after a crash ends what is left of the group, so that nothing changes data behind a restore.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from lastgood.errors import Code, LastgoodError
from lastgood.wire.credentials import without_credentials
from lastgood.wire.process import unmarked

_LOOK_SECONDS: Final = 0.02
_SAID_BYTES: Final = 4096
_SHOWN_CHARACTERS: Final = 300


class _Note(msgspec.Struct):
    """Which process group runs: its leader, and when the kernel says that it started."""

    pid: int
    started: str


class MigrationPrograms:
    """Runs programs in the project's ``folder``; notes and what they said lie in ``kept``. Safe from any thread."""

    def __init__(self, folder: Path, kept: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._kept = kept
        self._environ = environ
        self._lock = threading.Lock()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ended: set[str] = set()

    def run(self, name: str, argv: tuple[str, ...], *, seconds: float) -> None:
        """Run a program to its end; what it says goes to ``<name>.log``.

        :raises LastgoodError: ``timeout`` when it took longer than ``seconds``, ``unavailable`` when it cannot be
            started or was ended, ``refused`` when it exited with another status than 0.
        """
        self._kept.mkdir(parents=True, exist_ok=True)
        log = self._kept / f"{name}.log"
        with log.open("wb") as said:
            process = self._start(name, argv, said.fileno())
        deadline = time.monotonic() + seconds
        try:
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise LastgoodError(
                        Code.TIMEOUT,
                        f"{argv[0]!r} did not end within {seconds:g} s and was ended.",
                        f"Give it more time (migrate_timeout), or see {log}.",
                    )
                time.sleep(_LOOK_SECONDS)
        finally:
            _end_group(process.pid)
            process.wait()
            with self._lock:
                self._running.pop(name, None)
            self._note(name).unlink(missing_ok=True)
        if process.returncode != 0:
            how = "was ended" if process.returncode < 0 else f"exited with status {process.returncode}"
            line = _last_line(log)
            raise LastgoodError(
                Code.REFUSED, f"{argv[0]!r} {how}{f': {line}' if line else ''}.", f"All it said is in {log}."
            )

    def end(self, name: str) -> None:
        """End the program of that name and all it started, also one of an earlier process; one that has not begun never does."""
        with self._lock:
            process = self._running.get(name)
            if process is None and name in self._ended:
                return
            self._ended.add(name)
        if process is not None:
            _end_group(process.pid)
            return
        note = self._note(name)
        try:
            left = msgspec.json.decode(note.read_bytes(), type=_Note)
        except (FileNotFoundError, msgspec.MsgspecError):
            return
        if _started(left.pid) in (left.started, None):  # it, or what it left behind in its group
            _end_group(left.pid)
        note.unlink(missing_ok=True)

    def _start(self, name: str, argv: tuple[str, ...], said: int) -> subprocess.Popen[bytes]:
        with self._lock:
            if name in self._ended:
                raise LastgoodError(
                    Code.UNAVAILABLE, f"{argv[0]!r} was ended before it began.", "Begin anew."
                )
            try:
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    env=unmarked(self._environ),
                    cwd=self._folder,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not a possible command"
                raise LastgoodError(
                    Code.UNAVAILABLE,
                    f"{argv[0]!r} cannot be started: {why}.",
                    "Check that the server may run it.",
                ) from None
            self._running[name] = process
            self._note(name).write_bytes(
                msgspec.json.encode(_Note(pid=process.pid, started=_started(process.pid) or ""))
            )
        return process

    def _note(self, name: str) -> Path:
        return self._kept / f"{name}.pid"


def _started(pid: int) -> str | None:
    """Return when a process started, by the kernel's clock ticks; None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]


def _end_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # nothing of it is left, or the number belongs to somebody else by now


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _SAID_BYTES))
        text = file.read().decode("utf-8", "replace")
    lines = ["".join(c for c in line if c.isprintable()).strip() for line in text.splitlines()]
    return without_credentials(next((line for line in reversed(lines) if line), ""))[:_SHOWN_CHARACTERS]
