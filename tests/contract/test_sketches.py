"""Sketches of live requests in the prediction log: by arm, in bounds, never counted twice, and whatever callers send."""

import logging
import os
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastgood.domain.sketch import BUCKETS_MAX, FEATURES_MAX, TEXTS_MAX, Sketch, sketch_of
from lastgood.predictions import sketcher, sketches
from lastgood.predictions.log import PredictionLog
from lastgood.predictions.output_rows import outputs_of
from lastgood.predictions.recorder import Recorder
from lastgood.predictions.sketcher import FLUSH_SECONDS, KEYS_MAX, UNRELEASED_SECONDS, Sketcher
from lastgood.predictions.sketches import (
    BEFORE_BYTES_MAX,
    LoggedSketches,
    NewRow,
    add_sketches,
    drop_sketches,
)
from lastgood.wire.predictions import Frame, Record, SegmentWriter

NOW = 1_000_000.0
DAY = 86_400.0
FRESH = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
def log(tmp_path: Path) -> PredictionLog:
    return PredictionLog(tmp_path / "log.db")


def record(rows: Any = ((1.5, "de"),), **more: Any) -> Record:
    given: dict[str, Any] = {
        "id": b"a",
        "given": False,
        "v2": True,
        "arrived": int(NOW * 1e9),
        "took": 1,
        "who": ("churn", "churn", 2, "candidate"),
        "arm": (7, 1, "candidate"),
        "release": 7,
        "status": 200,
        "key": 5,
        "fallback": None,
        "answer_bytes": 10,
        "answer": b'{"outputs": [{"name": "score", "shape": [1], "data": [0.25]}]}',
        "inputs": msgspec.json.encode({"dataframe_split": {"columns": ["age", "land"], "data": rows}}),
        "sketched": True,
    }
    return Record(**(given | more))


def frame(*records: Record) -> list[Frame]:
    return [Frame(0, list(records))]


def test_a_row_has_what_an_arm_was_asked_and_answered(log: PredictionLog) -> None:
    """Requests of one arm are summed by column; one without ``sketched`` and one that failed are not among them."""
    counting = Sketcher(log)
    counting.see(frame(record(), record([[3, None], [4, "fr"]])), NOW)
    counting.see(frame(record(sketched=False), record(status=500)), NOW)
    counting.flush(NOW)
    (row,), last = LoggedSketches(log).since(7, 0, 10)
    assert (row.deployment, row.version, row.release, row.stage, row.arm) == ("churn", 2, 7, 1, "candidate")
    assert (row.seq, row.at, row.rows, last) == (1, NOW, 3, 1)
    assert row.inputs == {"age": sketch_of([1.5, 3, 4]), "land": sketch_of(["de", None, "fr"])}
    assert row.outputs == {"score": sketch_of([0.25, 0.25])}


def test_a_copy_counts_for_the_other_arm(log: PredictionLog) -> None:
    """A pair's inputs count for both arms, and each arm's outputs are its own version's; a copy that failed counts nowhere."""
    other = b'{"predictions": [0.5]}'
    counting = Sketcher(log)
    counting.see(frame(record(copy=(3, 200, 1, other)), record(copy=(3, 503, 1, None))), NOW)
    counting.flush(NOW)
    own, its = LoggedSketches(log).since(7, 0, 10)[0]
    assert (own.arm, own.version, own.rows) == ("candidate", 2, 2)
    assert (its.arm, its.version, its.rows, its.inputs["age"]) == ("stable", 3, 1, sketch_of([1.5]))
    assert its.outputs == {"predictions": sketch_of([0.5])}


def test_what_stable_answered_for_a_candidate_is_no_output_of_the_candidate(log: PredictionLog) -> None:
    """The request's inputs count for the arm that it was meant for; the answer counts for none."""
    counting = Sketcher(log)
    counting.see(frame(record(who=("churn", "churn", 1, "stable"), fallback="timeout")), NOW)
    counting.flush(NOW)
    (row,), _ = LoggedSketches(log).since(7, 0, 10)
    assert (row.arm, set(row.inputs), row.outputs) == ("candidate", {"age", "land"}, {})


def test_each_row_is_read_once(log: PredictionLog) -> None:
    """Read on from what is returned, the portions together are all rows of that release, in order."""
    counting, read = Sketcher(log), LoggedSketches(log)
    assert read.since(7, 0, 2) == ([], 0)
    for number in range(5):
        counting.see(frame(record(arm=(7 + number % 2, 1, "stable"))), NOW)
        counting.flush(NOW, everything=True)
    first, at = read.since(7, 0, 2)
    second, end = read.since(7, at, 2)
    assert ([one.seq for one in first + second], at, end) == ([1, 3, 5], 3, 5)
    assert read.since(7, end, 2) == ([], 5)
    assert read.since(7, 1_000, 2) == ([], 5)  # of a log that is gone


