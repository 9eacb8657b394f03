"""The database itself: migrations, locks, and what it says when it cannot."""

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable
from store_samples import Stores, draft, open_stores, register, verify_chain

from lastgood.errors import Code, LastgoodError
from lastgood.store import database as database_module
from lastgood.store.database import Database, open_database
from lastgood.store.migrate import migrate, open_store, revisions
from lastgood.store.schema import metadata


def _layout(database: Database) -> dict[str, str]:
    query = (
        "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '%alembic%' AND name NOT LIKE 'sqlite_auto%'"
    )
    with database.reading() as connection:
        return {row.name: " ".join(row.sql.split()) for row in connection.exec_driver_sql(query)}


def test_migrated_equals_fresh() -> None:
    """Migrations and table definitions give the same tables, indexes and triggers, to the letter."""
    migrated, fresh = open_store(None), open_database(None)
    with fresh.transaction() as connection:
        metadata.create_all(connection)
    with migrated.reading() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)

    assert differences == []
    assert _layout(migrated) == _layout(fresh)
    assert "events_no_delete" in _layout(fresh)
    migrated.close()
    fresh.close()


def test_the_names_of_the_migrations_give_their_order() -> None:
    """The order in which migrations are applied is the one that each of them states."""
    folder = Path(database_module.__file__).parent / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder))
    stated = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()]

    assert revisions() == stated[::-1]


def test_a_database_that_is_up_to_date_is_opened_without_alembic(tmp_path: Path) -> None:
    """Every command opens the database; only the one that makes or changes its layout waits for Alembic's import."""
    path = tmp_path / "lastgood.db"
    code = (
        "import sys; from pathlib import Path; from lastgood.store.migrate import open_store; "
        "open_store(Path(sys.argv[1])).close(); print('alembic' in sys.modules)"
    )
    run = [sys.executable, "-c", code, str(path)]
    said = [subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() for _ in range(2)]

    assert said == ["True", "False"]


def test_tables_can_be_made_in_postgresql() -> None:
    """Every table and index has a form in PostgreSQL, partial indexes with real booleans included."""
    dialect = postgresql.dialect()
    texts = [str(CreateTable(table).compile(dialect=dialect)) for table in metadata.sorted_tables]
    indexes = [index for table in metadata.sorted_tables for index in table.indexes]
    texts += [str(CreateIndex(index).compile(dialect=dialect)) for index in indexes]

    assert sum("good = true AND latest = true" in text for text in texts) == 1
    assert sum("WHERE" in text for text in texts) == 7


def test_migrating_twice_changes_nothing(stores: Stores) -> None:
    """A database that is up to date is left as it is."""
    register(stores)
    before = _layout(stores.database)

    assert migrate(stores.database) == migrate(stores.database)
    assert _layout(stores.database) == before
    assert verify_chain(stores) == 1


