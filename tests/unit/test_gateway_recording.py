"""Ids and recording in the gateway: every answer has one, everything is bounded, and what is dropped is counted."""

import re
import time
import uuid
from pathlib import Path

import pytest

from lastgood.domain.deployment import Role
from lastgood.gateway import recording as module
from lastgood.gateway.flight import Flight
from lastgood.gateway.ids import Ids, given_id
from lastgood.gateway.recording import Recording
from lastgood.gateway.tally import Tally
from lastgood.settings import Settings
from lastgood.wire.frames import Request
from lastgood.wire.predictions import Record, read_segment, segments


class Lane:
    """As much of a lane as recording needs."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally


def flight(ids: Ids, payload: bytes = b"{}", body: bytes = b"{}") -> Flight:
    tally = Tally("churn-eu", "churn", 2, Role.STABLE)
    found = Flight(
        1, Request.INFER, Lane(tally), tally, body, False, None, time.monotonic_ns(), lambda _: None
    )
    found.id, found.status, found.payload = ids.make(found.arrived), 200, payload
    return found


def recording(home: Path, **more: object) -> tuple[Recording, Ids]:
    ids = Ids()
    return Recording(Settings(home=str(home), **more), ids, slot=0, epoch=7), ids


def written(home: Path) -> list[Record]:
    found = []
    for path in segments(home / "predictions" / "incoming"):
        for frame in read_segment(path, 0, bytes_max=1 << 26).frames:
            found += frame.records
    return found


def test_made_ids_are_uuids_of_their_time_and_sort_by_it() -> None:
    """Every id is a UUID version 7, unlike every other, and later ones come later in order."""
    ids = Ids()
    now = time.monotonic_ns()
    made = [ids.make(now + step * 100_000).decode() for step in range(1_000)]
    assert len(set(made)) == 1_000
    assert made == sorted(made)
    for text in (made[0], made[-1]):
        found = uuid.UUID(text)
        assert (found.version, found.variant) == (7, uuid.RFC_4122)
        assert str(found) == text
    assert abs((uuid.UUID(made[0]).int >> 80) / 1e3 - time.time()) < 5


def test_two_workers_make_no_id_twice() -> None:
    """Ids of the same moment from two workers differ."""
    one, other = Ids(), Ids()
    assert not {one.make(number) for number in range(1000)} & {other.make(number) for number in range(1000)}


@pytest.mark.parametrize(
    ("value", "sound"),
    [
        (b"order-7/2", True),
        (b"x" * 128, True),
        (b"x" * 129, False),
        (b"", False),
        (b"a b", False),
        (b"\xe9", False),
    ],
)
def test_a_sound_id_of_the_callers_is_taken(value: bytes, sound: bool) -> None:
    """What could not be shown or is too long is replaced, not refused."""
    assert given_id([(b"content-type", b"x"), (b"lastgood-id", value)]) == (value if sound else None)


def test_what_was_answered_is_written_off_the_event_loop(tmp_path: Path) -> None:
    """Answers reach a segment in their order; the inputs are not among what is kept unless asked for."""
    one, ids = recording(tmp_path)
    one.start()
    flights = [flight(ids, payload=b"%d" % number) for number in range(1_200)]
    for found in flights:
        one.add(found, found.arrived + 1_000)
    one.stop()
    records = written(tmp_path)
    assert [record.answer for record in records] == [b"%d" % number for number in range(1_200)]
    assert [record.id for record in records] == [found.id for found in flights]
    assert {(record.took, record.who, record.inputs if record.keep else None) for record in records} == {
        (1_000, ("churn-eu", "churn", 2, "stable"), None)
    }
    assert (one.recorded, one.dropped) == (1_200, 0)


@pytest.mark.parametrize(("keep", "kept"), [("all", 200), ("sampled", 2), ("none", 0)])
def test_inputs_are_kept_as_the_setting_says(tmp_path: Path, keep: str, kept: int) -> None:
    """All, one in a hundred, or none."""
    one, ids = recording(tmp_path, keep_inputs=keep)
    one.start()
    for _ in range(200):
        one.add(flight(ids, body=b'{"inputs":[]}'), time.monotonic_ns())
    one.stop()
    assert sum(record.keep and record.inputs == b'{"inputs":[]}' for record in written(tmp_path)) == kept


def test_the_first_good_requests_of_each_second_are_sketched(tmp_path: Path) -> None:
    """So many of them, with inputs that are not for the log; failed ones are not, and those after the first neither."""
    one, ids = recording(tmp_path)
    one.start()
    start = time.monotonic_ns()
    for second in range(2):
        for number in range(50):
            found = flight(ids, body=b"%d" % number)
            found.status = 500 if number < 10 else 200
            one.add(found, start + second * 1_000_000_000 + number)
    one.stop()
    records = written(tmp_path)
    sketched = [number for number in range(100) if records[number].sketched]
    assert sketched == [*range(10, 30), *range(60, 80)]
    assert {(records[number].inputs, records[number].keep) for number in sketched[:20]} == {
        (b"%d" % number, False) for number in range(10, 30)
    }
    assert {record.inputs for record in records if not record.sketched} == {None}


def test_a_small_candidate_is_sketched_as_much_as_a_large_stable(tmp_path: Path) -> None:
    """Each arm has so many of its own, however many the other has before it."""
    one, ids = recording(tmp_path)
    one.start()
    start = time.monotonic_ns()
    for number in range(100):
        found = flight(ids, body=b"%d" % number)
        if number >= 90:
            found.tally.arm = Role.CANDIDATE
        one.add(found, start + number)
    one.stop()
    assert [number for number, found in enumerate(written(tmp_path)) if found.sketched] == [
        *range(20),
        *range(90, 100),
    ]


def test_inputs_that_are_kept_and_sketched_are_for_the_log(tmp_path: Path) -> None:
    """What the settings keep says so, whatever else it is there for; long inputs are there for nothing."""
    one, ids = recording(tmp_path, keep_inputs="all")
    one.start()
    for body in (b"{}", b"x" * 20_000):
        one.add(flight(ids, body=body), time.monotonic_ns())
    one.stop()
    kept, long = written(tmp_path)
    assert (kept.inputs, kept.keep, kept.sketched) == (b"{}", True, True)
    assert (long.inputs, long.sketched) == (None, True)


def test_what_counts_for_a_release_has_the_columns_that_tell_requests_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its inputs, not for the log; a request outside the release has neither."""
    monkeypatch.setattr(module, "SKETCHED_A_SECOND", 0)
    one, ids = recording(tmp_path)
    one.start()
    counted, outside, long = flight(ids), flight(ids), flight(ids, body=b"x" * 20_000)
    for found in (counted, long):
        found.tally.columns = ("country",)
    for found in (counted, outside, long):
        one.add(found, time.monotonic_ns())
    one.stop()
    assert [(record.columns, record.inputs, record.keep) for record in written(tmp_path)] == [
        (("country",), b"{}", False),
        ((), None, True),
        (("country",), None, False),
    ]


