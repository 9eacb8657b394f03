"""What is special about folders in a git work tree: the commit's objects, references that pin, and what is left alone."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from source_rigs.git import GitRig

from lastgood.errors import Code, LastgoodError
from lastgood.sources import tracked_folder
from lastgood.sources.git import create


@pytest.fixture
def rig(tmp_path: Path) -> GitRig:
    return GitRig(tmp_path)


def failed(code: Code, act: Callable[[], object]) -> LastgoodError:
    with pytest.raises(LastgoodError) as caught:
        act()
    assert caught.value.code == code, str(caught.value)
    return caught.value


def back(rig: GitRig, snapshot: Any) -> None:
    rig.source().stage_restore(snapshot, "back")
    rig.source().swap("back")


def test_a_commit_is_not_copied_and_outlives_its_branch(rig: GitRig) -> None:
    """A clean folder is pinned by a reference: it comes back though no branch has the commit and git cleaned up."""
    before = rig.state()
    snapshot = rig.source().capture("kept")
    assert snapshot.place["shelf"] == {
        "commit": rig.git("rev-parse", "HEAD"),
        "tree": rig.git("rev-parse", f"HEAD:{rig.path.name}"),
    }
    assert not (rig.kept / "kept" / "files").exists()
    rig.migrate()
    tree = rig.git("rev-parse", "HEAD^{tree}")
    rig.git("update-ref", "refs/heads/main", rig.git("commit-tree", tree, "-m", "history begins anew"))
    rig.git("reflog", "expire", "--expire=now", "--all")
    rig.git("gc", "--quiet", "--prune=now")
    rig.source().verify(snapshot)
    back(rig, snapshot)
    assert rig.state() == before
    rig.source().release("kept")
    assert rig.git("for-each-ref", "refs/lastgood") == ""


def test_what_is_not_committed_is_copied(rig: GitRig) -> None:
    """Changed, new and ignored files are part of the data; the folder is captured whole, as it is."""
    known = rig.source().capture("known")
    (rig.path / ".gitignore").write_text("*.tmp\n")
    rig.commit()
    (rig.path / "5.tmp").write_text("ignored")
    ignored = rig.source().capture("ignored")
    assert "shelf" in known.place
    assert "shelf" not in ignored.place
    assert ignored.rows["files"] == known.rows["files"] + 2
    before = rig.state()
    rig.migrate()
    back(rig, ignored)
    assert rig.state() == before


def test_files_that_a_filter_changes_are_copied(rig: GitRig) -> None:
    """Where the work tree differs from the commit's bytes by a filter, the work tree counts."""
    (rig.path / ".gitattributes").write_text("*.txt text eol=crlf\n")
    (rig.path / "1.txt").write_bytes(b"one\r\ntwo\r\n")
    rig.commit()
    assert rig.git("status", "--porcelain", "--", rig.path.name) == ""
    snapshot = rig.source().capture("kept")
    assert "shelf" not in snapshot.place
    before = rig.state()
    rig.migrate()
    back(rig, snapshot)
    assert rig.state() == before


def test_branch_and_index_are_left_alone(rig: GitRig) -> None:
    """A restore changes the folder only; git shows it as a change like any other."""
    snapshot = rig.source().capture("kept")
    rig.migrate()
    head, index = rig.git("rev-parse", "HEAD"), rig.git("ls-files", "--stage")
    back(rig, snapshot)
    assert (rig.git("rev-parse", "HEAD"), rig.git("ls-files", "--stage")) == (head, index)
    assert rig.git("status", "--porcelain", "--", rig.path.name) != ""


def test_the_root_of_a_work_tree_is_refused(rig: GitRig, tmp_path: Path) -> None:
    """Neither a whole repository nor a folder outside of one can be a source of this kind."""
    whole = failed(
        Code.REFUSED, lambda: create("files", {"path": str(rig.root)}, tmp_path / "k").capture("kept")
    )
    outside = failed(Code.INVALID, lambda: create("files", {"path": "/"}, tmp_path / "k").capture("kept"))
    assert whole.message != outside.message
    assert not (tmp_path / "k").exists() or list((tmp_path / "k").iterdir()) == []


def test_another_repository_in_the_environment_is_not_asked(rig: GitRig, monkeypatch: Any) -> None:
    """What a hook's environment says of another repository changes nothing."""
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert "shelf" in rig.source().capture("kept").place


def test_programs_that_the_repository_names_are_not_run(rig: GitRig, tmp_path: Path) -> None:
    """A hook of the repository neither runs nor stops a pin."""
    hook = rig.root / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path / 'ran'}'\nexit 1\n")
    hook.chmod(0o755)
    snapshot = rig.source().capture("kept")
    assert "shelf" in snapshot.place
    rig.source().verify(snapshot)
    assert not (tmp_path / "ran").exists()


def test_a_partial_clone_asks_no_remote(rig: GitRig, tmp_path: Path) -> None:
    """What a clone has not fetched is not fetched behind the back: the folder is copied instead."""
    for name, value in (("uploadpack.allowFilter", "true"), ("uploadpack.allowAnySHA1InWant", "true")):
        rig.git("config", name, value)
    clone = tmp_path / "partial"
    rig.git("clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{rig.root}", str(clone))
    folder = clone / rig.path.name
    shutil.copytree(rig.path, folder)
    source = create("files", {"path": str(folder)}, tmp_path / "kept of the clone")
    snapshot = source.capture("kept")
    assert "folder" in snapshot.place
    source.verify(snapshot)


def test_a_repository_that_git_does_not_trust_is_said(rig: GitRig, monkeypatch: Any) -> None:
    """Another user's repository is refused with what to do, not called none."""
    refusal = subprocess.CompletedProcess(
        [], 128, b"", b"fatal: detected dubious ownership in repository at '/x'"
    )
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: refusal)
    assert "safe.directory" in failed(Code.REFUSED, lambda: rig.source().capture("kept")).next_step


def test_a_folder_that_is_busy_is_copied(rig: GitRig, monkeypatch: Any) -> None:
    """A file that goes away while the folder is compared with the commit is no error."""
    real = tracked_folder.manifest_of

    def gone(root: Path, seen: Any) -> Any:
        monkeypatch.setattr(tracked_folder, "manifest_of", real)
        raise FileNotFoundError(2, "No such file or directory", str(root / "1.txt"))

    monkeypatch.setattr(tracked_folder, "manifest_of", gone)
    snapshot = rig.source().capture("kept")
    assert "folder" in snapshot.place
    rig.source().verify(snapshot)
