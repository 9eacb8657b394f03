"""What only SQLite has: indexes written in their own order, kill -9 at any step, virtual tables, options, a full disk."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from source_rigs.sqlite import JournalRig, SqliteRig, WalRig

import lastgood.sources.sqlite_index as indexes
from lastgood.errors import Code, LastgoodError
from lastgood.sources.sqlite import SqliteSource, create

MANY = """
CREATE TABLE plain (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, size REAL, note, twice AS (id * 2) VIRTUAL);
CREATE TABLE keyed (a TEXT, b REAL, c TEXT, PRIMARY KEY (b DESC, a COLLATE NOCASE)) WITHOUT ROWID;
CREATE TABLE heap (x, y);
CREATE INDEX up ON plain (size, name);
CREATE INDEX down ON plain (size DESC, name, twice);
CREATE UNIQUE INDEX one ON plain (name COLLATE BINARY DESC, id);
CREATE INDEX with_null ON plain (note, size);
CREATE INDEX second ON keyed (c COLLATE RTRIM DESC, a);
CREATE INDEX heaped ON heap (y DESC, x);
CREATE INDEX computed ON heap (x + 1);
"""


def many(path: Path, rows: int = 700) -> None:
    with closing(sqlite3.connect(path)) as client:
        client.executescript(MANY)
        for n in range(rows):
            word = f"{'aAbBcC'[n % 6]}{n * 37 % 101} "
            client.execute(
                "INSERT INTO plain VALUES (?, ?, ?, ?)", (n, word, n * 13 % 7, n if n % 5 else None)
            )
            client.execute("INSERT INTO keyed VALUES (?, ?, ?)", (word, n / 4, word * 2))
            client.execute("INSERT INTO heap VALUES (?, ?)", (n % 3, b"\x00" if n % 2 else float(n)))
        client.commit()


def checked(path: Path) -> Any:
    with closing(sqlite3.connect(path)) as client:
        assert client.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        schema = client.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
        found = {
            index: client.execute(f"SELECT * FROM {table} INDEXED BY {index} ORDER BY {by}").fetchall()
            for index, table, by in (
                ("up", "plain", "size, name"),
                ("down", "plain", "size DESC, name, twice"),
                ("one", "plain", "name COLLATE BINARY DESC, id"),
                ("second", "keyed", "c COLLATE RTRIM DESC, a"),
                ("heaped", "heap", "y DESC, x"),
            )
        }
    return sorted(row for row in schema if not row[1].startswith("lastgood:")), found


def test_indexes_written_in_their_own_order_are_indexes(tmp_path: Path, monkeypatch: Any) -> None:
    """A staged index that was written as a tree of records is, after the swap, the very index: whole, and usable."""
    monkeypatch.setattr(indexes, "_SMALL_ROWS", 1)
    live = tmp_path / "live.db"
    many(live)
    before = checked(live)
    source = SqliteSource("features", live, tmp_path / "kept")
    snapshot = source.capture("kept")
    with closing(sqlite3.connect(live)) as client:
        client.executescript(
            "DELETE FROM plain WHERE id % 2; DROP INDEX one; UPDATE heap SET y = x; DROP TABLE keyed"
        )
    source.stage_restore(snapshot, "back")
    with closing(sqlite3.connect(live)) as client:
        trees = {row[0] for row in client.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        client.execute("VACUUM")
        assert len([name for name in trees if name.endswith(":index")]) == 4, (
            "NULLs, expressions and row numbers go another way"
        )
    source.swap("back")
    assert checked(live) == before
    source.quarantine(snapshot, "back", tmp_path)
    assert checked(live) == before
    with closing(sqlite3.connect(live)) as client:
        client.execute("INSERT INTO plain VALUES (5000, 'new', 1.5, 'n')")
        client.execute("DELETE FROM keyed WHERE b < 50")
        client.commit()
        with pytest.raises(sqlite3.IntegrityError):
            client.execute("INSERT INTO keyed SELECT a, b, 'x' FROM keyed")
    checked(live)


@pytest.mark.parametrize("rig_type", [WalRig, JournalRig])
def test_kill_9_at_every_step(rig_type: type[SqliteRig], tmp_path: Path) -> None:
    """A process killed by the system at any step leaves one whole state, and the same calls by another one finish."""
    script = Path(__file__).with_name("source_killer.py")
    steps = 0
    while True:
        folder = tmp_path / str(steps)
        folder.mkdir()
        rig = rig_type(folder)
        before = rig.state()
        snapshot = rig.source().capture("kept")
        rig.migrate()
        replaced = rig.state()
        rig.open.close()
        arguments = [str(rig.path), str(rig.kept), str(folder), str(steps)]
        ended = subprocess.run([sys.executable, script, *arguments], check=False, capture_output=True)
        rig.open = rig.connect()
        seen = rig.state()
        assert seen in (before, replaced), steps
        assert rig.source().swapped("back") == (seen == before)
        rig.source().stage_restore(snapshot, "back")
        rig.source().swap("back")
        kept = rig.source().quarantine(snapshot, "back", folder).kept
        assert rig.state() == before
        rig.source().verify(kept)
        assert kept.rows == {table: len(replaced[1][table]) for table in rig.tables}
        rig.close()
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
        steps += 4  # every fourth point keeps this short; the contract suite stops at every one
    assert steps > 9


def test_virtual_tables_are_refused(tmp_path: Path) -> None:
    """A virtual table cannot be put back in one step: it is refused at the first look, by name."""
    live = tmp_path / "live.db"
    with closing(sqlite3.connect(live)) as client:
        client.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
    source = SqliteSource("features", live, tmp_path / "kept")
    for act in (source.schema, lambda: source.capture("kept")):
        with pytest.raises(LastgoodError, match="'words' is a virtual table") as caught:
            act()
        assert caught.value.code == Code.REFUSED


def test_what_could_not_come_back_is_refused_at_capture(tmp_path: Path) -> None:
    """An application's own function in a schema shows at the capture, not at the rollback."""
    live = tmp_path / "live.db"
    with closing(sqlite3.connect(live)) as client:
        client.create_function("own", 1, lambda value: value, deterministic=True)
        client.execute("CREATE TABLE t (id, CHECK (own(id) > 0))")
    with pytest.raises(LastgoodError, match="own") as caught:
        SqliteSource("features", live, tmp_path / "kept").capture("kept")
    assert caught.value.code == Code.REFUSED


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "path"),
        ({"path": ""}, "path"),
        ({"path": "a.db", "lock_timeout": 0}, "lock_timeout"),
        ({"path": "a.db", "lock_timeout": True}, "lock_timeout"),
        ({"path": "a.db", "tables": ["a"]}, "tables"),
    ],
)
def test_options_are_named(options: dict[str, Any], named: str, tmp_path: Path) -> None:
    """A missing, wrong or unknown option is refused by its name."""
    with pytest.raises(LastgoodError, match=repr(named)) as caught:
        create("features", options, tmp_path)
    assert caught.value.code == Code.INVALID


