"""Copies through a real server: what a shadow does judges it, and no caller ever sees anything of it."""

import http.client
from pathlib import Path

import pytest
from project import GOOD, Load, Project, eventually, serving

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
  - metric: invalid_output
false_rollback_rate: 1%
watch: 2s
watch_shadow: 20%
"""
ENDS_ITS_HOST = "import os\nos._exit(9)"
ENDLESS = "import time\ntime.sleep(3600)"
RAISES = "raise ValueError('broken')"
GARBAGE = "return {'y': x * float('nan')}"


def scraped(project: Project) -> dict[str, float]:
    """Return the counters of /metrics by name and labels."""
    connection = http.client.HTTPConnection("127.0.0.1", project.api_port, timeout=60)
    connection.request("GET", "/metrics", headers=_authorized(project))
    answer = connection.getresponse()
    lines = answer.read().decode().splitlines()
    connection.close()
    assert answer.status == 200, lines
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def _authorized(project: Project) -> dict[str, str]:
    return {"authorization": f"Bearer {(project.folder / '.lastgood' / 'token').read_text().strip()}"}


@pytest.mark.parametrize(
    "body", [RAISES, GARBAGE, ENDLESS, ENDS_ITS_HOST], ids=["raises", "nan", "hangs", "exits"]
)
def test_a_broken_candidate_goes_back_before_it_has_any_traffic(tmp_path: Path, body: str) -> None:
    """It is rolled back on copies alone: no caller is answered by it, refused, delayed past a time-out, or falls back."""
    # The host is started for golden requests and a warm-up that ask with zeros; it breaks on what callers send.
    candidate = f"if not x.any():\n    return {{'y': x * 2.0}}\n{body}"
    with serving(tmp_path, candidate_timeout=0.5) as project:
        (project.folder / "plan.yaml").write_text(PLAN.replace("errors\n", "errors\n  - metric: health\n"))
        project.register("v1.1", candidate)
        with Load(project) as load:
            project.release("v1.1", expect=4)
        release = project.data("show", "release", "2")
        assert release["phase"] == "rolled_back"
        assert (load.failures, load.fallbacks, set(load.versions)) == ({}, {}, {"1"})
        project.cli("verify", "release", "2", "--evidence")


def test_a_good_candidate_passes_its_shadow_and_is_watched_beside_the_version_before(tmp_path: Path) -> None:
    """Copies are counted for the shadow's role, found with their request, and nobody but the log sees them."""
    with serving(tmp_path) as project:
        (project.folder / "plan.yaml").write_text(PLAN)
        project.register("v1.1", GOOD)
        with Load(project) as load:
            project.release("v1.1")
        assert (load.failures, load.fallbacks) == ({}, {})
        assert project.data("show", "release", "2")["phase"] == "succeeded"
        counted = eventually(lambda: _shadows(project), "both versions have answered copies")
        assert counted["1"] > 0
        assert counted["2"] >= 100


def _shadows(project: Project) -> dict[str, float] | None:
    """Return the copies that each version answered, once both have."""
    found = {
        name.split('version="')[1].split('"')[0]: value
        for name, value in scraped(project).items()
        if name.startswith("lastgood_requests_total") and 'role="shadow"' in name
    }
    return found if {"1", "2"} <= found.keys() else None