def test_a_sequence_is_not_used_again(log: PredictionLog) -> None:
    """When every row has been dropped, what comes next is still found by whoever has read the last one."""
    row = NewRow(NOW, "churn", 2, 7, 1, "stable", 1, "{}", "{}")
    add_sketches(log, [row, row])
    assert drop_sketches(log, NOW + 1, 10**9) == 2
    add_sketches(log, [row])
    assert [one.seq for one in LoggedSketches(log).since(7, 2, 9)[0]] == [3]


def test_what_was_answered_before_is_one_day_of_one_version(log: PredictionLog) -> None:
    """Outputs are summed over the day before the moment: not older, not of the moment, not of another version."""

    def row(at: float, version: int, count: int) -> NewRow:
        outputs = msgspec.json.encode({"score": Sketch(numbers={5: count})}).decode()
        return NewRow(at, "churn", version, None, None, None, count, outputs, "{}")

    kept = [
        row(NOW - DAY - 1, 1, 1),
        row(NOW - DAY, 1, 2),
        row(NOW - 1, 1, 4),
        row(NOW, 1, 8),
        row(NOW - 1, 2, 16),
    ]
    assert LoggedSketches(log).before("churn", 1, NOW) == {}
    add_sketches(log, kept)
    assert LoggedSketches(log).before("churn", 1, NOW) == {"score": Sketch(numbers={5: 6})}
    assert LoggedSketches(log).before("churn-eu", 1, NOW) == {}


