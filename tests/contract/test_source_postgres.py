"""What is special about a PostgreSQL source: locks, sessions, rights, sequences, and what it refuses."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel, sql
from psycopg.conninfo import conninfo_to_dict
from source_rigs import Activity, background
from source_rigs.postgres import LIVE, ODD, PostgresRig

from lastgood.domain.snapshot import Snapshot
from lastgood.errors import Code, LastgoodError
from lastgood.ports import DataSource
from lastgood.sources.postgres import create
from postgres_server import database, url_of


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[PostgresRig]:
    made = PostgresRig(tmp_path)
    yield made
    made.close()


def refused(code: Code, act: Any, *arguments: Any) -> LastgoodError:
    with pytest.raises(LastgoodError) as caught:
        act(*arguments)
    assert caught.value.code == code, str(caught.value)
    assert caught.value.next_step
    return caught.value


def restore(rig: PostgresRig, snapshot: Snapshot, token: str) -> None:
    rig.source().stage_restore(snapshot, token)
    rig.source().swap(token)


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


def test_a_number_given_out_is_never_given_out_again(rig: PostgresRig) -> None:
    """After a restore sequences and identity columns go on behind live data's, not behind the snapshot's."""
    snapshot = rig.source().capture("kept")
    with closing(rig.connect()) as client:
        client.execute("INSERT INTO customers (id) SELECT 100 + n FROM generate_series(1, 50) n")
        given = client.execute("SELECT max(number), max(row) FROM customers").fetchone()
        restore(rig, snapshot, "back")
        client.execute("INSERT INTO customers (id) VALUES (500)")
        drawn = client.execute("SELECT number, row FROM customers WHERE id = 500").fetchone()
    assert given is not None
    assert drawn == (given[0] + 5, given[1] + 1)


def test_everything_of_the_schema_works_afterwards(rig: PostgresRig) -> None:
    """Triggers, keys, checks, defaults and the materialised view are those of the restored tables, and in force."""
    snapshot = rig.source().capture("kept")
    rig.migrate()
    restore(rig, snapshot, "back")
    rig.source().release("back")
    rig.source().release("kept")
    with closing(rig.connect()) as client:
        for statement, error in (
            ("INSERT INTO customers (id, text) VALUES (600, 'forbidden')", psycopg.errors.RaiseException),
            (
                "INSERT INTO customers (id, parent_text, parent) VALUES (600, 'x', 1)",
                psycopg.errors.ForeignKeyViolation,
            ),
            ("INSERT INTO customers (id) VALUES (0)", psycopg.errors.CheckViolation),
            ("INSERT INTO customers (id, size) VALUES (600, -1)", psycopg.errors.CheckViolation),
            ("INSERT INTO customers (id) VALUES (1)", psycopg.errors.UniqueViolation),
        ):
            with pytest.raises(error):
                client.execute(statement)
        client.execute("INSERT INTO customers (id) VALUES (600)")
        assert client.execute("SELECT text, mood::text, twice FROM customers WHERE id = 600").fetchone() == (
            "none",
            "so so",
            1200,
        )
        client.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY totals")
        assert client.execute("SELECT sum(n) FROM totals").fetchone() == (31,)
        assert client.execute("SELECT id FROM first_joined()").fetchone() is not None
    assert schemas(rig.url) == {"public", "lastgood", LIVE}


def test_rights_of_the_schema_stay(rig: PostgresRig) -> None:
    """Who may use the live schema, what new tables in it grant, and its comment are as before; kept data is closed."""
    run(
        rig.url, f"ALTER DEFAULT PRIVILEGES IN SCHEMA {quoted(LIVE)} GRANT SELECT ON TABLES TO lastgood_reads"
    )
    snapshot = rig.source().capture("kept")
    before = rig.state()
    assert any("ALTER DEFAULT PRIVILEGES" in definition for definition in before[0])
    restore(rig, snapshot, "back")
    assert rig.state() == before
    for name in schemas(rig.url) - {"public", LIVE}:
        usable = run(rig.url, f"SELECT has_schema_privilege('lastgood_reads', '{name}', 'USAGE')")
        assert usable == [(False,)], name


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def test_a_long_transaction_is_named_and_nobody_waits_behind_the_swap(rig: PostgresRig) -> None:
    """The time-out names the server's process and no statement; others got their turns while the swap was trying."""
    snapshot = rig.source().capture("kept")
    rig.source().stage_restore(snapshot, "back")
    with closing(rig.connect()) as client, rig.reader() as reader, client.transaction():
        client.execute("UPDATE customers SET parent = NULL WHERE text = 'a secret'")
        turns, pid = reader.turns, client.info.backend_pid
        error = refused(Code.TIMEOUT, rig.source().swap, "back")
        assert reader.turns > turns + 3
    assert reader.errors == reader.mixed == []
    assert error.details["pid"] == pid
    assert str(pid) in str(error)
    assert "secret" not in str(error.as_data())
    assert not rig.source().swapped("back")
    rig.source().swap("back")
    assert rig.source().swapped("back")


