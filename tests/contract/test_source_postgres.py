"""What is special about a PostgreSQL source: locks, sessions, rights, sequences, and what it refuses."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import IsolationLevel
from source_rigs import Activity, background
from source_rigs.postgres import LIVE, ODD, PostgresRig, refused, run, schemas

from lastgood.domain.snapshot import Snapshot
from lastgood.errors import Code


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[PostgresRig]:
    made = PostgresRig(tmp_path)
    yield made
    made.close()


def restore(rig: PostgresRig, snapshot: Snapshot, token: str) -> None:
    rig.source().stage_restore(snapshot, token)
    rig.source().swap(token)


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


def test_a_dropped_snapshot_can_be_taken_again(rig: PostgresRig) -> None:
    """What somebody dropped behind our back is captured anew under its token, and released without a trace."""
    first = rig.source().capture("kept")
    rig.lose(first)
    second = rig.source().capture("kept")
    assert second.digest == first.digest
    rig.source().verify(second)
    rig.lose(second)
    assert rig.source().release("kept") == 0
    assert run(rig.url, "SELECT count(*) FROM lastgood.kept") == [(0,)]
