"""A SQLite file with everything that is easy to lose, in both journal modes, used through the standard library."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

from lastgood.domain.snapshot import Snapshot
from lastgood.sources.sqlite import SqliteSource
from source_rigs import FIRST_WRITTEN, Activity, Reached, background, json_ids

ODD = 'odd "name" with ü'
MADE = """
CREATE TABLE customers (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT COLLATE NOCASE UNIQUE DEFAULT ('none'),
  parent INTEGER REFERENCES "odd ""name"" with ü" (id), twice INTEGER GENERATED ALWAYS AS (id * 2) STORED,
  thrice INTEGER AS (id * 3) VIRTUAL, CHECK (id <> 0));
CREATE TABLE "odd ""name"" with ü" (id INTEGER, text TEXT, PRIMARY KEY (text, id)) WITHOUT ROWID;
CREATE TABLE 'empty' (id INTEGER PRIMARY KEY, text TEXT) STRICT;
CREATE TABLE [bare] (id, text);
CREATE INDEX "by ""text"" now" ON customers (text DESC, twice) WHERE parent IS NULL;
CREATE UNIQUE INDEX `bare one` on[bare](id, lower(text));
CREATE VIEW both AS SELECT c.id, b.text FROM customers AS c JOIN bare AS b USING (id);
CREATE TRIGGER never BEFORE INSERT ON customers WHEN new.text = 'forbidden'
  BEGIN SELECT RAISE(ABORT, 'forbidden'); END;
