"""A feature table in SQLite that models read as they are asked, an application that writes to it, and the accounts of both.

v1.2 reads the column ``age``, later versions read ``born``. Each answers rightly from its own schema alone, so one
request that one version's model answered on the other one's data is a failure that its client sees.
"""

import json
import random
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from project import DEADLINE_SECONDS, SIGNATURE, Project

from lastgood.domain.snapshot import Quarantine
from lastgood.sources.own_tokens import OwnTokens, home_mark
from lastgood.sources.sqlite import SqliteSource

CUSTOMERS = 100
FIRST_WRITTEN = 1000
LIMIT = """\
guardrails:
  - metric: health
  - metric: counter
    counter: implausible
    max: 5%
    min_samples: 100
"""
PLAN = f"""\
strategy: all_at_once
data:
  source: features
  migrate: [python3, migrate.py]
  hold: true
{LIMIT}watch: 10m
"""
SETTINGS = """
trust_plan_commands = true

[data.features]
provider = "sqlite"
path = "features.db"
"""
MODEL = """\
import sqlite3

import lastgood
import numpy as np


def load():
    features = sqlite3.connect({path!r}, timeout=60, isolation_level=None, check_same_thread=False)

    def predict(inputs):
        answers, implausible = [], []
        for x in inputs["x"][:, 0]:
            ({column},) = features.execute("SELECT {column} FROM customers WHERE id = ?", (int(x),)).fetchone()
            age = {age}
            implausible.append({implausible})
            answers.append([2.0 * (age - 20)])
        lastgood.count("implausible", implausible)
        return {{"y": np.array(answers, dtype=np.float64)}}

    return predict
"""
MIGRATION = """\
import sqlite3

with sqlite3.connect("features.db", timeout=30, isolation_level=None) as features:
    features.execute("BEGIN IMMEDIATE")
    features.execute("ALTER TABLE customers RENAME COLUMN age TO born")
    features.execute("UPDATE customers SET born = 2026 - born")
    features.execute("COMMIT")
"""


class Shop:
    """A project whose versions depend on one feature file."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.project = Project(folder, **settings)
        self.path = folder / "features.db"
        with closing(self.connect()) as features:
            features.execute("PRAGMA journal_mode = WAL")
            features.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, age INTEGER)")
            features.execute("CREATE TABLE visits (id INTEGER PRIMARY KEY, customer INTEGER)")
            features.executemany(
                "INSERT INTO customers VALUES (?, ?)", [(number, 20 + number) for number in range(CUSTOMERS)]
            )
        with (folder / "lastgood.toml").open("a") as file:
            file.write(SETTINGS)
        (folder / "plan.yaml").write_text(PLAN)
        (folder / "migrate.py").write_text(MIGRATION)
        (folder / "signature.json").write_text(json.dumps(SIGNATURE))
        self.register("v1.2", column="age", age="age")

    def connect(self) -> sqlite3.Connection:
        """Return a connection as any application has one."""
        return sqlite3.connect(self.path, timeout=120, isolation_level=None)

    def register(
        self, label: str, *, column: str = "born", age: str = "2026 - born", implausible: str = "False"
    ) -> None:
        """Register a version that reads ``column``; ``implausible`` says of which rows it has doubts."""
        folder = self.project.folder / label.replace(".", "_")
        folder.mkdir()
        model = folder / f"model_{folder.name}.py"
        model.write_text(MODEL.format(path=str(self.path), column=column, age=age, implausible=implausible))
        columns = f"{{id: integer, {column}: integer}}"
        (folder / "lastgood.yaml").write_text(f"data: {{features: {{tables: {{customers: {columns}}}}}}}\n")
        self.project.cli(
            "register", "churn", str(model), "--label", label,
            "--factory", f"{model.stem}:load", "--signature", "signature.json",
        )  # fmt: skip

    def columns(self) -> list[str]:
        """Return the columns of the live feature table."""
        with closing(self.connect()) as features:
            return [row[1] for row in features.execute("PRAGMA table_info(customers)")]

    def live(self, table: str) -> set[int]:
        """Return the keys in a live table."""
        with closing(self.connect()) as features:
            return {row[0] for row in features.execute(f"SELECT id FROM {table}")}

    def release_data(self, release: int) -> dict[str, Any]:
        """Return what the last event of a release that speaks of its progress with data says."""
        told = [one["data"]["data"] for one in self.events(release) if "data" in one["data"]]
        return dict(told[-1])

    def events(self, release: int) -> list[dict[str, Any]]:
        """Return a release's events, in order."""
        newest_first = self.project.data("audit", "--limit", "1000")["events"]
        return [one for one in reversed(newest_first) if one["release"] == release]

    def quarantine(self, release: int) -> tuple[Quarantine, dict[str, set[int]]]:
        """Return what a rollback replaced, and by table the keys that its exports hold. Only while no server runs."""
        home = self.project.folder / ".lastgood" / "data"
        kept = SqliteSource("features", self.path, home / "features", lock_seconds=5.0)
        source = OwnTokens(kept, home_mark(home))
        snapshot = source.capture(f"r{release}_snapshot")  # the same token: the same snapshot, taken once
        exports = self.project.folder / "exports"
        exports.mkdir(exist_ok=True)
        found = source.quarantine(snapshot, f"r{release}_restore", exports)
        rows = {}
        for table, gained in found.tables.items():
            lines = [] if gained.export is None else (exports / gained.export).read_text().splitlines()
            rows[table] = {json.loads(line)["id"] for line in lines}
        return found, rows

    def check_accounts(self, writer: "Writer", releases: list[int]) -> None:
        """Every row that was ever committed is in the live data or in what was replaced, and in one of them alone."""
        replaced: dict[str, set[int]] = {"customers": set(), "visits": set()}
        for release in releases:
            for table, keys in self.quarantine(release)[1].items():
                replaced[table] |= {key for key in keys if key >= FIRST_WRITTEN}
        for table, kept in replaced.items():
            live = {key for key in self.live(table) if key >= FIRST_WRITTEN}
            assert writer.committed <= live | kept, (table, writer.committed - live - kept)
            assert live | kept <= writer.committed | writer.unsure, "nothing came from nowhere"
            if table == "visits":  # a migrated customer differs from the one in the snapshot
                assert not live & kept, "what was replaced is not live"
        assert set(range(CUSTOMERS)) <= self.live("customers")


class Writer:
    """An application that commits one customer and one visit at a time, all the time, and remembers which.

    It knows only columns that every version's schema has. ``unsure`` are keys whose commit was not acknowledged.
    """

    def __init__(self, shop: Shop, *, seed: int = 7) -> None:
        self._shop = shop
        self._chance = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.committed: set[int] = set()
        self.unsure: set[int] = set()
        self.slowest = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        key = FIRST_WRITTEN
        with closing(self._shop.connect()) as features:
            while not self._stop.is_set():
                key += 1
                began = time.monotonic()
                self.unsure.add(key)
                features.execute("BEGIN IMMEDIATE")
                features.execute("INSERT INTO customers (id) VALUES (?)", (key,))
                features.execute("INSERT INTO visits VALUES (?, ?)", (key, key % CUSTOMERS))
                features.execute("COMMIT")
                self.unsure.discard(key)
                self.committed.add(key)
                self.slowest = max(self.slowest, time.monotonic() - began)
                time.sleep(self._chance.uniform(0.001, 0.006))
