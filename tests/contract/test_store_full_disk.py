"""A full disk: the way back is open still, and what does not lead back leaves that room alone."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from store_samples import (
    Stores,
    deploy,
    draft,
    fail,
    make_stable,
    next_of,
    register_many,
    release_of,
    verify_chain,
)

from lastgood.domain.change import Change
from lastgood.errors import Code, LastgoodError
from lastgood.store import ballast

_WRITER = Path(__file__).with_name("full_disk_writer.py")
_SMALL = 'mount -t tmpfs -o size=24m tmpfs "$1" && exec "$2" "$3" "$1" "$4"'


def _on_small_disk(folder: Path, how: str) -> subprocess.CompletedProcess[str]:
    """Run the writer on a tmpfs of its own, which is gone with the process."""
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    command = [*namespace, "sh", "-c", _SMALL, "sh", str(folder), sys.executable, str(_WRITER), how]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def _may_mount(folder: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    tried = subprocess.run(
        [*namespace, "mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True, check=False
    )
    return tried.returncode == 0


@pytest.mark.parametrize("how", ["running", "restarted"])
def test_rollback_works_on_a_full_disk(tmp_path: Path, how: str) -> None:
    """With no byte left, other writes are refused and a whole rollback succeeds, in a new process state too."""
    if not _may_mount(tmp_path):
        pytest.skip("this system lets nobody mount a small disk")
    done = _on_small_disk(tmp_path, how)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "ballast_at_first": True,
        "append": "storage",
        "kept_for_the_way_back": True,
        "ballast_after": False,
        "stable": 1,
        "failed": [2],
        "ballast_in_the_end": True,
        "events": True,
    }


def _limit_pages(stores: Stores, more: int) -> None:
    with stores.database.engine.connect() as connection:  # the limit belongs to this one connection
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + more}")


def _dropping(stores: Stores) -> Callable[[Path], bool]:
    real = ballast.drop

    def drop(path: Path) -> bool:
        _limit_pages(stores, 1000)
        return real(path)

    return drop


def test_only_what_leads_back_may_use_the_ballast(
    file_stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new release on a full disk is refused and leaves the ballast; a failure mark uses it, once."""
    register_many(file_stores, 2)
    deploy(file_stores)
    make_stable(file_stores, 1)
    present = make_stable(file_stores, 2)
    spare = Path(file_stores.database.where).with_name("ballast")
    monkeypatch.setattr(ballast, "drop", _dropping(file_stores))
    _limit_pages(file_stores, 0)
    beginning = Change(
        deployment=next_of(present, release=0),
        release=release_of(1, reason="x" * 200_000),
        events=(draft(deployment="churn"),),
    )
    with pytest.raises(LastgoodError, match="full") as refused:
        file_stores.releases.commit(beginning)
    kept = spare.exists()
    while spare.exists():  # each mark takes a little of the last page, until one finds no room
        fail(file_stores, 2)

    assert refused.value.code is Code.STORAGE
    assert kept
    assert verify_chain(file_stores) > 0


def test_ballast_is_really_allocated(tmp_path: Path) -> None:
    """The file takes its room on the disk, is for its owner only, and is made whole when it was cut."""
    place = tmp_path / "ballast"

    assert ballast.keep(place)
    assert place.stat().st_blocks * 512 >= ballast.BYTES
    assert place.stat().st_mode & 0o777 == 0o600
    os.truncate(place, 10)
    assert ballast.keep(place)
    assert place.stat().st_size == ballast.BYTES
    assert ballast.drop(place)
    assert not ballast.drop(place)


def test_ballast_is_no_reason_not_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be allocated there is none, and nothing half-made is left."""

    def no_room(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "posix_fallocate", no_room)

    assert not ballast.keep(tmp_path / "ballast")
    assert list(tmp_path.iterdir()) == []
