"""A folder in a git work tree: what the commit holds already is not copied a second time.

Contents are read from git's objects as they are, without filters; where a filter makes the files in the work tree
different (line ends, large-file pointers), they are captured by copying. A restore moves no branch and touches no index:
git shows what changed until you commit or check out.
"""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

from lastgood.errors import Code, LastgoodError
from lastgood.sources.folder import SETTLE_SECONDS
from lastgood.sources.options import Options
from lastgood.sources.streams import Readable, chunks
from lastgood.sources.tokens import checked
from lastgood.sources.tracked_folder import TrackedFolder

_SECONDS: Final = 60.0
_REFS: Final = "refs/lastgood/"
_BLOB: Final = "blob"
_LINK_MODE: Final = "120000"


def create(
    name: str, options: Mapping[str, Any], kept: Path, *, reached: Callable[[str], None] = lambda _: None
) -> TrackedFolder:
    """Return the source of one folder below a work tree's root.

    Options: ``path``, the folder; ``settle_timeout`` as for folders.
    """
    given = Options(name, options)
    path = given.path("path")
    settle = given.seconds("settle_timeout", SETTLE_SECONDS)
    given.end()
    return TrackedFolder(name, path, kept, GitShelf(path), settle_seconds=settle, reached=reached)


class _Blob:
    """One object in the answer of ``git cat-file --batch``: so many bytes, no more."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int, /) -> bytes:
        """Return some of the bytes that are left, none at the end."""
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data


class GitShelf:
    """The :class:`~lastgood.sources.tracked_folder.Shelf` of one repository. A pin is a reference below refs/lastgood."""

    provider = "git"

    def __init__(self, path: Path) -> None:
        self._path = path

    def recorded(self) -> dict[str, Any] | None:
        """Return commit and tree of the folder, None when the commit does not have it.

        :raises LastgoodError: ``refused`` for the root of a work tree or another user's, ``invalid`` outside of one.
        """
        prefix = self._git("rev-parse", "--show-prefix")
        if prefix is None:
            if b"dubious ownership" in self._run("rev-parse", "--show-prefix").stderr:
                raise LastgoodError(
                    Code.REFUSED,
                    f"git does not read the repository of {self._path.name!r}: it belongs to another user.",
                    "As the user that the server runs as: git config --global --add safe.directory FOLDER.",
                )
            raise LastgoodError(
                Code.INVALID,
                f"{self._path.name!r} is in no git work tree.",
                "Use the source 'folder' for it.",
            )
        if not prefix:
            raise LastgoodError(
                Code.REFUSED,
                f"{self._path.name!r} is the root of a work tree; a restore would replace its .git, too.",
                "Keep the data in a folder of its own inside it.",
            )
        commit = self._git("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        tree = commit and self._git("rev-parse", "--verify", "--quiet", f"{commit}:{prefix.rstrip('/')}")
        return {"commit": commit, "tree": tree} if tree else None

    def contents(self, recorded: dict[str, Any], pins: Path) -> Iterator[tuple[str, Readable]]:
        """See the protocol."""
        del pins
        listed = self._git("ls-tree", "-r", "-z", "--full-tree", recorded["tree"])
        if listed is None:
            raise _gone(recorded["tree"])
        command = self._command("cat-file", "--batch")
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for entry in filter(None, listed.split("\0")):
                about, _, path = entry.partition("\t")
                mode, kind, identity = about.split(" ")
                if kind != _BLOB or mode == _LINK_MODE:
                    continue  # links are in the manifest whole; another repository inside is not its content
                try:
                    process.stdin.write(f"{identity}\n".encode())
                    process.stdin.flush()
                except BrokenPipeError:
                    raise _gone(identity) from None
                head = process.stdout.readline().decode().split()
                if len(head) != 3 or head[1] != _BLOB:
                    raise _gone(identity)
                blob = _Blob(process.stdout, int(head[2]))
                yield path, blob
                for _ in chunks(blob):
                    pass  # what the reader left
                if process.stdout.read(1) != b"\n":
                    raise _gone(identity)
            process.stdin.close()

    def pin(self, token: str, recorded: dict[str, Any], pins: Path) -> None:
        """Point a reference at the commit, so that git's cleaning leaves it."""
        del pins
        if self._git("update-ref", _REFS + checked(token), recorded["commit"]) is None:
            raise LastgoodError(
                Code.STORAGE,
                f"The reference {_REFS}{token} could not be written.",
                "Check that the server may write to the repository.",
            )

    def unpin(self, token: str) -> None:
        """Delete the reference, if it is there."""
        name = _REFS + checked(token)
        if self._git("rev-parse", "--verify", "--quiet", name) is not None:
            self._git("update-ref", "-d", name)

    def _git(self, *arguments: str) -> str | None:
        """Return what git says without the last line end, None when it fails."""
        done = self._run(*arguments)
        return os.fsdecode(done.stdout).rstrip("\n") if done.returncode == 0 else None

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                self._command(*arguments),
                capture_output=True,
                timeout=_SECONDS,
                check=False,
                env=_environment(),
            )
        except FileNotFoundError:
            raise LastgoodError(Code.UNAVAILABLE, "There is no git program.", "Install git.") from None
        except subprocess.TimeoutExpired:
            raise LastgoodError(
                Code.TIMEOUT, f"git did not answer within {_SECONDS:g} s.", "Look at the repository."
            ) from None

    def _command(self, *arguments: str) -> list[str]:
        # Programs that the repository names are not run: they are for people's commits, not for pins.
        quiet = ("-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false")
        return ["git", *quiet, "-C", str(self._path), *arguments]


def _environment() -> dict[str, str]:
    """Return an environment in which nothing but the path says which repository is meant."""
    plain = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    # A partial clone would fetch what it has not, and perhaps ask for a password: remotes are not asked.
    return {**plain, "GIT_ALLOW_PROTOCOL": "none", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8"}


def _gone(identity: str) -> LastgoodError:
    return LastgoodError(
        Code.NOT_FOUND,
        f"The repository does not hold {identity[:40]} whole any more.",
        "Fetch it again, or capture the data again.",
    )
