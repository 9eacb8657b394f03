"""How a child process is tied to the one that started it."""

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from typing import Final

PARENT_PID: Final = "LASTGOOD_PARENT_PID"  # in the environment of every child of the supervisor
RUN_FOLDER: Final = "LASTGOOD_RUN"  # marks every process of one home, so that leftovers are found
_PR_SET_PDEATHSIG: Final = 1


def unmarked(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` for a program that is not one of ours: it may outlive the server, and no server ends it."""
    return {name: text for name, text in environ.items() if name not in {PARENT_PID, RUN_FOLDER}}


def end_with_parent(pid: int | None = None) -> None:
    """Ask the kernel to send this process SIGTERM when its parent, which is process ``pid``, ends.

    Without ``pid`` the environment's ``LASTGOOD_PARENT_PID`` counts, and nothing happens where that is not
    set: somebody started this process by hand. Call it first thing in a child. If the parent is gone already, this process
    ends here, with status 0: nobody is left who could want it. The tie is to the *thread* that started this
    process, so a supervisor starts its children from its main thread.
    """
    parent = pid if pid is not None else int(os.environ.get(PARENT_PID, "0"))
    if not parent:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(0)
