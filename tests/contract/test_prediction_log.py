"""The contract of PredictionLog: nothing twice, nothing lost, found by either id, bounded by age and by size."""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from lastgood.domain.feedback import GivenLabel
from lastgood.domain.kpi import Awaited, Cursor
from lastgood.domain.prediction import Copy, Prediction
from lastgood.errors import Code, LastgoodError
from lastgood.predictions.feedback import Feedback
from lastgood.predictions.labels import on_added
from lastgood.predictions.log import Position, PredictionLog
from lastgood.predictions.outcomes import LoggedOutcomes

ONE = Prediction(
    id="a",
    also="0190-a",
    at=100.0,
    deployment="churn-eu",
    model="churn",
    version=2,
    role="stable",
    status=200,
    seconds=0.004,
    release=7,
    stage=1,
    arm="candidate",
    key=77,
    fallback="timeout",
    answer_bytes=16,
    answer=b'{"outputs":[]}',
    inputs=b'{"inputs":[]}',
)
PAIR = msgspec.structs.replace(
    ONE,
    id="pair",
    also=None,
    copy=Copy(version=3, status=200, seconds=0.25, answer=b'{"outputs": []}'),
    slices={"land": ["de", ""], "age": []},
)
VERSION_2 = Path(__file__).with_name("prediction_log_2.sql")


def plain(id_: str, at: float = 100.0) -> Prediction:
    return msgspec.structs.replace(ONE, id=id_, also=None, at=at, release=None, stage=None, arm=None)


@pytest.fixture
def log(tmp_path: Path) -> PredictionLog:
    return PredictionLog(tmp_path / "predictions" / "log.db")


def test_a_prediction_is_found_by_either_id_as_it_was_added(log: PredictionLog) -> None:
    """Both ids give back every field, and an id that nobody used gives nothing."""
    log.add([ONE, plain("b"), PAIR])
    found = log.find(["a", "0190-a", "b", "unknown", "pair"])
    assert found == {"a": ONE, "0190-a": ONE, "b": plain("b"), "pair": PAIR}


def test_predictions_without_copy_and_slices_hold_neither(log: PredictionLog) -> None:
    """What most predictions do not have is NULL, which takes no room."""
    log.add([ONE, PAIR])
    with log.reading() as connection:
        rows = connection.execute("SELECT copy IS NULL, slices IS NULL FROM predictions ORDER BY seq")
        assert rows.fetchall() == [(1, 1), (0, 0)]


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A log as format 2 wrote it: one candidate's prediction that met its label, and a label that waits."""
    path = tmp_path / "log.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_2.read_text())
    return path


def test_a_log_of_the_format_before_goes_on(older: Path) -> None:
    """It has what it had, takes pairs beside it, and the label that waited meets one."""
    log = PredictionLog(older, on_added=(on_added,))
    logged = LoggedOutcomes(log)
    old = log.find(["old"])["old"]
    assert (old.version, old.answer, old.copy, old.slices) == (2, b'{"predictions":[1]}', None, {})
    (met,), _ = logged.outcomes(7, Cursor(), made_until=1e12, limit=9)
    assert (met.answer, met.value, met.copied, met.other, met.slices) == (
        {"predictions": 1},
        0,
        False,
        None,
        {},
    )

    copy = Copy(version=3, status=200, seconds=0.1, answer=b'{"predictions":[5]}')
    answer = b'{"predictions":[4]}'
    log.add([msgspec.structs.replace(PAIR, id="late", answer=answer, copy=copy, slices={"land": ["de"]})])
    met = logged.outcomes(7, Cursor(), made_until=1e12, limit=9)[0][-1]
    assert (met.answer, met.copied, met.other, met.slices) == (
        {"predictions": 4},
        True,
        {"predictions": 5},
        {"land": "de"},
    )
    assert logged.awaited(7) == {"candidate": Awaited(predictions=2, labelled=2)}
    assert Feedback(log, keep_seconds=1e12, bytes_max=1 << 30).take([GivenLabel(id="old", value=0)])[
        0
    ].fate == ("duplicate")
    log.close()
    assert PredictionLog(older).find(["late"])["late"].copy == copy  # opened anew, nothing is left to do


def test_a_new_log_and_one_of_the_format_before_have_the_same_tables(log: PredictionLog, older: Path) -> None:
    """Nothing that a new file has is missing in a file that grew into it."""

    def shape(of: PredictionLog) -> dict[str, set[tuple[str, str]]]:
        with of.reading() as connection:
            tables = [
                row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE sql NOT NULL")
            ]
            return {
                name: {(row[1], row[2]) for row in connection.execute(f"PRAGMA table_xinfo({name})")}
                | {(row[2], "") for row in connection.execute(f"PRAGMA index_xinfo({name})")}
                for name in tables
            }

    assert shape(log) == shape(PredictionLog(older))


def test_an_id_that_is_used_again_finds_the_newest(log: PredictionLog) -> None:
    """Callers may give one id to many requests: all are kept and the last is found."""
    log.add([plain("a", at=1.0), plain("a", at=2.0)])
    log.add([msgspec.structs.replace(plain("other", at=3.0), also="a")])
    assert log.find(["a"])["a"].at == 3.0
    assert log.counts().predictions == 3


