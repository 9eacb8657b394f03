"""The rig of git: the folder rig in a work tree, committed after every change but those of the background writer."""

import hashlib
import os
import subprocess
import zlib
from pathlib import Path

from lastgood.domain.snapshot import Snapshot
from lastgood.sources.git import create
from lastgood.sources.tracked_folder import TrackedFolder
from source_rigs import Reached
from source_rigs.folder import FolderRig


class GitRig(FolderRig):
    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.git("init", "--quiet", "--initial-branch=main")
        super().__init__(folder)

    def git(self, *arguments: str) -> str:
        plain = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "gc.auto=0"]
        done = subprocess.run(
            ["git", *who, "-C", str(self.root), *arguments], check=True, capture_output=True, env=plain
        )
        return done.stdout.decode().strip()

    def commit(self) -> None:
        self.git("add", "--all", self.path.name)
        self.git("commit", "--quiet", "--allow-empty", "--message=more")

    def source(self, reached: Reached | None = None) -> TrackedFolder:
        return create("files", {"path": str(self.path)}, self.kept, reached=reached or (lambda _: None))

    def insert(self, table: str, rows: list[tuple[int, str]]) -> None:
        super().insert(table, rows)
        self.commit()

    def delete(self, table: str, ids: list[int]) -> None:
        super().delete(table, ids)
        self.commit()

    def strange(self) -> None:
        super().strange()
        self.commit()

    def migrate(self) -> None:
        super().migrate()
        self.commit()

    def object(self, body: bytes) -> Path:
        digest = hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
        return self.root / ".git" / "objects" / digest[:2] / digest[2:]

    def damage(self, snapshot: Snapshot) -> None:
        assert "shelf" in snapshot.place
        path = self.object(b"row 1")
        path.chmod(0o644)
        path.write_bytes(zlib.compress(b"blob 5\0Row 1"))

    def lose(self, snapshot: Snapshot) -> None:
        assert "shelf" in snapshot.place
        self.object(b"row 1").unlink()
