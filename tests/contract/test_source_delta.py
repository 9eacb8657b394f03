"""What is special about Delta tables: races of commits, deletion vectors, cleaning by others, and types."""

import datetime as dt
import decimal
import errno
import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("deltalake", reason="pip install lastgood[delta]")

import pyarrow as pa
import pyroaring
from deltalake import DeltaTable, write_deltalake

from lastgood.data_ports import DataSource
from lastgood.errors import Code, LastgoodError
from lastgood.sources import arrow_rows
from lastgood.sources.delta import create

_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def source(tmp_path: Path, reached: Callable[[str], None] = lambda _: None, **options: Any) -> DataSource:
    given = {"uri": str(tmp_path / "table"), "table": "t", **options}
    return create("features", given, tmp_path / "kept", reached=reached)


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    return sorted(pa.table(DeltaTable(str(tmp_path / "table")).scan()).to_pylist(), key=str)


def append(tmp_path: Path, *ids: int) -> None:
    write_deltalake(str(tmp_path / "table"), pa.table({"id": list(ids)}), mode="append")


def failed(code: Code, act: Callable[[], object]) -> LastgoodError:
    with pytest.raises(LastgoodError) as caught:
        act()
    assert caught.value.code == code, str(caught.value)
    return caught.value


def delete_by_vector(path: Path, place: int) -> None:
    """Commit what Spark does for a DELETE: the same file again, with a vector of the deleted row's place."""
    log = sorted((path / "_delta_log").glob("*.json"))
    actions = [json.loads(line) for each in log for line in each.read_text().splitlines()]
    add = [action["add"] for action in actions if "add" in action][-1]
    meta = [action["metaData"] for action in actions if "metaData" in action][-1]
    bitmap = pyroaring.BitMap([place]).serialize()
    body = struct.pack("<iqi", 1681511377, 1, 0) + bitmap
    padded = body + bytes(-len(body) % 4)
    text = ""
    for start in range(0, len(padded), 4):
        number, part = int.from_bytes(padded[start : start + 4], "big"), ""
        for _ in range(5):
            number, digit = divmod(number, 85)
            part = _Z85[digit] + part
        text += part
    vector = {"storageType": "i", "pathOrInlineDv": text, "sizeInBytes": len(body), "cardinality": 1}
    plain = {name: add[name] for name in ("path", "partitionValues", "size", "modificationTime", "stats")}
    features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    commit = [
        {"commitInfo": {"timestamp": 1, "operation": "DELETE"}},
        {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features}},
        {"metaData": {**meta, "configuration": {"delta.enableDeletionVectors": "true"}}},
        {"remove": {**plain, "deletionTimestamp": 1, "dataChange": True, "extendedFileMetadata": True}},
        {"add": {**plain, "dataChange": True, "deletionVector": vector}},
    ]
    lines = "".join(f"{json.dumps(action)}\n" for action in commit)
    (path / "_delta_log" / f"{len(log):020d}.json").write_text(lines)


def test_a_commit_just_before_the_swap_is_in_quarantine(tmp_path: Path) -> None:
    """Rows committed between the look and the commit are in what was replaced, not lost."""
    append(tmp_path, 1, 2)
    snapshot = source(tmp_path).capture("kept")
    append(tmp_path, 3)
    source(tmp_path).stage_restore(snapshot, "back")
    late = iter([4, 5])

    def reached(name: str) -> None:
        if name == "swap.commit" and (number := next(late, None)) is not None:
            append(tmp_path, number)

    source(tmp_path, reached).swap("back")
    quarantine = source(tmp_path).quarantine(snapshot, "back", tmp_path)
    assert rows(tmp_path) == [{"id": 1}, {"id": 2}]
    assert (quarantine.tables["t"].added, quarantine.tables["t"].removed) == (3, 0)
    assert quarantine.kept.rows == {"t": 5}
    source(tmp_path).stage_restore(quarantine.kept, "forward")
    source(tmp_path).swap("forward")
    assert source(tmp_path).capture("again").digest == quarantine.kept.digest, (
        "though only new files were read"
    )


def test_writers_that_are_always_first_end_in_a_timeout(tmp_path: Path) -> None:
    """The swap gives up after its time with everything as it was, and can be called again."""
    append(tmp_path, 1)
    snapshot = source(tmp_path).capture("kept")
    append(tmp_path, 2)
    source(tmp_path).stage_restore(snapshot, "back")

    def reached(name: str) -> None:
        if name == "swap.commit":
            append(tmp_path, 3)

    failed(Code.TIMEOUT, lambda: source(tmp_path, reached, swap_seconds=0.2).swap("back"))
    assert {"id": 2} in rows(tmp_path)
    assert not source(tmp_path).swapped("back")
    source(tmp_path).swap("back")
    assert rows(tmp_path) == [{"id": 1}]


