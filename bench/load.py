"""A closed-loop load client in its own process: N keep-alive connections, each with one request at a time.

``python bench/load.py PORT PATH CONNECTIONS SECONDS BODY_FILE`` prints one JSON line: rps, p50 and p99 in
milliseconds, answers that were not 200, answers by version and fallbacks. It does as little per answer
as it can, so that the server is what is measured.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path

import uvloop


class Caller(asyncio.Protocol):
    def __init__(self, request, results):
        self.request = request
        self.results = results
        self.buffer = b""
        self.need = 0

    def connection_made(self, transport):
        self.transport = transport
        self.ask()

    def ask(self):
        self.sent = time.perf_counter_ns()
        self.transport.write(self.request)

    def data_received(self, data):
        buffer = self.buffer = self.buffer + data if self.buffer else data
        if len(buffer) < self.need:
            return
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = buffer.find(b"content-length: ", 0, end)
        self.need = end + 4 + int(buffer[at + 16 : buffer.find(b"\r", at)])
        if len(buffer) < self.need:
            return
        self.results.take(time.perf_counter_ns() - self.sent, buffer, end)
        self.buffer = b""
        self.need = 0
        if not self.results.over:
            self.ask()

    def connection_lost(self, _exc):
        if not self.results.over:
            self.results.lost += 1


class Results:
    def __init__(self):
        self.over = False
        self.clear()

    def clear(self):
        self.latencies = []
        self.bad = self.lost = 0
        self.heads = Counter()

    def take(self, latency, buffer, end):
        self.latencies.append(latency)
        if buffer[9:12] != b"200":
            self.bad += 1
        at = buffer.find(b"lastgood-version: ", 0, end)
        if at > 0:
            version = buffer[at + 18 : buffer.find(b"\r", at)]
            self.heads[version if b"lastgood-fallback" not in buffer[:end] else version + b" fallback"] += 1


async def run(port, path, connections, seconds, body):
    request = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body
    results = Results()
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Caller(request, results), "127.0.0.1", port)
    await asyncio.sleep(min(0.5, seconds / 3))
    warm = len(results.latencies)
    results.clear()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    results.over = True
    ordered = sorted(results.latencies) or [0]
    return {
        "served": warm + len(results.latencies),
        "rps": len(results.latencies) / took,
        "p50": ordered[len(ordered) // 2] / 1e6,
        "p99": ordered[int(len(ordered) * 0.99)] / 1e6,
        "bad": results.bad + results.lost,
        "versions": {key.decode(): number for key, number in sorted(results.heads.items())},
    }


if __name__ == "__main__":
    port, path, connections, seconds, file = sys.argv[1:]
    body = Path(file).read_bytes()
    print(json.dumps(uvloop.run(run(int(port), path, int(connections), float(seconds), body))))
