"""Unix sockets at paths of any length.

The kernel takes at most 107 bytes for a socket's path, and home may lie deeper than that. Every process names
sockets by their real path; only at the moment of the system call is a long one replaced by a short alias, which
means something in this process alone: the open folder, by way of ``/proc``.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PATH_BYTES_MAX: Final = 107


@contextlib.contextmanager
def short_path(path: str | Path) -> Iterator[str]:
    """Give an address for ``path`` that fits ``bind``, ``connect`` or ``sendto`` made inside the block.

    The socket made or found is the one at ``path``. Do not keep the address: it ends with the block.

    :raises OSError: if the path is too long and its folder cannot be opened.
    """
    if len(os.fsencode(path)) <= PATH_BYTES_MAX:
        yield str(path)
        return
    folder, name = os.path.split(path)
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
