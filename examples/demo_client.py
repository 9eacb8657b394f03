"""A client like any other: real rows over HTTP on a few keep-alive connections, and a count of what came back.

    python examples/demo_client.py URL rows.json summary.json [connections]

Runs until it gets SIGTERM (or for ten minutes), then writes its counts. It knows nothing of versions and
releases; it notes which version answered because the answers say so.
"""

import collections
import http.client
import json
import signal
import sys
import threading
import time
import urllib.parse
from pathlib import Path

LONGEST_SECONDS = 600.0


class Client:
    """Sends one row after another and counts the answers."""

    def __init__(self, url: str, rows: list[list[float]]) -> None:
        self.url = urllib.parse.urlsplit(url)
        self.rows = rows
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.requests = 0
        self.failures: collections.Counter[str] = collections.Counter()
        self.versions: collections.Counter[str] = collections.Counter()
        self.fallbacks: collections.Counter[str] = collections.Counter()

    def run(self, offset: int) -> None:
        """Keep one connection busy."""
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=15)
        number = offset
        while not self.stop.is_set():
            row = self.rows[number % len(self.rows)]
            body = json.dumps(
                {
                    "id": str(number),
                    "inputs": [{"name": "rows", "shape": [1, len(row)], "datatype": "FP32", "data": row}],
                }
            )
            number += 7
            try:
                connection.request("POST", self.url.path, body, {"content-type": "application/json"})
                answer = connection.getresponse()
                payload = json.loads(answer.read())
                value = payload["outputs"][0]["data"][0] if answer.status == 200 else None
                problem = "" if value is not None and 0.0 <= value <= 1.0 else f"{answer.status}: {payload}"
                self.count(
                    problem, answer.headers.get("lastgood-label"), answer.headers.get("lastgood-fallback")
                )
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.count(f"{type(error).__name__}: {error}", None, None)
                connection.close()
            time.sleep(0.002)

    def count(self, problem: str, version: str | None, fallback: str | None) -> None:
        """Note one answer."""
        with self.lock:
            self.requests += 1
            if problem:
                self.failures[problem[:200]] += 1
            if version:
                self.versions[version] += 1
            if fallback:
                self.fallbacks[fallback] += 1

    def summary(self) -> dict[str, object]:
        """Return the counts."""
        return {
            "requests": self.requests,
            "failures": sum(self.failures.values()),
            "problems": dict(self.failures),
            "versions": dict(self.versions),
            "fallbacks": dict(self.fallbacks),
        }


def main() -> None:
    """Load the rows, send until told to stop, write the summary."""
    url, rows_file, summary_file = sys.argv[1:4]
    connections = int(sys.argv[4]) if len(sys.argv) > 4 else 4
    client = Client(url, json.loads(Path(rows_file).read_text()))
    signal.signal(signal.SIGTERM, lambda *_: client.stop.set())
    signal.signal(signal.SIGINT, lambda *_: client.stop.set())
    threads = [threading.Thread(target=client.run, args=(index * 131,)) for index in range(connections)]
    for thread in threads:
        thread.start()
    client.stop.wait(LONGEST_SECONDS)
    client.stop.set()
    for thread in threads:
        thread.join()
    Path(summary_file).write_text(json.dumps(client.summary()))


if __name__ == "__main__":
    main()
