"""The content address of an artifact."""

import hashlib
import os
from pathlib import Path

import pytest

from lastgood.errors import Code, LastgoodError
from lastgood.wire.digest import digest_of, manifest_digest, manifest_of


def folder_with(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def test_file_digest_is_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    """A file's digest can be checked with sha256sum."""
    path = tmp_path / "model"
    path.write_bytes(b"abc" * 1_000_000)

    assert digest_of(path) == (f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}", 3_000_000)


def test_folder_digest_depends_on_names_and_bytes_only(tmp_path: Path) -> None:
    """The same files made in another order and at another time agree; a moved or changed byte does not."""
    files = {"a.py": b"1", "sub/b.py": b"2", "sub/c": b""}
    one = folder_with(tmp_path / "one", files)
    same = folder_with(tmp_path / "same", dict(reversed(files.items())))
    (same / "empty").mkdir()
    os.utime(same / "a.py", (1, 1))
    others = [
        folder_with(tmp_path / "moved", {"a.py": b"1", "b.py": b"2", "sub/c": b""}),
        folder_with(tmp_path / "changed", {**files, "a.py": b"3"}),
        folder_with(tmp_path / "more", {**files, "d": b""}),
    ]

    assert digest_of(one) == digest_of(same)
    assert digest_of(one)[1] == 2
    assert len({digest_of(folder)[0] for folder in [one, *others]}) == 4
    assert manifest_digest(reversed(manifest_of(one))) == digest_of(one)[0]


def test_what_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    """Links to files and folders, special files and empty folders have no digest."""
    target = folder_with(tmp_path / "target", {"x": b"1"})
    linked_file, linked_folder, pipe = (tmp_path / name for name in ("file", "folder", "pipe"))
    for folder in (linked_file, linked_folder, pipe, tmp_path / "empty"):
        folder.mkdir()
    (linked_file / "x").symlink_to(target / "x")
    (linked_folder / "sub").symlink_to(target)
    os.mkfifo(pipe / "x")
    for path in (linked_file, linked_folder, pipe, tmp_path / "empty", linked_file / "x"):
        with pytest.raises(LastgoodError) as caught:
            digest_of(path)
        assert caught.value.code is Code.INVALID
    with pytest.raises(LastgoodError) as caught:
        digest_of(tmp_path / "nothing")

    assert caught.value.code is Code.NOT_FOUND
