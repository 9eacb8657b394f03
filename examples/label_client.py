"""A clinic: real patients' rows over HTTP, and later, out of order, what the biopsy said of each.

    python examples/label_client.py URL stream.json

The stream is a list of rows with their truths, sent in any order as one matrix each; or it names ``columns``, which become
an input each, and its ``rows`` are sent one after the other, and again from the first. Sends until SIGTERM, each row with an id of its own. About once a second it hands in, by ``lastgood feedback``, the truth
about requests that are at least a second old, shuffled, some of it twice.
"""

import http.client
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

LABEL_SECONDS = 1.0  # how long a biopsy takes here
RUN = os.getpid()  # ids of two clients differ


class Clinic:
    """Sends patients and keeps what is true of them until it is known."""

    def __init__(self, url: str, stream: list[tuple[list[float], int]] | dict) -> None:
        self.url = urllib.parse.urlsplit(url)
        self.columns = stream["columns"] if isinstance(stream, dict) else []
        self.stream = stream["rows"] if isinstance(stream, dict) else stream
        self.order = itertools.cycle(self.stream)
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.open: list[tuple[float, str, int]] = []
        self.requests = self.failures = 0

    def send(self, name: str) -> None:
        """Send one patient after another, drawn by a seed."""
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=15)
        chance = random.Random(name)
        number = 0
        while not self.stop.is_set():
            number += 1
            row, malignant = next(self.order) if self.columns else chance.choice(self.stream)
            id_ = f"{RUN}-{name}-{number}"
            headers = {"content-type": "application/json", "lastgood-id": id_}
            connection.request("POST", self.url.path, json.dumps({"inputs": self.inputs(row)}), headers)
            answer = connection.getresponse()
            answer.read()
            with self.lock:
                self.requests += 1
                self.failures += answer.status != 200
                self.open.append((time.time(), id_, malignant))
            time.sleep(0.005)

    def inputs(self, row: list[float]) -> list[dict]:
        """Return a row as the model takes it."""
        if not self.columns:
            return [{"name": "input", "shape": [1, len(row)], "datatype": "FP64", "data": row}]
        named = zip(self.columns, row, strict=True)
        return [{"name": name, "shape": [1, 1], "datatype": "FP32", "data": [value]} for name, value in named]

    def hand_in(self, folder: Path, chance: random.Random) -> None:
        """Write what is known by now and give it to Lastgood."""
        with self.lock:
            due = time.time() - LABEL_SECONDS
            known = [one for one in self.open if one[0] < due]
            self.open = [one for one in self.open if one[0] >= due]
        again = chance.sample(known, len(known) // 10)
        rows = [
            f"{id_},{malignant}" for _, id_, malignant in chance.sample(known + again, len(known + again))
        ]
        if rows:
            file = folder / "labels.csv"
            file.write_text("\n".join(["patient,malignant", *rows]) + "\n")
            columns = ("--id-column", "patient", "--value-column", "malignant")
            subprocess.run(
                ["lastgood", "feedback", str(file), *columns], check=True, stdout=subprocess.DEVNULL
            )


def main() -> None:
    """Run until told to stop."""
    url, path = sys.argv[1:3]
    clinic = Clinic(url, json.loads(Path(path).read_text()))
    signal.signal(signal.SIGTERM, lambda *_: clinic.stop.set())
    senders = [
        threading.Thread(target=clinic.send, args=(name,)) for name in ("north", "east", "south", "west")
    ]
    for sender in senders:
        sender.start()
    chance = random.Random(7)
    while not clinic.stop.wait(1.0):
        clinic.hand_in(Path.cwd(), chance)
    for sender in senders:
        sender.join()
    print(f"\nclinic: {clinic.requests} requests, {clinic.failures} failures")
    raise SystemExit(1 if clinic.failures else 0)


if __name__ == "__main__":
    main()
