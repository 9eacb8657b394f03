"""How long the look-up of the way back takes as the store grows. It must stay flat.

Repeat it with ``python bench/lookup.py``. Each store holds one deployment in which every version was stable
once and all but the first and the present one failed: the worst history for finding the way back. One
look-up is everything that a rollback reads before it decides: the deployment, its last release, the last
good entry, the failures of both versions, and the version to return to.
"""

import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import msgspec

from lastgood.domain.deployment import Failure
from lastgood.domain.plan import Plan
from lastgood.domain.release import Phase, Release
from lastgood.domain.version import Format, Version
from lastgood.store.documents import FORMAT, to_text
from lastgood.store.migrate import open_store
from lastgood.store.releases import SqlReleases
from lastgood.store.versions import SqlVersions

SIZES = ((10, 100), (1_000, 10_000), (100_000, 1_000_000))  # versions, events
ROUNDS = 400
LIMIT = 2.0


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def fill(path: Path, versions: int, events: int) -> None:
    """Write the rows of a long life at once; their hashes are not real, which no look-up reads."""
    open_store(path).close()
    numbers = range(1, versions + 1)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA synchronous = OFF")
        raw.execute("INSERT INTO models VALUES ('churn', ?)", (versions,))
        raw.execute(
            "INSERT INTO deployments VALUES ('churn', 'churn', ?, ?, NULL, ?)", (versions, versions, versions)
        )
        raw.executemany(
            "INSERT INTO versions VALUES ('churn', ?, ?, ?, ?, ?)",
            ((n, f"v1.{n}", digest(n), FORMAT, version_text(n)) for n in numbers),
        )
        raw.executemany(
            "INSERT INTO releases VALUES (?, 'churn', 3, 'succeeded', ?, ?)",
            ((n, FORMAT, release_text(n)) for n in numbers),
        )
        raw.executemany(
            "INSERT INTO history VALUES ('churn', ?, 'churn', ?, ?, ?, ?, ?, ?, 1, NULL)",
            (
                (n, n, digest(n), float(n), None if n == versions else n + 1.0, n, n in {1, versions})
                for n in numbers
            ),
        )
        raw.executemany(
            "INSERT INTO failures (digest, model, format, document) VALUES (?, 'churn', ?, ?)",
            ((digest(n), FORMAT, failure_text(n)) for n in numbers if n not in {1, versions}),
        )
        raw.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO events SELECT i, 'lastgood.release.changed', i, 'lastgood', 'churn', 'churn', i % 1000, "
            'i % 1000, \'{"cause":"errors","from":"progressing","to":"rolling_back"}\', '
            "printf('%064x', i - 1), printf('%064x', i) FROM n",
            (events,),
        )
        raw.execute(
            "UPDATE ledger SET release = ?, generation = ?, sequence = ?", (versions, versions, events)
        )
        raw.commit()


def version_text(number: int) -> str:
    known = {"size_bytes": 1_000_000, "format": Format.ONNX, "metrics": {"auc": 0.9}, "created_by": "ann"}
    version = Version(model="churn", number=number, digest=digest(number), created_at=1.0, **known)
    return to_text(version)


_RELEASE = Release(
    id=0,
    deployment="churn",
    model="churn",
    version=0,
    previous=None,
    plan=Plan(),
    phase=Phase.SUCCEEDED,
    revision=3,
    created_at=1.0,
    created_by="ann",
)


def release_text(number: int) -> str:
    return to_text(msgspec.structs.replace(_RELEASE, id=number, version=number))


def failure_text(number: int) -> str:
    known = {"deployment": "churn", "release": number, "at": 1.0, "by": "lastgood", "cause": "errors"}
    return to_text(Failure(digest=digest(number), model="churn", version=number, **known))


def look_up(releases: SqlReleases, versions: SqlVersions) -> int:
    """Read what a rollback decides on; return the version it goes back to."""
    deployment = releases.deployment("churn")
    assert deployment is not None
    assert deployment.stable is not None
    releases.releases("churn", limit=1)
    entry = releases.last_good("churn", besides=deployment.stable)
    assert entry is not None
    target = versions.version("churn", entry.version)
    leaving = versions.version("churn", deployment.stable)
    assert target is not None
    assert leaving is not None
    assert versions.failures([target.digest, leaving.digest]) == {}
    return target.number


def measure(folder: Path) -> dict[int, float]:
    """Return the median milliseconds of one look-up for each number of versions, measured in turn."""
    opened = {}
    for versions, events in SIZES:
        path = folder / f"{versions}.db"
        fill(path, versions, events)
        database = open_store(path)
        opened[versions] = (database, SqlReleases(database), SqlVersions(database))
    taken: dict[int, list[float]] = {versions: [] for versions, _ in SIZES}
    for turn in range(ROUNDS + 20):
        for versions, (_, releases, registry) in opened.items():
            begun = time.perf_counter()
            found = look_up(releases, registry)
            elapsed = time.perf_counter() - begun
            assert found == 1
            if turn >= 20:  # the first ones fill caches
                taken[versions].append(elapsed * 1000)
    for database, _, _ in opened.values():
        database.close()
    return {versions: statistics.median(times) for versions, times in taken.items()}


def main() -> int:
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="lastgood-bench-") as folder:
        medians = measure(Path(folder))
    for versions, events in SIZES:
        print(f"{versions:>8,} versions {events:>10,} events   {medians[versions]:7.3f} ms")
    ratio = medians[SIZES[-1][0]] / medians[SIZES[0][0]]
    verdict = "flat" if ratio <= LIMIT else "NOT FLAT"
    print(f"largest / smallest: {ratio:.2f}x (limit {LIMIT:.0f}x): {verdict}")
    print(f"{ROUNDS} look-ups each, {time.perf_counter() - begun:.0f} s in all")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