def test_a_transaction_with_an_older_view_stops_the_swap(rig: PostgresRig) -> None:
    """Who sees the database as it was before the restore was staged would find the new tables empty: it is waited for."""
    snapshot = rig.source().capture("kept")
    with closing(rig.connect()) as client:
        client.isolation_level = IsolationLevel.REPEATABLE_READ
        with client.transaction():
            client.execute("SELECT 1")
            rig.source().stage_restore(snapshot, "back")
            error = refused(Code.TIMEOUT, rig.source().swap, "back")
            assert error.details["pid"] == client.info.backend_pid
            assert client.execute("SELECT count(*) FROM customers").fetchone() == (30,)
    with (
        closing(rig.connect()) as client,
        client.transaction(),
    ):  # one that looks anew each time is no obstacle
        client.execute("SELECT 1")
        rig.source().swap("back")
        assert client.execute("SELECT count(*) FROM customers").fetchone() == (30,)


@pytest.mark.parametrize("point", ["swap locked", "swap renamed the old", "swap not committed yet"])
def test_the_database_goes_away_in_the_middle_of_a_swap(rig: PostgresRig, point: str) -> None:
    """A session that the server ends mid-swap is unavailable; live data is as before, and the swap can be repeated."""
    snapshot = rig.source().capture("kept")
    before = rig.state()
    rig.migrate()
    migrated = rig.state()

    def end(name: str) -> None:
        if name == point:
            run(
                rig.url,
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = 'lastgood' AND datname = current_database()",
            )

    rig.source().stage_restore(snapshot, "back")
    refused(Code.UNAVAILABLE, rig.source(end).swap, "back")
    assert rig.state() == migrated
    assert not rig.source().swapped("back")
    rig.source().swap("back")
    assert rig.state() == before


def test_writers_of_several_tables_lose_nothing(rig: PostgresRig, tmp_path: Path) -> None:
    """Transactions over two tables, with numbers from a sequence, are whole on one side of the swap, each number once."""
    snapshot = rig.source().capture("kept")
    written: list[list[int]] = []

    @contextmanager
    def writing() -> Iterator[Activity]:
        numbers: list[int] = []
        written.append(numbers)
        with closing(rig.connect()) as client:

            def turn(_: Activity) -> None:
                with client.transaction():
                    row = client.execute(
                        "INSERT INTO empty (text) VALUES ('w') RETURNING id", prepare=True
                    ).fetchone()
                    assert row is not None
                    client.execute(
                        "INSERT INTO bare (id, text) VALUES (%s, 'w')", [1000 + row[0]], prepare=True
                    )
                numbers.append(row[0])

            with background(turn, 0.002) as activity:
                yield activity

    with writing() as first, writing() as second, rig.reader() as reader:
        first.wait(10)
        restore(rig, snapshot, "back")
        first.wait(10)
        second.wait(10)
    assert reader.errors == reader.mixed == []
    assert first.errors == second.errors == []
    quarantine = rig.source().quarantine(snapshot, "back", tmp_path)
    replaced = {table: exported(tmp_path, quarantine.tables[table].export) for table in ("empty", "bare")}
    live = [number for number, _ in rig.rows("empty")]
    everything = written[0] + written[1]
    assert len(everything) == len(set(everything))
    assert sorted(live + replaced["empty"]) == sorted(everything)
    assert sorted(replaced["bare"]) == sorted(1000 + number for number in replaced["empty"])
    assert sorted(number for number, text in rig.rows("bare") if text == "w") == sorted(
        1000 + n for n in live
    )


