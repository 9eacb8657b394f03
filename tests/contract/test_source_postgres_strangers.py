"""What strangers put into a PostgreSQL schema or database: names, functions, references, and schemas of our names."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from source_rigs.postgres import refused, run, schemas

from lastgood.data_ports import DataSource
from lastgood.errors import Code
from lastgood.sources.postgres import create
from postgres_server import database, url_of

pytestmark = pytest.mark.slow


@pytest.fixture
def empty() -> Iterator[str]:
    with database() as url:
        yield url


def source(url: str, kept: Path) -> DataSource:
    return create("features", {"url": url, "schema": "live", "lock_timeout": 1}, kept)


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (["CREATE TABLE other.c (id int PRIMARY KEY)", "CREATE TABLE live.o (c int REFERENCES other.c)"], "o_c_fkey"),
        (["CREATE TABLE live.r (it regclass[])"], "column it of r"),
        (["CREATE PUBLICATION everything FOR ALL TABLES"], "everything"),
        (
            [
                "CREATE FUNCTION live.n() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM live.t'",
                "CREATE VIEW live.v AS SELECT live.n() AS n",
                "CREATE MATERIALIZED VIEW live.m AS SELECT * FROM live.v",
            ],
            "n()",
        ),
        (
            [
                "CREATE FUNCTION live.b(int) RETURNS int LANGUAGE sql IMMUTABLE SET search_path = live AS 'SELECT $1'",
                "CREATE FUNCTION live.a(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN b($1); END'",
                "CREATE INDEX ON live.t (live.a(id))",
            ],
            "b(integer)",
        ),
    ],
)  # fmt: skip
def test_what_would_mix_states_is_refused_by_name(
    empty: str, tmp_path: Path, statements: list[str], named: str
) -> None:
    """What a copy would compute from live data, or would go on pointing at, is named before anything is made."""
    run(
        empty,
        "CREATE SCHEMA live",
        "CREATE SCHEMA other",
        "CREATE TABLE live.t (id serial PRIMARY KEY)",
        *statements,
    )
    error = refused(Code.REFUSED, source(empty, tmp_path).capture, "kept")
    assert named in error.message
    assert schemas(empty) == {"public", "live", "other", "lastgood"}


def test_functions_that_name_the_schema_elsewhere_are_no_obstacle(empty: str, tmp_path: Path) -> None:
    """A trigger or a plain view may ask by the schema's name: it asks whatever is live, when it is asked."""
    run(
        empty,
        "CREATE SCHEMA live",
        "CREATE TABLE live.t (id serial PRIMARY KEY)",
        "CREATE FUNCTION live.n() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM live.t'",
        "CREATE VIEW live.v AS SELECT live.n() AS n",
        "CREATE FUNCTION live.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM live.n(); RETURN NEW; END'",
        "CREATE TRIGGER g AFTER INSERT ON live.t FOR EACH ROW EXECUTE FUNCTION live.f()",
    )
    snapshot = source(empty, tmp_path).capture("kept")
    run(empty, "INSERT INTO live.t DEFAULT VALUES")
    source(empty, tmp_path).stage_restore(snapshot, "back")
    source(empty, tmp_path).swap("back")
    assert run(empty, "SELECT n FROM live.v") == [(0,)]


def test_names_of_the_users_own_functions_are_not_in_the_way(empty: str, tmp_path: Path) -> None:
    """Functions called like the system's, and columns called like our own names, change no question and no export."""
    run(
        empty,
        "CREATE SCHEMA live",
        "CREATE TYPE live.mood AS ENUM ('fine')",
        "CREATE TABLE live.t (id integer, added_row live.mood, line text)",
        "CREATE FUNCTION live.format(text, name, text) RETURNS text LANGUAGE sql AS $$SELECT 'mine'$$",
        "CREATE FUNCTION live.quote_ident(name) RETURNS text LANGUAGE sql AS $$SELECT 'mine'$$",
        "CREATE FUNCTION live.unnest(oid[]) RETURNS SETOF oid LANGUAGE sql AS $$SELECT 1::oid$$",
    )
    snapshot = source(empty, tmp_path).capture("kept")
    run(empty, "INSERT INTO live.t VALUES (1, 'fine', 'x')")
    source(empty, tmp_path).stage_restore(snapshot, "back")
    source(empty, tmp_path).swap("back")
    gained = source(empty, tmp_path).quarantine(snapshot, "back", tmp_path).tables["t"]
    assert gained.added == 1
    assert gained.export is not None
    assert json.loads((tmp_path / gained.export).read_text()) == {"id": 1, "added_row": "fine", "line": "x"}
    assert run(empty, "SELECT live.quote_ident('t'), live.format('a', 'b', 'c')") == [("mine", "mine")]


