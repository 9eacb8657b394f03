"""What is special about folders that DVC tracks: its records and its cache, read without the tool."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from source_rigs.dvc import DvcRig

from lastgood.errors import Code, LastgoodError
from lastgood.sources.dvc import create


@pytest.fixture
def rig(tmp_path: Path) -> DvcRig:
    return DvcRig(tmp_path)


def failed(code: Code, act: Callable[[], object]) -> LastgoodError:
    with pytest.raises(LastgoodError) as caught:
        act()
    assert caught.value.code == code, str(caught.value)
    return caught.value


def record(rig: DvcRig) -> Path:
    return rig.path.with_name(f"{rig.path.name}.dvc")


def back(rig: DvcRig, snapshot: Any) -> None:
    rig.source().stage_restore(snapshot, "back")
    rig.source().swap("back")


def test_what_the_cache_holds_is_not_copied_and_outlives_its_cleaning(rig: DvcRig) -> None:
    """A recorded folder is pinned by links, so that it comes back even when the cache was emptied."""
    before = rig.state()
    snapshot = rig.source().capture("kept")
    assert snapshot.provider == "dvc"
    assert snapshot.place["shelf"]["md5"].endswith(".dir")
    assert not (rig.kept / "kept" / "files").exists()
    rig.migrate()
    for path in [each for each in rig.cache.rglob("*") if each.is_file()]:
        path.unlink()
    rig.source().verify(snapshot)
    back(rig, snapshot)
    assert rig.state() == before


def test_what_is_not_recorded_is_copied(rig: DvcRig) -> None:
    """A folder that differs from its record, or whose cache lost something, is captured whole, as it is."""
    (rig.path / "77.txt").write_text("not added")
    changed = rig.source().capture("changed")
    (rig.path / "77.txt").unlink()
    known = rig.source().capture("known")
    for path in rig.objects(known, b"row 1"):
        path.unlink()
    lost = rig.source().capture("lost")
    assert "shelf" in known.place
    assert "shelf" not in changed.place
    assert "shelf" not in lost.place
    assert lost.digest == known.digest != changed.digest
    before = rig.state()
    rig.migrate()
    back(rig, lost)
    assert rig.state() == before


def test_the_record_is_left_alone(rig: DvcRig) -> None:
    """A restore changes the folder only: which state the project asks for is a commit's to say."""
    snapshot = rig.source().capture("kept")
    rig.migrate()
    known = record(rig).read_text()
    back(rig, snapshot)
    assert record(rig).read_text() == known


def test_a_lock_file_and_an_older_cache_are_read(rig: DvcRig, tmp_path: Path) -> None:
    """Outputs of stages count as well as added folders, and objects lie where DVC 2 put them, or where a setting says."""
    (out,) = yaml.safe_load(record(rig).read_text())["outs"]
    record(rig).unlink()
    failed(Code.INVALID, lambda: rig.source().capture("kept"))
    stages = {"other": {"cmd": "true"}, "features": {"cmd": "make", "outs": [{**out, "path": rig.path.name}]}}
    rig.path.with_name("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    assert "shelf" in rig.source().capture("locked").place
    del stages["features"]["outs"][0]["hash"]  # type: ignore[index]
    rig.path.with_name("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    rig.cache.rename(tmp_path / "elsewhere")
    (tmp_path / ".dvc" / "config").write_text("[core]\n    remote = there\n[cache]\n    dir = ../elsewhere\n")
    assert rig.source().capture("older").place["shelf"]["cache"] == str(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("outs: [", "read"),
        ("- 1", "record"),
        ("outs: 3", "does not track"),
        ("[" * 20_000, "read"),
        ("outs:\n- {path: other, md5: 0123456789abcdef0123456789abcdef.dir}", "does not track"),
        ("outs:\n- {path: live data, md5: 0123456789abcdef0123456789abcdef}", "folder"),
        ("outs:\n- {path: live data, md5: ../../../etc/passwd.dir}", "folder"),
    ],
)
def test_a_record_that_says_something_else_is_refused(rig: DvcRig, text: str, named: str) -> None:
    """A damaged or foreign record is named; it leads nowhere outside the cache."""
    record(rig).write_text(text)
    assert named in failed(Code.INVALID, lambda: rig.source().capture("kept")).message


@pytest.mark.parametrize(
    ("text", "named"), [("[cache]\ndir = a\0b\n", "no possible folder"), ("[cache]\n[cache]\n", "read")]
)
def test_a_configuration_that_cannot_be_is_refused(rig: DvcRig, text: str, named: str) -> None:
    """A damaged configuration of the project is named instead of being guessed at."""
    (rig.path.parent / ".dvc" / "config").write_text(text)
    assert named in failed(Code.INVALID, lambda: rig.source().capture("kept")).message


def test_options_that_cannot_work_are_named(tmp_path: Path) -> None:
    """A missing and an unknown option are refused by name."""
    assert "path" in failed(Code.INVALID, lambda: create("files", {}, tmp_path)).message
    wrong = {"path": str(tmp_path), "remote": "x"}
    assert "remote" in failed(Code.INVALID, lambda: create("files", wrong, tmp_path)).message
