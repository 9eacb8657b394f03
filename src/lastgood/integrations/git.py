"""The git commit of a working tree, through the git program; None where there is no git or no repository."""

import subprocess
from pathlib import Path

from lastgood.domain.version import GitState

_TIMEOUT_SECONDS = 10.0


def git_state(folder: Path) -> GitState | None:
    """Return the commit that ``folder`` is at, and whether tracked files differ from it."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return GitState(commit=commit, dirty=bool(changes))


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
