"""A home on this machine: its folders, its database, and the one process that may control it."""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lastgood.errors import Code, LastgoodError
from lastgood.settings import Settings
from lastgood.store.database import Database
from lastgood.store.migrate import open_store
from lastgood.wire import private

_RUN_FOLDERS: Final = ("hosts", "reports", "logs")


def prepare(settings: Settings) -> None:
    """Make the home and run folders and the API token, for their owner only; harmless when they are there.

    :raises LastgoodError: ``refused`` when one of them is a link, or somebody else could write to it.
    """
    private.make_own_folder(Path(settings.home))
    run = settings.run
    predictions = settings.prediction_log.parent
    for folder in (settings.blobs, predictions, run, *(run / name for name in _RUN_FOLDERS)):
        private.make_folder(folder)
    if not private.has_content(settings.token_file):
        with private.turn(Path(settings.home)):
            if not private.has_content(settings.token_file):
                private.write_file(settings.token_file, secrets.token_urlsafe(32).encode())


def open_database(settings: Settings) -> Database:
    """Open the store's file, which its owner alone can read, as SQLite then keeps the files beside it."""
    private.make_file(settings.database)
    return open_store(settings.database)


@contextlib.contextmanager
def controlling(settings: Settings, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Be the one process that changes routes on this machine, for as long as the block lasts.

    :raises LastgoodError: ``conflict`` when another process still is after ``wait_seconds``.
    """
    prepare(settings)
    descriptor = os.open(settings.run / "controller.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_seconds
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise LastgoodError(
                        Code.CONFLICT,
                        "Another process controls this machine's routes.",
                        "Give the command to the running server; see 'lastgood status'.",
                    ) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)
