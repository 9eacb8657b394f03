"""The rig of the command source: a program of a few lines over a file of JSON, and clients that lock it as it does."""

import base64
import fcntl
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from lastgood.domain.snapshot import Snapshot
from lastgood.sources.command import Command
from source_rigs import FIRST_WRITTEN, Activity, Reached, background, command_program, json_ids

PROGRAM = Path(command_program.__file__)


class CommandRig:
    columns = True
    locks = True
    tables = ("features", 'größe "x y"', "empty")

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "data"
        self._kept = folder / "kept"
        self._folder.mkdir()
        rows = {name: [[n, f"row {n}"] for n in range(1, 6)] for name in self.tables}
        rows["empty"] = []
        made = {name: {"columns": ["id", "text"], "rows": rows[name]} for name in self.tables}
        command_program.save(self._live, {"swaps": [], "tables": made})
        self._next = FIRST_WRITTEN

    @property
    def _live(self) -> Path:
        return self._folder / "live.json"

    def source(self, reached: Reached | None = None) -> Command:
        options = {"program": [sys.executable, "-I", "-S", str(PROGRAM), str(self._folder)]}
        return Command("features", options, self._kept, reached=reached or (lambda _: None))

    def _change(self, change: Callable[[dict[str, Any]], None]) -> None:
        with self.lock():
            live = command_program.load(self._live)
            change(live["tables"])
            command_program.save(self._live, live)

    def insert(self, table: str, rows: list[tuple[int, str]]) -> None:
        def change(tables: dict[str, Any]) -> None:
            migrated = tables[table]["columns"] != ["id", "text"]
            tables[table]["rows"] += [[n, [text] if migrated else text] for n, text in rows]

        self._change(change)

    def delete(self, table: str, ids: list[int]) -> None:
        def change(tables: dict[str, Any]) -> None:
            tables[table]["rows"] = [row for row in tables[table]["rows"] if row[0] not in ids]

        self._change(change)

    def rows(self, table: str) -> list[tuple[int, str]]:
        rows = command_program.load(self._live)["tables"][table]["rows"]
        return sorted((row[0], row[1][0] if isinstance(row[1], list) else row[1]) for row in rows)

    def state(self) -> Any:
        return command_program.load(self._live)["tables"]

    def strange(self) -> None:
        values = [[201, None], [202, base64.b64encode(bytes(range(256))).decode()], [2**63 - 1, "\0"]]
        self._change(lambda tables: tables['größe "x y"']["rows"].extend(values))

    def migrate(self) -> None:
        def change(tables: dict[str, Any]) -> None:
            for table in tables.values():
                table["columns"] = ["id", "words"]
                table["rows"] = [[n, [text]] for n, text in table["rows"]]

        self._change(change)

    def writer(self) -> AbstractContextManager[Activity]:
        def turn(activity: Activity) -> None:
            self.insert(self.tables[0], [(self._next, "written")])
            activity.committed.append(self._next)
            self._next += 1

        return background(turn, 0.003)

    def reader(self) -> AbstractContextManager[Activity]:
        def turn(activity: Activity) -> None:
            kinds = {tuple(table["columns"]) for table in self.state().values()}
            if len(kinds) != 1:
                activity.mixed.append(f"columns {kinds}")

        return background(turn, 0.001)

    @contextmanager
    def lock(self) -> Iterator[None]:
        with (self._folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def damage(self, snapshot: Snapshot) -> None:
        path = self._folder / f"kept-{snapshot.token}.json"
        path.write_text(path.read_text().replace("row 3", "row 4"))

    def lose(self, snapshot: Snapshot) -> None:
        (self._folder / f"kept-{snapshot.token}.json").unlink()

    def exported(self, path: Path) -> list[int]:
        return json_ids(path)

    def close(self) -> None:
        """Nothing is open."""
