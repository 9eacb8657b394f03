"""An application like any other that writes to the feature table: one order at a time, until SIGTERM, and a count.

    python examples/demo_writer.py features.db summary.json

It knows nothing of versions and releases. Orders are numbered from 1 on; a commit that fails would end it with an error.
"""

import json
import random
import signal
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path

LONGEST_SECONDS = 600.0


def main() -> None:
    """Commit orders until told to stop, write the summary."""
    path, summary = sys.argv[1:3]
    stop, chance, committed = threading.Event(), random.Random(11), 0
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as features:
        while not stop.wait(0.005) and committed < LONGEST_SECONDS / 0.005:
            order = (committed + 1, chance.randrange(1000), round(chance.uniform(1, 200), 2))
            features.execute("INSERT INTO orders VALUES (?, ?, ?)", order)
            committed += 1
    Path(summary).write_text(json.dumps({"committed": committed}))


if __name__ == "__main__":
    main()
