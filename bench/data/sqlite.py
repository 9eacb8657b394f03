"""The SQLite source against SQLite's own backup, in one run; and what its clients notice.

    python bench/data/sqlite.py [MB ...] [--large]      (10 and 100 MB, or the sizes given; --large adds 1 GB)

Both journal modes. The swap is measured with a reader and a writer in processes of their own.
"""

import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from clients import Clients, running

from lastgood.domain.snapshot import Snapshot
from lastgood.sources.sqlite import SqliteSource

LIMIT_RATIO = 1.5
LIMIT_P99 = 2.0
LIMIT_SWAP_MS = 200.0
TURNS = 5  # of a backup, a capture and a staged restore, one after the other
SWAPS = 7
SWAPS_FEW = 2  # where staging takes long: 1 GB, or no write-ahead log
ROUNDS = 4  # of clients alone, and clients beside captures
ROW_BYTES = 127  # measured: the file's bytes for each row of the table below, with its index


def fill(path: Path, megabytes: int, journal: str) -> None:
    """Write a feature table: a key, an indexed text, eight numbers, a note."""
    chance = random.Random(7)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute(f"PRAGMA journal_mode = {journal}")
        raw.execute(
            "CREATE TABLE features (id INTEGER PRIMARY KEY, text TEXT, "
            + ", ".join(f"f{number} REAL" for number in range(8))
            + ", note TEXT)"
        )
        raw.execute("CREATE INDEX by_text ON features (text)")
        raw.execute("PRAGMA synchronous = OFF")
        raw.execute("PRAGMA cache_size = -500000")  # the index is filled in no order
        raw.execute("BEGIN")
        raw.executemany(
            "INSERT INTO features VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            (
                (n, f"user-{n * 7919 % 10_000_019}", *(chance.random() for _ in range(8)), f"note {n}")
                for n in range(megabytes * 1_000_000 // ROW_BYTES)
            ),
        )
        raw.execute("COMMIT")
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def taken_by(act: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds by the clock, and those of this process's processors."""
    busy = time.process_time()
    took = seconds(act)
    return took, time.process_time() - busy


def own_backup(live: Path, to: Path) -> None:
    """Copy as the sqlite3 shell's .backup does, and wait for the disk, as the source does."""
    to.unlink(missing_ok=True)
    with closing(sqlite3.connect(live)) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)
    descriptor = os.open(to, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


Taken = dict[str, list[tuple[float, float]]]


def compared(source: SqliteSource, live: Path, folder: Path, turns: int) -> tuple[Taken, Snapshot]:
    """Return what each turn took; those of one turn follow each other at once."""
    taken: Taken = {"backup": [], "capture": [], "verify": [], "stage": []}
    for turn in range(turns):
        token = f"kept{turn}"
        taken["backup"].append(taken_by(lambda: own_backup(live, folder / "own.db")))
        taken["capture"].append(taken_by(lambda token=token: source.capture(token)))
        snapshot = source.capture(token)
        taken["verify"].append(taken_by(lambda snapshot=snapshot: source.verify(snapshot)))
        taken["stage"].append(taken_by(lambda snapshot=snapshot: source.stage_restore(snapshot, "trial")))
        source.release("trial")
        if turn < turns - 1:
            source.release(token)
    return taken, snapshot


def ratio(taken: Taken, name: str, which: int) -> float:
    """Return the median of the turns' own ratios: by the clock (0) or of processors' time (1)."""
    return statistics.median(
        one[which] / own[which] for one, own in zip(taken[name], taken["backup"], strict=True)
    )


def measure(megabytes: int, journal: str, folder: Path) -> bool:
    live = folder / "live.db"
    fill(live, megabytes, journal)
    source = SqliteSource("bench", live, folder / "kept", lock_seconds=10.0)
    print(f"\n{live.stat().st_size / 1e6:.0f} MB, journal_mode={journal}", flush=True)
    large = megabytes >= 1000
    taken, snapshot = compared(source, live, folder, 1 if large else TURNS)
    good = True
    for name, words in (
        ("capture", "capture, read back"),
        ("stage", "staged inside the live file, read back"),
    ):
        took, own = (statistics.median(one[0] for one in taken[each]) for each in (name, "backup"))
        by_clock = ratio(taken, name, 0)
        good &= by_clock <= LIMIT_RATIO
        print(
            f"  {words:<40} {took:7.2f} s   own backup {own:6.2f} s   {by_clock:5.1f}x "
            f"(goal {LIMIT_RATIO}x){'' if by_clock <= LIMIT_RATIO else '  MISSED'}   "
            f"processors {ratio(taken, name, 1):.1f}x"
        )
    print(f"  verify {statistics.median(one[0] for one in taken['verify']):.2f} s", flush=True)
    clients, moments = busy(
        source,
        live,
        snapshot,
        rounds=1 if large else ROUNDS,
        swaps=SWAPS_FEW if large or journal != "wal" else SWAPS,
    )
    good &= report(clients, moments, gated=journal == "wal")
    return good


Moments = dict[str, list[tuple[float, float]]]


def busy(
    source: SqliteSource, live: Path, snapshot: Snapshot, *, rounds: int, swaps: int
) -> tuple[Clients, Moments]:
    """Do everything under clients; return what they measured and from when to when each part was."""
    moments: Moments = {}
    with running(live) as clients:

        def part(name: str, act: Callable[[], object]) -> None:
            begun = time.monotonic()
            act()
            moments.setdefault(name, []).append((begun, time.monotonic()))

        for _ in range(rounds):
            part("before", lambda: time.sleep(3.0))
            until, number = time.monotonic() + 3.0, 0
            while time.monotonic() < until:
                part("capture", lambda number=number: source.capture(f"busy{number}"))
                source.release(f"busy{number}")
                number += 1
        part("stage", lambda: source.stage_restore(snapshot, "first"))
        part("swap", lambda: source.swap("first"))
        with tempfile.TemporaryDirectory() as exports:
            part("quarantine", lambda: source.quarantine(snapshot, "first", Path(exports)))
        source.release("first")
        taken = []
        for number in range(swaps):
            source.stage_restore(snapshot, f"back{number}")
            taken.append(seconds(lambda number=number: source.swap(f"back{number}")) * 1000)
            source.release(f"back{number}")
    captures = statistics.median(end - begun for begun, end in moments["capture"])
    print(f"  one capture beside clients: {captures:.2f} s")
    print(
        f"  swap under clients: median {statistics.median(taken):.1f} ms, longest of {swaps} {max(taken):.1f} ms"
    )
    clients.times["swap"] = [(0.0, ms) for ms in taken]
    return clients, moments


def report(clients: Clients, moments: Moments, *, gated: bool) -> bool:
    good = max(ms for _, ms in clients.times["swap"]) <= LIMIT_SWAP_MS
    for kind in ("read", "write"):
        try:
            before = clients.p99(kind, moments["before"])
        except AssertionError as few:  # without a write-ahead log, a busy writer alone keeps readers out
            print(f"  {few}, before anything began")
            continue
        for name in ("capture", "stage", "quarantine"):
            try:
                now = clients.p99(kind, moments[name])
            except AssertionError:
                continue  # over before there was anything to measure
            goal = name == "capture" and gated
            missed = goal and now > LIMIT_P99 * before
            good &= not missed
            print(
                f"  {kind} p99 before {before:6.2f} ms, during {name:<10} {now:7.2f} ms  {now / before:5.1f}x, "
                f"longest {clients.longest(kind, moments[name]):7.1f} ms"
                f"{f' (goal {LIMIT_P99:.0f}x)' if goal else ''}{'  MISSED' if missed else ''}"
            )
    return good


def main() -> int:
    sizes = [int(word) for word in sys.argv[1:] if word.isdigit()] or [10, 100]
    if "--large" in sys.argv:
        sizes.append(1000)
    good = True
    for megabytes in sizes:
        for journal in ("wal", "delete") if megabytes == 100 else ("wal",):
            with tempfile.TemporaryDirectory(prefix="lastgood-bench-") as folder:
                good &= measure(megabytes, journal, Path(folder))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
