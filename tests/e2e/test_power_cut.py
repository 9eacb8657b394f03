"""What a power cut leaves in the run folder never stops a server from starting."""

from pathlib import Path

import pytest
from project import eventually, serving


@pytest.mark.parametrize(
    "content", [pytest.param(b"", id="empty"), pytest.param(b"\0" * 512, id="zeros", marks=pytest.mark.slow)]
)
def test_a_server_starts_over_broken_files_and_serves(tmp_path: Path, content: bytes) -> None:
    """With every small file of the run folder lost, 'serve' starts, announces itself and answers as before."""
    with serving(tmp_path) as project:
        eventually(lambda: project.infer()[0] == 200, "the first server answers")
        project.kill_tree()
        lost = [path for path in project.run.rglob("*") if path.suffix in {".json", ".lock"}]
        for path in lost:
            path.write_bytes(content)
        project.start()
        eventually(lambda: project.infer()[0] == 200, "the second server answers")
        eventually(
            lambda: project.hosts().get("1", {}).get("state") == "ready",
            "the supervisor says that the version's host is ready",
        )

    assert {"settings.json", "api.json", "observed.json", "desired.json"} <= {path.name for path in lost}
    assert any(path.parent.name == "hosts" and ".spec" not in path.name for path in lost)
