"""Rollback under load, as a client sees it: from sending the command to the last answer of the version left.

The real server (two gateway workers, ONNX hosts) under a closed loop of 16 connections; fifty rollbacks by hand through
the control API, back and forth between two good versions. The clock starts *before* the command is sent, so the
figures include the way to the API. Also measured: the publication alone (the page, with a table of 1 and of 100 routes).
"""

import asyncio
import http.client
import json
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop
from rig import demo_models, project

from lastgood.domain.route import Route, RouteTable, Target
from lastgood.wire.page import RoutePage

TRIES = 50
CONNECTIONS = 16
ROW = [0.1] * 30
BODY = json.dumps({"inputs": [{"name": "rows", "shape": [1, 30], "datatype": "FP32", "data": ROW}]}).encode()


def load(port: int, pipe: Connection) -> None:
    """Keep 16 connections busy; on request, say when each version last answered and how many requests failed."""
    request = (
        b"POST /v2/models/churn/infer HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n" % len(BODY)
    ) + BODY
    last: dict[bytes, float] = {}
    counts = {"requests": 0, "failures": 0}

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while True:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            length = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            counts["requests"] += 1
            if head[9:12] != b"200":
                counts["failures"] += 1
                continue
            last[lower.split(b"lastgood-version: ")[1].split(b"\r\n")[0]] = time.monotonic()

    def answer() -> None:
        if pipe.recv() == "stop":
            os._exit(0)
        pipe.send(({int(version): at for version, at in last.items()}, dict(counts)))

    async def main() -> None:
        asyncio.get_running_loop().add_reader(pipe.fileno(), answer)
        await asyncio.gather(*(one() for _ in range(CONNECTIONS)))

    uvloop.run(main())


def command(server: project.Project, token: str, version: int) -> tuple[float, dict]:
    """Send one rollback; return when it was sent (CLOCK_MONOTONIC) and the answer."""
    api = http.client.HTTPConnection("127.0.0.1", server.api_port, timeout=60)
    api.connect()
    body = json.dumps({"version": str(version), "keep": True, "reason": "bench", "actor": "bench"})
    sent = time.monotonic()
    api.request(
        "POST",
        "/api/v1/deployments/churn/rollback",
        body,
        {"authorization": f"Bearer {token}", "content-type": "application/json"},
    )
    answer = api.getresponse()
    data = json.loads(answer.read())
    api.close()
    if answer.status != 200:
        raise SystemExit(f"the rollback was refused: {data}")
    return sent, data


def publication() -> dict[int, float]:
    """Return the median milliseconds of one publication, by number of routes in the table."""
    found = {}
    for routes in (1, 100):
        with tempfile.TemporaryDirectory() as folder:
            page = RoutePage.open(Path(folder) / "route.page")
            times = []
            for generation in range(1, 401):
                stable = Target(
                    version=1, label="v1.0", digest="sha256:" + "0" * 64, socket="run/hosts/v1.sock"
                )
                table = RouteTable(
                    generation=generation,
                    routes=tuple(
                        Route(
                            deployment=f"d{number}",
                            model="churn",
                            generation=generation,
                            stable=stable,
                            standby=stable,
                        )
                        for number in range(routes)
                    ),
                )
                began = time.perf_counter()
                page.publish(table)
                times.append((time.perf_counter() - began) * 1000)
            page.close()
            found[routes] = statistics.median(times)
    return found


def main() -> int:
    """Print medians, p99 and failures; return 1 when a goal is missed."""
    folder = Path(tempfile.mkdtemp(prefix="lastgood-bench-"))
    demo_models.build(folder)
    server = project.Project(folder)
    for label in ("v1.0", "v1.2"):
        server.cli("register", "churn", f"{label}.onnx", "--label", label)
    server.start()
    here, there = multiprocessing.Pipe()
    client = multiprocessing.get_context("spawn").Process(target=load, args=(server.port, there), daemon=True)
    try:
        server.cli("release", "churn", "--version", "1", "--wait")
        server.cli("release", "churn", "--version", "2", "--strategy", "all_at_once")
        while server.data("status", "churn")["release"]["phase"] != "watching":
            time.sleep(0.1)
        token = (folder / ".lastgood" / "token").read_text().strip()
        client.start()
        time.sleep(2.0)
        seen_last, published, verified = [], [], []
        serving = 2
        for _ in range(TRIES):
            target = 3 - serving
            sent, answer = command(server, token, target)
            time.sleep(0.15)
            here.send("report")
            last, counts = here.recv()
            seen_last.append(max(0.0, (last.get(serving, 0.0) - sent) * 1000))
            published.append(answer["published_ms"])
            verified.append(answer["verified_ms"])
            serving = target
        here.send("stop")
    finally:
        client.kill()
        server.stop()
        shutil.rmtree(folder)

    alone = publication()
    worst = max(seen_last)
    print(f"rollback under load, {TRIES} tries, {CONNECTIONS} connections, {counts['requests']} requests")
    print(
        f"  command sent to last answer of the version left: median {statistics.median(seen_last):.1f} ms, worst {worst:.1f} ms"
    )
    print(f"  route published (in the controller):             median {statistics.median(published):.1f} ms")
    print(f"  verified on every gateway:                       median {statistics.median(verified):.1f} ms")
    print(f"  publication alone: {alone[1]:.3f} ms with 1 route, {alone[100]:.3f} ms with 100")
    print(f"  failed requests: {counts['failures']}")
    good = statistics.median(seen_last) <= 10 and worst <= 50 and counts["failures"] == 0 and alone[1] <= 1
    print(
        f"  goals (median <= 10, worst <= 50, 0 failures, publication <= 1): {'reached' if good else 'NOT REACHED'}"
    )
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
