"""The digest of SQLite's own records: it depends on rows alone, and every change of one shows."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from lastgood.errors import Code, LastgoodError
from lastgood.sources.sqlite_content import Content, content_of
from lastgood.sources.sqlite_layout import layout_of, table_of
from lastgood.sources.sqlite_rows import equal_rows
from lastgood.sources.sqlite_session import Pace, attach, opened_kept

TABLE = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, size REAL, note, twice AS (size * 2) STORED)"
ROWS = 900


def rows(seed: int = 5) -> list[tuple[object, ...]]:
    """Rows of every kind: short ones, some that fill several pages, numbers of every width, nothing."""
    chance = Random(seed)
    notes = [None, 0, 1, -1, 200, 70_000, 2**40, 2**62, 1.0, 0.1, b"", b"\x00" * 300, "ü", "x" * 9000]
    return [
        (
            number * 37 - 500,
            f"name {number}" * (number % 9),
            chance.choice([1.0, 0.5, None]),
            notes[number % 14],
        )
        for number in range(ROWS)
    ]


def write(path: Path, *scripts: str, given: Iterable[tuple[object, ...]] = (), page: int = 4096) -> None:
    """Make a file: with the first script, then with the rows, then with the other scripts."""
    with closing(sqlite3.connect(path, isolation_level=None)) as client:
        client.execute(f"PRAGMA page_size = {page}")
        client.executescript(scripts[0])
        client.execute("BEGIN")
        client.executemany("INSERT INTO t (id, name, size, note) VALUES (?, ?, ?, ?)", given)
        client.execute("COMMIT")
        for script in scripts[1:]:
            client.executescript(script)


def content(path: Path) -> Content:
    """Read a kept file back."""
    with opened_kept(path) as connection:
        return content_of(connection, path, layout_of(connection), Pace(shared=False))


def digest(path: Path) -> str:
    """Return the digest of a kept file that has all rows."""
    found = content(path)
    assert found.rows == {"t": ROWS}
    return found.digest


def test_a_digest_depends_on_rows_alone(tmp_path: Path) -> None:
    """Equal rows have an equal digest in any order of writing, on pages of any size, full or with gaps."""
    write(tmp_path / "ordered.db", TABLE, given=rows())
    mixed = rows()
    Random(3).shuffle(mixed)
    write(tmp_path / "mixed.db", TABLE, given=mixed)
    write(tmp_path / "small.db", TABLE, given=mixed, page=512)
    write(tmp_path / "large.db", TABLE, given=rows(), page=65_536)
    gaps = "UPDATE t SET name = name || 'longer' WHERE id % 3; UPDATE t SET name = substr(name, 1, length(name) - 6) WHERE id % 3"
    write(tmp_path / "gaps.db", TABLE, gaps, given=rows())
    known = {digest(tmp_path / f"{name}.db") for name in ("ordered", "mixed", "small", "large", "gaps")}
    assert len(known) == 1


@pytest.mark.parametrize("where", ["id = -500", "length(note) = 9000 AND id > 20000", "id = 20516"])
@pytest.mark.parametrize("change", ["name = 'other'", "note = 2", "id = id + 1"])
def test_a_change_of_one_row_shows(where: str, change: str, tmp_path: Path) -> None:
    """One other value, in a row of any length, or one other row number is another digest."""
    one = f"UPDATE t SET {change} WHERE id = (SELECT min(id) FROM t WHERE {where})"
    write(tmp_path / "as it was.db", TABLE, given=rows())
    write(tmp_path / "changed.db", TABLE, one, given=rows())
    assert digest(tmp_path / "as it was.db") != digest(tmp_path / "changed.db")


def test_rows_from_before_a_column_was_added(tmp_path: Path) -> None:
    """SQLite leaves a column that was added later out of the rows before it; the digest is of what a reader reads."""
    added = "ALTER TABLE t ADD COLUMN more TEXT DEFAULT 'none'"
    write(tmp_path / "added.db", TABLE, added, given=rows())
    write(tmp_path / "anew.db", TABLE, added, "UPDATE t SET more = 'none'", given=rows())
    assert digest(tmp_path / "added.db") == digest(tmp_path / "anew.db")
    assert list(tmp_path.glob("*.anew")) == []
    write(tmp_path / "other.db", TABLE, added, "UPDATE t SET more = 'some' WHERE id = -500", given=rows())
    assert digest(tmp_path / "other.db") != digest(tmp_path / "added.db")


def test_a_page_that_is_no_leaf_is_corrupt(tmp_path: Path) -> None:
    """A page that points outside itself, or is of another kind, is corrupt: it is not read as if it were whole."""
    write(tmp_path / "whole.db", TABLE, given=rows())
    raw = (tmp_path / "whole.db").read_bytes()
    leaf = next(at for at in range(4096, len(raw), 4096) if raw[at] == 13)
    for place, changed in ((leaf, b"\x0a"), (leaf + 8, b"\xff\xff"), (leaf + 3, b"\xff\xff")):
        damaged = tmp_path / "damaged.db"
        damaged.write_bytes(raw[:place] + changed + raw[place + len(changed) :])
        with pytest.raises(LastgoodError) as caught:
            content(damaged)
        assert caught.value.code == Code.CORRUPT


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("SELECT 1", True),
        ("UPDATE t SET note = 1.0 WHERE id = 2", False),
        ("UPDATE t SET name = 'NAME' WHERE id = 2", False),
        ("UPDATE t SET size = NULL WHERE id = 2", False),
        ("DELETE FROM t WHERE id = 20", False),
        ("INSERT INTO t (id) VALUES (21)", False),
        ("UPDATE t SET id = -3 WHERE id = 3", False),
    ],
)
@pytest.mark.parametrize("tail", ["", "WITHOUT ROWID"])
def test_equal_rows_are_equal_to_the_byte(change: str, same: bool, tail: str, tmp_path: Path) -> None:
    """Rows in two files are equal when each value is, in its kind and its case, and none is missing or more."""
    table = f"CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, size REAL, note) {tail}"
    given = [(number, "name", 0.5, 1) for number in range(21)]
    write(tmp_path / "kept.db", table, given=given)
    write(tmp_path / "live.db", table, change, given=given)
    with closing(sqlite3.connect(tmp_path / "live.db")) as connection:
        attach(connection, tmp_path / "kept.db", "kept", kept=True)
        shape = table_of(connection, "t", "kept")
        assert equal_rows(connection, shape, "kept.t", "main.t", rows=8) == same