def exported(folder: Path, name: str | None) -> list[int]:
    assert name is not None
    return [json.loads(line)["id"] for line in (folder / name).read_text().splitlines()]


def test_equal_rows_count_as_often_as_they_are(rig: PostgresRig, tmp_path: Path) -> None:
    """One more of a row that is there twice is one row added; one less is one removed; every value type is compared."""
    rig.strange()
    snapshot = rig.source().capture("kept")
    with closing(rig.connect()) as client:
        client.execute("INSERT INTO bare (id, text) VALUES (3, 'two'), (4, 'four'), (4, 'four')")
        client.execute("UPDATE bare SET doc = '{\"a\": 1}' WHERE doc::text LIKE '%a%'")
        client.execute('DELETE FROM "odd ""name"" with ü" WHERE id = 3')
    restore(rig, snapshot, "back")
    quarantine = rig.source().quarantine(snapshot, "back", tmp_path)
    bare, odd = quarantine.tables["bare"], quarantine.tables[ODD]
    assert (bare.added, bare.removed, odd.added, odd.removed) == (4, 1, 0, 1)
    assert sorted(exported(tmp_path, bare.export))[:3] == [3, 4, 4]
    assert quarantine.tables["customers"].export is None


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("CREATE TABLE other.orders (c integer REFERENCES live.t (id))", "orders"),
        ("CREATE VIEW other.seen AS SELECT * FROM live.t", "seen"),
        ("CREATE TABLE other.mine (n integer DEFAULT nextval('live.t_id_seq'))", "mine"),
        ("CREATE FUNCTION other.f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM live.t; END", "f()"),
        ("CREATE PUBLICATION everybody FOR TABLE live.t", "everybody"),
        ("CREATE TABLE live.parts (id integer) PARTITION BY RANGE (id)", "parts"),
        ("CREATE TABLE live.child () INHERITS (live.t)", "child"),
        ("CREATE TABLE live.pg_class (id integer)", "pg_class"),
        ("CREATE EXTENSION hstore SCHEMA live", "hstore"),
        ("CREATE AGGREGATE live.total (integer) (SFUNC = int4pl, STYPE = integer)", "total"),
        ("CREATE RULE quiet AS ON DELETE TO live.t DO INSTEAD NOTHING", "quiet"),
        ("CREATE TYPE live.span AS RANGE (SUBTYPE = integer)", "span"),
        ('CREATE COLLATION live.plain FROM "C"', "plain"),
    ],
)  # fmt: skip
def test_what_a_copy_would_lose_is_refused_by_name(
    empty: str, tmp_path: Path, statement: str, named: str
) -> None:
    """What cannot be put back, or would go on pointing at replaced data, is named, before anything is made."""
    run(
        empty,
        "CREATE SCHEMA live",
        "CREATE SCHEMA other",
        "CREATE TABLE live.t (id serial PRIMARY KEY)",
        statement,
    )
    error = refused(Code.REFUSED, source(empty, tmp_path).capture, "kept")
    assert named in error.message
    assert schemas(empty) == {"public", "live", "other", "lastgood"}


