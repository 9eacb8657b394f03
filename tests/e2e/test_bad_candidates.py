"""A candidate may fail in any way: no client sees it, and the release is rolled back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from project import GOOD, Load, Project, serving

WAYS = {
    "raises": "raise RuntimeError('a column is missing')",
    "raises for some rows": "if (x > 60).any():\n    raise ValueError('unseen category')\nreturn {'y': x * 2.0}",
    "nan": "return {'y': x * np.nan}",
    "wrong shape": "return {'y': np.zeros((len(x), 7))}",
    "wrong number of rows": "return {'y': np.zeros((len(x) + 1, 1))}",
    "sleeps for ever": "import time\nif state.setdefault('calls', 0) > 3:\n    time.sleep(3600)\nstate['calls'] += 1\nreturn {'y': x * 2.0}",
    "exits": "import os\nstate['calls'] = state.get('calls', 0) + 1\nif state['calls'] > 5:\n    os._exit(7)\nreturn {'y': x * 2.0}",
    "segfault": "import ctypes\nstate['calls'] = state.get('calls', 0) + 1\nif state['calls'] > 5:\n    ctypes.string_at(0)\nreturn {'y': x * 2.0}",
    "leaks": "state.setdefault('kept', []).append(np.ones(30_000_000 if len(state['kept']) > 3 else 1) if 'kept' in state else 0)\nreturn {'y': x * 2.0}",
    "writes garbage to its sockets": (
        "import os, stat\nstate['calls'] = state.get('calls', 0) + 1\nif state['calls'] > 5:\n"
        "    for fd in range(3, 64):\n        try:\n            if stat.S_ISSOCK(os.fstat(fd).st_mode):\n"
        "                os.write(fd, b'\\xff' * 64)\n        except OSError:\n            continue\nreturn {'y': x * 2.0}"
    ),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One server for all the ways; each way is a version of its own."""
    with serving(
        tmp_path_factory.mktemp("bad"), host_memory_bytes=600_000_000, candidate_timeout=0.5
    ) as made:
        yield made


ALIKE = ("raises", "wrong number of rows", "segfault")
"""What a gateway cannot tell from another way: from what some rows raise, from a wrong shape, from an exit."""


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=pytest.mark.slow if way in ALIKE else ()) for way in WAYS]
)
def test_no_client_sees_a_bad_candidate(project: Project, way: str) -> None:
    """Whatever the candidate does, every request is answered rightly and the version ends up tagged failed."""
    label = f"v2.{list(WAYS).index(way)}"
    project.register(label, WAYS[way])

    with Load(project) as load:
        done = project.release(label, expect=4)

    assert not load.failures, load.failures
    assert "Deployed model version: v1.0" in done.stdout
    assert project.data("status", "churn")["stable"]["label"] == "v1.0"
    assert project.release(label, expect=3).returncode == 3


def test_the_server_is_as_good_as_new_after_all_that(project: Project) -> None:
    """A healthy version can still be released."""
    project.register("v3.0", GOOD + "  # the same, but not the same bytes")

    with Load(project) as load:
        project.release("v3.0")

    assert not load.failures
    assert project.data("status", "churn")["stable"]["label"] == "v3.0"


def test_the_logs_say_what_happened(project: Project) -> None:
    """Each host has a log of its own in the run folder."""
    logs: list[Path] = sorted((project.run / "logs").glob("*.log"))

    assert any("unseen category" in log.read_text(errors="replace") for log in logs)
