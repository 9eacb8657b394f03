"""Writing the page of a release: whole or not at all, where a link points, and never through a prepared name."""

from pathlib import Path

import pytest

from lastgood.cli.show import _replace


def test_a_link_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    """As an editor would: the link may be part of a site."""
    (tmp_path / "site").mkdir()
    place = tmp_path / "site" / "old.html"
    place.write_text("old")
    link = tmp_path / "out.html"
    link.symlink_to(place)
    _replace(link, "new")

    assert link.is_symlink()
    assert place.read_text() == "new"


def test_a_name_that_somebody_prepared_beside_it_is_not_written_through(tmp_path: Path) -> None:
    """In a folder that others write to, no draft has a name that can be foreseen."""
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / ".out.html.part").symlink_to(other)
    _replace(tmp_path / "out.html", "new")

    assert other.read_text() == "mine"


def test_what_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    """A folder of that name stays, and there is no draft."""
    (tmp_path / "out.html").mkdir()
    with pytest.raises(OSError, match=r"directory"):
        _replace(tmp_path / "out.html", "new")

    assert [one.name for one in tmp_path.iterdir()] == ["out.html"]
