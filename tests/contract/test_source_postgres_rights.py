"""What a PostgreSQL source refuses, who may use it, and that no password is ever seen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from source_rigs.postgres import refused, run, schemas

from lastgood.data_ports import DataSource
from lastgood.errors import Code, LastgoodError
from lastgood.sources.postgres import create
from postgres_server import database, url_of


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
        ({"url": "postgresql://u@h/d", "schema": "information_schema"}, "schema"),
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
