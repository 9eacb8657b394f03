"""A folder of small files, one a row, used with plain system calls."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lastgood.domain.snapshot import Snapshot
from lastgood.sources.folder import FolderSource
from source_rigs import FIRST_WRITTEN, Activity, Reached, background

DEEP = "größer und tiefer"


class FolderRig:
    columns: ClassVar[bool] = False
    locks: ClassVar[bool] = False
    tables: tuple[str, ...] = ("files",)

    def __init__(self, folder: Path) -> None:
        self.path, self.kept = folder / "live data", folder / "kept"
        (self.path / DEEP).mkdir(parents=True)
        (self.path / "empty" / "inside").mkdir(parents=True)
        (self.path / "empty").chmod(0o750)
        self.insert("files", [(number, f"row {number}") for number in range(1, 13)])

    def source(self, reached: Reached | None = None) -> FolderSource:
        return FolderSource("files", self.path, self.kept, reached=reached or (lambda _: None))

    def insert(self, table: str, rows: list[tuple[int, str]]) -> None:
        assert table in self.tables
        for number, text in rows:
            inside = DEEP if number % 3 == 0 else "."
            (self.path / inside / f"{number}.{self._kind(self.path)}").write_text(text, encoding="utf-8")

    def delete(self, table: str, ids: list[int]) -> None:
        assert table in self.tables
        for path in self._files():
            if int(path.stem) in ids:
                path.unlink()

    def _kind(self, folder: Path | int) -> str:
        return "json" if any(each.name.endswith(".json") for each in list(os.scandir(folder))) else "txt"

    def rows(self, table: str) -> list[tuple[int, str]]:
        assert table in self.tables
        return sorted((int(path.stem), path.read_text(encoding="utf-8")) for path in self._files())

    def _files(self) -> list[Path]:
        return [path for path in self.path.rglob("*") if path.stem.isdigit()]

    def state(self) -> Any:
        found = {}
        for path in (self.path, *sorted(self.path.rglob("*"))):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                content: Any = str(path.readlink())
            else:
                content = path.read_bytes() if path.is_file() else None
            found[str(path)] = (stat.filemode(mode), content)
        return found

    def strange(self) -> None:
        program = self.path / "a program"
        program.write_bytes(b"\x00\xff" * 50_000)
        program.chmod(0o751)
        (self.path / "nothing").touch()
        (self.path / 'quo"te\n and line').write_text("x")
        (self.path / "here").symlink_to(f"{DEEP}/3.txt")
        (self.path / DEEP / "up").symlink_to("..")
        (self.path / "nowhere").symlink_to("missing")
        (self.path / DEEP).chmod(0o555 if os.geteuid() == 0 else 0o755)

    def migrate(self) -> None:
        for path in self._files():
            path.with_suffix(".json").write_text(f'"{path.read_text(encoding="utf-8")}"', encoding="utf-8")
            path.unlink()

    @contextmanager
    def writer(self) -> Iterator[Activity]:
        def turn(activity: Activity) -> None:
            number = FIRST_WRITTEN + len(activity.committed)
            folder = os.open(self.path, os.O_RDONLY)
            try:
                name = f"{number}.{self._kind(folder)}"
                file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=folder)
                os.write(file, b"written")
                os.close(file)
            finally:
                os.close(folder)
            activity.committed.append(number)

        with background(turn, 0.010) as activity:
            yield activity

    @contextmanager
    def reader(self) -> Iterator[Activity]:
        def turn(activity: Activity) -> None:
            folder = os.open(self.path, os.O_RDONLY)
            try:
                names = [each.name for each in os.scandir(folder)]
                for name in names:
                    os.stat(name, dir_fd=folder)
                inner = os.open(DEEP, os.O_RDONLY, dir_fd=folder)
                names += [each.name for each in os.scandir(inner)]
                os.close(inner)
            finally:
                os.close(folder)
            kinds = {name.partition(".")[2] for name in names if name[0].isdigit()}
            if len(kinds) != 1:
                activity.mixed.append(str(kinds))

        with background(turn, 0.001) as activity:
            yield activity

    @contextmanager
    def lock(self) -> Iterator[None]:
        pytest.skip("nobody can lock a folder")
        yield

    def damage(self, snapshot: Snapshot) -> None:
        path = self.kept / snapshot.token / "files" / "1.txt"
        path.write_bytes(b"R" + path.read_bytes()[1:])

    def lose(self, snapshot: Snapshot) -> None:
        shutil.rmtree(self.kept / snapshot.token / "files")

    def exported(self, path: Path) -> list[int]:
        return [int(each.stem) for each in path.rglob("*") if each.is_file()]

    def close(self) -> None:
        """Everything is in files that the test run removes."""
