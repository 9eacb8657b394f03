"""What is special about the command source: time, bounds, the environment, and what its errors say."""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lastgood.errors import Code, LastgoodError
from lastgood.sources.command import Command, create

SECRET = "correct-horse-battery"


def python(text: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", text]


def source(tmp_path: Path, text: str, **options: Any) -> Command:
    return create("features", {"program": python(text), **options}, tmp_path / "kept")


def failure(made: Command) -> LastgoodError:
    with pytest.raises(LastgoodError) as caught:
        made.schema()
    return caught.value


def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    """After the time-out neither the program nor what it started is alive."""
    text = (
        "import subprocess, sys, time; "
        f"child = subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(600)']); "
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid)); time.sleep(600)"
    )
    error = failure(source(tmp_path, text, timeouts={"schema": 1}))
    assert error.code == Code.TIMEOUT
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}/cmdline").exists() and Path(f"/proc/{child}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "the child lives on"
        time.sleep(0.01)


def test_a_child_that_holds_the_pipes_open_is_not_waited_for(tmp_path: Path) -> None:
    """The answer counts when the program itself has ended, and what it left running is killed."""
    text = (
        "import subprocess, sys; "
        "subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(600)']); "
        """print('{"tables": {"t": [{"name": "id", "type": "int"}]}}')"""
    )
    assert [column.name for column in source(tmp_path, text).schema().tables["t"]] == ["id"]