def test_failed_migration_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that breaks half-way is undone whole, and the next try succeeds."""
    database = open_database(tmp_path / "lastgood.db")
    with monkeypatch.context() as patch:
        patch.setattr("alembic.op.bulk_insert", _break)
        with pytest.raises(RuntimeError, match="half-way"):
            migrate(database)
    assert _layout(database) == {}
    migrate(database)

    assert "ledger" in _layout(database)
    database.close()


def _break(*_arguments: object) -> None:
    raise RuntimeError("half-way")


def test_newer_database_is_refused(stores: Stores) -> None:
    """A layout from the future is refused with what to do, and left alone."""
    with stores.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'm9999'")
    with pytest.raises(LastgoodError, match=r"newer Lastgood.*m9999") as refused:
        migrate(stores.database)

    assert refused.value.code is Code.REFUSED
    assert refused.value.next_step


def test_processes_may_open_a_new_database_together(tmp_path: Path) -> None:
    """Several processes that start on an empty folder at once all find a migrated database."""
    path = tmp_path / "lastgood.db"
    code = (
        "import sys; from pathlib import Path; from lastgood.store.migrate import open_store; "
        "print(open_store(Path(sys.argv[1])).where)"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    answers = [child.communicate(timeout=60) for child in children]

    assert [child.returncode for child in children] == [0, 0, 0, 0], answers
    assert {out.strip() for out, _ in answers} == {str(path)}


def test_durability_settings_are_in_force(file_stores: Stores) -> None:
    """Every connection has the write-ahead log, full synchronisation and foreign keys."""
    with file_stores.database.reading() as connection:
        names = ("journal_mode", "synchronous", "foreign_keys")
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names}

        driver = connection.connection.dbapi_connection

    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    assert isinstance(driver, sqlite3.Connection)
    assert driver.isolation_level is None  # the driver begins no transaction by itself


def test_error_inside_a_transaction_undoes_it(stores: Stores) -> None:
    """Whatever is raised inside, nothing of the transaction stays, and the next one works."""
    register(stores)
    with pytest.raises(ZeroDivisionError), stores.database.transaction() as connection:
        _spoil(connection)
    register(stores)

    assert [version.number for version in stores.versions.versions("churn")] == [2, 1]


def _spoil(connection: Connection) -> None:
    connection.exec_driver_sql("UPDATE models SET newest = 9")
    raise ZeroDivisionError


def test_readers_do_not_wait_for_a_writer(file_stores: Stores) -> None:
    """While a write transaction is open, another thread reads the state before it."""
    register(file_stores)
    seen: list[int] = []
    with file_stores.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE models SET newest = 9")
        reader = threading.Thread(target=lambda: seen.append(len(file_stores.versions.versions("churn"))))
        reader.start()
        reader.join(timeout=60)

        assert seen == [1]


def test_reads_leave_nothing_open(file_stores: Stores) -> None:
    """Reads of one statement, with one row, many or none, hold neither a lock nor an old state afterwards."""
    register(file_stores, "v1")
    found = (
        file_stores.versions.version("churn", 1),
        file_stores.versions.version("churn", 9),
        file_stores.releases.deployments(),
        file_stores.versions.versions("churn"),
    )
    register(file_stores, "v2")
    with closing(sqlite3.connect(file_stores.database.where)) as other:
        busy, left, moved = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    assert [bool(one) for one in found] == [True, False, False, True]
    assert (busy, left, moved) == (0, 0, 0)  # a reader that is still open would make it busy
    assert [version.number for version in file_stores.versions.versions("churn")] == [2, 1]


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_lock_that_stays_taken_is_a_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A writer that cannot get the lock in time says so as a conflict, and works once it is free."""
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(database_module, "_SETTINGS", ("PRAGMA busy_timeout = 50",))
    stores = open_stores(tmp_path / "lastgood.db")
    with closing(sqlite3.connect(stores.database.where, isolation_level=None)) as other:
        holding = stores.database._own_turn() if kind == "thread" else closing(other.cursor())
        if kind == "process":
            other.execute("BEGIN IMMEDIATE")
        with holding, pytest.raises(LastgoodError, match="locked") as refused:
            register(stores)
        if kind == "process":
            other.execute("ROLLBACK")
    register(stores)

    assert refused.value.code is Code.CONFLICT
    assert verify_chain(stores) == 1
    stores.database.close()


def test_full_database_is_a_storage_error(file_stores: Stores) -> None:
    """When the file may not grow, the change is refused whole and reading goes on."""
    register(file_stores)
    with file_stores.database.engine.connect() as connection:  # the limit belongs to this one connection
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LastgoodError, match="full") as refused:
        file_stores.journal.append(draft(data={"much": "x" * 400_000}))

    assert refused.value.code is Code.STORAGE
    assert refused.value.next_step
    assert len(file_stores.versions.versions("churn")) == 1
    verify_chain(file_stores)


def test_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    """Foreign bytes are recognised and not overwritten."""
    path = tmp_path / "lastgood.db"
    path.write_bytes(b"not a database, but long enough to look at" * 50)
    with pytest.raises(LastgoodError) as refused:
        open_store(path)

    assert refused.value.code is Code.CORRUPT
    assert path.read_bytes().startswith(b"not a database")


def test_missing_folder_is_a_storage_error(tmp_path: Path) -> None:
    """A path whose folder is not there is said clearly."""
    with pytest.raises(LastgoodError, match=os.sep) as refused:
        open_store(tmp_path / "nowhere" / "lastgood.db")

    assert refused.value.code is Code.STORAGE


def test_lost_ledger_is_corrupt(stores: Stores) -> None:
    """Without its ledger the store refuses to write rather than begin a second chain."""
    with stores.database.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM ledger")
    with pytest.raises(LastgoodError, match="ledger") as refused:
        register(stores)

    assert refused.value.code is Code.CORRUPT