def test_a_file_that_is_not_there_or_no_database(tmp_path: Path) -> None:
    """No file is not found, and is not made; a file of something else is corrupt."""
    source = create("features", {"path": str(tmp_path / "no.db")}, tmp_path / "kept")
    for act in (source.schema, lambda: source.capture("kept"), lambda: source.swapped("kept")):
        with pytest.raises(LastgoodError) as caught:
            act()
        assert caught.value.code == Code.NOT_FOUND
    assert not (tmp_path / "no.db").exists()
    (tmp_path / "no.db").write_bytes(b"something else" * 100)
    with pytest.raises(LastgoodError) as caught:
        source.schema()
    assert caught.value.code == Code.CORRUPT


def test_a_full_disk_while_staging_leaves_live_data_alone(tmp_path: Path) -> None:
    """Without room for the staged rows it is a storage error; nothing staged is left, and the way works later."""
    rig = WalRig(tmp_path)
    rig.insert("bare", [(number, "x" * 500) for number in range(10, 3000)])
    source = rig.source()
    snapshot = source.capture("kept")
    rig.migrate()
    before = rig.state()
    script = (
        "import resource, sys; sys.path[:0] = sys.argv[3:]\n"
        "import msgspec; from pathlib import Path; from lastgood.domain.snapshot import Snapshot\n"
        "from lastgood.errors import LastgoodError; from lastgood.sources.sqlite import SqliteSource\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "source = SqliteSource('features', Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "snapshot = source.capture('kept')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "try: source.stage_restore(snapshot, 'back')\n"
        "except LastgoodError as error: print(error.code.value)\n"
    )
    arguments = [str(rig.path), str(rig.kept), *sys.path]
    ended = subprocess.run([sys.executable, "-c", script, *arguments], check=False, capture_output=True)
    assert ended.stdout.decode().strip() == "storage", ended.stderr.decode()
    assert rig.state() == before
    source.release("back")
    source.stage_restore(snapshot, "back")
    source.swap("back")
    assert source.swapped("back")
    rig.close()