def test_deletion_vectors_come_back_and_go(tmp_path: Path) -> None:
    """Rows deleted by a vector are another content, though the files are the same, and are restored both ways."""
    append(tmp_path, 1, 2, 3)
    before = source(tmp_path).capture("before")
    delete_by_vector(tmp_path / "table", 1)
    after = source(tmp_path).capture("after")
    assert [row["id"] for row in rows(tmp_path)] == [1, 3]
    assert (after.rows, before.rows) == ({"t": 2}, {"t": 3})
    assert after.digest != before.digest
    for token, snapshot, ids in (("back", before, [1, 2, 3]), ("forth", after, [1, 3])):
        source(tmp_path).stage_restore(snapshot, token)
        source(tmp_path).swap(token)
        assert [row["id"] for row in rows(tmp_path)] == ids
        assert source(tmp_path).capture(f"{token}_seen").digest == snapshot.digest
    gained = source(tmp_path).quarantine(before, "back", tmp_path).tables["t"]
    assert (gained.added, gained.removed) == (0, 1)


def test_a_restore_that_reverts_nothing_is_a_failure(tmp_path: Path, monkeypatch: Any) -> None:
    """When the client reports success and the files are not the snapshot's, the swap fails and did not happen."""
    append(tmp_path, 1)
    snapshot = source(tmp_path).capture("kept")
    append(tmp_path, 2)
    source(tmp_path).stage_restore(snapshot, "back")

    def reverts_nothing(table: DeltaTable, *_: Any, commit_properties: Any, **__: Any) -> dict[str, Any]:
        nothing = pa.table({"id": pa.array([], pa.int64())})
        write_deltalake(table, nothing, mode="append", commit_properties=commit_properties)
        return {"numRestoredFile": 1}

    with monkeypatch.context() as patched:
        patched.setattr(DeltaTable, "restore", reverts_nothing)
        error = failed(Code.CORRUPT, lambda: source(tmp_path).swap("back"))
    assert "did not bring the snapshot back" in error.message
    assert rows(tmp_path) == [{"id": 1}, {"id": 2}]
    assert not source(tmp_path).swapped("back")
    source(tmp_path).swap("back")
    assert rows(tmp_path) == [{"id": 1}]


def clean(tmp_path: Path, **keep: Any) -> list[str]:
    table = DeltaTable(str(tmp_path / "table"))
    removed: list[str] = table.vacuum(
        retention_hours=0, dry_run=False, enforce_retention_duration=False, **keep
    )
    return removed


def test_cleaning_does_not_close_the_way_back(tmp_path: Path) -> None:
    """Files that a vacuum took, before the staging or after it, come back with the restore, and stay."""
    append(tmp_path, 1)
    snapshot = source(tmp_path).capture("kept")
    write_deltalake(str(tmp_path / "table"), pa.table({"id": [2]}), mode="overwrite")
    assert clean(tmp_path)
    source(tmp_path).verify(snapshot)
    source(tmp_path).stage_restore(snapshot, "back")
    clean(tmp_path)
    source(tmp_path).swap("back")
    clean(tmp_path)
    assert rows(tmp_path) == [{"id": 1}]


def test_cleaning_does_not_take_what_was_replaced(tmp_path: Path) -> None:
    """A quarantine outlives a vacuum: it verifies, is counted again, comes back; released, its bytes are free."""
    append(tmp_path, 1)
    snapshot = source(tmp_path).capture("kept")
    append(tmp_path, 2)
    source(tmp_path).stage_restore(snapshot, "back")
    source(tmp_path).swap("back")
    quarantine = source(tmp_path).quarantine(snapshot, "back", tmp_path)
    (removed,) = clean(tmp_path)
    size = quarantine.kept.size_bytes - snapshot.size_bytes
    source(tmp_path).verify(quarantine.kept)
    source(tmp_path).stage_restore(quarantine.kept, "forward")
    source(tmp_path).swap("forward")
    assert rows(tmp_path) == [{"id": 1}, {"id": 2}]
    assert (tmp_path / "table" / removed).exists()
    append(tmp_path, 3)
    write_deltalake(str(tmp_path / "table"), pa.table({"id": [4]}), mode="overwrite")
    clean(tmp_path)
    assert source(tmp_path).release("back") >= size
    assert rows(tmp_path) == [{"id": 4}]


