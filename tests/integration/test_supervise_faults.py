"""What a power cut, a crash or a forged name may leave for a supervisor, and what it makes of it."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from supervise_rig import fragile, ready, start, supervising, until, want

from lastgood.errors import Code, LastgoodError
from lastgood.supervise.hosts import Hosts
from lastgood.supervise.supervisor import RunLock
from lastgood.wire.fleet import (
    Desired,
    HostState,
    HostStatus,
    read_observed,
    read_status,
    write_status,
)
from lastgood.wire.page import RoutePage
from models import wait_for


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def supervisor(run: Path) -> Iterator[subprocess.Popen[bytes]]:
    with supervising(run) as process:
        yield process


def test_broken_files_stop_nothing(run: Path) -> None:
    """Over files that a power cut left empty a supervisor starts, and a wish that breaks later ends no host."""
    spec = fragile(run)
    for name in ("desired.json", "observed.json", "hosts/demo-1.json", "hosts/demo-1.spec.json"):
        (run / name).write_bytes(b"")
    process = start(run)
    try:
        wait_for(lambda: len(read_observed(run).gateways) == 2)
        want(run, spec)
        before = ready(run)
        (run / "draft").write_bytes(b"")
        (run / "draft").replace(run / "desired.json")
        other = fragile(run, key="demo-2", socket=str(run / "demo-2.sock"))
        wait_for(lambda: "desired.json" in (run / "supervisor.log").read_text())
        assert ready(run).pid == before.pid
        want(run, spec, other)
        until(run, lambda status: status.state is HostState.READY, "demo-2")
        assert ready(run).pid == before.pid
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.parametrize("shared", ["key", "socket"])
def test_two_hosts_of_one_name_are_refused_and_what_runs_goes_on(
    run: Path, supervisor: subprocess.Popen[bytes], shared: str
) -> None:
    """A wish in which two hosts share a key or a socket is refused by both names, and ends nothing."""
    want(run, spec := fragile(run))
    before = ready(run)
    own = {"key": "demo-2", "socket": str(run / "demo-2.sock")}
    own.pop(shared)
    want(run, spec, fragile(run, model="other", **own))
    wait_for(lambda: "is refused until it changes" in (run / "supervisor.log").read_text())
    told = (run / "supervisor.log").read_text()
    want(run, spec, fragile(run, key="demo-3", socket=str(run / "demo-3.sock")))
    until(run, lambda status: status.state is HostState.READY, "demo-3")

    assert "'other'" in told
    assert "'demo'" in told
    assert ready(run).pid == before.pid
    assert set(read_observed(run).hosts) == {"demo-1", "demo-3"}


def test_a_host_wanted_twice_is_one_host(run: Path) -> None:
    """Two deployments that serve one version share its host; that is no conflict."""
    spec = fragile(run)
    hosts = Hosts(run)
    hosts.want(Desired((spec, spec)))
    try:
        assert list(hosts.step()) == [spec.key]
    finally:
        hosts.stop()
        wait_for(hosts.stopped)


def test_what_an_earlier_host_said_is_dropped(run: Path) -> None:
    """A status left by another process is gone before a host starts, so a pid that comes round proves nothing."""
    spec = fragile(run)
    write_status(run, HostStatus(key=spec.key, state=HostState.READY, pid=1))
    hosts = Hosts(run)
    hosts.want(Desired((spec,)))
    try:
        said = read_status(run, spec.key)
        assert said is None or said.pid == hosts.step()[spec.key].pid
    finally:
        hosts.stop()
        wait_for(hosts.stopped)


def test_no_worker_of_an_earlier_supervisor_counts(run: Path) -> None:
    """Who becomes the supervisor finds every slot free, even one whose pid lives now as another process."""
    page = RoutePage.open(run / "route.page")
    page.claim(0, os.getpid())
    page.claim(63, os.getpid())
    assert len(page.workers()) == 2
    RunLock.take(run).release()

    assert page.workers() == []
    page.close()


def test_a_broken_page_is_told_and_the_lock_given_back(run: Path) -> None:
    """A file that is no route page refuses the start by name, and once it is gone the same process can start."""
    (run / "route.page").write_bytes(b"x" * 9_000_000)
    with pytest.raises(LastgoodError, match=r"route\.page") as caught:
        RunLock.take(run)
    (run / "route.page").unlink()
    RunLock.take(run).release()

    assert caught.value.code is Code.CORRUPT
