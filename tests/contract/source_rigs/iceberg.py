"""The rig of Iceberg: a table on the local disk with its catalog in SQLite, used through its ordinary client."""

import pytest

pytest.importorskip("pyiceberg", reason="pip install lastgood[iceberg]")

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.types import DoubleType

from lastgood.data_ports import DataSource
from lastgood.domain.snapshot import Snapshot
from lastgood.sources.iceberg import create
from source_rigs import FIRST_WRITTEN, Activity, Reached, background, json_ids

OLD = pa.schema([("id", pa.int64()), ("text", pa.string())])
NEW = pa.schema([("id", pa.int64()), ("words", pa.string()), ("score", pa.float64())])


class IcebergRig:
    columns = True
    locks = False  # writers are optimistic: nobody can hold a table
    tables = ("shop.größe 'x y'",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept = folder / "kept"
        with closing(SqlCatalog("default", **self.catalog())) as catalog:
            catalog.create_namespace("shop")
            catalog.create_table(self.tables[0], OLD)
        self.insert(self.tables[0], [(n, f"row {n}") for n in range(1, 6)])
        self.insert(self.tables[0], [(6, "row 6")])
        self._next = FIRST_WRITTEN

    def catalog(self) -> dict[str, str]:
        return {"uri": f"sqlite:///{self.folder}/catalog.db", "warehouse": f"file://{self.folder}/warehouse"}

    def options(self) -> dict[str, Any]:
        return {"table": self.tables[0], "swap_seconds": 20, "catalog": {"type": "sql", **self.catalog()}}

    def source(self, reached: Reached | None = None) -> DataSource:
        return create("features", self.options(), self._kept, reached=reached or (lambda _: None))

    def use(self, act: Callable[[Table], Any]) -> Any:
        """Load the table anew and use it; a commit is tried again when somebody else was first, as every client does."""
        while True:
            with closing(SqlCatalog("default", **self.catalog())) as catalog:
                try:
                    return act(catalog.load_table(self.tables[0]))
                except CommitFailedException:
                    continue

    def insert(self, table: str, rows: list[tuple[int, str]]) -> None:
        assert table in self.tables
        ids, texts = [n for n, _ in rows], [text for _, text in rows]

        def act(iceberg: Table) -> None:
            migrated = "words" in iceberg.schema().column_names
            scores = [[0.5] * len(ids)] if migrated else []
            iceberg.append(pa.table([ids, texts, *scores], schema=NEW if migrated else OLD))

        self.use(act)

    def delete(self, table: str, ids: list[int]) -> None:
        assert table in self.tables
        self.use(lambda iceberg: iceberg.delete(f"id IN ({', '.join(str(n) for n in ids)})"))

    def rows(self, table: str) -> list[tuple[int, str]]:
        assert table in self.tables
        seen = self.use(lambda iceberg: iceberg.scan().to_arrow()).to_pylist()
        return sorted((row["id"], row["text"] if "text" in row else row["words"]) for row in seen)

    def state(self) -> Any:
        def look(iceberg: Table) -> Any:
            rows = sorted(map(repr, iceberg.scan().to_arrow().to_pylist()))
            return (str(iceberg.schema()), str(iceberg.spec()), str(iceberg.sort_order()), rows)

        return self.use(look)

    def strange(self) -> None:
        columns = [[101, 2**63 - 1, -(2**63)], [None, "\0 'ü\n", ""]]
        self.use(lambda iceberg: iceberg.append(pa.table(columns, schema=OLD)))

    def migrate(self) -> None:
        """Rename a column, add one and rewrite all rows: the old schema over the new files would read nothing right."""

        def act(iceberg: Table) -> None:
            with iceberg.update_schema() as change:
                change.rename_column("text", "words")
                change.add_column("score", DoubleType())
            with iceberg.update_spec() as spec:
                spec.add_identity("score")
            old = iceberg.scan().to_arrow()
            iceberg.overwrite(old.set_column(2, "score", pa.array([0.5] * len(old))))

        self.use(act)

    def rewrite(self) -> None:
        """Write the same rows into other files."""
        self.use(lambda iceberg: iceberg.overwrite(iceberg.scan().to_arrow()))

    def writer(self) -> AbstractContextManager[Activity]:
        def turn(activity: Activity) -> None:
            self.insert(self.tables[0], [(self._next, "written")])
            activity.committed.append(self._next)
            self._next += 1

        return background(turn, 0.003)

    def reader(self) -> AbstractContextManager[Activity]:
        def turn(activity: Activity) -> None:
            seen = self.use(lambda iceberg: iceberg.scan().to_arrow())
            last = seen.column("text" if "text" in seen.column_names else "words")
            if last.null_count or seen.num_rows < 6:
                activity.mixed.append(f"{seen.column_names}: {last.null_count} of {seen.num_rows} are empty")

        return background(turn, 0.001)

    def lock(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def files_of(self, snapshot: Snapshot) -> list[Path]:
        def look(iceberg: Table) -> list[str]:
            return [
                each.file.file_path
                for each in iceberg.scan(snapshot_id=snapshot.place["snapshot"]).plan_files()
            ]

        return [Path(path.removeprefix("file://")) for path in self.use(look)]

    def damage(self, snapshot: Snapshot) -> None:
        self.rewrite()
        path = max(self.files_of(snapshot), key=lambda each: each.stat().st_size)
        held = bytearray(path.read_bytes())
        held[len(held) // 2] ^= 1
        path.write_bytes(held)

    def lose(self, snapshot: Snapshot) -> None:
        """What an orphan cleaner with wrong rules does."""
        self.rewrite()
        for path in self.files_of(snapshot):
            path.unlink()

    def exported(self, path: Path) -> list[int]:
        return json_ids(path)

    def close(self) -> None:
        """Nothing is open."""
