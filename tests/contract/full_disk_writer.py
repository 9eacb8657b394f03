"""A process that fills the disk under its store, then takes a deployment back.

Usage: ``full_disk_writer.py FOLDER``, where FOLDER is a small file system of its own. It prints what happened as JSON.
"""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
from store_samples import (
    Stores,
    deploy,
    draft,
    failure_of,
    make_stable,
    next_of,
    open_stores,
    register_many,
    release_of,
    verify_chain,
)

from lastgood.domain.change import Change
from lastgood.domain.release import Event, Release
from lastgood.errors import LastgoodError


def fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "filler").open("ab", buffering=0) as filler:
        while filler.write(b"x" * 4096):
            continue


def refused(stores: Stores) -> str:
    """Append until the store says that it cannot, and return with which code."""
    try:
        for _ in range(10_000):
            stores.journal.append(draft(data={"much": "x" * 4096}))
    except LastgoodError as error:
        return error.code.value
    return "never"


def commit(stores: Stores, moved: Release, **changes: Any) -> Release:
    present = stores.releases.deployment("churn")
    assert present is not None
    change = Change(
        deployment=next_of(present, **changes),
        release=moved,
        became_stable="stable" in changes,
        failure=failure_of(2) if moved.terminal else None,
        events=(draft(9.0, deployment="churn", version=2),),
    )
    stored = stores.releases.commit(change)[1]
    assert stored is not None
    return stored


def main() -> None:
    folder = Path(sys.argv[1])
    ballast = folder / "ballast"
    told: dict[str, Any] = {}
    stores = open_stores(folder / "lastgood.db")
    told["ballast_at_first"] = ballast.exists()
    register_many(stores, 3)
    deploy(stores)
    make_stable(stores, 1)
    make_stable(stores, 2)
    leaving = commit(stores, release_of(2, previous=1), release=0)
    fill(folder)
    told["append"] = refused(stores)
    fill(folder)
    told["kept_for_the_way_back"] = ballast.exists()
    if sys.argv[2] == "restarted":
        stores.database.close()
        stores = open_stores(folder / "lastgood.db")
    leaving = commit(stores, leaving.after(Event.ROLL_BACK, 9.0), stable=1)
    told["ballast_after"] = ballast.exists()
    settled = leaving.with_changes().after(Event.SETTLED, 9.5)
    commit(stores, msgspec.structs.replace(settled, revision=leaving.revision + 1), release=None)
    present = stores.releases.deployment("churn")
    told["stable"] = None if present is None else present.stable
    told["failed"] = sorted(entry.version for entry in stores.releases.history("churn") if not entry.good)
    stores.database.close()
    (folder / "filler").unlink()
    again = open_stores(folder / "lastgood.db")
    told["ballast_in_the_end"] = ballast.exists()
    told["events"] = verify_chain(again) > 0
    again.database.close()
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
