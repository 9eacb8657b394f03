"""Every numbered example runs as it stands, and so does the demo."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from project import free_port

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("01-first-version", "03-bad-candidate")
EXAMPLES = [
    pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else pytest.mark.slow)
    for path in sorted((ROOT / "examples").glob("[0-9][0-9]-*.sh"))
]


def _environment() -> dict[str, str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LASTGOOD_")}
    return {
        **environment,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}",
        "LASTGOOD_PORT": str(free_port()),
        "LASTGOOD_API_PORT": str(free_port()),
        "HOOK_PORT": str(free_port()),
        "NO_COLOR": "1",
    }


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_runs(example: Path) -> None:
    """It exits 0: each command in it did what the example says."""
    done = subprocess.run(
        ["bash", str(example)], env=_environment(), capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_demo_runs(tmp_path: Path) -> None:
    """The main job on real data happens as it should, with no failure seen by the client."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py"), str(tmp_path)],
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "failures seen by clients: 0" in done.stdout
    assert "in quarantine, 0 lost" in done.stdout
    assert "Deployed model version: v1.0" in done.stdout