def test_an_error_shows_the_status_and_the_last_line_without_secrets(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """Exit status and the last line of standard error are shown, bounded; secrets and URL credentials are blotted out."""
    monkeypatch.setenv("LAKE_PASSWORD", SECRET)
    text = (
        "import os, sys; sys.stderr.write('first\\n' + 'no: ' + os.environ['PASSWORD'] "
        "+ ' postgresql://me:hidden@db/x ' + 'y' * 9000 + '\\n'); sys.exit(7)"
    )
    # the line is longer than what is kept of it, so the secret is asked for at its end, too
    error = failure(source(tmp_path, text, environment={"PASSWORD": "env:LAKE_PASSWORD"}))
    assert error.code == Code.UNAVAILABLE
    assert error.details["exit_status"] == 7
    assert len(error.message) < 400
    short = text.replace(" + 'y' * 9000", "")
    error = failure(source(tmp_path, short, environment={"PASSWORD": "env:LAKE_PASSWORD"}))
    assert "exited with 7: no: ***" in error.message
    assert SECRET not in str(error)
    assert "hidden" not in str(error)
    assert "first" not in error.message


@pytest.mark.parametrize(
    ("status", "code"), [(10, Code.NOT_FOUND), (11, Code.CORRUPT), (12, Code.STORAGE), (13, Code.TIMEOUT)]
)
def test_exit_statuses_have_meanings(tmp_path: Path, status: int, code: Code) -> None:
    """A program can say why it failed."""
    assert failure(source(tmp_path, f"import sys; sys.exit({status})")).code == code


@pytest.mark.parametrize(
    "answer", ["", "[]", "{", '{"tables": 3}', '{"tables": {"t": [{"name": 1}]}}', "\\xff"]
)
def test_an_answer_that_does_not_fit_is_no_answer(tmp_path: Path, answer: str) -> None:
    """Whatever is not the asked JSON is refused, never guessed at."""
    error = failure(source(tmp_path, f"import sys; sys.stdout.buffer.write(b'{answer}')"))
    assert error.code == Code.UNAVAILABLE


@pytest.mark.parametrize(
    "answer",
    [
        '{"digest": "", "size_bytes": 1, "rows": {}}',
        '{"digest": "d", "size_bytes": -1, "rows": {}}',
        '{"digest": "d", "size_bytes": 1, "rows": {"t": -4}}',
        '{"digest": "d", "size_bytes": 1, "rows": {}, "place": ' + '{"x":' * 50_000 + "1" + "}" * 50_001,
    ],
)
def test_a_capture_that_cannot_be_is_no_capture(tmp_path: Path, answer: str) -> None:
    """No digest, fewer than no rows, and JSON too deep to be read are refused as an answer that does not fit."""
    (tmp_path / "answer").write_text(answer)
    made = source(tmp_path, f"print(open({str(tmp_path / 'answer')!r}).read())")
    with pytest.raises(LastgoodError, match="something else than was asked") as caught:
        made.capture("kept")
    assert caught.value.code == Code.UNAVAILABLE


@pytest.mark.parametrize(
    "said", ["secret", "'postgresql://me:' + quote(secret, safe='')", "secret.splitlines()[-1]"]
)
def test_a_secret_is_hidden_in_each_of_its_forms(tmp_path: Path, monkeypatch: Any, said: str) -> None:
    """A secret of several lines, with blanks or signs in it, is not shown whole, by line, or as a URL has it."""
    monkeypatch.setenv("LAKE_KEY", "first  line/of it\nlast\tline@of it")
    text = f"import os, sys; from urllib.parse import quote; secret = os.environ['KEY']; sys.stderr.write({said}); sys.exit(7)"
    error = failure(source(tmp_path, text, environment={"KEY": "env:LAKE_KEY"}))
    assert "***" in error.message
    assert "line" not in error.message


def test_a_secret_is_not_shown_from_its_middle(tmp_path: Path, monkeypatch: Any) -> None:
    """Where a line is longer than what is kept of it, nothing of it is shown: half a secret is not known as one."""
    monkeypatch.setenv("LAKE_PASSWORD", SECRET)
    text = "import os, sys; sys.stderr.write(os.environ['PASSWORD'] + 'y' * 4086); sys.exit(7)"
    error = failure(source(tmp_path, text, environment={"PASSWORD": "env:LAKE_PASSWORD"}))
    assert error.message.endswith("exited with 7.")


def test_an_endless_answer_is_cut_off(tmp_path: Path) -> None:
    """A program that never stops talking is killed at the bound, not at the time-out."""
    error = failure(source(tmp_path, "while True: print('x' * 1000)"))
    assert error.code == Code.TOO_LARGE


def test_the_environment_is_what_was_given(tmp_path: Path, monkeypatch: Any) -> None:
    """A program sees a few plain variables and its own, not the server's secrets."""
    monkeypatch.setenv("LASTGOOD_TOKEN", SECRET)
    text = "import os, json; print(json.dumps({'tables': {name: [] for name in sorted(os.environ)}}))"
    seen = set(source(tmp_path, text, environment={"MINE": "yes"}).schema().tables)
    assert "MINE" in seen
    assert seen <= {"MINE", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "TMPDIR", "TZ"}
    assert os.environ["LASTGOOD_TOKEN"] == SECRET


def test_a_swap_that_did_nothing_is_a_failure(tmp_path: Path) -> None:
    """A swap program that exits well without swapping is caught by asking."""
    made = source(tmp_path, """print('{"swapped": false}')""")
    with pytest.raises(LastgoodError) as caught:
        made.swap("back")
    assert caught.value.code == Code.CORRUPT
    assert not made.swapped("back")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "schema"),
        ({"program": "sh -c true"}, "program"),
        ({"program": ["true"], "shell": True}, "shell"),
        ({"program": ["true"], "timeouts": {"swap": 0}}, "swap"),
        ({"program": ["true"], "timeouts": {"copy": 1}}, "copy"),
        ({"program": ["true"], "folder": 3}, "folder"),
        (
            {step: ["true"] for step in ("capture", "verify", "stage", "swap", "release", "schema")},
            "swapped",
        ),
    ],
)
def test_options_that_cannot_work_are_named(tmp_path: Path, options: Mapping[str, Any], named: str) -> None:
    """Each wrong or missing option is refused by its name."""
    with pytest.raises(LastgoodError) as caught:
        create("features", options, tmp_path)
    assert caught.value.code == Code.INVALID
    assert named in caught.value.message


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A missing program and a missing secret are said plainly."""
    error = failure(create("features", {"program": ["no-such-program"]}, tmp_path))
    assert error.code == Code.UNAVAILABLE
    assert "no-such-program" in error.message
    error = failure(source(tmp_path, "pass", environment={"KEY": "env:NOT_SET_ANYWHERE"}))
    assert "env:NOT_SET_ANYWHERE" in error.message