def test_what_comes_to_point_into_the_schema_stops_the_swap(empty: str, tmp_path: Path) -> None:
    """A foreign key from outside that was made after the capture is named, and live data stays as it is."""
    run(empty, "CREATE SCHEMA live", "CREATE TABLE live.t (id serial PRIMARY KEY)")
    snapshot = source(empty, tmp_path).capture("kept")
    source(empty, tmp_path).stage_restore(snapshot, "back")
    run(empty, "CREATE TABLE public.orders (c integer REFERENCES live.t (id))")
    assert "orders" in refused(Code.REFUSED, source(empty, tmp_path).swap, "back").message
    run(empty, "DROP TABLE public.orders")
    source(empty, tmp_path).swap("back")


@pytest.fixture
def empty() -> Iterator[str]:
    with database() as url:
        yield url


def source(url: str, kept: Path, schema: str = "live", **options: Any) -> DataSource:
    return create("features", {"url": url, "schema": schema, "lock_timeout": 1, **options}, kept)


def test_no_room_is_storage_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit of the server's disk while staging is a storage error, and nothing of it stays."""
    with database(temp_file_limit="1MB", maintenance_work_mem="1MB") as url:
        run(url, "CREATE SCHEMA live", "CREATE TABLE live.t AS SELECT n AS id, md5(n::text) AS text FROM"
            " generate_series(1, 60000) n")  # fmt: skip
        snapshot = source(url, tmp_path).capture("kept")
        before = schemas(url)
        rebuilt = source(url, tmp_path).capture("indexed")
        assert rebuilt.digest == snapshot.digest
        source(url, tmp_path).release("indexed")
        # The index is part of what was captured: only building it anew needs the room.
        run(url, "SET temp_file_limit = -1; SET maintenance_work_mem = '64MB'; CREATE INDEX ON live.t (text)")
        indexed = source(url, tmp_path).capture("indexed")
        before = schemas(url)
        refused(Code.STORAGE, source(url, tmp_path).stage_restore, indexed, "back")
        assert schemas(url) == before
        assert source(url, tmp_path).release("back") == 0


