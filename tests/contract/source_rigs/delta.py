"""The rig of Delta Lake: a table on the local disk, used through its ordinary client."""

import pytest

pytest.importorskip("deltalake", reason="pip install lastgood[delta]")

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from lastgood.data_ports import DataSource
from lastgood.domain.snapshot import Snapshot
from lastgood.sources.delta import create
from source_rigs import FIRST_WRITTEN, Activity, Reached, background, json_ids

OLD = pa.schema([("id", pa.int64()), ("text", pa.string())])
NEW = pa.schema([("id", pa.int64()), ("words", pa.list_(pa.string())), ("score", pa.float64())])


class DeltaRig:
    columns = True
    locks = False  # writers are optimistic: nobody can hold a table
    tables = ('größe "x y"',)

    def __init__(self, folder: Path) -> None:
        self.uri = str(folder / "größe 'x y'")
        self._kept = folder / "kept"
        write_deltalake(self.uri, pa.table([[], []], schema=OLD))
        self.insert(self.tables[0], [(n, f"row {n}") for n in range(1, 6)])
        self.insert(self.tables[0], [(6, "row 6")])
        self._next = FIRST_WRITTEN

    def options(self) -> dict[str, Any]:
        return {"uri": self.uri, "table": self.tables[0], "swap_seconds": 20}

    def source(self, reached: Reached | None = None) -> DataSource:
        return create("features", self.options(), self._kept, reached=reached or (lambda _: None))

    def _try(self, act: Callable[[DeltaTable], object]) -> None:
        """Commit, trying again when somebody else was first: every client of such a table does."""
        while True:
            try:
                act(DeltaTable(self.uri))
                return
            except CommitFailedError:
                continue

    def insert(self, table: str, rows: list[tuple[int, str]]) -> None:
        assert table in self.tables

        def act(delta: DeltaTable) -> None:
            migrated = "words" in [field.name for field in delta.schema().fields]
            ids, texts = [n for n, _ in rows], [text for _, text in rows]
            made = (
                pa.table([ids, [[text] for text in texts], [0.5] * len(ids)], schema=NEW)
                if migrated
                else pa.table([ids, texts], schema=OLD)
            )
            write_deltalake(delta, made, mode="append")

        self._try(act)

    def delete(self, table: str, ids: list[int]) -> None:
        assert table in self.tables
        self._try(lambda delta: delta.delete(f"id IN ({', '.join(str(n) for n in ids)})"))

    def rows(self, table: str) -> list[tuple[int, str]]:
        assert table in self.tables
        return sorted(
            (row["id"], row["text"] if "text" in row else row["words"][0])
            for row in DeltaTable(self.uri).to_pyarrow_table().to_pylist()
        )

    def state(self) -> Any:
        delta = DeltaTable(self.uri)
        rows = sorted(map(repr, delta.to_pyarrow_table().to_pylist()))
        return (delta.schema().to_json(), delta.metadata().partition_columns, rows)

    def strange(self) -> None:
        rows = [(101, None), (2**63 - 1, "\0 'ü\n"), (-(2**63), "")]
        self._try(
            lambda delta: write_deltalake(
                delta, pa.table([list(each) for each in zip(*rows, strict=True)], schema=OLD), mode="append"
            )
        )

    def migrate(self) -> None:
        def act(delta: DeltaTable) -> None:
            old = delta.to_pyarrow_table().to_pylist()
            made = pa.table(
                [[row["id"] for row in old], [[row["text"]] for row in old], [0.5] * len(old)], schema=NEW
            )
            write_deltalake(delta, made, mode="overwrite", schema_mode="overwrite")

        self._try(act)

    def rewrite(self) -> None:
        """Write the same rows into other files."""

        def act(delta: DeltaTable) -> None:
            write_deltalake(delta, delta.to_pyarrow_table(), mode="overwrite")

        self._try(act)

    def writer(self) -> AbstractContextManager[Activity]:
        def turn(activity: Activity) -> None:
            self.insert(self.tables[0], [(self._next, "written")])
            activity.committed.append(self._next)
            self._next += 1

        return background(turn, 0.003)

    def reader(self) -> AbstractContextManager[Activity]:
        def turn(activity: Activity) -> None:
            seen = DeltaTable(self.uri).to_pyarrow_table()
            last = seen.column("text" if "text" in seen.column_names else "words")
            if last.null_count or seen.num_rows < 6:
                activity.mixed.append(f"{seen.column_names}: {last.null_count} of {seen.num_rows} are empty")

        return background(turn, 0.001)

    def lock(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def files_of(self, snapshot: Snapshot) -> list[Path]:
        delta = DeltaTable(self.uri, version=snapshot.place["version"])
        return [Path(self.uri, path) for path in delta.to_pyarrow_dataset().files]

    def damage(self, snapshot: Snapshot) -> None:
        self.rewrite()
        path = max(self.files_of(snapshot), key=lambda each: each.stat().st_size)
        held = bytearray(path.read_bytes())
        held[len(held) // 2] ^= 1
        path.write_bytes(held)

    def lose(self, snapshot: Snapshot) -> None:
        self.rewrite()
        assert self.files_of(snapshot)
        removed = DeltaTable(self.uri).vacuum(
            retention_hours=0, dry_run=False, enforce_retention_duration=False
        )
        assert removed
        shutil.rmtree(self._kept / snapshot.token / "pins")

    def exported(self, path: Path) -> list[int]:
        return json_ids(path)

    def close(self) -> None:
        """Nothing is open."""
