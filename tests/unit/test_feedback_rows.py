"""Labels out of a table or a database: what cannot be an id, a row or a URL is told, and no password is."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from lastgood.cli.feedback import _labels
from lastgood.cli.feedback_query import query_rows
from lastgood.cli.replay import read_rows
from lastgood.errors import Code, LastgoodError
from lastgood.settings import FeedbackSource, Settings

COLUMNS = {"id": "id", "value": "value", "row": "row", "at": "at"}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("3", 3),
        (3.0, 3),
        (1.5, -1),
        ("1e400", -1),
        (float("inf"), -1),
        (float("nan"), -1),
        (10**40, -1),
        ("1" * 5000, -1),
        (["1"], -1),
    ],
)
def test_a_row_is_a_whole_number_or_refused_with_its_label(given: Any, sent: int) -> None:
    """No fraction is cut off, and nothing that a column may hold ends the command."""
    (label,) = _labels([{"id": "a", "value": 1, "row": given}], COLUMNS)

    assert label["row"] == sent
    assert msgspec.json.encode(label)


def test_nothing_is_no_id() -> None:
    """A row whose id is NULL names no request, not one that is called None."""
    (label,) = _labels([{"id": None, "value": 1}], COLUMNS)

    assert label["id"] == ""


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:se@cret@127.0.0.1:x/db",
        "postgresql://ada:secret@[::1/db",
        "secret",
        "secretbase://ada:secret@host/db",
    ],
)
def test_no_password_is_told_whatever_is_wrong_with_a_url(tmp_path: Path, url: str) -> None:
    """What is wrong is said without quoting the URL."""
    source = FeedbackSource(url=url, query="SELECT 1")
    settings = Settings(home=tmp_path, feedback={"crm": source})
    with pytest.raises(LastgoodError) as caught:
        list(query_rows(settings, "crm"))

    assert caught.value.code is Code.INVALID
    assert "cret" not in caught.value.message + caught.value.next_step


@pytest.mark.parametrize("name", ["a" * 300 + ".csv", "folder.csv", "zeros.csv", "none.csv"])
def test_a_file_that_is_none_is_named(tmp_path: Path, name: str) -> None:
    """A name that is too long, a folder, bytes that are no text."""
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "zeros.csv").write_bytes(b"id,value\n\xff\xfe\n")
    with pytest.raises(LastgoodError) as caught:
        list(read_rows(tmp_path / name))

    assert name in caught.value.message
