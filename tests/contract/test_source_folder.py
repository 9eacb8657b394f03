"""What only folders have: links that lead outside, things that are no files, a folder that never rests, hard links."""

import os
from pathlib import Path
from typing import Any

import pytest
from source_rigs.folder import FolderRig

from lastgood.errors import Code, LastgoodError
from lastgood.sources import folder_keep, folder_tree
from lastgood.sources.folder import FolderSource, create


@pytest.fixture
def rig(tmp_path: Path) -> FolderRig:
    return FolderRig(tmp_path)


@pytest.mark.parametrize(
    "target", ["/etc/hostname", "../outside", "größer und tiefer/../../outside", "out/.."]
)
def test_a_link_that_leads_outside_is_refused(rig: FolderRig, target: str) -> None:
    """A symbolic link out of the folder, straight or by detours, is refused by name; live data is as before."""
    (rig.path.parent / "outside").mkdir()
    if target == "out/..":
        (rig.path / "out").symlink_to("../outside")
    (rig.path / "link").symlink_to(target)
    with pytest.raises(LastgoodError, match=r"'(link|out)' leads outside") as caught:
        rig.source().capture("kept")
    assert caught.value.code == Code.REFUSED
    assert (rig.path / "link").is_symlink()


def test_what_is_no_file_is_refused(rig: FolderRig) -> None:
    """A pipe is refused by name instead of being waited on."""
    os.mkfifo(rig.path / "pipe")
    with pytest.raises(LastgoodError, match="'pipe' is neither") as caught:
        rig.source().capture("kept")
    assert caught.value.code == Code.REFUSED


def test_a_name_that_is_no_text_is_refused(rig: FolderRig) -> None:
    """A file name that is not UTF-8 is refused: it could not be written into the manifest."""
    (Path(os.fsdecode(os.fsencode(rig.path) + b"/\xff"))).touch()
    with pytest.raises(LastgoodError, match="not UTF-8") as caught:
        rig.source().capture("kept")
    assert caught.value.code == Code.REFUSED


def test_a_folder_that_never_rests_is_a_conflict(rig: FolderRig, monkeypatch: Any) -> None:
    """Without a moment in which nothing changes there is no snapshot, instead of a mixed one."""
    turns = 0

    def busy(source: Path, target: Path, seen: folder_tree.Look, *, link: bool) -> None:
        nonlocal turns
        turns += 1
        folder_tree.copy_tree(source, target, seen, link=link)
        (rig.path / "1.txt").write_text("x" * turns)

    monkeypatch.setattr(folder_keep, "copy_tree", busy)
    source = FolderSource("files", rig.path, rig.kept, settle_seconds=0.1)
    with pytest.raises(LastgoodError, match="changes all the time") as caught:
        source.capture("kept")
    assert caught.value.code == Code.CONFLICT
    assert turns > 1, "it tries again"
    assert rig.source().release("kept") == 0, "what was copied is gone already"


def test_hard_links_only_when_said(rig: FolderRig) -> None:
    """Files that are never changed in place may be hard links; others never are, so writing in place harms no snapshot."""
    linked = create("files", {"path": str(rig.path), "immutable_files": True}, rig.kept).capture("linked")
    copied = rig.source().capture("copied")
    assert linked.digest == copied.digest
    inodes = [(rig.kept / token / "files" / "1.txt").stat().st_ino for token in ("linked", "copied")]
    assert [inode == (rig.path / "1.txt").stat().st_ino for inode in inodes] == [True, False]
    with (rig.path / "1.txt").open("r+") as file:
        file.write("changed in place")
    rig.source().verify(copied)
    with pytest.raises(LastgoodError, match=r"1\.txt") as caught:
        rig.source().verify(linked)
    assert caught.value.code == Code.CORRUPT


def test_a_path_that_is_a_link_stays_one(rig: FolderRig) -> None:
    """Where the path is a symbolic link, what it points to is put back, and the link is as it was."""
    link = rig.path.with_name("current")
    link.symlink_to(rig.path.name)
    source = FolderSource("files", link, rig.kept)
    before = rig.state()
    snapshot = source.capture("kept")
    rig.migrate()
    source.stage_restore(snapshot, "back")
    source.swap("back")
    assert rig.state() == before
    assert str(link.readlink()) == rig.path.name


def test_a_copy_to_another_disk_is_compared(rig: FolderRig, tmp_path: Path, monkeypatch: Any) -> None:
    """Without shared blocks or copying in the kernel, files are copied byte by byte, and come to the same digest."""
    first = rig.source().capture("kernel")
    monkeypatch.setattr(folder_tree, "clone", lambda *_: False)
    monkeypatch.setattr(folder_tree, "_in_kernel", lambda *_: False)
    assert rig.source().capture("plain").digest == first.digest


def test_nothing_is_left_beside_the_folder(rig: FolderRig, tmp_path: Path) -> None:
    """After a whole way back only the live folder and the kept one are there."""
    snapshot = rig.source().capture("kept")
    rig.migrate()
    rig.source().stage_restore(snapshot, "back")
    rig.source().swap("back")
    rig.source().quarantine(snapshot, "back", tmp_path / "kept" / "exports")
    assert sorted(each.name for each in rig.path.parent.iterdir()) == ["kept", "live data"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "path"),
        ({"path": 1}, "path"),
        ({"path": "a", "immutable_files": "yes"}, "immutable_files"),
        ({"path": "a", "settle_timeout": -1}, "settle_timeout"),
        ({"path": "a", "password": "secret"}, "password"),
    ],
)
def test_options_are_named(options: dict[str, Any], named: str, tmp_path: Path) -> None:
    """A missing, wrong or unknown option is refused by its name, and no value is shown."""
    with pytest.raises(LastgoodError, match=repr(named)) as caught:
        create("files", options, tmp_path)
    assert caught.value.code == Code.INVALID
    assert "secret" not in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """No folder, or a file in its place, is not found."""
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        source = create("files", {"path": str(tmp_path / name)}, tmp_path / "kept")
        for act in (source.schema, lambda source=source: source.capture("kept")):
            with pytest.raises(LastgoodError) as caught:
                act()
            assert caught.value.code == Code.NOT_FOUND
