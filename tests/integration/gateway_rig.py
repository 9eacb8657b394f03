"""A real gateway worker process, real HTTP, and a FAKE HOST: a small process that speaks frames on a unix socket.

The host is fake because the gateway's promises are about hosts that misbehave, and this one does so on
demand: a request's body says, per version, what its host shall do (``{"v2": "hang"}``). The real host
is tested in its own place and in the end-to-end tests.
"""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from lastgood.domain.route import Route, RouteTable, Target
from lastgood.settings import Settings
from lastgood.wire.frames import HEADER, Status, pack
from lastgood.wire.page import RoutePage
from lastgood.wire.process import PARENT_PID
from lastgood.wire.reports import WorkerReport, read_reports

DEADLINE = 60.0
STATUSES = {
    "bad": Status.BAD_INPUT,
    "error": Status.MODEL_ERROR,
    "invalid": Status.INVALID_OUTPUT,
    "too-large": Status.TOO_LARGE,
    "internal": Status.INTERNAL,
}


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Poll until ``condition`` holds, at most DEADLINE seconds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.005)


class Answer:
    """What a client saw."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.version = headers.get("lastgood-version")
        self.fallback = headers.get("lastgood-fallback")

    def json(self) -> dict:
        return json.loads(self.body)


class Rig:
    """A run folder, its hosts, its workers and a client."""

    def __init__(self, *, workers: int = 1, **settings: object) -> None:
        self.run = Path(tempfile.mkdtemp(prefix="lg-"))
        (self.run / "hosts").mkdir()
        self.page = RoutePage.open(self.run / "route.page")
        self.page.renew_lease(600)
        self.generation = 0
        self.hosts: dict[int, subprocess.Popen] = {}
        self.workers: dict[int, subprocess.Popen] = {}
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        values = {
            "home": str(self.run),
            "candidate_timeout": 0.4,
            "request_timeout": 4.0,
            "report_seconds": 0.05,
        }
        self.settings = Settings(**(values | settings))
        (self.run / "settings.json").write_bytes(msgspec.json.encode(self.settings))
        try:
            for slot in range(workers):
                self.start_worker(slot)
            wait_for(lambda: len(self.page.workers()) == workers, "workers claim their slots")
        except BaseException:
            self.close()  # nobody has the rig yet who could
            raise

    def start_worker(self, slot: int) -> None:
        fd = self.listening.fileno()
        command = [sys.executable, "-m", "lastgood.gateway", "--run", str(self.run), "--slot", str(slot)]
        command += ["--fd", str(fd), "--settings", str(self.run / "settings.json")]
        self.workers[slot] = subprocess.Popen(
            command, pass_fds=[fd], env=os.environ | {PARENT_PID: str(os.getpid())}
        )

    def socket_of(self, version: int) -> str:
        return str(self.run / "hosts" / f"v{version}.sock")

    def start_host(self, version: int) -> None:
        self.hosts[version] = subprocess.Popen(
            [sys.executable, __file__, self.socket_of(version), str(version)], stdout=subprocess.PIPE
        )
        with self.hosts[version].stdout as said:
            assert said.readline() == b"ready\n"

    def kill_host(self, version: int) -> None:
        host = self.hosts.pop(version)
        host.kill()
        host.wait()

    def target(self, version: int | None) -> Target | None:
        if version is None:
            return None
        return Target(
            version=version, label=f"v{version}.0", digest=f"sha256:{version}", socket=self.socket_of(version)
        )

    def route(self, stable: int | None, candidate: int | None = None, **more: object) -> Route:
        values = {"deployment": "churn", "model": "churn", "generation": self.generation + 1}
        if candidate is not None:
            values |= {"weight": 10_000, "release": 7, "stage": 1}
        values |= more
        values["standby"] = self.target(values.get("standby"))
        return Route(stable=self.target(stable), candidate=self.target(candidate), **values)

    def publish(self, *routes: Route, wait: bool = True) -> None:
        self.generation += 1
        assert self.page.publish(RouteTable(generation=self.generation, routes=routes))
        if wait:
            wait_for(self.acknowledged, "workers acknowledge the route")
            hosts = [version for version in self.hosts if self.hosts[version].poll() is None]
            wait_for(lambda: len(self.hosts_reached()) >= min(1, len(hosts)), "hosts are reached")

    def acknowledged(self) -> bool:
        return all(worker.generation >= self.generation for worker in self.page.workers())

    def hosts_reached(self) -> set[str]:
        index = self.ask("POST", "/v2/repository/index", {"ready": True}).json()
        return {entry["version"] for entry in index}

    def reach(self, *versions: int) -> None:
        """Wait until the gateway is connected to exactly these versions of its route."""
        wanted = {str(version) for version in versions}
        wait_for(lambda: self.hosts_reached() == wanted, f"hosts {wanted} reached")

    def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, raw, headers or {})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def infer(self, body: object = None, **headers: str) -> Answer:
        renamed = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", "/v2/models/churn/infer", body or {}, renamed)

    def report(self, slot: int = 0) -> WorkerReport:
        """Return the report that the worker wrote after everything so far was counted."""
        before = self.newest(slot)
        sequence = before.sequence if before is not None else 0
        wait_for(
            lambda: (self.newest(slot) or before) is not None and self.newest(slot).sequence > sequence,
            "report",
        )
        return self.newest(slot)

    def newest(self, slot: int) -> WorkerReport | None:
        found = [report for report in read_reports(self.run / "reports") if report.slot == slot]
        return max(found, key=lambda report: report.epoch, default=None)

    def close(self) -> None:
        for version in list(self.hosts):
            self.kill_host(version)
        for worker in self.workers.values():
            worker.terminate()
        for worker in self.workers.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(DEADLINE)
            if worker.poll() is None:
                worker.kill()
                worker.wait()
        self.listening.close()
        self.page.close()
        shutil.rmtree(self.run)


# --- the fake host's own process ------------------------------------------------------------------


async def converse(version: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            length, identifier, kind, _, name_bytes = HEADER.unpack(await reader.readexactly(HEADER.size))
            rest = await reader.readexactly(length - HEADER.size + 4)
            answer(version, identifier, kind, rest[:name_bytes].decode(), rest[name_bytes:], writer)
    except (asyncio.IncompleteReadError, ConnectionResetError):
        writer.close()


def answer(
    version: int, identifier: int, kind: int, name: str, body: bytes, writer: asyncio.StreamWriter
) -> None:
    if kind == 3:
        tensors = {"platform": "fake", "inputs": [], "outputs": []}
        writer.write(pack(identifier, Status.OK, b"", json.dumps(tensors).encode()))
        return
    obey(version, identifier, kind, name, body, writer)


def obey(
    version: int, identifier: int, kind: int, name: str, body: bytes, writer: asyncio.StreamWriter
) -> None:
    order = json.loads(body).get(f"v{version}", "ok") if body.startswith(b"{") else "ok"
    if order in STATUSES:
        writer.write(pack(identifier, STATUSES[order], b"", json.dumps({"error": f"fake {order}"}).encode()))
    elif order == "exit":
        os._exit(3)
    elif order == "garbage":
        writer.write(b"\xff" * 64)
    elif order == "nan-status":
        writer.write(pack(identifier, 200, b"", b"{}"))
    elif order == "twice":
        writer.write(
            pack(identifier, Status.OK, b"", b'{"answer": 1}')
            + pack(identifier, Status.OK, b"", b'{"answer": 2}')
        )
    elif order.startswith("counts:"):
        said = json.dumps({"version": version}).encode()
        writer.write(pack(identifier, Status.OK, order[7:].encode(), said))
    elif order == "counts-error":
        writer.write(pack(identifier, Status.MODEL_ERROR, b"low=0", b"{}"))
    elif order.startswith("size:"):
        said = {"version": version, "filler": "x" * int(order[5:])}
        writer.write(pack(identifier, Status.OK, b"", json.dumps(said).encode()))
    elif order != "hang":
        said = {"version": version, "kind": kind, "name": name, "bytes": len(body)}
        writer.write(pack(identifier, Status.OK, b"", json.dumps(said).encode()))


async def fake_host(path: str, version: int) -> None:
    server = await asyncio.start_unix_server(lambda reader, writer: converse(version, reader, writer), path)
    print("ready", flush=True)  # noqa: T201
    await server.serve_forever()


if __name__ == "__main__":
    Path(sys.argv[1]).unlink(missing_ok=True)
    asyncio.run(fake_host(sys.argv[1], int(sys.argv[2])))
