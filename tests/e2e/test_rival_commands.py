"""Two people, or two machines, at once: one wins, the other gets a clear conflict."""

import collections
from collections.abc import Iterator

import pytest
from project import DEADLINE_SECONDS, GOOD, Load, Project, eventually, serving


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A server with v1.0 stable and three more versions registered; no test leaves a release under way."""
    with serving(tmp_path_factory.mktemp("rivals")) as made:
        for label in ("v1.1", "v1.2", "v1.3"):
            made.register(label, GOOD + f"  # {label}")
        yield made


def test_two_releases_at_once(project: Project) -> None:
    """Exactly one release starts; the others exit 1 and name the one under way."""
    rivals = [project.popen("release", "churn", "--version", label) for label in ("v1.1", "v1.2", "v1.3")]
    outcomes = [(*rival.communicate(timeout=DEADLINE_SECONDS), rival.returncode) for rival in rivals]

    project.cli("abort", "churn")

    codes = collections.Counter(code for *_, code in outcomes)
    assert codes == {0: 1, 1: 2}, outcomes
    assert all("under way" in errors or "conflict" in errors for _, errors, code in outcomes if code == 1)


def test_rollback_promote_and_release_at_once(project: Project) -> None:
    """A rollback pre-empts: whatever it races with, it ends on the good version, and no client notices."""
    with Load(project) as load:
        for _ in range(3):
            project.cli(
                "release",
                "churn",
                "--version",
                "v1.1",
                "--plan",
                "plan.yaml",
                "--override",
                "again",
                expect=None,
            )
            eventually(
                lambda: (
                    (project.data("status", "churn")["release"] or {"phase": "over"})["phase"] != "validating"
                ),
                "it moves on",
            )
            rivals = [
                project.popen("promote", "churn", "--full"),
                project.popen("rollback", "churn", "--version", "v1.0"),
                project.popen("release", "churn", "--version", "v1.2"),
            ]
            promoted, rolled_back, released = [
                (*rival.communicate(timeout=DEADLINE_SECONDS), rival.returncode) for rival in rivals
            ]
            assert rolled_back[2] == 0, rolled_back
            assert promoted[2] in (0, 1), promoted
            assert released[2] in (0, 1, 3), released
            project.cli("abort", "churn", expect=None)
            eventually(lambda: project.data("status", "churn")["release"] is None, "nothing is under way")
            if project.data("status", "churn")["stable"]["label"] != "v1.0":
                project.cli("rollback", "churn", "--version", "v1.0")

    assert not load.failures, load.failures
    assert project.data("status", "churn")["stable"]["label"] == "v1.0"
    project.cli("audit", "verify")