def test_what_a_copy_became_is_recorded_with_its_request(tmp_path: Path) -> None:
    """Version, status, time and answer; a long answer is not kept."""
    one, ids = recording(tmp_path)
    one.start()
    for answer in (b"[1]", b"x" * 20_000):
        one.add(flight(ids), time.monotonic_ns(), (3, 200, 5_000, answer))
    one.stop()
    assert [record.copy for record in written(tmp_path)] == [(3, 200, 5_000, b"[1]"), (3, 200, 5_000, None)]


def test_inputs_and_copies_fill_a_batch_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What few records have counts against the bound on bytes as answers do."""
    monkeypatch.setattr(module, "_BATCH_BYTES_MAX", 1_000)
    one, ids = recording(tmp_path)
    for _ in range(10):
        one.add(flight(ids, body=b"x" * 200), time.monotonic_ns(), (3, 200, 5_000, b"x" * 198))
    assert one.dropped == 10 - 3


def test_answers_of_copies_end_a_frame_too(tmp_path: Path) -> None:
    """A frame is encoded in one go, which nothing interrupts, so the answers of copies are among its bytes."""
    one, ids = recording(tmp_path)
    one.start()
    for _ in range(100):
        one.add(flight(ids), time.monotonic_ns(), (1, 200, 2_000, b"x" * 10_000))
    one.stop()
    (path,) = segments(tmp_path / "predictions" / "incoming")
    frames = read_segment(path, 0, bytes_max=1 << 26).frames
    assert [len(frame.records) for frame in frames] == [26, 26, 26, 22]


def test_a_long_answer_is_not_kept_but_its_length_is(tmp_path: Path) -> None:
    """One caller with large answers cannot fill the log."""
    one, ids = recording(tmp_path)
    one.start()
    one.add(flight(ids, payload=b"x" * 20_000), time.monotonic_ns())
    one.stop()
    (record,) = written(tmp_path)
    assert (record.answer, record.answer_bytes) == (None, 20_000)


def test_a_full_batch_drops_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing is handed over, memory is bounded by a number of records."""
    monkeypatch.setattr(module, "_BATCH_RECORDS_MAX", 10)
    one, ids = recording(tmp_path)
    for _ in range(25):
        one.add(flight(ids), time.monotonic_ns())
    assert one.dropped == 15