def test_one_token_stages_one_snapshot(empty: str, tmp_path: Path) -> None:
    """A token under which another snapshot is staged already is a conflict; the same one is no news."""
    run(empty, "CREATE SCHEMA live", "CREATE TABLE live.t (id integer)")
    first = source(empty, tmp_path).capture("first")
    run(empty, "INSERT INTO live.t VALUES (1)")
    second = source(empty, tmp_path).capture("second")
    for _ in range(2):
        source(empty, tmp_path).stage_restore(first, "back")
    error = refused(Code.CONFLICT, source(empty, tmp_path).stage_restore, second, "back")
    assert "back" in error.message


def test_somebody_elses_ledger_is_refused(empty: str, tmp_path: Path) -> None:
    """What is kept is not looked up in tables that another role made: they could say anything."""
    name = conninfo_to_dict(empty)["dbname"]
    role = f"guest of {name}"
    run(empty, f'CREATE ROLE "{role}" LOGIN', f'GRANT CREATE ON DATABASE {name} TO "{role}"',
        f'CREATE SCHEMA live AUTHORIZATION "{role}"', "CREATE SCHEMA lastgood")  # fmt: skip
    try:
        error = refused(Code.REFUSED, source(url_of(str(name), user=role), tmp_path).capture, "kept")
        assert "'lastgood' of this database" in error.message
    finally:
        run(empty, f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')


def test_a_role_that_may_only_read_is_told_what_it_lacks(empty: str, tmp_path: Path) -> None:
    """Rights that are missing are an error that says which, and nothing is made."""
    name = conninfo_to_dict(empty)["dbname"]
    role = f"reader of {name}"
    run(empty, f'CREATE ROLE "{role}" LOGIN', "CREATE SCHEMA live", "CREATE TABLE live.t (id integer)",
        f'GRANT USAGE ON SCHEMA live TO "{role}"', f'GRANT SELECT ON live.t TO "{role}"')  # fmt: skip
    try:
        made = source(url_of(str(name), user=role), tmp_path)
        assert "GRANT CREATE ON DATABASE" in refused(Code.REFUSED, made.capture, "kept").next_step
        assert schemas(empty) == {"public", "live"}
    finally:
        run(empty, f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')


def test_a_schema_that_was_dropped_comes_back(empty: str, tmp_path: Path) -> None:
    """Where a migration dropped the whole schema, the swap brings it back with its rights, and replaces nothing."""
    name = conninfo_to_dict(empty)["dbname"]
    role = f"guest of {name}"
    run(empty, f'CREATE ROLE "{role}"', "CREATE SCHEMA live", "CREATE TABLE live.t (id serial PRIMARY KEY)",
        "INSERT INTO live.t DEFAULT VALUES", f'GRANT USAGE ON SCHEMA live TO "{role}"',
        f'GRANT SELECT ON live.t TO "{role}"', "COMMENT ON SCHEMA live IS 'ours'")  # fmt: skip
    try:
        rights = (
            "SELECT nspacl::text, nspowner, obj_description(oid) FROM pg_namespace WHERE nspname = 'live'"
        )
        before = run(empty, rights)
        snapshot = source(empty, tmp_path).capture("kept")
        source(empty, tmp_path).stage_restore(snapshot, "back")
        run(empty, "DROP SCHEMA live CASCADE")
        source(empty, tmp_path).swap("back")
        assert run(empty, rights) == before
        assert run(empty, f'SET ROLE "{role}"', "SELECT id FROM live.t") == [(1,)]
        gained = source(empty, tmp_path).quarantine(snapshot, "back", tmp_path).tables["t"]
        assert (gained.added, gained.removed) == (0, 1)
    finally:
        run(empty, f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')
