"""Segments from worker to log: whole frames in order, each once, whatever ends when."""

import errno
import os
import random
from pathlib import Path

import msgspec
import pytest

from lastgood.domain.prediction import ANSWER_BYTES_MAX, Copy
from lastgood.predictions.log import PredictionLog
from lastgood.predictions.recorder import Recorder, predictions_of
from lastgood.wire.predictions import (
    MAGIC,
    Frame,
    Record,
    SegmentWriter,
    read_segment,
    segments,
    waiting_bytes,
)

NOW = 2_000_000_000.0
encode = msgspec.msgpack.encode


def record(name: str, answer: bytes = b"{}", **more: object) -> Record:
    given = {
        "id": name.encode(),
        "given": False,
        "v2": True,
        "arrived": 5_000_000_000,
        "took": 4_000_000,
        "who": ("churn-eu", "churn", 2, "stable"),
        "arm": None,
        "release": None,
        "status": 200,
        "key": None,
        "fallback": None,
        "answer_bytes": len(answer),
        "answer": answer,
        "inputs": None,
    }
    return Record(**(given | more))


def frame(*names: str) -> bytes:
    return encode(Frame(offset=0, records=[record(name) for name in names]))


def read_all(path: Path) -> tuple[list[str], int]:
    """Return the ids of everything in a segment, read in small portions, and the bytes that were unreadable."""
    names, unreadable, position = [], 0, 0
    while True:
        portion = read_segment(path, position, bytes_max=200)
        names += [record.id.decode() for found in portion.frames for record in found.records]
        unreadable += portion.unreadable
        if portion.over or portion.position == position:
            return names, unreadable
        position = portion.position


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    return tmp_path / "incoming"


@pytest.fixture
def log(tmp_path: Path) -> PredictionLog:
    return PredictionLog(tmp_path / "log.db")


def recorder(log: PredictionLog, incoming: Path, *, keep_seconds: float = 1e10) -> Recorder:
    return Recorder(log, incoming, keep_seconds=keep_seconds, bytes_max=1 << 40)


def test_what_was_written_is_read(incoming: Path) -> None:
    """Every frame comes back, in portions smaller than a frame too, and only a closed segment is over."""
    writer = SegmentWriter(incoming, 0, 9, bytes_max=1 << 20)
    for number in range(20):
        writer.append(frame(f"a{number}", f"b{number}"))
    (path,) = segments(incoming)
    wanted = [f"{letter}{number}" for number in range(20) for letter in "ab"]
    assert read_all(path) == (wanted, 0)
    assert not read_segment(path, path.stat().st_size, bytes_max=200).over
    writer.close()
    assert read_segment(path, path.stat().st_size, bytes_max=200).over


def test_segments_end_at_their_bound_and_keep_their_order(incoming: Path) -> None:
    """A worker's segments are read in the order in which it wrote them, the tenth after the ninth."""
    writer = SegmentWriter(incoming, 3, 9, bytes_max=1)
    for number in range(12):
        writer.append(frame(str(number)))
    found = [read_all(path)[0] for path in segments(incoming)]
    assert found == [[str(number)] for number in range(12)]
    assert waiting_bytes(incoming) == sum(path.stat().st_size for path in incoming.iterdir())


@pytest.mark.parametrize("seed", range(5))
def test_a_torn_end_is_passed_over_once_nothing_more_comes(incoming: Path, seed: int) -> None:
    """Cut anywhere, a segment gives its whole frames, and says how many bytes it could not read."""
    chance = random.Random(seed)
    writer = SegmentWriter(incoming, 0, 1, bytes_max=1 << 20)
    ends = [len(MAGIC)]
    for number in range(10):
        writer.append(frame(str(number)))
        ends.append(segments(incoming)[0].stat().st_size)
    (path,) = segments(incoming)
    cut = chance.randrange(len(MAGIC), ends[-1])
    os.truncate(path, cut)
    whole = sum(end <= cut for end in ends) - 1
    assert read_all(path) == ([str(number) for number in range(whole)], 0)  # its writer may go on
    writer.close()
    assert read_all(path) == ([str(number) for number in range(whole)], cut - ends[whole])


