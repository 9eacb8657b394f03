"""The watch through a real server: a version that breaks after its promotion goes back to the one that answers its copies."""

from pathlib import Path
from typing import Any

import pytest
from project import Load, Project, eventually, serving

pytestmark = pytest.mark.slow
PLAN = """\
strategy: canary
steps:
  - shadow: 50%
    for: 1s
    samples: 100
  - weight: 50%
    for: 1s
    samples: 50
guardrails:
  - metric: errors
  - metric: agreement
    within: 0.001
    min: 99%
watch: 1h
watch_shadow: 50%
watch_run_length: 10d
"""


def shown(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = project.data("show", "release", "2")
    return found


def test_a_version_that_breaks_in_the_watch_goes_back(tmp_path: Path) -> None:
    """Found in the first minutes, on pairs alone, with the numbers; the answers of copies agree until then."""
    broken = tmp_path / "broken"
    body = (
        f"import os\nif os.path.exists({str(broken)!r}) and np.random.random() < 0.5:\n"
        "    raise ValueError('broken')\nreturn {'y': x * 2.0}"
    )
    with serving(tmp_path) as project:
        (project.folder / "plan.yaml").write_text(PLAN)
        project.register("v1.1", body)
        with Load(project) as load:
            project.cli("release", "churn", "--version", "v1.1", "--plan", "plan.yaml")
            eventually(lambda: shown(project)["phase"] == "watching", "it is promoted")

            def agreed() -> bool:
                (found,) = [one for one in shown(project)["findings"] if one["guardrail"] == "agreement"]
                return bool(found["verdict"] == "passed")

            eventually(agreed, "both versions are seen to agree")
            assert load.failures == {}
            broken.touch()
            release = eventually(
                lambda: next((one for one in [shown(project)] if one["phase"] == "rolled_back"), None),
                "it goes back",
                300.0,
            )
        assert release["evidence"]["guardrail"] == "errors"
        assert release["evidence"]["helps"]["verdict"] == "yes"
        assert release["evidence"]["watch"]["stable"]["bad"] == 0
        assert release["evidence"]["watch"]["candidate"]["bad"] > 2
        assert project.infer()[2]["lastgood-version"] == "1"
        project.cli("verify", "release", "2", "--evidence")
