"""What the contract suite of data sources needs of each provider: a rig, which makes live data and uses it like an application.

A provider joins by a module here with a class of :class:`Rig`'s shape, and a line in :data:`RIGS`. The module may call
``pytest.importorskip`` or ``pytest.skip`` at its top when what it needs is not installed.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol

from lastgood.data_ports import DataSource
from lastgood.domain.snapshot import Snapshot

RIGS = (  # module of this package and class, in the order of the report
    "sqlite:WalRig",
    "sqlite:JournalRig",
    "folder:FolderRig",
    "dvc:DvcRig",
    "git:GitRig",
    "command:CommandRig",
    "postgres:PostgresRig",
    "delta:DeltaRig",
    "iceberg:IcebergRig",
)

Reached = Callable[[str], None]
FIRST_WRITTEN = 1_000_000  # ids that a writer uses are this and up, in order without a gap


class Activity:
    """What a background reader or writer did, in order. ``committed`` are ids, ``errors`` and ``mixed`` are sentences."""

    def __init__(self) -> None:
        self.committed: list[int] = []
        self.turns = 0
        self.errors: list[str] = []
        self.mixed: list[str] = []

    def wait(self, turns: int) -> None:
        """Wait until it did ``turns`` more; an assertion fails after three minutes."""
        goal, deadline = self.turns + turns, time.monotonic() + 180
        while self.turns < goal:
            assert time.monotonic() < deadline, f"stands still after {self.turns} turns: {self.errors[-3:]}"
            time.sleep(0.001)


class Rig(Protocol):
    """Live data of one provider in a fresh place, holding a few rows in each of ``tables``."""

    columns: ClassVar[bool]  # False for data without columns, as files: its schema says nothing
    locks: ClassVar[bool]  # whether lock() can stop a swap
    tables: tuple[str, ...]
    """Every table, each with rows (id, text). Where the provider can: one with quotes, spaces and non-ASCII letters in
    its name, an empty one, one without a primary key. Writers write to the first."""

    def __init__(self, folder: Path) -> None:
        """Make the data, below ``folder`` where it is in files."""

    def source(self, reached: Reached | None = None) -> DataSource:
        """Return a new source over the same data and kept folder, as a new process would. Its lock time-out is short."""

    def insert(self, table: str, rows: list[tuple[int, str]]) -> None:
        """Commit rows through an ordinary client."""

    def delete(self, table: str, ids: list[int]) -> None:
        """Commit the removal of rows."""

    def rows(self, table: str) -> list[tuple[int, str]]:
        """Return what an ordinary client reads, sorted, whichever of the two schemas the data has."""

    def state(self) -> Any:
        """Return everything that a client can see: all rows, columns, indexes, defaults, whatever must come back."""

    def strange(self) -> None:
        """Commit values that are easy to lose: NULL, bytes, integers of 64 bits, as far as the provider has them."""

    def migrate(self) -> None:
        """Change the schema and rewrite the data so that the old reader cannot read it."""

    def writer(self) -> AbstractContextManager[Activity]:
        """Commit one row every few milliseconds to the first table, under either schema, trying again after an error.

        Only what the client was told is committed is in ``committed``.
        """

    def reader(self) -> AbstractContextManager[Activity]:
        """Read all tables in one look, all the time. Errors, and looks that saw old and new together, are recorded."""

    def lock(self) -> AbstractContextManager[None]:
        """Hold a lock as a long-running client does."""

    def damage(self, snapshot: Snapshot) -> None:
        """Change one byte or one row of what is kept of the snapshot."""

    def lose(self, snapshot: Snapshot) -> None:
        """Delete what is kept of the snapshot."""

    def exported(self, path: Path) -> list[int]:
        """Return the ids of the rows in one export."""

    def close(self) -> None:
        """Let go of everything."""


@contextmanager
def background(turn: Callable[[Activity], None], pause: float) -> Iterator[Activity]:
    """Call ``turn`` again and again in a thread until the block ends. What it raises is an error, and it goes on."""
    activity, ended = Activity(), threading.Event()

    def run() -> None:
        while not ended.is_set():
            try:
                turn(activity)
            except Exception as error:  # noqa: BLE001  # the test looks at it
                activity.errors.append(f"{type(error).__name__}: {error}")
            activity.turns += 1
            time.sleep(pause)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield activity
    finally:
        ended.set()
        thread.join()


def json_ids(path: Path) -> list[int]:
    """Return the ids in a file of JSON lines."""
    with path.open(encoding="utf-8") as lines:
        return [int(json.loads(line)["id"]) for line in lines]