def test_an_ordinary_owner_and_the_schema_public(empty: str, tmp_path: Path) -> None:
    """A user who owns the schema and may make others needs no more; the schema may be ``public``."""
    name = conninfo_to_dict(empty)["dbname"]
    role = f"owner of {name}"
    run(empty, f'CREATE ROLE "{role}" LOGIN', f'ALTER DATABASE {name} OWNER TO "{role}"')
    try:
        url = url_of(str(name), user=role)
        run(
            url,
            "CREATE TABLE public.t (id integer PRIMARY KEY, text text)",
            "INSERT INTO public.t VALUES (1, 'a')",
        )
        before = run(empty, "SELECT nspacl::text, nspowner FROM pg_namespace WHERE nspname = 'public'")
        snapshot = source(url, tmp_path, "public").capture("kept")
        run(url, "UPDATE public.t SET text = 'b'")
        source(url, tmp_path, "public").stage_restore(snapshot, "back")
        source(url, tmp_path, "public").swap("back")
        assert run(url, "SELECT * FROM t") == [(1, "a")]
        after = run(empty, "SELECT nspacl::text, nspowner FROM pg_namespace WHERE nspname = 'public'")
        assert sorted(after[0][0][1:-1].split(",")) == sorted(before[0][0][1:-1].split(","))
        assert after[0][1] == before[0][1]
        quarantine = source(url, tmp_path, "public").quarantine(snapshot, "back", tmp_path)
        assert quarantine.tables["t"].added == quarantine.tables["t"].removed == 1
        assert source(url, tmp_path, "public").release("back") > 0
    finally:
        run(empty, f"ALTER DATABASE {name} OWNER TO CURRENT_USER", f'REASSIGN OWNED BY "{role}" TO CURRENT_USER',
            f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')  # fmt: skip


def test_somebody_elses_objects_are_refused(empty: str, tmp_path: Path) -> None:
    """Objects of a role that the user is no member of could not be given back to it: they are named."""
    name = conninfo_to_dict(empty)["dbname"]
    role = f"guest of {name}"
    run(empty, f'CREATE ROLE "{role}" LOGIN', "CREATE SCHEMA live", "CREATE TABLE live.t (id integer)",
        f'GRANT ALL ON SCHEMA live TO "{role}"', f'GRANT ALL ON DATABASE {name} TO "{role}"',
        f'GRANT ALL ON live.t TO "{role}"')  # fmt: skip
    try:
        error = refused(Code.REFUSED, source(url_of(str(name), user=role), tmp_path).capture, "kept")
        assert "t (owned by" in error.message
    finally:
        run(empty, "DROP SCHEMA IF EXISTS lastgood CASCADE", f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"schema": "live"}, "url"),
        ({"url": "postgresql://u@h/d"}, "schema"),
        ({"url": "postgresql://u:hunter2@h/d", "schema": "live"}, "url"),
        ({"url": "postgresql://u@h/d?password=hunter2", "schema": "live"}, "url"),
        ({"url": "mysql://u:hunter2@h/d", "schema": "live"}, "url"),
        ({"url": "postgresql://u:hunter2@h:port/d?x", "schema": "live"}, "url"),
        ({"url": "postgresql://u@h/d", "schema": "pg_catalog"}, "schema"),
        ({"url": "postgresql://u@h/d", "schema": "lastgood"}, "schema"),
        ({"url": "postgresql://u@h/d", "schema": "live", "lock_timeout": 0}, "lock_timeout"),
        ({"url": "postgresql://u@h/d", "schema": "live", "tables": ["t"]}, "tables"),
    ],
)
def test_bad_options_are_named_and_not_shown(options: dict[str, Any], named: str, tmp_path: Path) -> None:
    """An option that is missing, wrong, unknown or holds a password is named; its value is not shown."""
    error = refused(Code.INVALID, create, "features", options, tmp_path)
    assert repr(named) in error.message
    assert "hunter2" not in str(error.as_data())


def test_a_password_is_never_seen(empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL with a password out of the environment works, and no snapshot, table, error or file shows the password."""
    name = str(conninfo_to_dict(empty)["dbname"])
    run(empty, "CREATE SCHEMA live", "CREATE TABLE live.t (id integer)")
    monkeypatch.setenv("FEATURES_URL", url_of(name, password="hunter2"))
    made = source("env:FEATURES_URL", tmp_path)
    snapshot = made.capture("kept")
    seen = [repr(snapshot), repr(made), str(run(empty, "SELECT * FROM lastgood.kept"))]
    (tmp_path / "secret").write_text(url_of(name, password="hunter2") + "\n")
    source(f"file:{tmp_path / 'secret'}", tmp_path).verify(snapshot)
    for wrong in (
        url_of("no such database", password="hunter2"),
        url_of(name, password="hunter2", port="1"),
        url_of(name, password="hunter2", user="nobody of this name"),
        url_of(name, password="hunter2") + "?no_such_parameter=hunter2",
        "hunter2",
    ):
        monkeypatch.setenv("FEATURES_URL", wrong)
        with pytest.raises(LastgoodError) as caught:
            made.verify(snapshot)
        assert caught.value.code in (Code.UNAVAILABLE, Code.INVALID)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        seen.append(str(caught.value.as_data()))
    monkeypatch.delenv("FEATURES_URL")
    seen.append(str(refused(Code.UNAVAILABLE, made.verify, snapshot)))
    assert not [text for text in seen if "hunter2" in text]


def test_a_missing_schema_is_not_found(empty: str, tmp_path: Path) -> None:
    """A schema that is not there is not found, whatever is asked of it."""
    for act in (lambda: source(empty, tmp_path).schema(), lambda: source(empty, tmp_path).capture("kept")):
        assert "live" in refused(Code.NOT_FOUND, act).message
