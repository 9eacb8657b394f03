"""The fleet's files after a power cut: what cannot be read was never said, and is replaced."""

from pathlib import Path

import pytest

from lastgood.domain.version import Format
from lastgood.supervise.fleet import LocalFleet
from lastgood.wire.fleet import (
    Desired,
    HostSpec,
    HostState,
    HostStatus,
    Observed,
    last_desired,
    read_desired,
    read_observed,
    read_status,
    write_desired,
    write_observed,
    write_status,
)

BROKEN = [b"", b"{", b"\0" * 4096, b"[]", b'{"hosts": 1, "key": 1}', b'{"hosts": "\xff", "key": "\xff"}']


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "hosts").mkdir()
    return tmp_path


def spec(run: Path) -> HostSpec:
    return HostSpec(
        key="v1-a",
        model="churn",
        version=1,
        digest="sha256:1",
        format=Format.ONNX,
        artifact="a.onnx",
        socket=str(run / "hosts" / "v1-a.sock"),
        memory_bytes=1,
        max_rows=1,
    )


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_file_says_nothing(run: Path, content: bytes) -> None:
    """Each file with no or with half its content reads as one that was never written."""
    for name in ("desired.json", "observed.json", "hosts/v1-a.json"):
        (run / name).write_bytes(content)

    assert (last_desired(run), read_desired(run)) == (None, Desired())
    assert read_observed(run) == Observed()
    assert read_status(run, "v1-a") is None


def test_a_whole_file_is_read_back(run: Path) -> None:
    """What was written is what is read, so that nothing but damage counts as silence."""
    status = HostStatus(key="v1-a", state=HostState.READY, pid=7)
    write_desired(run, Desired((spec(run),)))
    write_observed(run, Observed(written_at=1.0, hosts={"v1-a": status}, gateways={0: 8}))
    write_status(run, status)

    assert last_desired(run) == read_desired(run) == Desired((spec(run),))
    assert read_observed(run).gateways == {0: 8}
    assert read_status(run, "v1-a") == status


@pytest.mark.parametrize("content", BROKEN)
@pytest.mark.parametrize("empty", [True, False])
def test_the_controller_replaces_a_broken_wish(run: Path, content: bytes, empty: bool) -> None:
    """A wish that cannot be read is written again, even where the controller wishes for no hosts."""
    (run / "desired.json").write_bytes(content)
    (run / "observed.json").write_bytes(content)
    wish = Desired() if empty else Desired((spec(run),))
    fleet = LocalFleet(run, interval=0.05, timeout=0.05)
    fleet.want(wish)
    seen = fleet.observe()
    fleet.close()

    assert last_desired(run) == wish
    assert seen == Observed()
