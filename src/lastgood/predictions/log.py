"""The prediction log. Predictions are added in batches, found by their ids, and dropped by age and size."""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from lastgood.domain.prediction import Prediction
from lastgood.predictions.schema import connect, meant, transaction
from lastgood.predictions.stored import copy_of, packed_copy, slices_of_text, slices_text

_DROP_ROWS: Final = 2_000
_VACUUM_PAGES: Final = 4_096
_FREE_PART: Final = 8
_EXPIRED: Final = "expired"
_UNREADABLE: Final = "unreadable_bytes"
_WAITING: Final = "labels_waiting"
_COLUMNS: Final = (
    "p.id, p.also, p.at, p.status, p.seconds, p.key, p.fallback, p.answer_bytes, p.answer, p.inputs, "
    "p.copy, p.slices, s.deployment, s.model, s.version, s.role, s.release, s.stage, s.arm"
)
_Served = tuple[str, str, int, str, int | None, int | None, str | None]
OnAdded = Callable[[sqlite3.Connection, Sequence[Prediction]], None]
"""Called with what was added, in the transaction that adds it: what it raises undoes both."""


class Position(NamedTuple):
    """How far a segment has been read: its name and the bytes up to the end of the last whole frame."""

    segment: str
    position: int


class LogCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What the log holds. ``expired`` predictions are there no more, by age or by size; ``oldest`` is epoch seconds.

    ``unreadable_bytes`` of what gateways wrote could not be read, as a power cut or a worker's end in mid-write leaves it.
    ``labels_waiting`` are labels whose predictions are not there yet.
    """

    predictions: int
    expired: int
    unreadable_bytes: int
    bytes: int
    oldest: float | None
    labels_waiting: int = 0


class PredictionLog:
    """The log in one file. For several threads, and several processes; nothing is opened before it is used."""

    def __init__(self, path: Path, *, on_added: Sequence[OnAdded] = ()) -> None:
        self.path = path
        self._on_added = tuple(on_added)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._numbers: dict[_Served, int] = {}

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
                self._numbers = {}  # it may be another file by the next time

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to this thread alone.

        :raises LastgoodError: ``storage``, ``corrupt`` or ``conflict`` when the log cannot be used.
        """
        with self._lock, meant(self.path):
            if self._connection is None:
                self._connection = connect(self.path)
            yield self._connection

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to this thread alone, in a transaction that commits what the block does.

        :raises LastgoodError: as :meth:`reading`; nothing of the block is kept then.
        """
        with self.reading() as connection, transaction(connection):
            yield connection

    # --- in ---------------------------------------------------------------------------------------

    def add(
        self, batch: Sequence[Prediction], position: Position | None = None, *, unreadable: int = 0
    ) -> None:
        """Add predictions and remember, in the same transaction, how far their segment has been read.

        Predictions may share an id, as callers give it: the newest is found by it. ``unreadable`` bytes
        of the segment were passed over.
        """
        with self.changing() as connection:
            numbers, counted = dict(self._numbers), dict[int, int]()
            rows = []
            for one in batch:
                number = _number(connection, numbers, one)
                counted[number] = counted.get(number, 0) + 1
                rows.append(_row(one, number))
            connection.executemany(_INSERT, rows)
            connection.executemany(
                "UPDATE served SET added = added + ? WHERE number = ?",
                [(count, number) for number, count in counted.items()],
            )
            if position is not None:
                connection.execute("INSERT OR REPLACE INTO segments VALUES (?, ?)", position)
            if unreadable:
                _tally(connection, _UNREADABLE, unreadable)
            if batch:
                for hear in self._on_added:
                    hear(connection, batch)
        self._numbers = numbers

    def positions(self) -> dict[str, int]:
        """Return how far each segment has been read."""
        with self.reading() as connection:
            return dict(connection.execute("SELECT name, position FROM segments").fetchall())

    def forget_segments(self, names: Iterable[str]) -> None:
        """Forget segments whose files are there no more."""
        with self.changing() as connection:
            connection.executemany("DELETE FROM segments WHERE name = ?", [(name,) for name in names])

    # --- out --------------------------------------------------------------------------------------

    def find(self, ids: Iterable[str]) -> dict[str, Prediction]:
        """Return the predictions of those ``ids`` that are known; of several with one id the newest."""
        with self.reading() as connection:
            return {id_: found for id_ in ids if (found := find(connection, id_)) is not None}

    def counts(self) -> LogCounts:
        """Return what there is; takes no longer when the log is larger."""
        with self.reading() as connection:
            (added,) = connection.execute("SELECT coalesce(sum(added), 0) FROM served").fetchone()
            tallies = dict(connection.execute("SELECT name, value FROM tallies").fetchall())
            first = connection.execute("SELECT at FROM predictions ORDER BY seq LIMIT 1").fetchone()
            return LogCounts(
                predictions=added - tallies.get(_EXPIRED, 0),
                expired=tallies.get(_EXPIRED, 0),
                unreadable_bytes=tallies.get(_UNREADABLE, 0),
                bytes=_used_bytes(connection),
                oldest=None if first is None else first[0],
                labels_waiting=tallies.get(_WAITING, 0),
            )

    # --- retention --------------------------------------------------------------------------------

    def drop(self, before: float, bytes_max: int, *, rows_max: int = 20_000) -> int:
        """Drop the oldest predictions: those from before ``before`` (epoch seconds), and what is over ``bytes_max``.

        Returns how many, ``rows_max`` at most: call again while it is as many. Each step is a short transaction.
        """
        dropped = 0
        while dropped < rows_max:
            with self.changing() as connection:
                over = _used_bytes(connection) > bytes_max
                gone = connection.execute(_DROP, (before, over, _DROP_ROWS)).rowcount
                if gone:
                    _tally(connection, _EXPIRED, gone)
            dropped += gone
            if gone < _DROP_ROWS:
                break
        with self.reading() as connection:
            pages, free, _ = _pages(connection)
            if free * _FREE_PART > pages:  # what comes next uses a few free pages; more go back to the disk
                connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
        return dropped


_INSERT: Final = """
INSERT INTO predictions (id, also, at, served, status, seconds, key, fallback, answer_bytes, answer, inputs, copy,
  slices)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
