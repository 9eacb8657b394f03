"""The contract of Blobs: whole artifacts by content address, and nothing half-written."""

import contextlib
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lastgood.errors import Code, LastgoodError
from lastgood.store import blobs as blobs_module
from lastgood.store.blobs import FolderBlobs
from lastgood.store.drafts import draft, remove_tree, sweep
from lastgood.wire.digest import digest_of


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / "deep" / "er").mkdir(parents=True)
    (made / "MLmodel").write_text("flavors: {}")
    (made / "deep" / "er" / "weights.bin").write_bytes(bytes(range(256)) * 999)
    return made


def contents(root: Path) -> list[str]:
    """Every path below the blobs folder that is not one of its fixed folders."""
    found = (path.relative_to(root).as_posix() for path in root.rglob("*"))
    return sorted(path for path in found if path not in {"drafts", "sha256"})


def test_file_round_trip(blobs: FolderBlobs, tmp_path: Path) -> None:
    """A file comes back byte for byte under the sha256 of its bytes, read-only."""
    source = tmp_path / "model.onnx"
    source.write_bytes(os.urandom(3 * 1024 * 1024 + 7))
    digest, size = blobs.put(source)

    assert (digest, size) == digest_of(source)
    assert blobs.path(digest).read_bytes() == source.read_bytes()
    assert blobs.path(digest).stat().st_mode & 0o777 == 0o444
    blobs.verify(digest)


def test_folder_round_trip(blobs: FolderBlobs, folder: Path) -> None:
    """A folder comes back as the same tree under the digest of its manifest, read-only throughout."""
    digest, size = blobs.put(folder)
    stored = blobs.path(digest)

    assert (digest, size) == digest_of(folder) == digest_of(stored)
    assert sorted(path.relative_to(stored) for path in stored.rglob("*")) == sorted(
        path.relative_to(folder) for path in folder.rglob("*")
    )
    assert all(path.stat().st_mode & 0o222 == 0 for path in (stored, *stored.rglob("*")))
    blobs.verify(digest)


def test_storing_again_changes_nothing(blobs: FolderBlobs, folder: Path, tmp_path: Path) -> None:
    """The same bytes have one place, however often and from wherever they are stored."""
    (tmp_path / "empty").touch()
    for source in (folder, tmp_path / "empty"):
        digest, _ = blobs.put(source)
        before = blobs.path(digest).stat()

        assert blobs.put(source)[0] == digest
        assert blobs.path(digest).stat().st_ino == before.st_ino
    assert sum(1 for path in contents(tmp_path / "blobs") if path.count("/") == 2) == 2


def test_racing_puts_are_harmless(tmp_path: Path, folder: Path) -> None:
    """Threads with their own view of one blobs folder store the same bytes at once; all succeed."""
    source = tmp_path / "model.onnx"
    source.write_bytes(os.urandom(200_000))
    views = [FolderBlobs(tmp_path / "blobs") for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(view.put, what) for view in views * 4 for what in (source, folder)]
        digests = {job.result()[0] for job in jobs}

    assert digests == {digest_of(source)[0], digest_of(folder)[0]}
    for digest in digests:
        views[0].verify(digest)
    assert list((tmp_path / "blobs" / "drafts").iterdir()) == []


def test_link_to_an_artifact_is_followed(blobs: FolderBlobs, tmp_path: Path) -> None:
    """The path given may itself be a link: its target's bytes are copied."""
    (tmp_path / "real").write_bytes(b"bytes")
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert blobs.put(tmp_path / "link") == digest_of(tmp_path / "real")


@pytest.mark.parametrize("kind", ["link", "link to folder", "pipe"])
def test_links_and_special_files_are_refused(
    blobs: FolderBlobs, folder: Path, tmp_path: Path, kind: str
) -> None:
    """A folder with anything but plain files in it is refused and leaves nothing behind."""
    if kind == "pipe":
        os.mkfifo(folder / "deep" / "odd")
    else:
        (folder / "deep" / "odd").symlink_to(folder / ("MLmodel" if kind == "link" else "deep"))
    with pytest.raises(LastgoodError, match="odd") as refused:
        blobs.put(folder)

    assert refused.value.code is Code.INVALID
    assert contents(tmp_path / "blobs") == []


