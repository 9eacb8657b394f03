"""Clients of a PostgreSQL schema in processes of their own, which note how long each of their statements took."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.synchronize import Event
from typing import Any

import psycopg

READERS = 4
WRITERS = 2
_READ = "SELECT * FROM features WHERE id BETWEEN %s AND %s"
_WRITE = "INSERT INTO features (text, note) VALUES (%s, 'written')"


class Clients:
    """Four readers and two writers; ``times[kind]`` is filled when they end: (when, milliseconds) of each statement."""

    def __init__(self) -> None:
        self.times: dict[str, list[tuple[float, float]]] = {"read": [], "write": []}
        self.failed = 0

    def p99(self, kind: str, begin: float, end: float) -> float:
        """Return the 99th percentile of the milliseconds of statements begun between two moments (time.monotonic)."""
        taken = sorted(ms for at, ms in self.times[kind] if begin <= at <= end)
        assert len(taken) >= 20, f"only {len(taken)} {kind} statements were measured"
        return taken[int(len(taken) * 0.99)]

    def longest(self, begin: float, end: float) -> float:
        """Return the longest statement of all that were under way between two moments."""
        every = self.times["read"] + self.times["write"]
        return max((ms for at, ms in every if at <= end and at + ms / 1000 >= begin), default=0.0)


def _run(kind: str, seed: int, url: str, ended: Event, told: Any) -> None:
    taken: list[tuple[float, float]] = []
    failed, number = 0, seed * 1_000_003
    with closing(psycopg.connect(url, autocommit=True)) as client:
        client.execute("SET search_path = live")
        told.send("ready")
        while not ended.is_set():
            number += 1
            begun = time.monotonic()
            try:
                if kind == "write":
                    client.execute(_WRITE, [f"w{number}"], prepare=True)
                else:
                    first = number * 7919 % 10_000
                    client.execute(_READ, [first, first + 50], prepare=True).fetchall()
            except psycopg.Error:
                failed += 1
            taken.append((begun, (time.monotonic() - begun) * 1000))
            time.sleep(0.005)
    told.send((taken, failed))


@contextmanager
def running(url: str) -> Iterator[Clients]:
    """Run them all; what they measured is in the result once the block has ended."""
    clients, spawn = Clients(), multiprocessing.get_context("spawn")
    ended = spawn.Event()
    kinds = ["read"] * READERS + ["write"] * WRITERS
    pipes = [(kind, *spawn.Pipe(duplex=False)) for kind in kinds]
    processes = [
        spawn.Process(target=_run, args=(kind, seed, url, ended, told))
        for seed, (kind, _, told) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    for _, heard, _ in pipes:
        heard.recv()
    time.sleep(1.0)
    try:
        yield clients
    finally:
        ended.set()
        for kind, heard, _ in pipes:
            taken, failed = heard.recv()
            clients.times[kind] += taken
            clients.failed += failed
        for process in processes:
            process.join()
