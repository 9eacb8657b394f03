"""What is special about Iceberg tables: schema, partitioning and order come back, tags pin, commits race."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyiceberg", reason="pip install lastgood[iceberg]")

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table
from pyiceberg.types import StringType

from lastgood.data_ports import DataSource
from lastgood.errors import Code, LastgoodError
from lastgood.sources.iceberg import create

NAME = "shop.features"
SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string())])


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[SqlCatalog]:
    with closing(SqlCatalog("default", **properties(tmp_path))) as opened:
        opened.create_namespace("shop")
        opened.create_table(NAME, SCHEMA)
        yield opened


def properties(tmp_path: Path) -> dict[str, str]:
    return {"uri": f"sqlite:///{tmp_path}/catalog.db", "warehouse": f"file://{tmp_path}/warehouse"}


def source(tmp_path: Path, reached: Callable[[str], None] = lambda _: None, **options: Any) -> DataSource:
    given = {"table": NAME, "catalog": {"type": "sql", **properties(tmp_path)}, **options}
    return create("features", given, tmp_path / "kept", reached=reached)


def append(catalog: SqlCatalog, *ids: int) -> None:
    catalog.load_table(NAME).append(pa.table([list(ids), ["x"] * len(ids)], schema=SCHEMA))


def ids(catalog: SqlCatalog) -> list[int]:
    return sorted(catalog.load_table(NAME).scan().to_arrow().column("id").to_pylist())


def stands(table: Table) -> tuple[Any, ...]:
    known = table.metadata
    return (known.current_schema_id, known.default_spec_id, known.default_sort_order_id)


def failed(code: Code, act: Callable[[], object]) -> LastgoodError:
    with pytest.raises(LastgoodError) as caught:
        act()
    assert caught.value.code == code, str(caught.value)
    return caught.value


def restore(tmp_path: Path, snapshot: Any, token: str) -> None:
    source(tmp_path).stage_restore(snapshot, token)
    source(tmp_path).swap(token)


def test_schema_partitioning_and_order_come_back_without_new_rows(
    tmp_path: Path, catalog: SqlCatalog
) -> None:
    """A migration that wrote no row is undone, too: the snapshot is the table's schema, not that of its last write."""
    append(catalog, 1)
    snapshot = source(tmp_path).capture("kept")
    before = stands(catalog.load_table(NAME))
    table = catalog.load_table(NAME)
    with table.update_schema() as change:
        change.rename_column("text", "words")
        change.add_column("more", StringType())
    with table.update_spec() as spec:
        spec.add_identity("more")
    with table.update_sort_order() as order:
        order.asc("id", "identity")
    assert all(now != then for now, then in zip(stands(catalog.load_table(NAME)), before, strict=True))
    migrated = source(tmp_path).capture("migrated")
    assert migrated.schema.id != snapshot.schema.id
    restore(tmp_path, snapshot, "back")
    assert stands(catalog.load_table(NAME)) == before
    assert catalog.load_table(NAME).scan().to_arrow().to_pylist() == [{"id": 1, "text": "x"}]
    assert source(tmp_path).schema() == snapshot.schema


def test_a_rollback_alone_leaves_the_new_schema(tmp_path: Path, catalog: SqlCatalog) -> None:
    """The reason for all this: the client's own rollback brings rows back under the names of the new schema."""
    append(catalog, 1)
    table = catalog.load_table(NAME)
    known = table.metadata.current_snapshot_id
    with table.update_schema() as change:
        change.rename_column("text", "words")
    table.append(pa.table({"id": [2], "words": ["y"]}))
    catalog.load_table(NAME).manage_snapshots().rollback_to_snapshot(known).commit()
    assert catalog.load_table(NAME).scan().to_arrow().column_names == ["id", "words"]


def test_a_table_that_was_never_written_comes_back_empty(tmp_path: Path, catalog: SqlCatalog) -> None:
    """No snapshot at all is a state like any other, and what replaced it is kept."""
    empty = source(tmp_path).capture("empty")
    assert (empty.rows, empty.size_bytes) == ({NAME: 0}, 0)
    append(catalog, 1, 2)
    restore(tmp_path, empty, "back")
    assert ids(catalog) == []
    quarantine = source(tmp_path).quarantine(empty, "back", tmp_path)
    assert quarantine.tables[NAME].added == 2
    append(catalog, 3)
    restore(tmp_path, quarantine.kept, "forward")
    assert ids(catalog) == [1, 2]
    restore(tmp_path, empty, "again")
    assert ids(catalog) == []


def test_another_table_of_the_same_name_is_not_emptied(tmp_path: Path, catalog: SqlCatalog) -> None:
    """A snapshot of a table that was dropped is not put back over the one that has its name now, not even an empty one."""
    empty = source(tmp_path).capture("empty")
    source(tmp_path).stage_restore(empty, "back")
    catalog.drop_table(NAME)
    catalog.create_table(NAME, SCHEMA)
    append(catalog, 1)
    for act in (lambda: source(tmp_path).verify(empty), lambda: source(tmp_path).swap("back")):
        assert "another one" in failed(Code.NOT_FOUND, act).message
    assert ids(catalog) == [1]


