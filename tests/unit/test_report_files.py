"""The files in which gateway workers report: what can be read, what cannot, and what is none of theirs."""

from pathlib import Path

import pytest

from lastgood.control.counted import living
from lastgood.wire.reports import WorkerReport, look_at_reports, read_reports, write_report


def report(slot: int, epoch: int) -> WorkerReport:
    return WorkerReport(slot=slot, pid=1, epoch=epoch, sequence=1, written_at=0.0)


@pytest.mark.parametrize("content", [b"", b"{", b'{"slot": NaN}', b"\0" * 4096])
def test_a_report_that_cannot_be_read_is_told_with_its_life(tmp_path: Path, content: bytes) -> None:
    """Half a file or a number that is none: the others are read, and this one is named until it is written anew."""
    write_report(tmp_path, report(0, 5))
    (tmp_path / "worker-1-7.json").write_bytes(content)
    (tmp_path / "worker-of-nobody.json").write_bytes(content)
    found = look_at_reports(tmp_path)

    assert [one.slot for one in found.reports] == [one.slot for one in read_reports(tmp_path)] == [0]
    assert [(one.slot, one.epoch) for one in found.unreadable] == [(1, 7)]
    assert found.unreadable[0].error
    assert found.unreadable[0].written_at > 0.0
    write_report(tmp_path, report(1, 7))
    assert look_at_reports(tmp_path).unreadable == []


def test_only_the_latest_life_in_a_slot_with_a_worker_lives(tmp_path: Path) -> None:
    """A life with a successor, or in a slot where nobody lives, is dead."""
    (tmp_path / "worker-1-7.json").write_bytes(b"{")

    def alive(slots: set[int]) -> list[int]:
        return [one.epoch for one in living(look_at_reports(tmp_path), slots)]

    assert alive({0, 1}) == [7]
    assert alive({0}) == []
    write_report(tmp_path, report(1, 8))
    assert alive({0, 1}) == []
