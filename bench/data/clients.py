"""Clients of a SQLite file in processes of their own, which note how long each of their statements took."""

import multiprocessing
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

ROWS = 50  # that one read asks for


class Clients:
    """A reader and a writer; ``times[kind]`` is filled when they end: (when, milliseconds) of each statement."""

    def __init__(self) -> None:
        self.times: dict[str, list[tuple[float, float]]] = {}

    def p99(self, kind: str, spans: list[tuple[float, float]]) -> float:
        """Return the 99th percentile of the milliseconds within spans of time (time.monotonic)."""
        taken = sorted(self._within(kind, spans))
        assert len(taken) >= 20, f"only {len(taken)} {kind} statements were measured"
        return taken[int(len(taken) * 0.99)]

    def longest(self, kind: str, spans: list[tuple[float, float]]) -> float:
        """Return the longest milliseconds within spans of time."""
        return max(self._within(kind, spans))

    def _within(self, kind: str, spans: list[tuple[float, float]]) -> list[float]:
        return [ms for at, ms in self.times[kind] if any(begin <= at <= end for begin, end in spans)]


def _run(kind: str, path: Path, ended: Event, told: Any) -> None:
    taken: list[tuple[float, float]] = []
    number = 0
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as client:
        told.send("ready")
        while not ended.is_set():
            number += 1
            begun = time.monotonic()
            if kind == "write":
                client.execute("INSERT INTO features (text, note) VALUES (?, 'written')", (f"w{number}",))
            else:
                first = number * 7919 % 10_000
                client.execute(
                    "SELECT * FROM features WHERE id BETWEEN ? AND ?", (first, first + ROWS)
                ).fetchall()
            taken.append((begun, (time.monotonic() - begun) * 1000))
            time.sleep(0.002)
    told.send(taken)


@contextmanager
def running(path: Path) -> Iterator[Clients]:
    """Run both; what they measured is in the result once the block has ended."""
    clients, spawn = Clients(), multiprocessing.get_context("spawn")
    ended = spawn.Event()
    pipes = {kind: spawn.Pipe(duplex=False) for kind in ("read", "write")}
    processes = [
        spawn.Process(target=_run, args=(kind, path, ended, told)) for kind, (_, told) in pipes.items()
    ]
    for process in processes:
        process.start()
    for heard, _ in pipes.values():
        heard.recv()
    time.sleep(1.0)
    try:
        yield clients
    finally:
        ended.set()
        clients.times = {kind: heard.recv() for kind, (heard, _) in pipes.items()}
        for process in processes:
            process.join()