def test_a_tag_keeps_a_snapshot_from_being_expired(tmp_path: Path, catalog: SqlCatalog) -> None:
    """Expiring leaves what is captured and what was replaced, until it is released."""
    append(catalog, 1)
    snapshot = source(tmp_path).capture("kept")
    append(catalog, 2)
    restore(tmp_path, snapshot, "back")
    replaced = source(tmp_path).quarantine(snapshot, "back", tmp_path).kept
    append(catalog, 3)

    def expire() -> None:
        catalog.load_table(NAME).maintenance.expire_snapshots().older_than(
            datetime.now(UTC) + timedelta(1)
        ).commit()

    expire()
    source(tmp_path).verify(snapshot)
    source(tmp_path).verify(replaced)
    with catalog.load_table(NAME).manage_snapshots() as tags:
        tags.remove_tag("lastgood-back")
    expire()
    assert "expired" in failed(Code.NOT_FOUND, lambda: source(tmp_path).verify(replaced)).message
    source(tmp_path).verify(snapshot)
    source(tmp_path).release("kept")
    assert set(catalog.load_table(NAME).metadata.refs) == {"main"}


def test_a_commit_just_before_the_swap_is_in_quarantine(tmp_path: Path, catalog: SqlCatalog) -> None:
    """Rows committed between the look and the commit are in what was replaced, not lost."""
    append(catalog, 1)
    snapshot = source(tmp_path).capture("kept")
    append(catalog, 2)
    source(tmp_path).stage_restore(snapshot, "back")
    late = iter([3, 4])

    def reached(name: str) -> None:
        if name == "swap.commit" and (number := next(late, None)) is not None:
            append(catalog, number)

    source(tmp_path, reached).swap("back")
    assert ids(catalog) == [1]
    quarantine = source(tmp_path).quarantine(snapshot, "back", tmp_path)
    assert quarantine.tables[NAME].added == 3
    assert quarantine.kept.rows == {NAME: 4}


def test_writers_that_are_always_first_end_in_a_timeout(tmp_path: Path, catalog: SqlCatalog) -> None:
    """The swap gives up after its time with everything as it was."""
    append(catalog, 1)
    snapshot = source(tmp_path).capture("kept")
    append(catalog, 2)
    source(tmp_path).stage_restore(snapshot, "back")
    failed(
        Code.TIMEOUT,
        lambda: source(
            tmp_path, lambda name: name == "swap.commit" and append(catalog, 3), swap_seconds=0.1
        ).swap("back"),
    )
    assert 2 in ids(catalog)
    assert not source(tmp_path).swapped("back")


def test_how_long_the_branch_keeps_snapshots_stays(tmp_path: Path, catalog: SqlCatalog) -> None:
    """The commit of a restore forgets nothing that somebody set on the main branch."""
    append(catalog, 1)
    snapshot = source(tmp_path).capture("kept")
    append(catalog, 2)
    table = catalog.load_table(NAME)
    with table.manage_snapshots() as branches:
        branches.create_branch(table.metadata.current_snapshot_id, "main", min_snapshots_to_keep=7)
    restore(tmp_path, snapshot, "back")
    assert catalog.load_table(NAME).metadata.refs["main"].min_snapshots_to_keep == 7


def test_a_catalog_that_does_not_answer_shows_no_password(tmp_path: Path, monkeypatch: Any) -> None:
    """A password that came from the environment is in no error; one in the options is refused."""
    monkeypatch.setenv("CATALOG_URI", f"sqlite:////nowhere/{'hidden-word'}/catalog.db")
    made = source(tmp_path, catalog={"type": "sql", "uri": "env:CATALOG_URI"})
    assert "hidden-word" not in str(failed(Code.UNAVAILABLE, made.schema))
    error = failed(
        Code.INVALID,
        lambda: create(
            "features", {"table": NAME, "catalog": {"uri": "postgresql://me:hidden@db/c"}}, tmp_path
        ),
    )
    assert "hidden" not in str(error)
    assert "uri" in error.message


def test_a_table_that_is_not_there_is_not_found(tmp_path: Path, catalog: SqlCatalog) -> None:
    """A wrong name is said plainly, a missing one is refused by the option's name."""
    failed(Code.NOT_FOUND, source(tmp_path, table="shop.nothing").schema)
    assert "table" in failed(Code.INVALID, lambda: create("features", {}, tmp_path)).message


def test_a_table_of_a_catalog_with_a_name_is_found_by_it(tmp_path: Path) -> None:
    """One database holds several catalogs; without the name the message says that it may be what is missing."""
    with closing(SqlCatalog("prod", **properties(tmp_path))) as opened:
        opened.create_namespace("shop")
        opened.create_table(NAME, SCHEMA)

    assert "catalog_name" in failed(Code.NOT_FOUND, source(tmp_path).schema).next_step
    assert list(source(tmp_path, catalog_name="prod").schema().tables) == [NAME]


def test_without_the_extra_it_is_said_what_to_install(tmp_path: Path, monkeypatch: Any) -> None:
    """A package that is not installed is an error with the command, not a traceback; options are looked at first."""
    monkeypatch.setitem(sys.modules, "pyiceberg.catalog", None)
    monkeypatch.delitem(sys.modules, "lastgood.sources.iceberg_table")
    assert "lastgood[iceberg]" in failed(Code.UNAVAILABLE, lambda: source(tmp_path)).next_step
