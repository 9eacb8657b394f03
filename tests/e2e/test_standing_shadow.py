"""A standing shadow through a real server: it is told, judged for as long as it stands, and ended by a person."""

from pathlib import Path

import pytest
from project import GOOD, Load, Project, eventually, serving

pytestmark = pytest.mark.slow
FAILS_THREE_IN_TEN = (
    "if x.any() and x.flat[0] % 10 < 3:\n    raise ValueError('broken')\nreturn {'y': x * 2.0}"
)


def _release(project: Project) -> dict[str, object]:
    return dict(project.data("show", "release", "2"))


def test_a_candidate_that_fails_in_its_shadow_harms_no_caller(tmp_path: Path) -> None:
    """Three of ten copies fail: it is rolled back from shadowing, and no caller was ever answered by it."""
    with serving(tmp_path) as project:
        project.register("v1.1", FAILS_THREE_IN_TEN)
        with Load(project) as load:
            project.cli("release", "churn", "--version", "v1.1", "--shadow", "50%", "--wait", expect=4)
        release = _release(project)
        assert release["phase"] == "rolled_back"
        assert "errors" in str(release["cause"])
        phases = [
            event["data"].get("to")
            for event in project.data("audit", "--limit", "100")["events"]
            if event["release"] == 2
        ]
        assert "shadowing" in phases
        assert "progressing" not in phases
        assert (load.failures, load.fallbacks, set(load.versions)) == ({}, {}, {"1"})


def test_a_standing_shadow_goes_on_when_a_person_promotes_it(tmp_path: Path) -> None:
    """It stands while pairs are counted, says what ends it, and then takes its first step with a weight."""
    with serving(tmp_path) as project:
        project.register("v1.1", GOOD)
        with Load(project) as load:
            project.cli("release", "churn", "--version", "v1.1", "--shadow", "20%")
            found = eventually(lambda: _with_pairs(project), "copies are counted")
            assert (found["phase"], found["shadow_percent"], found["weight_percent"]) == (
                "shadowing",
                20.0,
                0.0,
            )
            told = project.cli("status", "churn").stdout
            assert "shadowing, step 1 of 4" in told
            assert "copies of 20 % to v1.1" in told
            assert "lastgood promote churn" in told
            assert set(load.versions) == {"1"}
            project.cli("promote", "churn")
            eventually(lambda: load.versions["2"] > 0, "callers are answered by the candidate")
            assert _release(project)["phase"] == "progressing"
        assert (load.failures, load.fallbacks) == ({}, {})


def _with_pairs(project: Project) -> dict[str, object] | None:
    found = _release(project)
    return found if int(str(found["pairs"])) >= 50 else None
