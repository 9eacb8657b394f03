"""The life of a host process: limits, verification, loading, warm-up, serving, and saying where it is."""

import errno
import gc
import logging
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Final

import msgspec

from lastgood.errors import Code, LastgoodError
from lastgood.host.engine import Engine, warm_up
from lastgood.host.load import load_model, verify
from lastgood.host.loop import Loop
from lastgood.host.memory import limit_memory
from lastgood.host.model import Model
from lastgood.wire.fleet import HostSpec, HostState, HostStatus, write_status
from lastgood.wire.process import end_with_parent

log = logging.getLogger("lastgood.host")
EXIT_FAILED: Final = 3  # it said why in its status and must not be started again by itself
EXIT_OUT_OF_MEMORY: Final = errno.ENOMEM


def serve(spec_file: Path) -> int:
    """Run the host that ``RUN/hosts/KEY.spec.json`` describes until SIGTERM; return the exit status."""
    started = time.monotonic()
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides when a host ends
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    spec = msgspec.json.decode(spec_file.read_bytes(), type=HostSpec)
    run = spec_file.resolve().parent.parent
    status = HostStatus(key=spec.key, state=HostState.STARTING, pid=os.getpid())
    _say(run, status)
    limit_memory(spec.memory_bytes)
    try:
        model, engine = _prepare(spec)
    except LastgoodError as error:
        _failed(run, status, str(error), error.code)
        return EXIT_FAILED
    except MemoryError:
        limit = spec.memory_bytes >> 20
        _failed(run, status, f"The model does not fit into its limit of {limit} MiB.", Code.REFUSED)
        return EXIT_FAILED
    except Exception as error:  # told to the controller instead of a silent end  # noqa: BLE001
        traceback.print_exc()
        _failed(run, status, f"The host failed: {type(error).__name__}: {error}", Code.INTERNAL)
        return EXIT_FAILED
    loop = Loop(engine, Path(spec.socket))
    signal.signal(signal.SIGTERM, lambda _number, _frame: loop.stop())
    gc.collect()
    gc.freeze()  # what is loaded now stays: never walk it again
    gc.set_threshold(10_000, 20, 50)
    ready = msgspec.structs.replace(
        status,
        state=HostState.READY,
        signature=model.signature,
        loaded_seconds=time.monotonic() - started,
    )
    _say(run, ready)
    if not loop.run():
        text = f"The model used more than its limit of {spec.memory_bytes >> 20} MiB."
        _say(run, msgspec.structs.replace(ready, state=HostState.EXITED, error=text))
        return EXIT_OUT_OF_MEMORY
    return 0


def _prepare(spec: HostSpec) -> tuple[Model, Engine]:
    verify(spec)
    model = load_model(spec)
    engine = Engine(model, version=spec.version, max_rows=spec.max_rows)
    if model.signature is not None:
        warm_up(model, model.signature, max_rows=spec.max_rows)
    return model, engine


def _failed(run: Path, status: HostStatus, error: str, code: Code) -> None:
    log.error("%s", error)
    _say(run, msgspec.structs.replace(status, state=HostState.FAILED, error=error, code=code.value))


def _say(run: Path, status: HostStatus) -> None:
    try:
        write_status(run, status)
    except OSError as error:  # on a full disk a host can still serve
        log.warning("The host's status cannot be written: %s", error)