PRAGMA user_version = 12;
PRAGMA application_id = 1212;
"""


class SqliteRig:
    columns: ClassVar[bool] = True
    locks: ClassVar[bool] = True
    tables: tuple[str, ...] = ("customers", ODD, "empty", "bare")
    journal: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.path, self.kept = folder / "live data.db", folder / "kept"
        with closing(self.connect()) as client:
            client.execute(f"PRAGMA journal_mode = {self.journal}")
            client.executescript(MADE)
        self.insert("customers", [(number, f"customer {number}") for number in range(1, 31)])
        self.insert(ODD, [(1, "ä"), (2, "b"), (3, "b")])
        self.insert("bare", [(1, "one"), (2, "two"), (3, "two")])
        self.open = (
            self.connect()
        )  # an application's connection that stays open, with a statement it has prepared
        self.open.execute("SELECT count(*) FROM customers").fetchone()

    def connect(self) -> sqlite3.Connection:
        client = sqlite3.connect(self.path, timeout=20, isolation_level=None, check_same_thread=False)
        client.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        return client

    def source(self, reached: Reached | None = None) -> SqliteSource:
        return SqliteSource(
            "features", self.path, self.kept, lock_seconds=0.5, reached=reached or (lambda _: None)
        )

    def insert(self, table: str, rows: list[tuple[int, str]]) -> None:
        with closing(self.connect()) as client:
            client.execute("BEGIN IMMEDIATE")
            client.executemany(f"INSERT INTO {quoted(table)} (id, {text(client, table)}) VALUES (?, ?)", rows)
            client.execute("COMMIT")

    def delete(self, table: str, ids: list[int]) -> None:
        with closing(self.connect()) as client:
            client.executemany(f"DELETE FROM {quoted(table)} WHERE id = ?", [(number,) for number in ids])

    def rows(self, table: str) -> list[tuple[int, str]]:
        with closing(self.connect()) as client:
            found = client.execute(f"SELECT id, {text(client, table)} FROM {quoted(table)}").fetchall()
        return sorted(found, key=lambda row: (str(type(row[0])), row[0] or 0, repr(row)))

    def state(self) -> Any:
        with closing(self.connect()) as client:
            client.execute("BEGIN")
            assert client.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            schema = client.execute(
                "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE tbl_name NOT LIKE 'lastgood:%'"
            ).fetchall()
            rows = {
                name: client.execute(f"SELECT *, typeof(id) FROM {quoted(name)}").fetchall()
                for kind, name, _, _ in schema
                if kind == "table" and not name.startswith("sqlite_")
            }
            sequence = client.execute(
                "SELECT * FROM sqlite_sequence WHERE name NOT LIKE 'lastgood:%'"
            ).fetchall()
            versions = [
                client.execute(f"PRAGMA {it}").fetchone() for it in ("user_version", "application_id")
            ]
            mode = client.execute("PRAGMA journal_mode").fetchone()
        assert self.open.execute("SELECT count(*) FROM customers").fetchone() == (len(rows["customers"]),)
        held = {name: sorted(found, key=repr) for name, found in rows.items()}
        return sorted(schema, key=repr), held, sorted(sequence), versions, mode

    def strange(self) -> None:
        with closing(self.connect()) as client:
            client.executemany(
                "INSERT INTO bare VALUES (?, ?)",
                [
                    (None, None),
                    (2**63 - 1, b"\x00\xff"),
                    (-(2**63), 1.5),
                    (1.0, float("inf")),
                    ("", "nul \0 inside"),
                    (7, "\U0001f40d"),
                    (8, "x" * 20_000),
                ],
            )
            client.execute("INSERT INTO bare VALUES (9, CAST(X'ff41' AS TEXT))")
            client.execute("INSERT INTO bare (rowid, id, text) VALUES (-5, 10, 'row number below zero')")
            client.execute("DELETE FROM customers WHERE id = 30")

    def migrate(self) -> None:
        with closing(self.connect()) as client:
            client.execute("BEGIN IMMEDIATE")
            client.execute("DROP VIEW both")
            client.execute("DROP TRIGGER never")
            for table in self.tables:
                client.execute(f"ALTER TABLE {quoted(table)} RENAME COLUMN text TO body")
                client.execute(f"ALTER TABLE {quoted(table)} ADD COLUMN score REAL")
                client.execute(f"UPDATE {quoted(table)} SET score = 0.5, body = body || '!'")
            client.execute("CREATE INDEX scores ON customers (score)")
            client.execute("CREATE VIEW both AS SELECT score FROM customers")
            client.execute("PRAGMA user_version = 13")
            client.execute("COMMIT")

    @contextmanager
    def writer(self) -> Iterator[Activity]:
        with closing(self.connect()) as client:

            def turn(activity: Activity) -> None:
                number = FIRST_WRITTEN + len(activity.committed)
                client.execute("BEGIN IMMEDIATE")
                try:
                    client.execute(
                        f"INSERT INTO customers (id, {text(client, 'customers')}) VALUES (?, ?)",
                        (number, f"written {number}"),
                    )
                    client.execute("COMMIT")
                except BaseException:
                    client.execute("ROLLBACK")
                    raise
                activity.committed.append(number)

            with background(turn, 0.003) as activity:
                yield activity

    @contextmanager
    def reader(self) -> Iterator[Activity]:
        with closing(self.connect()) as client:

            def turn(activity: Activity) -> None:
                client.execute("BEGIN")
                try:
                    shapes = {text(client, table) for table in self.tables}
                    for table in self.tables:
                        client.execute(f"SELECT * FROM {quoted(table)}").fetchall()
                    shapes.add(
                        "body" if client.execute("PRAGMA user_version").fetchone()[0] == 13 else "text"
                    )
                    view = [row[0] for row in client.execute("SELECT name FROM pragma_table_info('both')")]
                    shapes.add("body" if view == ["score"] else "text")
                finally:
                    client.execute("ROLLBACK")
                if len(shapes) != 1:
                    activity.mixed.append(str(shapes))

            with background(turn, 0.001) as activity:
                yield activity

    @contextmanager
    def lock(self) -> Iterator[None]:
        with closing(self.connect()) as client:
            client.execute("BEGIN IMMEDIATE")
            client.execute("UPDATE customers SET parent = NULL")
            yield
            client.execute("ROLLBACK")

    def damage(self, snapshot: Snapshot) -> None:
        path = self.kept / snapshot.token / "data.db"
        held = bytearray(path.read_bytes())
        held[-100] ^= 1
        path.write_bytes(held)

    def lose(self, snapshot: Snapshot) -> None:
        (self.kept / snapshot.token / "data.db").unlink()

    def exported(self, path: Path) -> list[int]:
        return json_ids(path)

    def close(self) -> None:
        self.open.close()


class WalRig(SqliteRig):
    journal = "wal"


class JournalRig(SqliteRig):
    journal = "delete"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def text(client: sqlite3.Connection, table: str) -> str:
    """Return what the text's column is called now."""
    names = [row[0] for row in client.execute("SELECT name FROM pragma_table_info(?)", (table,))]
    return "body" if "body" in names else "text"