# Predictions are added nearly in the order of their time: only the first rows are looked at.
_DROP: Final = """
DELETE FROM predictions WHERE (at < ?1 OR ?2) AND seq IN (SELECT seq FROM predictions ORDER BY seq LIMIT ?3)
"""


def find(connection: sqlite3.Connection, id_: str) -> Prediction | None:
    """Return the newest prediction that ``id_`` finds, by keys only; for use in a transaction."""
    (seq,) = connection.execute(
        "SELECT max((SELECT coalesce(max(seq), -1) FROM predictions WHERE id = ?1), "
        "(SELECT coalesce(max(seq), -1) FROM predictions WHERE also = ?1))",
        (id_,),
    ).fetchone()
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM predictions p JOIN served s ON s.number = p.served WHERE p.seq = ?",  # noqa: S608
        (seq,),
    ).fetchone()
    if row is None:
        return None
    known = dict(zip(_NAMES, row, strict=True))
    return Prediction(
        **{**known, "copy": copy_of(known["copy"]), "slices": slices_of_text(known["slices"])},
    )


_NAMES: Final = tuple(name.strip()[2:] for name in _COLUMNS.split(","))


def _row(one: Prediction, number: int) -> tuple[object, ...]:
    return (
        one.id,
        one.also,
        one.at,
        number,
        one.status,
        one.seconds,
        one.key,
        one.fallback,
        one.answer_bytes,
        one.answer,
        one.inputs,
        packed_copy(one.copy),
        slices_text(one.slices),
    )


def _number(connection: sqlite3.Connection, numbers: dict[_Served, int], one: Prediction) -> int:
    """Return the number that stands for who answered and for which arm, giving one to what is new."""
    served = (one.deployment, one.model, one.version, one.role, one.release, one.stage, one.arm)
    number = numbers.get(served)
    if number is None:
        found = connection.execute(
            "SELECT number FROM served WHERE deployment = ? AND model = ? AND version = ? AND role = ? "
            "AND release IS ? AND stage IS ? AND arm IS ?",
            served,
        ).fetchone()
        if found is None:
            found = connection.execute(
                "INSERT INTO served (deployment, model, version, role, release, stage, arm, added) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, 0) RETURNING number",
                served,
            ).fetchone()
        number = numbers[served] = int(found[0])
    return number


def _tally(connection: sqlite3.Connection, name: str, more: int) -> None:
    connection.execute(
        "INSERT INTO tallies VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = value + ?2",
        (name, more),
    )


def _used_bytes(connection: sqlite3.Connection) -> int:
    pages, free, size = _pages(connection)
    return (pages - free) * size


def _pages(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Return how many pages the file has, how many of them are free, and the bytes of one."""
    pages, free, size = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return pages, free, size
