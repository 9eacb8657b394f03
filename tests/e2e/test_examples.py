"""Every numbered example runs as it stands, and so does the demo."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from project import free_port

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("01-first-version", "03-bad-candidate")
LIMIT_SECONDS = 600.0
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


def _run(*command: str) -> tuple[int, str]:
    """Run a command to its end; return its exit code and all that it said. What it started ends with it."""
    with subprocess.Popen(
        command,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=LIMIT_SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, said


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_runs(example: Path) -> None:
    """It exits 0: each command in it did what the example says."""
    code, said = _run("bash", str(example))

    assert code == 0, said


@pytest.mark.slow
def test_the_demo_runs(tmp_path: Path) -> None:
    """The main job on real data happens as it should, with no failure seen by the client."""
    code, said = _run(sys.executable, str(ROOT / "examples" / "demo.py"), str(tmp_path))

    assert code == 0, said
    assert "failures seen by clients: 0" in said
    assert "in quarantine, 0 lost" in said
    assert "Deployed model version: v1.0" in said
