"""The host's memory limit: a leak ends in this process and not in the whole machine."""

import gc
import resource
from pathlib import Path
from typing import Final

_FULL: Final = 0.8  # of the limit still in use after everything that can be freed was freed


def limit_memory(limit_bytes: int) -> None:
    """Bound what this process can allocate; more raises MemoryError, or ends the process in native code."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def is_exhausted() -> bool:
    """Return whether memory stays short, which is a leak, and not one request that asked for too much."""
    gc.collect()
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return False
    lines = Path("/proc/self/status").read_text().splitlines()
    used = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    return used > _FULL * limit
