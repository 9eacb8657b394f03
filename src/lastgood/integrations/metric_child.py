"""Runs what must not run here, somebody's function or database driver, in a process of its own, with a time-out.

The child is the leader of a process group, and nothing in its folder can stand in for a module (``-P``). When it ends or its time is over, whatever is left of the group is killed. What
it says on its standard output goes nowhere; its answer comes through a file of its own.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import msgspec

from lastgood.domain.custom import Counts, Numbers
from lastgood.errors import Code, LastgoodError
from lastgood.wire.process import unmarked

ANSWER_BYTES_MAX: Final = 1024 * 1024
_LOOK_SECONDS: Final = 0.02
_LONGER_SECONDS: Final = 1.0
_Asked = TypeVar("_Asked")


class ChildAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a child says: a reading (None: no data), or an error with its code."""

    reading: Numbers | Counts | None = None
    code: str = ""
    error: str = ""


def run_child(
    module: str,
    asked: Mapping[str, Any],
    *,
    what: str,
    folder: Path,
    environ: Mapping[str, str],
    seconds: float,
) -> Numbers | Counts | None:
    """Run ``python -m module`` in ``folder`` with ``asked`` as JSON on its standard input, and return its reading.

    ``what`` is what it does, as errors say it.

    :raises LastgoodError: ``timeout`` when it took longer than ``seconds``, ``too_large`` for more than 1 MiB,
        ``unavailable`` when it ended without an answer, else what the child says.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as answer:
        given.write(msgspec.json.encode(asked))
        given.seek(0)
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(answer.fileno()), str(seconds)],
                stdin=given,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(answer.fileno(),),
                env=unmarked(environ),
                cwd=folder,
                start_new_session=True,
            )
        except OSError as error:
            raise LastgoodError(
                Code.UNAVAILABLE, f"{what} cannot be run: {error.strerror}.", "See what the machine lacks."
            ) from None
        _wait(process, what, seconds)
        return _heard(answer, process.returncode, what)


def _wait(process: subprocess.Popen[bytes], what: str, seconds: float) -> None:
    """Wait for the end of the child, and end all that it started."""
    deadline = time.monotonic() + seconds
    try:
        # It stays a zombie until its group is ended, so that the group's number cannot become another's.
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() >= deadline:
                raise LastgoodError(
                    Code.TIMEOUT,
                    f"{what} did not answer within {seconds:g} s and was ended.",
                    "Look why, or give it more 'timeout'.",
                )
            time.sleep(_LOOK_SECONDS)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        finally:
            process.wait()


def _heard(answer: IO[bytes], status: int, what: str) -> Numbers | Counts | None:
    size = answer.seek(0, os.SEEK_END)
    if size > ANSWER_BYTES_MAX:
        raise LastgoodError(
            Code.TOO_LARGE, f"{what} answered more than {ANSWER_BYTES_MAX} bytes.", "Answer the metric alone."
        )
    answer.seek(0)
    try:
        found = msgspec.json.decode(answer.read(), type=ChildAnswer)
    except msgspec.DecodeError:
        how = f"signal {-status}" if status < 0 else f"status {status}"
        raise LastgoodError(
            Code.UNAVAILABLE,
            f"{what} ended with {how}, without an answer.",
            "Run it by hand where the server runs: what it prints is not kept.",
        ) from None
    if found.error:
        raise LastgoodError(Code(found.code), found.error, "Correct the metric.")
    return found.reading


def hear(kind: type[_Asked]) -> _Asked:
    """Return what a child is asked; its first act. It ends by itself soon after its time, should nobody live to end it."""
    signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]) + _LONGER_SECONDS)
    return msgspec.json.decode(sys.stdin.buffer.read(), type=kind)


def answer_with(answer: ChildAnswer) -> None:
    """Write a child's answer to the file that it was started with; its last act."""
    with os.fdopen(int(sys.argv[1]), "wb") as file:
        file.write(msgspec.json.encode(answer))
