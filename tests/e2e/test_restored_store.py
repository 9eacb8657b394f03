"""The page and the store disagree: after a restored backup, a power cut, another TMPDIR. A rollback never lies."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import GOOD, Project, eventually, serving


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A server with v1.1 stable and v1.0 before it."""
    with serving(tmp_path) as made:
        made.register("v1.1", GOOD + "  # one more feature")
        made.cli("release", "churn", "--version", "v1.1", "--strategy", "all_at_once")
        eventually(lambda: _served(made) == "2", "v1.1 serves")
        yield made


def _served(project: Project) -> str | None:
    """Return the version that answers one request, None when none does."""
    return project.infer()[2].get("lastgood-version")


def _store(project: Project) -> list[Path]:
    return sorted((project.folder / ".lastgood").glob("lastgood.db*"))


def test_a_restored_backup_is_what_serves(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With the store of yesterday and the page of today, a rollback takes effect, seen from a client."""
    backup = tmp_path_factory.mktemp("backup")
    project.cli("abort", "churn", expect=None)
    project.stop()
    for file in _store(project):
        shutil.copy2(file, backup)
    project.start()
    for _ in range(3):
        project.cli("rollback", "churn", "--keep", expect=None)
    project.stop()
    for file in _store(project):
        file.unlink()
    for file in backup.iterdir():
        shutil.copy2(file, project.folder / ".lastgood")
    project.start()
    eventually(lambda: _served(project) == "2", "what the restored store says serves")

    project.cli("rollback", "churn")

    assert {_served(project) for _ in range(20)} == {"1"}


def test_a_lost_payload_heals_at_the_next_start(project: Project) -> None:
    """A power cut may keep the page's state and lose its routes: the next start serves all the same."""
    project.stop()
    page = project.run / "route.page"
    with page.open("r+b") as file:
        for buffer in range(2):
            file.seek(8192 + buffer * 4 * 1024 * 1024 + 8)
            file.write(bytes(4096))
    project.start()

    assert eventually(lambda: project.infer()[0] == 200, "it serves")
    project.cli("rollback", "churn")
    assert _served(project) == "1"


@pytest.mark.slow  # a deep folder's command does so, too
def test_another_temporary_folder_is_the_same_server(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A command typed under another TMPDIR talks to the same gateways."""
    project.environment["TMPDIR"] = str(tmp_path_factory.mktemp("other"))

    project.cli("rollback", "churn")

    assert _served(project) == "1"