def test_what_hears_of_additions_shares_their_transaction(tmp_path: Path) -> None:
    """When a hook raises, neither the predictions, nor the position, nor what the hook wrote is there."""
    heard: list[Sequence[Prediction]] = []

    def hear(connection: sqlite3.Connection, batch: Sequence[Prediction]) -> None:
        connection.execute("CREATE TABLE IF NOT EXISTS noted (id TEXT)")
        heard.append(batch)
        if any(one.id == "bad" for one in batch):
            raise ValueError("bad")

    log = PredictionLog(tmp_path / "log.db", on_added=[hear])
    with pytest.raises(ValueError, match="bad"):
        log.add([plain("a"), plain("bad")], Position("s", 10))
    assert log.find(["a", "bad"]) == {}
    assert log.positions() == {}
    with log.reading() as connection:
        assert connection.execute("SELECT name FROM sqlite_schema WHERE name = 'noted'").fetchall() == []
    log.add([plain("a")], Position("s", 20))
    log.add([], Position("s", 30))
    assert heard == [[plain("a"), plain("bad")], [plain("a")]]
    assert log.positions() == {"s": 30}


def test_positions_last_until_they_are_forgotten(tmp_path: Path) -> None:
    """A log that is opened again knows how far each segment was read, and what was unreadable."""
    log = PredictionLog(tmp_path / "log.db")
    log.add([plain("a")], Position("s", 10))
    log.add([plain("b")], Position("t", 5), unreadable=3)
    log.close()
    again = PredictionLog(tmp_path / "log.db")
    again.forget_segments(["s"])
    assert again.positions() == {"t": 5}
    assert again.counts().unreadable_bytes == 3


def test_predictions_are_dropped_by_age(log: PredictionLog) -> None:
    """Older ones go, younger ones stay, and both are counted."""
    log.add([plain(f"a{number}", at=float(number)) for number in range(5_000)])
    assert log.drop(4_500.0, 1 << 30) == 4_500
    assert log.find(["a4499", "a4500"]).keys() == {"a4500"}
    counts = log.counts()
    assert (counts.predictions, counts.expired, counts.oldest) == (500, 4_500, 4_500.0)


def test_predictions_are_dropped_by_size(log: PredictionLog) -> None:
    """What is over the bound goes, oldest first, and the file gets smaller."""
    log.add([plain(f"{number:05}") for number in range(10_000)])
    before = log.counts()
    log.drop(0.0, before.bytes // 2)
    after = log.counts()
    assert after.bytes <= before.bytes // 2
    assert 2_000 < after.predictions < 8_000
    assert log.find(["00000", "09999"]).keys() == {"09999"}
    with log.reading() as connection:
        pages, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
        )
    assert pages * size < before.bytes


def test_copies_count_for_the_size(log: PredictionLog) -> None:
    """A bound on the bytes holds whatever takes them: answers of copies drive out the oldest like any other."""
    copy = Copy(version=3, status=200, seconds=0.1, answer=b"x" * 4_000)
    log.add([msgspec.structs.replace(plain(f"{number:05}"), copy=copy) for number in range(3_000)])
    held = log.counts().bytes
    assert held > 3_000 * 4_000
    log.drop(0.0, held // 2)
    assert log.counts().bytes <= held // 2
    assert log.find(["00000", "02999"]).keys() == {"02999"}


def test_one_call_drops_no_more_than_it_may(log: PredictionLog) -> None:
    """A bound on the rows of one call bounds how long it takes."""
    log.add([plain(f"{number:05}") for number in range(6_000)])
    assert log.drop(1e9, 1 << 30, rows_max=4_000) == 4_000
    assert log.drop(1e9, 1 << 30, rows_max=4_000) == 2_000


def test_a_log_of_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    """An older program refuses it instead of guessing."""
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LastgoodError) as caught:
        PredictionLog(tmp_path / "log.db").counts()
    assert caught.value.code is Code.CONFLICT


def test_a_damaged_log_is_said_to_be_damaged(tmp_path: Path) -> None:
    """Bytes that are no database give ``corrupt`` and the way out."""
    (tmp_path / "log.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(LastgoodError) as caught:
        PredictionLog(tmp_path / "log.db").find(["a"])
    assert caught.value.code is Code.CORRUPT


def test_look_ups_use_keys_only(log: PredictionLog) -> None:
    """No question about an id reads the table from end to end."""
    log.add([ONE])
    with log.reading() as connection:
        for column in ("id", "also"):
            plan = connection.execute(
                f"EXPLAIN QUERY PLAN SELECT max(seq) FROM predictions WHERE {column} = 'a'"
            ).fetchall()
            assert [f"USING COVERING INDEX predictions_{column}" in str(step) for step in plan] == [True]


def test_a_log_that_was_moved_away_begins_anew(log: PredictionLog) -> None:
    """Let go of and moved away, the next prediction is found in the new file, and is the only one."""
    log.add([plain("a")])
    log.close()
    log.path.rename(log.path.with_suffix(".old"))
    log.add([plain("b")])

    assert log.find(["a", "b"]) == {"b": plain("b")}
    assert log.counts().predictions == 1


def test_questions_take_no_longer_in_a_larger_log(log: PredictionLog) -> None:
    """Finding and counting take as many steps of the database with forty times the predictions."""

    def steps() -> int:
        taken = 0

        def count() -> int:
            nonlocal taken
            taken += 1
            return 0

        with log.reading() as connection:
            connection.set_progress_handler(count, 1)
        log.find(["00000", "00999", "unknown"])
        log.counts()
        with log.reading() as connection:
            connection.set_progress_handler(None, 1)
        return taken

    log.add([plain(f"{number:05}") for number in range(1_000)])
    few = steps()
    log.add([plain(f"{number:05}") for number in range(1_000, 40_000)])
    assert 0 < steps() <= few
