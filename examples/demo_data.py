"""The second act's parts: a feature table in SQLite, two models that read it as they are asked, a migration, a plan.

* v1.2 of ``risk`` reads the column ``age``.
* v1.3 reads ``born``, the year of birth, after a migration that v1.2 cannot read. The migration has the oldest bug of
  its kind: it works with two digits of the year, so whoever was born before 2000 lands a century early. v1.3 answers
  all the same, and says of such rows that it doubts them.
"""

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path

CUSTOMERS = 20_000
PLAN = """\
strategy: all_at_once
data:
  source: features
  migrate: [python3, migrate.py]
  hold: true
guardrails:
  - metric: health
  - metric: counter
    counter: implausible_age
    max: 2%
    min_samples: 200
watch: 60s
"""
SETTINGS = """
trust_plan_commands = true

[data.features]
provider = "sqlite"
path = "features.db"
"""
MIGRATION = """\
import sqlite3

with sqlite3.connect("features.db", timeout=30, isolation_level=None) as features:
    features.execute("BEGIN IMMEDIATE")
    features.execute("ALTER TABLE customers RENAME COLUMN age TO born")
    features.execute("UPDATE customers SET born = CASE WHEN born <= 26 THEN 2026 - born ELSE 1926 - born END")
    features.execute("COMMIT")
"""
MODEL = """\
import math
import sqlite3

import lastgood
import numpy as np


def load():
    features = sqlite3.connect({path!r}, timeout=10, isolation_level=None, check_same_thread=False)

    def predict(inputs):
        found, doubts = [], []
        for key in inputs["rows"][:, 0]:
            value, spent = features.execute(
                "SELECT {column}, spent FROM customers WHERE id = ?", (int(key),)
            ).fetchone()
            age = {age}
            doubts.append(not 0 <= age <= 110)
            found.append([1.0 / (1.0 + math.exp(min(max(age, 18), 90) / 20.0 - spent / 400.0))])
        lastgood.count("implausible_age", doubts)
        return {{"probability": np.array(found, dtype=np.float32)}}

    return predict
"""
SIGNATURE = {
    "inputs": [{"name": "rows", "datatype": "FP32", "shape": [-1, 1]}],
    "outputs": [{"name": "probability", "datatype": "FP32", "shape": [-1, 1]}],
}


def build(folder: Path) -> None:
    """Write the table, the migration, the plan and both models into ``folder``, which is a project already."""
    chance = random.Random(7)
    path = folder / "features.db"
    with closing(sqlite3.connect(path)) as features, features:
        features.execute("PRAGMA journal_mode = WAL")
        features.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, age INTEGER, spent REAL)")
        features.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, amount REAL)")
        features.executemany(
            "INSERT INTO customers VALUES (?, ?, ?)",
            ((key, chance.randint(18, 90), round(chance.uniform(0, 2000), 2)) for key in range(CUSTOMERS)),
        )
    with (folder / "lastgood.toml").open("a") as settings:
        settings.write(SETTINGS)
    (folder / "migrate.py").write_text(MIGRATION)
    (folder / "data-plan.yaml").write_text(PLAN)
    (folder / "risk-signature.json").write_text(json.dumps(SIGNATURE))
    (folder / "customers.json").write_text(json.dumps([[key] for key in range(0, CUSTOMERS, 7)]))
    for label, column, age in (("v1.2", "age", "value"), ("v1.3", "born", "2026 - value")):
        home = folder / f"risk-{label}"
        home.mkdir()
        name = f"risk_{label.replace('.', '_')}"
        (home / f"{name}.py").write_text(MODEL.format(path=str(path), column=column, age=age))
        (home / "lastgood.yaml").write_text(
            f"data: {{features: {{tables: {{customers: {{id: integer, {column}: integer, spent: real}}}}}}}}\n"
        )


def columns(folder: Path) -> list[str]:
    """Return the columns of the live table of customers."""
    with closing(sqlite3.connect(folder / "features.db", timeout=30)) as features:
        return [row[1] for row in features.execute("PRAGMA table_info(customers)")]


def accounts(folder: Path, exports: Path, committed: int) -> tuple[set[int], set[int], set[int]]:
    """Return the written orders that are live, those in the files of what was replaced, and those in neither.

    ``committed`` is how many orders the writer committed: they are numbered from 1 on.
    """
    with closing(sqlite3.connect(folder / "features.db", timeout=30)) as features:
        live = {row[0] for row in features.execute("SELECT id FROM orders")}
    replaced = set()
    for path in exports.iterdir():
        for line in path.read_text().splitlines():
            row = json.loads(line)
            if "amount" in row:
                replaced.add(row["id"])
    return live, replaced - live, set(range(1, committed + 1)) - live - replaced