def test_a_large_batch_drops_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing is handed over, memory is bounded by bytes too."""
    monkeypatch.setattr(module, "_BATCH_BYTES_MAX", 1_000)
    monkeypatch.setattr(module, "SKETCHED_A_SECOND", 0)
    one, ids = recording(tmp_path)
    for _ in range(25):
        one.add(flight(ids, payload=b"x" * 200), time.monotonic_ns())
    assert one.dropped == 25 - 6


def test_long_answers_fill_no_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is not kept takes no room."""
    monkeypatch.setattr(module, "_BATCH_BYTES_MAX", 100_000)
    one, ids = recording(tmp_path)
    for _ in range(100):
        one.add(flight(ids, payload=b"x" * 20_000), time.monotonic_ns())
    assert one.dropped == 0


def test_a_disk_that_takes_nothing_stops_no_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the thread is stuck, a few batches wait, then the batch fills, then answers are dropped and counted."""
    monkeypatch.setattr(module, "_BATCH_RECORDS_MAX", 10)
    monkeypatch.setattr(module, "_BATCHES_MAX", 2)
    one, ids = recording(tmp_path)  # not started: as if its first write had never come back
    for _ in range(100):
        one.add(flight(ids), time.monotonic_ns())
        one.hand_over()
    assert one.dropped == 100 - 2 - 10


def test_what_waits_on_disk_is_bounded(tmp_path: Path) -> None:
    """With nobody reading, segments grow to the setting and no further; the rest is counted."""
    one, ids = recording(tmp_path, keep_waiting_predictions_bytes=100_000)
    one.start()
    for _ in range(2_000):
        one.add(flight(ids), time.monotonic_ns())
    one.stop()
    size = sum(path.stat().st_size for path in (tmp_path / "predictions" / "incoming").iterdir())
    assert size <= 100_000
    assert one.recorded == len(written(tmp_path))
    assert one.recorded + one.dropped == 2_000
    assert one.dropped > 0


def test_a_folder_that_cannot_be_written_costs_only_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is said once, every answer is counted as dropped."""
    (tmp_path / "predictions").write_text("in the way")
    one, ids = recording(tmp_path)
    one.start()
    for _ in range(1_000):
        one.add(flight(ids), time.monotonic_ns())
    one.stop()
    assert one.dropped == 1_000
    assert len(re.findall("Predictions cannot be kept", caplog.text)) == 1