def test_pipe_itself_is_refused(blobs: FolderBlobs, tmp_path: Path) -> None:
    """A named pipe given as the artifact is refused at once rather than waited for."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LastgoodError) as refused:
        blobs.put(tmp_path / "pipe")

    assert refused.value.code is Code.INVALID


def test_empty_folder_is_refused(blobs: FolderBlobs, tmp_path: Path) -> None:
    """A folder without files is no artifact."""
    (tmp_path / "model" / "inner").mkdir(parents=True)
    with pytest.raises(LastgoodError, match="no files") as refused:
        blobs.put(tmp_path / "model")

    assert refused.value.code is Code.INVALID


def test_missing_source_is_said_clearly(blobs: FolderBlobs, tmp_path: Path) -> None:
    """A source that is not there is a storage error that names it."""
    with pytest.raises(LastgoodError, match=r"model\.onnx") as refused:
        blobs.put(tmp_path / "model.onnx")

    assert refused.value.code is Code.STORAGE


@pytest.mark.parametrize("digest", ["sha256:" + "a" * 64, "sha256:../../etc/passwd", "", "md5:aa"])
def test_unknown_digest_is_not_found(blobs: FolderBlobs, digest: str) -> None:
    """What is not here, or is no digest at all, is not found; a digest never leads out of the folder."""
    for look in (blobs.path, blobs.verify):
        with pytest.raises(LastgoodError) as refused:
            look(digest)
        assert refused.value.code is Code.NOT_FOUND


@pytest.mark.parametrize("damage", ["bit", "cut", "extra file", "lost file", "link"])
def test_damage_is_found_and_healed(blobs: FolderBlobs, folder: Path, tmp_path: Path, damage: str) -> None:
    """Any change of the stored bytes is found by verify, and storing the source again repairs it."""
    digest, _ = blobs.put(folder)
    stored = blobs.path(digest)
    for path in (stored, stored / "deep", stored / "deep" / "er"):
        path.chmod(0o755)
    weights = stored / "deep" / "er" / "weights.bin"
    weights.chmod(0o644)
    raw = weights.read_bytes()
    if damage == "bit":
        weights.write_bytes(bytes([raw[0] ^ 1]) + raw[1:])
    elif damage == "cut":
        weights.write_bytes(raw[:-1])
    elif damage == "extra file":
        (stored / "extra.py").touch()
    else:
        weights.unlink()
        if damage == "link":
            weights.symlink_to(folder / "deep" / "er" / "weights.bin")
    with pytest.raises(LastgoodError) as found:
        blobs.verify(digest)
    assert found.value.code is Code.CORRUPT

    assert blobs.put(folder)[0] == digest
    blobs.verify(digest)
    assert list((tmp_path / "blobs" / "drafts").iterdir()) == []


def test_source_that_changes_is_noticed(
    blobs: FolderBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that grows while it is copied is refused, and nothing is stored."""
    monkeypatch.setattr(blobs_module, "_CHUNK_BYTES", 1024)
    source = tmp_path / "model.onnx"
    source.write_bytes(bytes(4_000_000))
    grown = threading.Event()
    real = blobs_module._write_all

    def write_and_grow(fd: int, chunk: bytes) -> None:
        if not grown.is_set():
            grown.set()
            with source.open("ab") as file:
                file.write(b"more")
        real(fd, chunk)

    monkeypatch.setattr(blobs_module, "_write_all", write_and_grow)
    with pytest.raises(LastgoodError, match="changed while") as refused:
        blobs.put(source)

    assert refused.value.code is Code.CONFLICT
    assert contents(tmp_path / "blobs") == []


def test_folder_that_gains_a_file_is_noticed(
    blobs: FolderBlobs, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that appears in the folder while it is copied is noticed."""
    real = blobs_module._write_all

    def write_and_add(fd: int, chunk: bytes) -> None:
        (folder / "late").touch()
        real(fd, chunk)

    monkeypatch.setattr(blobs_module, "_write_all", write_and_add)
    with pytest.raises(LastgoodError, match="changed while"):
        blobs.put(folder)
    assert contents(tmp_path / "blobs") == []


@contextlib.contextmanager
def small_disk(at: Path) -> Iterator[None]:
    """A disk of 256 kB mounted at ``at``; where that is not allowed, the same limit on the size of a file."""
    at.mkdir()
    mounted = os.geteuid() == 0 and (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(at)], capture_output=True, check=False
        ).returncode
        == 0
    )
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        if mounted:
            subprocess.run(["umount", str(at)], check=True)


def test_full_disk_leaves_nothing(tmp_path: Path, folder: Path) -> None:
    """Without room, put says how much is needed, leaves no draft, and smaller artifacts still fit."""
    (folder / "deep" / "er" / "weights.bin").write_bytes(bytes(1_234_000))
    small = tmp_path / "small.onnx"
    small.write_bytes(b"fits")
    with small_disk(tmp_path / "disk"):
        blobs = FolderBlobs(tmp_path / "disk" / "blobs")
        for source in (folder, folder / "deep" / "er" / "weights.bin"):
            with pytest.raises(LastgoodError, match=r"1,234,0[0-9]{2} bytes") as refused:
                blobs.put(source)
            assert refused.value.code is Code.STORAGE
            assert contents(tmp_path / "disk" / "blobs") == []
        blobs.verify(blobs.put(small)[0])


def test_drafts_of_the_dead_are_swept(tmp_path: Path) -> None:
    """A draft whose process was killed is removed at the next open; one whose process lives is kept."""
    root = tmp_path / "blobs"
    code = (
        "import sys, time; from pathlib import Path; from lastgood.store.drafts import draft\n"
        "with draft(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'content').mkdir(); (folder / 'content' / 'half').write_bytes(b'half')\n"
        "    (folder / 'content').chmod(0o555); print(folder, flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    theirs = Path(child.stdout.readline().strip())
    with draft(root) as mine:
        FolderBlobs(root)
        assert mine.exists()
        assert theirs.exists()
        child.kill()
        child.communicate(timeout=30)
        FolderBlobs(root)

        assert mine.exists()
        assert not theirs.exists()
    assert sweep(root) == 0


def test_removing_a_tree_twice_is_harmless(tmp_path: Path) -> None:
    """A tree that is gone already is removed without an error."""
    (tmp_path / "tree").mkdir()
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "tree")

    assert not (tmp_path / "tree").exists()
