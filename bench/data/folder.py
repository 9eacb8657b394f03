"""The folder source against ``cp -a`` and ``sync`` in one run, and how long its swap takes.

python bench/data/folder.py [--large]      (10 and 100 MB in files of 100 kB; --large adds 1 GB)
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lastgood.sources.folder import FolderSource

LIMIT_RATIO = 1.5
LIMIT_SWAP_MS = 200.0
FILE_BYTES = 100_000
SWAPS = 15


def seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def own_copy(live: Path, to: Path) -> None:
    """Copy as a person would, and wait for the disk, as the source does."""
    subprocess.run(["rm", "-rf", to], check=True)
    subprocess.run(["cp", "-a", live, to], check=True)
    subprocess.run(["sync", "-f", to], check=True)


def measure(megabytes: int, folder: Path) -> bool:
    live = folder / "live"
    for number in range(megabytes * 1_000_000 // FILE_BYTES):
        (live / f"part {number // 100}").mkdir(parents=True, exist_ok=True)
        (live / f"part {number // 100}" / f"{number}.bin").write_bytes(os.urandom(FILE_BYTES))
    subprocess.run(["sync", "-f", folder], check=True)
    source = FolderSource("bench", live, folder / "kept")
    taken: dict[str, list[float]] = {"copy": [], "capture": [], "stage": []}
    for turn in range(3):
        token = f"kept{turn}"
        taken["copy"].append(seconds(lambda: own_copy(live, folder / "own")))
        taken["capture"].append(seconds(lambda token=token: source.capture(token)))
        snapshot = source.capture(token)
        taken["stage"].append(seconds(lambda snapshot=snapshot: source.stage_restore(snapshot, "trial")))
        source.release("trial")
        if turn < 2:
            source.release(token)
    swaps = []
    for number in range(SWAPS if megabytes < 1000 else 3):
        source.stage_restore(snapshot, f"back{number}")
        swaps.append(seconds(lambda number=number: source.swap(f"back{number}")) * 1000)
        source.release(f"back{number}")
    print(f"\n{megabytes} MB in {megabytes * 1_000_000 // FILE_BYTES} files")
    own, good = statistics.median(taken["copy"]), max(swaps) <= LIMIT_SWAP_MS
    for name in ("capture", "stage"):
        took = statistics.median(taken[name])
        ratio = took / own
        good &= ratio <= LIMIT_RATIO
        missed = "" if ratio <= LIMIT_RATIO else "  MISSED"
        print(f"  {name:<8} {took:6.2f} s   cp -a {own:6.2f} s   {ratio:4.1f}x (goal {LIMIT_RATIO}x){missed}")
    print(f"  swap: median {statistics.median(swaps):.1f} ms, longest of {len(swaps)} {max(swaps):.1f} ms")
    return good


def main() -> int:
    good = True
    for megabytes in (10, 100, *([1000] if "--large" in sys.argv else [])):
        with tempfile.TemporaryDirectory(prefix="lastgood-bench-") as folder:
            good &= measure(megabytes, Path(folder))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
