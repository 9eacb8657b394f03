"""A real supervisor with real hosts: what dies is restarted, what is not wanted ends, and nothing is left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from supervise_rig import fragile, pids, ready, start, supervising, until, want

from lastgood.domain.version import Format
from lastgood.errors import Code, LastgoodError
from lastgood.supervise.fleet import LocalFleet
from lastgood.supervise.processes import Child, explain_exit
from lastgood.supervise.supervisor import RunLock, listen
from lastgood.wire.fleet import (
    Desired,
    HostState,
    read_observed,
)
from lastgood.wire.frames import Request, Status
from lastgood.wire.hostclient import HostClient
from models import host_spec, is_alive, save_onnx, v2_body, wait_for


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def supervisor(run: Path) -> Iterator[subprocess.Popen[bytes]]:
    with supervising(run) as process:
        yield process


def test_hosts_follow_the_wish(run: Path, supervisor: subprocess.Popen[bytes]) -> None:
    """A wanted host is started with its signature told, a changed one replaced, an unwanted one ended."""
    spec = host_spec(run, save_onnx(run), Format.ONNX)
    want(run, spec)
    first = ready(run)
    assert first.signature is not None
    want(run, host_spec(run, Path(spec.artifact), Format.ONNX, max_rows=7))
    second = until(run, lambda status: status.state is HostState.READY and status.pid != first.pid)
    wait_for(lambda: not is_alive(first.pid))
    with HostClient(spec.socket) as client:
        assert client.ping(5)
    want(run)
    wait_for(lambda: not is_alive(second.pid))

    assert read_observed(run).hosts == {}


def test_a_killed_host_is_restarted(run: Path, supervisor: subprocess.Popen[bytes]) -> None:
    """A host killed from outside serves again under another pid, and how the last one ended is told."""
    want(run, spec := fragile(run))
    first = ready(run)
    os.kill(first.pid, signal.SIGKILL)
    second = ready(run, starts=2)

    assert second.pid != first.pid
    assert second.exit_status == -signal.SIGKILL
    assert "SIGKILL" in second.error
    with HostClient(spec.socket) as client:
        assert client.infer("demo", v2_body([[1, 2]], name="x"))[0] is Status.OK


def test_a_segfault_ends_one_host_only(run: Path, supervisor: subprocess.Popen[bytes]) -> None:
    """A model that segfaults takes its own process with it; the others go on, and it is restarted."""
    other = fragile(run, key="demo-2", socket=str(run / "demo-2.sock"))
    want(run, spec := fragile(run), other)
    ready(run)
    before = until(run, lambda status: status.state is HostState.READY, "demo-2")
    with HostClient(spec.socket) as client, pytest.raises(LastgoodError) as caught:
        client.infer("demo", v2_body([[99, 0]], name="x"))

    assert caught.value.code is Code.UNAVAILABLE
    assert ready(run, starts=2).exit_status == -signal.SIGSEGV
    assert until(run, lambda _: True, "demo-2").pid == before.pid


def test_memory_over_the_limit_is_ended_and_told(run: Path, supervisor: subprocess.Popen[bytes]) -> None:
    """A leak ends its host, with the limit named, and the host comes back."""
    want(run, spec := fragile(run, memory_bytes=400 * 1024**2))
    ready(run)
    with HostClient(spec.socket) as client:
        status, _ = client.infer("demo", v2_body([[77, 0]], name="x"))

    assert status is Status.MODEL_ERROR
    assert "400 MiB" in ready(run, starts=2).error


def test_memory_beyond_the_kernels_limit_is_ended_by_the_supervisor(
    run: Path, supervisor: subprocess.Popen[bytes]
) -> None:
    """A host whose resident memory passes its limit by ways that the kernel does not count is killed."""
    want(run, spec := fragile(run, memory_bytes=700 * 1024**2))
    ready(run)
    for _ in range(2):
        with HostClient(spec.socket) as client, contextlib.suppress(LastgoodError):
            client.infer("demo", v2_body([[78, 0]], name="x"))

    assert ready(run, starts=2).error == "killed: used more than 700 MiB"


def test_a_failed_host_waits_for_another_wish(run: Path, supervisor: subprocess.Popen[bytes]) -> None:
    """A host that says why it cannot serve is started once, and again only when its specification changes."""
    spec = fragile(run, digest="sha256:" + "0" * 64)
    want(run, spec)
    failed = until(run, lambda status: status.state is HostState.FAILED)
    assert (failed.code, failed.starts, failed.exit_status) == (Code.CORRUPT, 1, 3)
    os.kill(supervisor.pid, signal.SIGCHLD)  # look again
    want(run, spec, fragile(run, key="demo-2", socket=str(run / "demo-2.sock")))
    until(run, lambda status: status.state is HostState.READY, "demo-2")

    assert until(run, lambda _: True).starts == 1
    want(run, fragile(run))
    assert ready(run).state is HostState.READY


def test_a_hanging_model_misses_its_checks(run: Path, supervisor: subprocess.Popen[bytes]) -> None:
    """Health checks of a host that hangs are counted as misses; those of its neighbour stay at none."""
    hung, well = fragile(run), fragile(run, key="demo-2", socket=str(run / "demo-2.sock"))
    fleet = LocalFleet(run, interval=0.02, timeout=0.3)
    try:
        fleet.want(Desired((hung, well)))
        ready(run)
        until(run, lambda status: status.state is HostState.READY, "demo-2")
        wait_for(lambda: fleet.misses(hung.socket) == 0 and fleet.misses(well.socket) == 0)
        with HostClient(hung.socket) as client, pytest.raises(LastgoodError) as caught:
            client.ask(Request.INFER, "demo", v2_body([[60, 0]], name="x"), timeout=0.1)
        assert caught.value.code is Code.TIMEOUT
        wait_for(lambda: fleet.misses(hung.socket) >= 3)

        assert fleet.misses(well.socket) == 0
        assert fleet.misses("nobody.sock") == 0
        assert fleet.observe().hosts["demo-1"].state is HostState.READY
        os.kill(fleet.observe().hosts["demo-1"].pid, signal.SIGKILL)
        wait_for(lambda: fleet.misses(hung.socket) == 0)
    finally:
        fleet.close()


def test_a_host_that_took_its_time_to_load_has_missed_nothing(
    run: Path, supervisor: subprocess.Popen[bytes]
) -> None:
    """Checks that nobody could answer while the host was loading do not count once it is seen to be ready."""
    fleet = LocalFleet(run, interval=3600.0, timeout=0.3)
    try:
        fleet.want(Desired((spec := fragile(run),)))
        wait_for(lambda: fleet.misses(spec.socket) == 1)
        ready(run)

        assert fleet.observe().hosts["demo-1"].state is HostState.READY
        assert fleet.misses(spec.socket) == 0
    finally:
        fleet.close()


def test_the_wish_is_written_only_when_it_changes(run: Path) -> None:
    """Saying the same wish again leaves the file alone, in this process or in the next one."""
    fleet = LocalFleet(run, interval=0.05, timeout=0.05)
    fleet.want(Desired())
    before = (run / "desired.json").stat()
    fleet.want(Desired())
    fleet.close()
    again = LocalFleet(run, interval=0.05, timeout=0.05)
    again.want(Desired())
    again.close()

    assert (run / "desired.json").stat().st_ino == before.st_ino


def ask_worker(run: Path) -> int:
    import socket

    with socket.create_connection(("127.0.0.1", int((run / "port").read_text())), timeout=60) as client:
        return int(client.recv(32))


def test_workers_share_a_listener_and_are_restarted(run: Path, supervisor: subprocess.Popen[bytes]) -> None:
    """A killed worker is replaced in its slot, and every connection made meanwhile is answered."""
    first = read_observed(run).gateways
    os.kill(first[1], signal.SIGKILL)
    wait_for(lambda: not is_alive(first[1]))  # until it is dead it may take a connection to its grave
    answers = {ask_worker(run) for _ in range(20)}
    second = wait_for(lambda: (now := read_observed(run).gateways).get(1) not in {None, first[1]} and now)

    assert second[0] == first[0]
    assert answers <= {*first.values(), *second.values()}


def test_a_second_supervisor_is_refused(run: Path, supervisor: subprocess.Popen[bytes]) -> None:
    """Two supervisors cannot run on one home: the second one is told the pid of the first."""
    with pytest.raises(LastgoodError, match=str(supervisor.pid)) as caught:
        RunLock.take(run)

    assert caught.value.code is Code.CONFLICT


def test_a_killed_supervisor_leaves_nothing_and_the_next_takes_over(run: Path) -> None:
    """After kill -9 its children end by themselves or by the successor, which brings up the same hosts."""
    first = start(run)
    want(run, fragile(run))
    before = ready(run)
    with HostClient(before_socket(run)) as client, pytest.raises(LastgoodError):
        client.ask(Request.INFER, "demo", v2_body([[60, 0]], name="x"), timeout=0.1)
    old = pids(run)
    first.kill()
    first.wait()
    second = start(run)
    try:
        after = until(run, lambda status: status.state is HostState.READY and status.pid not in old)
        assert after.pid != before.pid
        assert not [pid for pid in old if is_alive(pid)]
    finally:
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0


def before_socket(run: Path) -> str:
    return str(json.loads((run / "hosts" / "demo-1.spec.json").read_text())["socket"])


def test_a_child_that_will_not_end_is_killed_with_its_own_children(run: Path) -> None:
    """Past its deadline a child that ignores SIGTERM is killed, and so is what it had started."""
    stubborn = (
        "import signal, subprocess, sys, pathlib\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "inner = subprocess.Popen(['sleep', '3600'])\n"
        "pathlib.Path(sys.argv[1]).write_text(str(inner.pid))\n"
        "signal.pause()\n"
    )
    child = Child("stubborn", [sys.executable, "-c", stubborn, str(run / "inner")], run=run)
    child.start()
    pid = child.pid
    inner = int(wait_for(lambda: (run / "inner").exists() and (run / "inner").read_text()))
    child.terminate(0.0)
    wait_for(child.gone)
    wait_for(lambda: not is_alive(inner))

    assert not is_alive(pid)
    assert explain_exit(child.exit_status or 0) == "It was killed by SIGKILL."


def test_a_taken_port_is_a_conflict() -> None:
    """Listening where somebody listens already says so, and on port 0 a free one is found."""
    with listen("127.0.0.1", 0) as first, pytest.raises(LastgoodError) as caught:
        listen("127.0.0.1", first.getsockname()[1])

    assert caught.value.code is Code.CONFLICT