def test_without_links_cleaning_has_to_keep_the_version(tmp_path: Path, monkeypatch: Any) -> None:
    """On another disk a vacuum that names the version leaves the way open; one that does not closes it, and verify says so."""

    def refuse(new: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    append(tmp_path, 1)
    snapshot = source(tmp_path).capture("kept")
    write_deltalake(str(tmp_path / "table"), pa.table({"id": [2]}), mode="overwrite")
    assert clean(tmp_path, keep_versions=[snapshot.place["version"]]) == []
    source(tmp_path).verify(snapshot)
    (removed,) = clean(tmp_path)
    assert removed in failed(Code.NOT_FOUND, lambda: source(tmp_path).verify(snapshot)).message
    failed(Code.NOT_FOUND, lambda: source(tmp_path).stage_restore(snapshot, "back"))


def test_a_cleaned_log_is_said(tmp_path: Path) -> None:
    """A version that the log does not reach any more is not found, and nobody says that there were no table."""
    append(tmp_path, 1)
    snapshot = source(tmp_path).capture("kept")
    for number in (2, 3):
        append(tmp_path, number)
    DeltaTable(str(tmp_path / "table")).create_checkpoint()
    for number in (0, 1):
        (tmp_path / "table" / "_delta_log" / f"{number:020d}.json").unlink()
    assert "does not reach back" in failed(Code.NOT_FOUND, lambda: source(tmp_path).verify(snapshot)).message


def test_the_digest_is_of_rows_not_of_files(tmp_path: Path) -> None:
    """Compacting changes every file and no digest; all types of values count, in partitions with strange names, too."""
    strange = {
        "id": [1, 2, 3, 4],
        "part": ["a b/ü", "c=d%", "a b/ü", None],
        "price": [decimal.Decimal("1.10"), None, decimal.Decimal("-0.01"), decimal.Decimal("9.99")],
        "at": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)] * 4,
        "day": [dt.date(2026, 1, 1), None, dt.date(1, 1, 1), dt.date(9999, 12, 31)],
        "blob": [b"\0\xff", b"", None, bytes(range(256))],
        "score": [0.1, float("nan"), float("inf"), None],
        "nested": [{"a": [1, None]}, None, {"a": None}, {"a": []}],
    }
    for start in (0, 2):
        part = pa.table({name: values[start : start + 2] for name, values in strange.items()})
        if start == 0:
            write_deltalake(str(tmp_path / "table"), part, partition_by=["part"])
        else:
            write_deltalake(str(tmp_path / "table"), part, mode="append")
    first = source(tmp_path).capture("first")
    DeltaTable(str(tmp_path / "table")).optimize.compact()
    second = source(tmp_path).capture("second")
    assert second.place["files"] != first.place["files"]
    assert (second.digest, second.rows) == (first.digest, {"t": 4})
    for name, values in strange.items():
        changed = pa.table({**strange, name: [*values[:3], values[1] if values[3] is None else None]})
        write_deltalake(str(tmp_path / "table"), changed, mode="overwrite", partition_by=["part"])
        assert source(tmp_path).capture(f"other_{name}").digest != first.digest, name


def test_rows_are_compared_in_parts_when_they_are_many() -> None:
    """Many rows are looked at in several passes with the same result, repeated rows counted each time."""
    old = pa.table({"id": [1, 1, 2, 3], "text": ["a", "a", None, ""]}).to_batches()
    new = pa.table({"id": [1, 2, 2, 4], "text": ["a", None, None, "d"]}).to_batches()
    for many in (0, 7_000_000):
        taken: list[Any] = []
        found = arrow_rows.difference(lambda: old, lambda: new, many, taken.extend)
        assert (found.added.rows, found.removed.rows) == (2, 2)
        assert sorted(row["id"] for row in taken) == [2, 4]
        sums = [arrow_rows.RowSum(), arrow_rows.RowSum()]
        for each, batches in zip(sums, (old, new), strict=True):
            for batch in batches:
                each.add(batch)
        assert found.after(sums[0]) == sums[1], "the sum follows from the difference"


def test_an_empty_new_column_changes_no_row() -> None:
    """A migration that only adds a column counts no row as changed until it is filled."""
    old = pa.table({"id": [1, 2]}).to_batches()[0]
    wider = pa.table({"more": pa.array([None, None], pa.string()), "id": [1, 2]}).to_batches()[0]
    assert arrow_rows.row_hashes(old) == arrow_rows.row_hashes(wider)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "uri"),
        ({"uri": "s3://bucket/t", "password": "x"}, "password"),
        ({"uri": "https://me:hidden@store/t"}, "uri"),
        ({"uri": "t", "storage_options": {"endpoint": "http://me:hidden@store"}}, "endpoint"),
        ({"uri": "t", "swap_seconds": -1}, "swap_seconds"),
    ],
)
def test_options_that_cannot_work_are_named(tmp_path: Path, options: dict[str, Any], named: str) -> None:
    """Each wrong option is refused by its name, never showing a password."""
    error = failed(Code.INVALID, lambda: create("features", options, tmp_path))
    assert named in error.message
    assert "hidden" not in str(error)


def test_a_table_that_is_not_there_is_not_found(tmp_path: Path, monkeypatch: Any) -> None:
    """No table and no secret are said plainly."""
    failed(Code.NOT_FOUND, lambda: source(tmp_path).schema())
    without = source(tmp_path, storage_options={"key": "env:NOT_SET_ANYWHERE"})
    assert "NOT_SET_ANYWHERE" in failed(Code.UNAVAILABLE, without.schema).message


def test_without_the_extra_it_is_said_what_to_install(tmp_path: Path, monkeypatch: Any) -> None:
    """A package that is not installed is an error with the command, not a traceback; options are looked at first."""
    monkeypatch.setitem(sys.modules, "deltalake", None)
    monkeypatch.delitem(sys.modules, "lastgood.sources.delta_table")
    assert "lastgood[delta]" in failed(Code.UNAVAILABLE, lambda: source(tmp_path)).next_step
