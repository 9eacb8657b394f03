"""One child process at a time: started in its own session, restarted with growing pauses, stopped for sure."""

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from lastgood.wire.process import PARENT_PID, RUN_FOLDER

log = logging.getLogger("lastgood.supervise")
PAUSE_SECONDS_MAX: Final = 5.0
CALM_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.1
_LOG_BYTES_MAX: Final = 8 * 1024 * 1024


class Child:
    """A process that should run. It is known by its own pid, never by its name."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        run: Path,
        fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Describe it; nothing runs before :meth:`start`. ``fds`` stay open in it under the same numbers."""
        self.name = name
        self.argv = list(argv)
        self.starts = 0
        self.exit_status: int | None = None
        self._run = run
        self._fds = tuple(fds)
        self._env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._deaths = 0
        self._again = 0.0
        self._deadline: float | None = None

    @property
    def pid(self) -> int:
        """The pid while it runs, else 0."""
        return self._process.pid if self._process is not None else 0

    @property
    def log_file(self) -> Path:
        """Where its output goes."""
        return self._run / "logs" / f"{self.name}.log"

    def start(self) -> None:
        """Start it now."""
        environment = {
            **os.environ,
            **self._env,
            PARENT_PID: str(os.getpid()),
            RUN_FOLDER: str(self._run),
        }
        self.log_file.parent.mkdir(exist_ok=True)
        _rotate(self.log_file)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self._fds,
                env=environment,
            )
        self.starts += 1
        self.exit_status = None
        self._deadline = None
        self._started = time.monotonic()

    def died(self) -> bool:
        """Return True once when it has ended since the last call, and plan the next start."""
        if not self._reap():
            return False
        self._pause()
        return True

    def start_if_due(self) -> bool:
        """Start it if it does not run and its pause is over; return whether it was started.

        Where the system cannot start it now (no memory, full disk), it is tried again after a pause.
        """
        if self._process is not None or time.monotonic() < self._again:
            return False
        try:
            self.start()
        except OSError as error:
            log.warning("%s cannot be started: %s", self.name, error)
            self._pause()
            return False
        return True

    def terminate(self, seconds: float) -> None:
        """Ask it to end, and let :meth:`gone` kill it when it still runs ``seconds`` from now."""
        if self._process is not None and self._deadline is None:
            self._deadline = time.monotonic() + seconds
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and everything in its process group now."""
        self._kill_group()

    def gone(self) -> bool:
        """Return whether it has ended after :meth:`terminate`; past the deadline it is killed first."""
        if self._process is None:
            return True
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._kill_group()
        return self._reap()

    def resident_bytes(self) -> int:
        """Return the memory that is resident now, 0 if it does not run."""
        if self._process is None:
            return 0
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_bytes().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _pause(self) -> None:
        """Plan the next start: at once after the first death, then later and later, until it has been calm."""
        now = time.monotonic()
        if now - self._started >= CALM_SECONDS:
            self._deaths = 0
        pause = _PAUSE_SECONDS * 2 ** min(self._deaths, 10) if self._deaths else 0.0
        self._deaths += 1
        self._again = now + min(pause, PAUSE_SECONDS_MAX)

    def _reap(self) -> bool:
        """Return True if it has ended, after ending what it had started itself."""
        if self._process is None or not _has_ended(self._process):
            return False
        self._kill_group()  # before the pid is given back, so that it cannot be somebody else's
        self.exit_status = self._process.wait()
        self._process = None
        return True

    def _kill_group(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def explain_exit(status: int) -> str:
    """Return a sentence for an exit status as :mod:`subprocess` gives it."""
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"It was killed by {name}."
    return f"It ended with status {status}."


def end_leftovers(run: Path, *, seconds: float = 1.0) -> list[int]:
    """End processes that an earlier supervisor of this run folder left behind; return their pids.

    They are known by a mark in their environment that only our children have. Each gets SIGTERM, and
    SIGKILL after ``seconds``.
    """
    mark = f"{RUN_FOLDER}={run}".encode()
    found = [pid for pid in _pids() if pid != os.getpid() and mark in _environment(pid)]
    for pid in found:
        _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(mark in _environment(pid) for pid in found):
        time.sleep(0.01)
    for pid in found:
        if mark in _environment(pid):
            _signal(pid, signal.SIGKILL)
    return found


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # gone, or somebody else's
        return []


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _rotate(log: Path) -> None:
    """Keep one earlier log, so that a process that dies again and again cannot fill the disk."""
    if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))
