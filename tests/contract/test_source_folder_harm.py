"""What applications do to a folder behind our back: clocks that tick, holes, owners, mounts, late writers, odd leftovers."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from source_rigs.folder import FolderRig

from lastgood.domain.snapshot import Snapshot
from lastgood.errors import Code, LastgoodError
from lastgood.sources import folder_keep, folder_tree
from lastgood.sources.folder import FolderSource, create
from lastgood.sources.folder_kernel import explained, mounted_in


@pytest.fixture
def rig(tmp_path: Path) -> FolderRig:
    return FolderRig(tmp_path)


def replaced(rig: FolderRig) -> Snapshot:
    """Swap a snapshot in, and return it."""
    snapshot = rig.source().capture("kept")
    rig.source().stage_restore(snapshot, "back")
    rig.source().swap("back")
    return snapshot


def test_a_change_within_one_tick_of_file_times_is_seen(rig: FolderRig, monkeypatch: Any) -> None:
    """Two files that are written again in place while they are copied, with the same times, are never kept half old."""
    real = folder_tree.look

    def coarse(root: Path, **options: bool) -> folder_tree.Look:
        return {
            path: msgspec.structs.replace(seen, changed=2**62) for path, seen in real(root, **options).items()
        }

    monkeypatch.setattr(folder_keep, "look", coarse)
    for name in ("1.txt", "2.txt"):
        (rig.path / name).write_text("one")
    turns = 0

    def copy(source: Path, target: Path, seen: folder_tree.Look, *, link: bool) -> None:
        nonlocal turns
        turns += 1
        folders = {path: each for path, each in seen.items() if each.kind == folder_tree.FOLDER}
        first = {path: each for path, each in seen.items() if path == "1.txt"}
        folder_tree.copy_tree(source, target, {**folders, **first}, link=link)
        if turns == 1:
            for name in ("1.txt", "2.txt"):
                (rig.path / name).write_text("two")
        folder_tree.copy_tree(source, target, {p: e for p, e in seen.items() if p not in first}, link=link)

    monkeypatch.setattr(folder_keep, "copy_tree", copy)
    rig.source().capture("kept")
    kept = rig.kept / "kept" / "files"
    assert [(kept / name).read_text() for name in ("1.txt", "2.txt")] == ["two", "two"]


def test_holes_take_no_room(rig: FolderRig) -> None:
    """A file with holes is kept and put back with them, and what it needs is counted by its data."""
    with (rig.path / "sparse").open("wb") as file:
        for place in (1 << 20, 5 << 20):
            file.seek(place)
            file.write(b"data" * 1024)
        file.truncate(8 << 20)
    before = rig.state()
    if (rig.path / "sparse").stat().st_blocks * 512 >= 8 << 20:
        pytest.skip("this file system has no holes")
    snapshot = rig.source().capture("kept")
    assert snapshot.size_bytes < 2 << 20
    rig.migrate()
    rig.source().stage_restore(snapshot, "back")
    rig.source().swap("back")
    assert rig.state() == before
    assert (rig.path / "sparse").stat().st_blocks * 512 < 2 << 20


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owners_come_back(rig: FolderRig) -> None:
    """A server that may do so gives files, folders and links back to whom they belonged."""
    (rig.path / "link").symlink_to("1.txt")
    for number, name in enumerate((".", "1.txt", "empty", "link"), start=4001):
        os.chown(rig.path / name, number, number + 1, follow_symlinks=False)
    (rig.path / "1.txt").chmod(0o4750)
    snapshot = rig.source().capture("kept")
    rig.source().stage_restore(snapshot, "back")
    rig.source().swap("back")
    for number, name in enumerate((".", "1.txt", "empty", "link"), start=4001):
        found = (rig.path / name).lstat()
        assert (found.st_uid, found.st_gid) == (number, number + 1), name
    assert (rig.path / "1.txt").stat().st_mode & 0o7777 == 0o4750


def test_mounts_are_refused(rig: FolderRig, tmp_path: Path, monkeypatch: Any) -> None:
    """A folder that is a mount point, or has one inside, is refused before anything is copied or staged."""
    assert mounted_in(tmp_path) is None
    assert mounted_in(Path("/proc")) == "/proc"
    with pytest.raises(LastgoodError, match="'proc' is a mount point") as caught:
        create("files", {"path": "/proc"}, tmp_path / "kept").capture("kept")
    assert caught.value.code == Code.REFUSED
    snapshot = rig.source().capture("kept")
    monkeypatch.setattr(folder_keep, "mounted_in", lambda live: f"{live}/inside")
    for act in (lambda: rig.source().capture("more"), lambda: rig.source().stage_restore(snapshot, "back")):
        with pytest.raises(LastgoodError, match=r"another file system at '.*/inside'") as caught:
            act()
        assert caught.value.code == Code.REFUSED


def test_a_folder_with_our_own_inside_is_refused(rig: FolderRig) -> None:
    """Data in which Lastgood's own folder lies would be exchanged with it: it is refused, also behind a link."""
    (rig.path.parent / "link").symlink_to(rig.path)
    for kept in (rig.path / "home" / "data", rig.path.parent / "link" / "home"):
        with pytest.raises(LastgoodError, match="own folder lies in 'live data'") as caught:
            FolderSource("files", rig.path, kept).capture("kept")
        assert caught.value.code == Code.REFUSED