def test_of_very_much_a_spread_over_the_day_is_read(log: PredictionLog) -> None:
    """Both halves of the day have their part in what is read, and that is bounded."""
    text = "x" * (BEFORE_BYTES_MAX // 40)  # as long as a row of very many outputs
    half = [{"score": Sketch(numbers={bucket: 1}), text: Sketch()} for bucket in (3, 9)]
    encoded = [msgspec.json.encode(outputs).decode() for outputs in half]
    rows = [
        NewRow(NOW - 100 + place, "churn", 1, None, None, None, 1, encoded[place // 50], "{}")
        for place in range(100)
    ]
    add_sketches(log, rows)
    found = LoggedSketches(log).before("churn", 1, NOW)["score"].numbers
    assert sum(found.values()) <= 41
    assert min(found[3], found[9]) >= 15


def test_counts_are_written_in_their_time(log: PredictionLog) -> None:
    """A release waits for its counts some seconds, counts of no release wait longer, and the end writes all."""
    counting = Sketcher(log)
    counting.flush(NOW)
    counting.see(frame(record(), record(arm=None, release=None)), NOW)
    counting.flush(NOW + FLUSH_SECONDS - 1)
    assert arms(log) == []
    counting.flush(NOW + FLUSH_SECONDS)
    assert arms(log) == ["candidate"]
    counting.flush(NOW + UNRELEASED_SECONDS)
    assert arms(log) == ["candidate", None]
    counting.see(frame(record(arm=(7, 1, "stable"))), NOW)
    counting.flush(NOW + UNRELEASED_SECONDS, everything=True)
    assert arms(log) == ["candidate", None, "stable"]


def arms(log: PredictionLog) -> list[str | None]:
    with log.reading() as connection:
        return [arm for (arm,) in connection.execute("SELECT arm FROM sketches ORDER BY seq")]


def test_more_keys_than_there_is_room_for_are_written_at_once(log: PredictionLog) -> None:
    """Every key's counts reach the log, however many keys there are within one flush."""
    counting = Sketcher(log)
    counting.see(frame(*(record(arm=(7, stage, "stable")) for stage in range(KEYS_MAX + 6))), NOW)
    assert len(arms(log)) == KEYS_MAX
    counting.flush(NOW, everything=True)
    assert len(arms(log)) == KEYS_MAX + 6


def test_more_entries_than_there_is_room_for_are_written_at_once(
    log: PredictionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts that have grown over the bound do not wait for their time."""
    monkeypatch.setattr(sketcher, "ENTRIES_MAX", 20)
    counting = Sketcher(log)
    counting.see(frame(*(record([[2.0**number, "de"]]) for number in range(10))), NOW)
    assert arms(log) == []
    counting.see(frame(*(record([[2.0**-number, "de"]]) for number in range(1, 11))), NOW)
    assert arms(log) == ["candidate"]


HOSTILE = (
    [
        [float("1e308"), "x"],
        [10**400, "\x00"],
        [-(2**63), None],
        [[[]], {"a": {}}],
        [True, "\ud83d\ude00" * 200],
    ],
    [[None, None]],
    [[[[[[1]]]], [2]]],
)


@pytest.mark.parametrize("rows", HOSTILE)
def test_hostile_rows_are_counted_and_written(log: PredictionLog, rows: Any) -> None:
    """Huge numbers, nested lists and long texts are values like others: each row is in each column once."""
    text = (
        str(rows)
        .replace("None", "null")
        .replace("True", "true")
        .replace("'", '"')
        .replace("\\x00", "\\u0000")
    )
    counting = Sketcher(log)
    inputs = b'{"dataframe_split": {"columns": ["age", "land"], "data": %b}}' % text.encode()
    counting.see(frame(record(inputs=inputs)), NOW)
    counting.flush(NOW)
    (row,), _ = LoggedSketches(log).since(7, 0, 10)
    counted = {name: one.count for name, one in row.inputs.items()}
    assert counted in ({}, {"age": len(rows), "land": len(rows)})  # none of what no decoder takes


@FRESH
@given(inputs=st.binary(max_size=200), answer=st.binary(max_size=200))
def test_bytes_of_any_kind_stop_nothing(log: PredictionLog, inputs: bytes, answer: bytes) -> None:
    """Inputs and answers that are not even text are passed over, and what comes after them is counted."""
    counting = Sketcher(log)
    counting.see(frame(record(inputs=inputs, answer=answer), record()), NOW)
    counting.flush(NOW, everything=True)
    with log.changing() as connection:
        (rows,) = connection.execute("SELECT max(rows) FROM sketches").fetchone()
        connection.execute("DELETE FROM sketches")
    assert rows >= 1


def test_very_many_different_texts_and_names_stay_within_bounds(log: PredictionLog) -> None:
    """Texts, numbers, columns and names beyond their bounds take no room in the row."""
    chance = random.Random(3)
    counting = Sketcher(log)
    columns = [f"c{number}" for number in range(FEATURES_MAX + 50)]
    for turn in range(4):
        rows = [
            [
                f"{turn} {number} {column}" if number % 2 else chance.uniform(-1, 1) ** 99
                for column in range(250)
            ]
            for number in range(300)
        ]
        inputs = msgspec.json.encode({"dataframe_split": {"columns": columns, "data": rows}})
        long = msgspec.json.encode({"inputs": {f"{turn} {'n' * 500}": [1], f"other {turn}": [1]}})
        counting.see(frame(record(inputs=inputs), record(inputs=long)), NOW)
    counting.flush(NOW, everything=True)
    for row in LoggedSketches(log).since(7, 0, 10)[0]:
        assert len(row.inputs) <= FEATURES_MAX
        assert max(map(len, row.inputs)) <= sketcher.NAME_CHARACTERS_MAX
        assert all(
            len(one.texts) <= TEXTS_MAX and len(one.numbers) <= BUCKETS_MAX for one in row.inputs.values()
        )


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (b'{"outputs": [{"name": "y", "shape": [2], "data": [1, 2]}]}', {"y": [1, 2]}),
        (b'{"outputs": [{"name": "y", "shape": [1, 2], "data": [1, 2]}]}', {"y[0]": [1], "y[1]": [2]}),
        (b'{"predictions": ["a", null]}', {"predictions": ["a", None]}),
        (b'{"predictions": [[1, 2], [3, 4]]}', {"predictions[0]": [1, 3], "predictions[1]": [2, 4]}),
        (b'{"predictions": {"y": [1], "z": ["b"]}}', {"y": [1], "z": ["b"]}),
        (b'{"error": "none"}', {}),
        (b'{"predictions": 3}', {}),
        (b'{"outputs": {}}', {}),
        (b"\xff", {}),
    ],
)
def test_an_answer_gives_its_outputs(answer: bytes, wanted: dict[str, Any]) -> None:
    """V2 tensors and MLflow predictions, by output and by place within a row."""
    assert outputs_of(answer) == wanted


def test_inputs_of_no_release_are_not_looked_at(log: PredictionLog) -> None:
    """Nobody reads them: only what was answered is counted."""
    counting = Sketcher(log)
    counting.see(frame(record(arm=None, release=None)), NOW)
    counting.flush(NOW, everything=True)
    with log.reading() as connection:
        assert connection.execute("SELECT inputs FROM sketches").fetchall() == [("{}",)]
    assert LoggedSketches(log).before("churn", 2, NOW + 1) == {"score": sketch_of([0.25])}


# --- the recorder ------------------------------------------------------------------------------------


def write(folder: Path, *records: Record) -> None:
    writer = SegmentWriter(folder, 0, os.getpid(), bytes_max=10**6)
    writer.append(msgspec.msgpack.encode((0, [msgspec.structs.astuple(one) for one in records])))
    writer.close()


def recorder(log: PredictionLog, folder: Path) -> Recorder:
    return Recorder(log, folder, keep_seconds=DAY, bytes_max=10**9)


def test_a_kill_between_two_flushes_loses_seconds_and_doubles_nothing(
    log: PredictionLog, tmp_path: Path
) -> None:
    """What a killed recorder had in memory is not counted; what the next one reads is counted once."""
    folder = tmp_path / "incoming"
    first = recorder(log, folder)
    first.step(NOW)
    write(folder, record())
    first.step(NOW + 1)
    del first  # killed: nothing was written
    second = recorder(log, folder)
    second.step(NOW + 2)
    write(folder, record([[8, "it"]]))
    second.step(NOW + 3)
    second.finish(NOW + 3)
    second.finish(NOW + 3)
    (row,), _ = LoggedSketches(log).since(7, 0, 10)
    assert (row.rows, row.inputs["land"]) == (1, sketch_of(["it"]))
    assert log.counts().predictions == 2


def test_inputs_that_are_only_for_sketches_are_not_kept(log: PredictionLog, tmp_path: Path) -> None:
    """Without ``keep`` the log holds counts of the inputs and not the inputs."""
    filling = recorder(log, tmp_path / "incoming")
    write(tmp_path / "incoming", record(keep=False))
    filling.step(NOW)
    filling.finish(NOW)
    assert log.find(["a"])["a"].inputs is None
    assert LoggedSketches(log).since(7, 0, 9)[0][0].rows == 1


def test_sketches_that_cannot_be_written_are_said_and_not_written_later(
    log: PredictionLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are lost rather than perhaps counted twice, and recording goes on."""
    filling = recorder(log, tmp_path / "incoming")
    filling.step(NOW)
    write(tmp_path / "incoming", record())
    filling.step(NOW)
    with log.changing() as connection:
        connection.execute("ALTER TABLE sketches RENAME TO gone")
    with caplog.at_level(logging.ERROR):
        filling.finish(NOW)
    assert "no such table" in caplog.text
    with log.changing() as connection:
        connection.execute("ALTER TABLE gone RENAME TO sketches")
    write(tmp_path / "incoming", record([[8, "it"]]))
    filling.step(NOW + 1)
    filling.finish(NOW + 1)
    assert [row.inputs["land"] for row in LoggedSketches(log).since(7, 0, 9)[0]] == [sketch_of(["it"])]


def test_old_rows_and_rows_over_a_bound_go(log: PredictionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are dropped by age, by number and by size, the oldest first, until all bounds hold."""

    def row(at: float) -> NewRow:
        return NewRow(at, "churn", 2, 7, 1, "stable", 1, "{}", " " * 98)

    def left(before: float, bytes_max: int) -> list[float]:
        while drop_sketches(log, before, bytes_max):
            continue
        return [one.at for one in LoggedSketches(log).since(7, 0, 1_000)[0]]

    monkeypatch.setattr(sketches, "_decode", lambda _: {})
    add_sketches(log, [row(float(at)) for at in range(100)])
    assert left(30.0, 10**9) == [float(at) for at in range(30, 100)]
    monkeypatch.setattr(sketches, "ROWS_MAX", 50)
    assert left(0.0, 10**9) == [float(at) for at in range(50, 100)]
    assert left(0.0, 30_000) == [float(at) for at in range(70, 100)]
    add_sketches(log, [row(100.0)])
    assert left(0.0, 32_000) == [float(at) for at in range(70, 101)]


def test_the_recorder_drops_sketches_before_predictions(log: PredictionLog, tmp_path: Path) -> None:
    """However long predictions are kept, sketches of requests go after two days."""
    filling = Recorder(log, tmp_path / "incoming", keep_seconds=30 * DAY, bytes_max=10**9)
    write(tmp_path / "incoming", record())
    filling.step(NOW)
    filling.finish(NOW)
    filling.step(NOW + 2 * DAY - 10)
    assert len(arms(log)) == 1
    filling.step(NOW + 2 * DAY + 10)
    assert arms(log) == []
    assert log.counts().predictions == 1
