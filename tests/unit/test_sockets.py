"""Sockets whose path is longer than the kernel takes, in every way that the program uses one."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import uvloop

from lastgood.control.router import PageRouter
from lastgood.domain.route import RouteTable
from lastgood.wire.page import RoutePage
from lastgood.wire.sockets import PATH_BYTES_MAX, short_path


@pytest.fixture
def deep(tmp_path):
    """A folder whose own path is twice as long as a socket's may be, in letters of three bytes."""
    folder = tmp_path / ("模" * 60) / ("模" * 60)
    folder.mkdir(parents=True)
    return folder


def listening(path):
    listener = socket.socket(socket.AF_UNIX)
    with short_path(path) as address:
        listener.bind(address)
    listener.listen()
    return listener


def open_files():
    return sorted(Path("/proc/self/fd").iterdir())


def test_a_path_that_fits_is_used_as_it_is():
    """107 bytes are given unchanged, whether or not the folder is there."""
    path = "/" + "n" * (PATH_BYTES_MAX - 1)
    with short_path(path) as address:
        assert address == path


def test_a_long_path_names_the_same_socket_in_every_process(deep):
    """What one process binds lies at the real path, and another process connects to it by that path."""
    connect = (
        "import socket, sys; from lastgood.wire.hostclient import HostClient; "
        "HostClient(sys.argv[1]).close(); print('connected')"
    )
    with listening(deep / "a.sock"):
        assert (deep / "a.sock").is_socket()
        done = subprocess.run(
            [sys.executable, "-c", connect, str(deep / "a.sock")], capture_output=True, text=True, check=False
        )
    assert done.stdout == "connected\n", done.stderr


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_event_loops_connect_to_a_long_path(deep, run):
    """Both event loops reach the socket while the block lasts, and the connection outlives the block."""

    async def talk():
        with short_path(deep / "a.sock") as address:
            _, writer = await asyncio.open_unix_connection(address)
        writer.write(b"hello")
        await writer.drain()
        with accepted.accept()[0] as other:
            said = other.recv(16)
        writer.close()
        await writer.wait_closed()
        return said

    with listening(deep / "a.sock") as accepted:
        assert run(talk()) == b"hello"


def test_the_router_nudges_a_worker_at_a_long_path(deep):
    """A publication wakes the worker of a run folder that lies too deep for a socket's path."""
    page = RoutePage.open(deep / "route.page")
    page.claim(3, os.getpid())
    router = PageRouter(deep)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as worker:
        worker.setblocking(False)
        with short_path(deep / "gateway-3.sock") as address:
            worker.bind(address)
        assert router.publish(RouteTable(generation=1))
        assert worker.recv(16) == b"g"
    router.close()
    page.close()


def test_nothing_stays_open(deep):
    """Neither use nor failure leaves a descriptor, and a folder that is gone is an OSError."""
    before = open_files()
    with short_path(deep / "a.sock") as address:
        assert len(address) <= PATH_BYTES_MAX
    with pytest.raises(FileNotFoundError), short_path(deep / "gone" / "a.sock"):
        pass
    assert open_files() == before