def test_a_folder_that_could_not_be_put_away_is_refused(rig: FolderRig, monkeypatch: Any) -> None:
    """A folder that the server may not write to could be swapped, but not be moved into quarantine."""
    monkeypatch.setattr(os, "access", lambda path, *_: Path(path) != rig.path)
    with pytest.raises(LastgoodError, match="may not write to 'live data'") as caught:
        rig.source().capture("kept")
    assert caught.value.code == Code.REFUSED


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM])
def test_a_folder_that_cannot_be_renamed_is_said_before_the_swap(
    rig: FolderRig, monkeypatch: Any, number: int
) -> None:
    """A folder in a layer of an image, or in somebody else's care, fails while staging, and nothing is left beside it."""
    real = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path == rig.path:
            raise OSError(number, os.strerror(number), str(path), None, str(target))
        return real(path, target)

    snapshot = rig.source().capture("kept")
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(LastgoodError, match="cannot be exchanged in one step") as caught:
        rig.source().stage_restore(snapshot, "back")
    assert caught.value.code == Code.UNAVAILABLE
    assert sorted(each.name for each in rig.path.parent.iterdir()) == ["kept", "live data"]


def test_a_link_that_is_no_text_is_refused(rig: FolderRig) -> None:
    """A link whose target is not UTF-8 is refused by name: it could not be written into the manifest."""
    (rig.path / "odd").symlink_to(os.fsdecode(b"\xff"))
    with pytest.raises(LastgoodError, match="'odd', or what it links to, is not UTF-8") as caught:
        rig.source().capture("kept")
    assert caught.value.code == Code.REFUSED


def test_whatever_was_replaced_is_kept_and_counted(rig: FolderRig, tmp_path: Path) -> None:
    """What a capture would refuse is no reason to lose what a swap replaced: it is counted, and comes back."""
    snapshot = rig.source().capture("kept")
    os.mkfifo(rig.path / "pipe")
    (rig.path / "outside").symlink_to("/etc/hostname")
    (rig.path / "odd").symlink_to(os.fsdecode(b"\xfe"))
    Path(os.fsdecode(os.fsencode(rig.path) + b"/\xff")).write_text("in a name that is no text")
    rig.source().stage_restore(snapshot, "back")
    rig.source().swap("back")
    quarantine = rig.source().quarantine(snapshot, "back", tmp_path / "exports")
    assert (quarantine.tables["files"].added, quarantine.tables["files"].removed) == (3, 0)
    assert (tmp_path / "exports" / "files" / os.fsdecode(b"\xff")).read_text() == "in a name that is no text"
    rig.source().verify(quarantine.kept)
    rig.source().stage_restore(quarantine.kept, "forward")
    rig.source().swap("forward")
    assert str((rig.path / "outside").readlink()) == "/etc/hostname"
    assert str((rig.path / "odd").readlink()) == os.fsdecode(b"\xfe")
    assert (rig.path / os.fsdecode(b"\xff")).exists()


