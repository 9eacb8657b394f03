"""What resume and promote say of a guardrail that they set aside."""

from typing import Any

import pytest
from click.testing import CliRunner

from lastgood.cli import releases
from lastgood.cli.main import root
from lastgood.cli.output import Output


class FakeSession:
    """A session that prints."""

    def __init__(self) -> None:
        self.output = Output(as_json=False)


@pytest.mark.parametrize("command", ["resume", "promote"])
def test_help_says_that_a_guardrail_is_set_aside(command: str) -> None:
    """Who reads the help knows before typing it."""
    text = " ".join(CliRunner().invoke(root, [command, "--help"]).stdout.split())

    assert "A guardrail that holds the release is set aside by it" in text


def test_the_answer_names_what_was_set_aside_and_by_whom(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each guardrail; none where nothing was set aside."""
    view: dict[str, Any] = {
        "id": 2,
        "deployment": "churn",
        "version": {"number": 2, "label": "v1.1"},
        "phase": "progressing",
        "cause": "resumed by ada",
        "step": 1,
        "steps": 2,
        "weight_percent": 10.0,
        "timings": {},
        "set_aside": {"errors": "ada"},
    }
    told: Any = releases._told
    told(FakeSession(), view)
    assert "errors is set aside by ada: it does not hold this release again." in capsys.readouterr().out
    told(FakeSession(), {**view, "set_aside": {}})
    assert "set aside" not in capsys.readouterr().out
