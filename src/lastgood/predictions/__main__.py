"""``python -m lastgood.predictions --settings RUN/settings.json``: the recorder's process. It ends with its parent."""

import argparse
import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import Final

import msgspec

from lastgood.predictions.clock import RetentionClock
from lastgood.predictions.labels import on_added
from lastgood.predictions.log import PredictionLog
from lastgood.predictions.recorder import Recorder
from lastgood.settings import Settings
from lastgood.wire.process import end_with_parent

_POLL_SECONDS: Final = 0.1
_FAREWELL_SECONDS: Final = 2.0
_NICE: Final = 15
_log: Final = logging.getLogger(__name__)


def main() -> None:
    """Record until SIGTERM, then take what the gateways left last."""
    end_with_parent()
    parser = argparse.ArgumentParser(prog="python -m lastgood.predictions")
    parser.add_argument("--settings", type=Path, required=True)
    path = parser.parse_args().settings
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: ending.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides in which order its children end
    os.nice(_NICE)  # what serves comes first; a log that cannot follow drops, and says so
    run(msgspec.json.decode(path.read_bytes(), type=Settings), ending)


def run(settings: Settings, ending: threading.Event) -> None:
    """Record until ``ending`` is set; what is left then is taken, if that does not take long."""
    log = PredictionLog(settings.prediction_log, on_added=(on_added,))
    recorder = Recorder(
        log,
        settings.incoming_predictions,
        keep_seconds=settings.keep_predictions,
        bytes_max=settings.keep_predictions_bytes,
    )
    clock = RetentionClock(time.time(), _steady())
    while not ending.is_set():
        if not _step(recorder, clock):
            ending.wait(_POLL_SECONDS)
    deadline = time.monotonic() + _FAREWELL_SECONDS
    while _step(recorder, clock) and time.monotonic() < deadline:
        continue
    recorder.finish(time.time())
    log.close()


def _step(recorder: Recorder, clock: RetentionClock) -> bool:
    now, doubted = time.time(), clock.doubting
    believed = clock.believed(now, _steady())
    if clock.doubting and not doubted:
        _log.warning(
            "The system's clock has jumped ahead: for a day, no prediction is dropped for its age by it"
        )
    return recorder.step(now, believed=believed)


def _steady() -> float:
    """Return seconds that go on while the machine sleeps, and that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


if __name__ == "__main__":
    main()