def test_a_writer_with_an_old_handle_is_waited_for(rig: FolderRig, tmp_path: Path, monkeypatch: Any) -> None:
    """What goes on being written to replaced files is not described half: a conflict first, all of it counted later."""
    with (rig.path / "1.txt").open("a") as handle:
        snapshot = replaced(rig)
        real = folder_tree.manifest_of

        def meanwhile(root: Path, seen: folder_tree.Look) -> folder_tree.Manifest:
            found = real(root, seen)
            handle.write("late")
            handle.flush()
            return found

        source = FolderSource("files", rig.path, rig.kept, settle_seconds=0.05)
        with monkeypatch.context() as patched:
            patched.setattr(folder_keep, "manifest_of", meanwhile)
            with pytest.raises(LastgoodError, match="still writes to files that were replaced") as caught:
                source.quarantine(snapshot, "back", tmp_path / "exports")
        assert caught.value.code == Code.CONFLICT
        quarantine = source.quarantine(snapshot, "back", tmp_path / "exports")
    assert quarantine.tables["files"].added == 1
    assert "late" in (tmp_path / "exports" / "files" / "1.txt").read_text()
    source.verify(quarantine.kept)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_files_that_cannot_be_linked_are_copied(rig: FolderRig, monkeypatch: Any, number: int) -> None:
    """Where a hard link is not possible (another disk, another's file, too many), immutable files are copied."""

    def refuse(new: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number), str(target), None, str(new))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    source = create("files", {"path": str(rig.path), "immutable_files": True}, rig.kept)
    before = rig.state()
    snapshot = source.capture("kept")
    rig.migrate()
    source.stage_restore(snapshot, "back")
    source.swap("back")
    assert rig.state() == before


def test_a_capture_that_fails_gives_its_room_back(rig: FolderRig, monkeypatch: Any) -> None:
    """When the disk is full in the middle, what was copied is removed at once: applications need the room."""

    def full(source: Path, target: Path, seen: folder_tree.Look, *, link: bool) -> None:
        folder_tree.copy_tree(source, target, seen, link=link)
        raise OSError(errno.ENOSPC, "No space left on device", str(target / "1.txt"))

    monkeypatch.setattr(folder_keep, "copy_tree", full)
    with pytest.raises(LastgoodError, match=r"\('1\.txt'\) could not be written") as caught:
        rig.source().capture("kept")
    assert caught.value.code == Code.STORAGE
    assert not [path for path in rig.kept.rglob("*") if path.is_file()]


def test_a_folder_that_was_deleted_comes_back(rig: FolderRig, tmp_path: Path) -> None:
    """Where a migration deleted the whole folder, the swap brings it back, and what it replaced is nothing."""
    before = rig.state()
    snapshot = rig.source().capture("kept")
    rig.source().stage_restore(snapshot, "back")
    shutil.rmtree(rig.path)
    rig.source().swap("back")
    assert rig.source().swapped("back")
    assert rig.state() == before
    gained = rig.source().quarantine(snapshot, "back", tmp_path / "exports").tables["files"]
    assert (gained.added, gained.removed) == (0, snapshot.rows["files"])


def test_an_error_names_the_file_and_not_where_it_is() -> None:
    """A file that cannot be read is named, without its folders."""
    error = explained(PermissionError(errno.EACCES, "Permission denied", "/secret/place/7.txt"), "A snapshot")
    assert "'7.txt'" in error.message
    assert "secret" not in str(error)
