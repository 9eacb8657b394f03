"""A project that lies deeper than a unix socket's path may be long."""

from pathlib import Path

from project import DEADLINE_SECONDS, GOOD, Load, serving


def test_a_server_in_a_deep_folder_serves_and_obeys_commands_with_another_tmpdir(tmp_path: Path) -> None:
    """Command and server of one home meet whatever TMPDIR either has: a rollback reaches the live gateways."""
    folder = tmp_path / ("deep" * 30) / ("er" * 40)
    folder.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with serving(folder) as project:
        project.register("v1.1", GOOD)
        with Load(project) as load:
            project.release("v1.1")
            assert project.infer()[2]["lastgood-version"] == "2"
            project.environment["TMPDIR"] = str(elsewhere)
            project.cli("rollback", "churn", "--reason", "drill")
            assert project.infer()[2]["lastgood-version"] == "1"
        again = project.popen("serve")
        assert "runs on this home already" in "".join(again.communicate(timeout=DEADLINE_SECONDS))
        assert again.returncode != 0

    assert not load.failures
    assert list(elsewhere.iterdir()) == []
