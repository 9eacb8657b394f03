"""``python -m lastgood.gateway --run RUN_DIR --slot N --fd FD --settings FILE.json`` runs one worker.

The supervisor starts it; FD is a listening TCP socket that all workers share. It ends with its parent.
"""

import argparse
from pathlib import Path

import msgspec

from lastgood.gateway.worker import run_worker
from lastgood.settings import Settings
from lastgood.wire.process import end_with_parent


def main() -> None:
    """Read the arguments and serve."""
    end_with_parent()
    parser = argparse.ArgumentParser(prog="python -m lastgood.gateway", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="the run folder")
    parser.add_argument(
        "--slot", type=int, required=True, help="this worker's slot on the route page, from 0"
    )
    parser.add_argument("--fd", type=int, required=True, help="the inherited listening socket")
    parser.add_argument("--settings", type=Path, required=True, help="Settings as JSON")
    given = parser.parse_args()
    settings = msgspec.json.decode(given.settings.read_bytes(), type=Settings)
    run_worker(given.run, given.slot, given.fd, settings)


if __name__ == "__main__":
    main()
