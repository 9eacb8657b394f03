"""A schema of a real PostgreSQL server with everything that is easy to lose, used through an ordinary client."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pytest
from psycopg import sql

from lastgood.domain.snapshot import Snapshot
from lastgood.errors import Code, LastgoodError
from lastgood.sources.postgres_session import Address
from lastgood.sources.postgres_source import PostgresSource
from postgres_server import binaries, database
from source_rigs import FIRST_WRITTEN, Activity, Reached, background, json_ids

LIVE = 'Feature "Store" ü'
ODD = 'odd "name" with ü'
ROLES = ("lastgood_reads", 'Lastgood "writes"')
MADE = r'''
CREATE TYPE "Mood" AS ENUM ('so so', 'it''s "good"');
CREATE DOMAIN positive AS integer DEFAULT 1 CHECK (VALUE > 0);
CREATE TYPE pair AS (a integer, b "Mood");
CREATE SEQUENCE "Serial" INCREMENT BY 5 START WITH 100 CACHE 1;
CREATE FUNCTION doubled(n integer) RETURNS integer LANGUAGE sql IMMUTABLE RETURN n * 2;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN IF NEW.text = 'forbidden' THEN RAISE 'forbidden: %', NEW.id; END IF; RETURN NEW; END $$;
CREATE TABLE "odd ""name"" with ü" (id integer, text text COLLATE "C", PRIMARY KEY (text, id));
CREATE TABLE customers (
  id integer PRIMARY KEY, text text DEFAULT 'none', number bigint DEFAULT nextval('"Serial"') UNIQUE,
  parent_text text, parent integer, mood "Mood" DEFAULT 'so so', moods "Mood"[], size positive, duo pair,
  row integer GENERATED ALWAYS AS IDENTITY (START WITH 7), twice integer GENERATED ALWAYS AS (doubled(id)) STORED,
  "valid at" tstzrange, CONSTRAINT "not null" CHECK (id <> 0),
  FOREIGN KEY (parent_text, parent) REFERENCES "odd ""name"" with ü" (text, id) DEFERRABLE INITIALLY DEFERRED,
  EXCLUDE USING gist ("valid at" WITH &&)
) WITH (fillfactor = 70);
CREATE TABLE empty (id serial PRIMARY KEY, text varchar(20) NOT NULL DEFAULT '');
CREATE TABLE bare (id bigint, text text, data bytea, bits float8, doc json, price numeric);
ALTER TABLE bare ALTER COLUMN text SET STORAGE EXTERNAL, ALTER COLUMN id SET STATISTICS 17, REPLICA IDENTITY FULL;
ALTER TABLE bare ADD CONSTRAINT "not yet" CHECK (id > -9223372036854775808) NOT VALID;
CREATE INDEX "by ""text"" now" ON customers (text DESC, twice) INCLUDE (number) WHERE parent IS NULL;
CREATE INDEX ON bare (lower(text), doubled((id % 1000)::integer)) WITH (fillfactor = 80);
CREATE STATISTICS together (dependencies) ON text, parent FROM customers;
CREATE VIEW joined WITH (security_barrier = true) AS
  SELECT c.id, b.text, c.mood FROM customers AS c JOIN bare AS b USING (id) WHERE c.mood = 'so so'::"Mood";
CREATE VIEW grouped AS SELECT c.id, c.text, count(*) AS n FROM customers c LEFT JOIN bare b USING (id) GROUP BY c.id;
CREATE MATERIALIZED VIEW totals AS SELECT mood, count(*) AS n FROM customers GROUP BY mood;
CREATE UNIQUE INDEX totals_of_mood ON totals (mood);
CREATE FUNCTION first_joined() RETURNS SETOF joined LANGUAGE sql STABLE BEGIN ATOMIC SELECT * FROM joined LIMIT 1; END;
CREATE TRIGGER never BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TRIGGER silent AFTER UPDATE ON bare FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION stamp();
ALTER TABLE bare DISABLE TRIGGER silent;
ALTER TABLE empty ENABLE ROW LEVEL SECURITY;
CREATE POLICY "only ö" ON empty AS RESTRICTIVE FOR SELECT TO lastgood_reads USING (text <> 'secret');
COMMENT ON TABLE customers IS 'who buys; it''s \\ 50% of all';
COMMENT ON COLUMN customers."valid at" IS 'when';
COMMENT ON INDEX "by ""text"" now" IS 'fast';
COMMENT ON FUNCTION doubled(integer) IS 'twice';
COMMENT ON CONSTRAINT "not null" ON customers IS 'zero is nobody';
COMMENT ON TYPE pair IS 'two';
GRANT SELECT ON customers, joined, totals TO lastgood_reads;
GRANT INSERT (id, text), UPDATE (text) ON customers TO "Lastgood ""writes""" WITH GRANT OPTION;
GRANT USAGE ON SEQUENCE "Serial" TO "Lastgood ""writes""";
REVOKE EXECUTE ON FUNCTION doubled(integer) FROM PUBLIC;
ALTER TABLE empty OWNER TO "Lastgood ""writes""";
'''


class PostgresRig:
    columns: ClassVar[bool] = True
    locks: ClassVar[bool] = True
    tables: tuple[str, ...] = ("customers", ODD, "empty", "bare")

    def __init__(self, folder: Path) -> None:
        self.kept = folder / "kept"
        self._stack = ExitStack()
        self.url = self._stack.enter_context(database())
        with closing(self.connect()) as client:
            make_roles(client)
            client.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(LIVE)))
            client.execute(sql.SQL(MADE))  # type: ignore[arg-type]
            client.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO lastgood_reads").format(sql.Identifier(LIVE)))
            client.execute(sql.SQL("COMMENT ON SCHEMA {} IS 'live'").format(sql.Identifier(LIVE)))
        self.insert("customers", [(number, f"customer {number}") for number in range(1, 31)])
        self.insert(ODD, [(1, "ä"), (2, "b"), (3, "b")])
        self.insert("bare", [(1, "one"), (2, "two"), (3, "two"), (3, "two")])
        with closing(self.connect()) as client:
            client.execute("REFRESH MATERIALIZED VIEW totals")
        self.open = self.connect()  # an application's session that stays, with a statement it has prepared
        self._stack.callback(self.open.close)
        self.open.execute("SELECT count(*) FROM customers", prepare=True)

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        client = psycopg.connect(self.url, autocommit=True)
        client.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(LIVE)))
        return client

    def source(self, reached: Reached | None = None) -> PostgresSource:
        return PostgresSource(
            "features",
            Address("features", self.url),
            LIVE,
            lock_seconds=1.0,
            statement_seconds=60,
            reached=reached or (lambda _: None),
        )

    def insert(self, table: str, rows: list[tuple[int, str]]) -> None:
        with closing(self.connect()) as client, client.transaction():
            client.cursor().executemany(inserting(table, text(client, table)), rows)

    def delete(self, table: str, ids: list[int]) -> None:
        with closing(self.connect()) as client:
            client.execute(sql.SQL("DELETE FROM {} WHERE id = ANY(%s)").format(sql.Identifier(table)), [ids])

    def rows(self, table: str) -> list[tuple[int, str]]:
        with closing(self.connect()) as client:
            query = sql.SQL("SELECT id, {} FROM {}").format(
                sql.Identifier(text(client, table)), sql.Identifier(table)
            )
            return sorted(client.execute(query).fetchall(), key=repr)

    def state(self) -> Any:
        """Every row, and every definition as the server's own dump tells it."""
        dump = subprocess.run(
            [binaries() / "pg_dump", "--schema-only", "--no-sync", "-n", f'"{LIVE.replace(chr(34), chr(34) * 2)}"',
             self.url],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        lines = (line for line in dump.splitlines() if not line.startswith(("--", "\\", "SET ", "SELECT ")))
        definitions = sorted(" ".join(statement.split()) for statement in "\n".join(lines).split(";\n"))
        with closing(self.connect()) as client, client.transaction():
            rows = {
                table: sorted(
                    (
                        row[0]
                        for row in client.execute(
                            sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table))
                        )
                    ),
                    key=str,
                )
                for table in (*self.tables, "joined")  # what is materialised is computed anew
            }
            assert self.open.execute("SELECT count(*) FROM customers", prepare=True).fetchone() == (
                len(rows["customers"]),
            )
        return definitions, rows

    def strange(self) -> None:
        with closing(self.connect()) as client:
            client.cursor().executemany(
                "INSERT INTO bare (id, text, data, bits, doc, price) VALUES (%s, %s, %s, %s, %s, %s)",
                [
                    (None, None, None, None, None, None),
                    (2**63 - 1, "\U0001f40d", b"\x00\xff", float("inf"), '{"a":\n 1}', "1.00"),
                    (-(2**63) + 1, "x" * 20_000, b"", float("nan"), "null", "NaN"),
                    (0, "", bytes(range(256)) * 100, -0.0, "[]", "1.0"),
                ],
            )
            client.execute(
                "INSERT INTO customers (id, moods, size, duo, \"valid at\") VALUES (-5, '{so so,NULL}', 3,"
                " (1, 'it''s \"good\"'), '[2026-01-01,)')"
            )
            client.execute("REFRESH MATERIALIZED VIEW totals")

    def migrate(self) -> None:
        with closing(self.connect()) as client, client.transaction():
            client.execute(
                'DROP VIEW joined CASCADE; DROP TRIGGER never ON customers; DROP INDEX "by ""text"" now"'
            )
            for table in self.tables:
                name = sql.Identifier(table)
                client.execute(sql.SQL("ALTER TABLE {} RENAME COLUMN text TO body").format(name))
                client.execute(sql.SQL("ALTER TABLE {} ADD COLUMN score real DEFAULT 0.5").format(name))
                client.execute(sql.SQL("UPDATE {} SET body = body || '!'").format(name))
            client.execute("ALTER TYPE \"Mood\" RENAME VALUE 'so so' TO 'fine'")
            client.execute("CREATE INDEX scores ON customers (score)")
            client.execute(
                "CREATE VIEW joined AS SELECT c.id, c.score FROM customers c JOIN bare b USING (id)"
            )

    @contextmanager
    def writer(self) -> Iterator[Activity]:
        with closing(self.connect()) as client:

            def turn(activity: Activity) -> None:
                number = FIRST_WRITTEN + len(activity.committed)
                query = inserting("customers", text(client, "customers"))
                client.execute(query, (number, f"written {number}"), prepare=True)
                activity.committed.append(number)

            with background(turn, 0.003) as activity:
                yield activity

    @contextmanager
    def reader(self) -> Iterator[Activity]:
        looks = sql.SQL(", ").join(
            sql.SQL("(SELECT to_jsonb(t) ? {} FROM {} t LIMIT 1)").format(
                sql.Literal(column), sql.Identifier(table)
            )
            for table, column in (("bare", "body"), ("joined", "score"), ("customers", "body"), (ODD, "body"))
        )
        query = sql.SQL("SELECT {}").format(looks)
        with closing(self.connect()) as client:

            def turn(activity: Activity) -> None:
                with client.transaction():
                    seen = [client.execute(query, prepare=True).fetchone() for _ in range(2)]
                shapes = {shape for row in seen if row is not None for shape in row}
                if len(shapes) != 1:
                    activity.mixed.append(str(seen))

            with background(turn, 0.001) as activity:
                yield activity

    @contextmanager
    def lock(self) -> Iterator[None]:
        with closing(self.connect()) as client, client.transaction(force_rollback=True):
            client.execute("UPDATE customers SET parent = NULL")
            yield

    def damage(self, snapshot: Snapshot) -> None:
        with closing(self.connect()) as client:
            table = sql.Identifier(snapshot.place["schema"], "customers")
            client.execute(sql.SQL("UPDATE {} SET text = text || ' ' WHERE id = 3").format(table))

    def lose(self, snapshot: Snapshot) -> None:
        with closing(self.connect()) as client:
            client.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(snapshot.place["schema"])))

    def exported(self, path: Path) -> list[int]:
        return json_ids(path)

    def close(self) -> None:
        self._stack.close()


def make_roles(client: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Roles belong to the whole server: the other tests' may be there."""
    for role in ROLES:
        try:
            client.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        except psycopg.errors.DuplicateObject:
            continue


def inserting(table: str, column: str) -> sql.Composed:
    return sql.SQL("INSERT INTO {} (id, {}) VALUES (%s, %s)").format(
        sql.Identifier(table), sql.Identifier(column)
    )


def text(client: psycopg.Connection[tuple[Any, ...]], table: str) -> str:
    """Return what the text's column is called now."""
    row = client.execute(
        "SELECT true FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
        " AND column_name = 'body'",
        [LIVE, table],
    ).fetchone()
    return "text" if row is None else "body"


def refused(code: Code, act: Any, *arguments: Any) -> LastgoodError:
    with pytest.raises(LastgoodError) as caught:
        act(*arguments)
    assert caught.value.code == code, str(caught.value)
    assert caught.value.next_step
    return caught.value


def run(url: str, *statements: str) -> list[Any]:
    with closing(psycopg.connect(url, autocommit=True)) as client:
        for statement in statements:
            cursor = client.execute(sql.SQL(statement))  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def schemas(url: str) -> set[str]:
    rows = run(
        url, "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
    )
    return {row[0] for row in rows}
