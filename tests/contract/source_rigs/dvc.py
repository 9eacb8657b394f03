"""The rig of DVC: the folder rig in a project whose files and cache are as DVC 3 writes them."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

import yaml

from lastgood.domain.snapshot import Snapshot
from lastgood.sources.dvc import create
from lastgood.sources.tracked_folder import TrackedFolder
from source_rigs import Reached
from source_rigs.folder import FolderRig


class DvcRig(FolderRig):
    def __init__(self, folder: Path) -> None:
        self.cache = folder / ".dvc" / "cache" / "files" / "md5"
        self.cache.mkdir(parents=True)
        super().__init__(folder)

    def source(self, reached: Reached | None = None) -> TrackedFolder:
        return create("files", {"path": str(self.path)}, self.kept, reached=reached or (lambda _: None))

    def add(self) -> None:
        """Do what ``dvc add`` does: put every file into the cache and write the record."""
        files = sorted(path for path in self.path.rglob("*") if path.is_file() and not path.is_symlink())
        members = [
            {"md5": self._store(path.read_bytes()), "relpath": str(path.relative_to(self.path))}
            for path in files
        ]
        digest = self._store(json.dumps(members).encode(), ".dir")
        size = sum(path.stat().st_size for path in files)
        out = {"md5": digest, "size": size, "nfiles": len(files), "hash": "md5", "path": self.path.name}
        self.path.with_name(f"{self.path.name}.dvc").write_text(yaml.safe_dump({"outs": [out]}))

    def _store(self, body: bytes, suffix: str = "") -> str:
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest() + suffix
        place = self.cache / digest[:2] / digest[2:]
        place.parent.mkdir(exist_ok=True)
        if not place.exists():
            place.write_bytes(body)
            place.chmod(0o444)
        return digest

    def insert(self, table: str, rows: list[tuple[int, str]]) -> None:
        super().insert(table, rows)
        self.add()

    def delete(self, table: str, ids: list[int]) -> None:
        super().delete(table, ids)
        self.add()

    def strange(self) -> None:
        super().strange()
        self.add()

    def migrate(self) -> None:
        super().migrate()
        self.add()

    def objects(self, snapshot: Snapshot, body: bytes) -> list[Path]:
        """Return where an object of a snapshot lies: in the cache, and linked as a pin."""
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        return [self.cache / digest[:2] / digest[2:], self.kept / snapshot.token / "pins" / digest]

    def damage(self, snapshot: Snapshot) -> None:
        for path in self.objects(snapshot, b"row 1"):
            path.chmod(0o644)
            path.write_bytes(b"Row 1")

    def lose(self, snapshot: Snapshot) -> None:
        for path in self.objects(snapshot, b"row 1"):
            with suppress(FileNotFoundError):
                path.unlink()
