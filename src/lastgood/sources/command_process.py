"""Runs one program for a data source: an argument list, JSON in, JSON out, a deadline, and bounds on what it says.

No shell reads the arguments. The program is the leader of a process group; when it ends or its time is over, whatever is
left of the group is killed, so that nothing of it goes on in the dark.
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

import msgspec

from lastgood.errors import Code, LastgoodError

ANSWER_BYTES_MAX: Final = 1024 * 1024
_SAID_BYTES: Final = 4096
_LOOK_SECONDS: Final = 0.05


class Ended(msgspec.Struct, frozen=True):
    """How a program ended: its exit status (negative: the signal), its answer, and the last line that it complained."""

    status: int
    answer: bytes
    said: str


def run(
    argv: tuple[str, ...], body: bytes, *, environment: Mapping[str, str], folder: Path, seconds: float
) -> Ended:
    """Run a program with ``body`` on its standard input and wait for its end.

    :raises LastgoodError: ``timeout`` when it took longer than ``seconds``, ``too_large`` when its answer is over
        1 MiB, ``unavailable`` when it cannot be started.
    """
    name = Path(argv[0]).name
    with tempfile.TemporaryFile() as given:  # a file, so that a program that never reads blocks nobody
        given.write(body)
        given.seek(0)
        try:
            process = subprocess.Popen(
                argv,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not a possible command"
            raise LastgoodError(
                Code.UNAVAILABLE,
                f"The program {name!r} cannot be started: {why}.",
                "Check the path, and that the server may run it.",
            ) from None
    with process:
        try:
            return _listen(process, name, time.monotonic() + seconds, seconds)
        finally:
            _kill_group(process)


def _listen(process: subprocess.Popen[bytes], name: str, deadline: float, seconds: float) -> Ended:
    """Read both pipes until the program ends; a grandchild that holds them open is not waited for."""
    assert process.stdout is not None
    assert process.stderr is not None
    heard = {process.stdout: b"", process.stderr: b""}
    with selectors.DefaultSelector() as selector:
        for pipe in heard:
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ)
        ended = False
        while not ended:
            ended = _has_ended(
                process.pid
            )  # asked first: all that it wrote before its end is read after this
            if not ended and time.monotonic() >= deadline:
                raise LastgoodError(
                    Code.TIMEOUT,
                    f"The program {name!r} did not end within {seconds:g} s and was killed.",
                    "Look why it hangs, or give it more time in 'timeouts'.",
                )
            while _hear(selector, heard, 0.0 if ended else _LOOK_SECONDS):
                heard[process.stderr] = heard[process.stderr][-_SAID_BYTES:]
                if len(heard[process.stdout]) > ANSWER_BYTES_MAX:
                    raise LastgoodError(
                        Code.TOO_LARGE,
                        f"The program {name!r} answered more than {ANSWER_BYTES_MAX} bytes and was killed.",
                        "Its standard output is for the answer only; write rows to files.",
                    )
                if not ended and time.monotonic() >= deadline:
                    break
    _kill_group(process)
    return Ended(process.wait(), heard[process.stdout], _last_line(heard[process.stderr]))


def _hear(selector: selectors.BaseSelector, heard: dict[IO[bytes], bytes], wait: float) -> bool:
    """Read what is there; False when nothing came within ``wait`` seconds."""
    if not selector.get_map():
        time.sleep(wait)  # it closed both and runs on
        return False
    ready = selector.select(wait)
    for key, _ in ready:
        pipe = next(pipe for pipe in heard if pipe.fileno() == key.fd)
        chunk = os.read(key.fd, 65_536)
        if chunk:
            heard[pipe] += chunk
        else:
            selector.unregister(pipe)
    return bool(ready)


def _has_ended(pid: int) -> bool:
    """Whether the process has ended; it stays a zombie, so that its group's number cannot become another's."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is not None:
        return  # reaped: the number may be somebody else's by now
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # nobody is left


def _last_line(said: bytes) -> str:
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines or (len(said) == _SAID_BYTES and len(lines) == 1):
        return ""  # where a longer line was cut off, half a secret would not be known as one
    return " ".join("".join(c if c.isprintable() else " " for c in lines[-1]).split())