def test_a_disk_that_fills_in_mid_frame_spoils_no_other(
    incoming: Path, log: PredictionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was half written does not count, what came before does, and the next frame begins a segment of its own."""
    writer = SegmentWriter(incoming, 0, 1, bytes_max=1 << 20)
    writer.append(frame("a"))
    write, calls = os.write, []

    def half(descriptor: int, content: bytes) -> int:
        calls.append(content)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content[: len(content) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        writer.append(frame("b"))
    monkeypatch.undo()
    writer.append(frame("c"))
    writer.close()
    while recorder(log, incoming).step(NOW):
        continue
    assert log.find(["a", "b", "c"]).keys() == {"a", "c"}
    assert log.counts().unreadable_bytes == len(calls[0]) // 2
    assert segments(incoming) == []


def test_a_frame_that_changed_ends_its_segment(incoming: Path, log: PredictionLog) -> None:
    """Bytes that do not match their checksum are not taken for answers, and nothing waits for them for ever."""
    writer = SegmentWriter(incoming, 0, 1, bytes_max=1 << 20)
    writer.append(frame("a"))
    before = segments(incoming)[0].stat().st_size
    writer.append(frame("b"))
    writer.close()
    (path,) = segments(incoming)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert recorder(log, incoming).step(NOW)
    assert log.find(["a", "b"]).keys() == {"a"}
    assert log.counts().unreadable_bytes == len(content) - before
    assert segments(incoming) == []


def test_each_record_is_added_once_wherever_the_recorder_ends(incoming: Path, log: PredictionLog) -> None:
    """A recorder that is replaced after every step, or before it removes what it read, adds nothing twice."""
    writer = SegmentWriter(incoming, 0, 1, bytes_max=200)
    written = 0
    for _ in range(10):
        for _ in range(3):
            writer.append(frame(str(written)))
            written += 1
        copies = {path: path.read_bytes() for path in segments(incoming)}
        recorder(log, incoming).step(NOW)
        for path, content in copies.items():
            if (
                not path.exists() and path.name in log.positions()
            ):  # as if it had ended before it removed the file
                path.write_bytes(content)
    writer.close()
    while recorder(log, incoming).step(NOW):
        continue
    assert log.counts().predictions == written
    assert log.find(str(number) for number in range(written)).keys() == {
        str(number) for number in range(written)
    }
    assert segments(incoming) == []
    assert log.positions() == {}


def test_a_commit_without_the_removal_is_not_read_again(incoming: Path, log: PredictionLog) -> None:
    """Killed between the commit and the removal, the next recorder only removes."""
    writer = SegmentWriter(incoming, 0, 1, bytes_max=1 << 20)
    writer.append(frame("a"))
    first = recorder(log, incoming)
    first.step(NOW)
    writer.close()
    assert segments(incoming) != []
    recorder(log, incoming).step(NOW)
    assert log.counts().predictions == 1
    assert segments(incoming) == []
    assert log.positions() == {}


def test_what_waits_stays_while_the_log_cannot_be_written(incoming: Path, tmp_path: Path) -> None:
    """A log in nobody's reach costs no record: they are added once it is back."""
    blocked = tmp_path / "folder"
    blocked.write_text("in the way")
    log = PredictionLog(blocked / "log.db")
    writer = SegmentWriter(incoming, 0, 1, bytes_max=1 << 20)
    writer.append(frame("a"))
    writer.close()
    one = recorder(log, incoming)
    assert not one.step(NOW)
    assert len(segments(incoming)) == 1
    blocked.unlink()
    one.step(NOW)
    assert log.find(["a"]).keys() == {"a"}


def test_the_recorder_drops_what_is_too_old(incoming: Path, log: PredictionLog) -> None:
    """Retention by age works from the time of each request."""
    writer = SegmentWriter(incoming, 0, 1, bytes_max=1 << 20)
    writer.append(encode(Frame(offset=0, records=[record("old"), record("new", arrived=int(NOW * 1e9))])))
    recorder(log, incoming, keep_seconds=60.0).step(NOW)
    assert log.find(["old", "new"]).keys() == {"new"}


def test_the_callers_own_id_is_the_one_that_counts() -> None:
    """The id of a V2 body finds the prediction, and so does the header's; a header that the caller gave is enough."""
    own = b'{"model_name":"m","id":"order-7","outputs":[]}'
    frames = [
        Frame(
            offset=0,
            records=[
                record("u1", own),
                record("u2", own, given=True),
                record("u3", own, v2=False),
                record("u4", b'{"id":"' + b"x" * 200 + b'"}'),
                record("u5", b"no JSON"),
                record("u6", b'{"id":"a\\nb"}'),
            ],
        )
    ]
    found = predictions_of(frames, NOW)
    assert [one.ids for one in found] == [("order-7", "u1"), ("u2",), ("u3",), ("u4",), ("u5",), ("u6",)]


def test_who_answered_and_for_which_arm_is_told_apart() -> None:
    """Stable that answered for a candidate says so; a request that left its release keeps no arm and no key."""
    fell_back = record("a", arm=(7, 2, "candidate"), release=7, key=5, fallback="timeout")
    left = record("b", release=7, key=5, fallback="rolled-back")
    one, other = predictions_of([Frame(offset=10**9, records=[fell_back, left])], NOW)
    assert (one.version, one.role, one.release, one.stage, one.arm, one.key, one.fallback) == (
        2,
        "stable",
        7,
        2,
        "candidate",
        5,
        "timeout",
    )
    assert (other.release, other.stage, other.arm, other.key) == (7, None, None, None)
    assert (one.at, one.seconds) == (6.0, 0.004)


def test_a_request_is_never_from_the_future() -> None:
    """A worker whose clock was wrong cannot keep later predictions from growing old."""
    (one,) = predictions_of([Frame(offset=0, records=[record("a", arrived=int(9e18))])], NOW)
    assert one.at == NOW


def test_a_pair_is_one_prediction_with_its_copy_and_slices(incoming: Path, log: PredictionLog) -> None:
    """What a shadow answered and what the plan tells requests apart by are in the log; inputs only where they are kept."""
    body = b'{"inputs": {"land": ["de", null], "age": [33, 40.5]}}'
    pair = record(
        "a",
        arm=(7, 0, "stable"),
        inputs=body,
        keep=False,
        columns=("land", "sea"),
        copy=(3, 200, 2_500_000, b"{}"),
    )
    writer = SegmentWriter(incoming, 0, 9, bytes_max=1 << 20)
    writer.append(encode((0, [msgspec.structs.astuple(pair), msgspec.structs.astuple(record("b"))[:14]])))
    writer.close()
    recorder(log, incoming).step(NOW)
    found = log.find(["a", "b"])
    assert found["a"].copy == Copy(version=3, status=200, seconds=0.0025, answer=b"{}")
    assert found["a"].slices == {"land": ["de", ""], "sea": []}
    assert (found["a"].inputs, found["a"].arm) == (None, "stable")
    assert (found["b"].copy, found["b"].slices) == (None, {})


def test_a_copy_that_is_too_long_to_keep_is_known_without_its_answer() -> None:
    """What bounds an answer bounds a copy's; inputs that are kept stay beside the slices."""
    long = b"x" * (ANSWER_BYTES_MAX + 1)
    body = b'{"inputs": {"land": ["de"]}}'
    (one,) = predictions_of(
        [Frame(offset=0, records=[record("a", inputs=body, columns=("land",), copy=(3, 200, 1, long))])], NOW
    )
    assert one.copy == Copy(version=3, status=200, seconds=1e-9)
    assert (one.inputs, one.slices) == (body, {"land": ["de"]})
