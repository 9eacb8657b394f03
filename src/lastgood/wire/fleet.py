"""The fleet's two files: which model hosts the controller wants, and which ones the supervisor sees.

Level-triggered both ways: the controller replaces ``desired.json`` whenever its wish changes, the supervisor
starts and stops hosts until that is true and replaces ``observed.json``. Neither needs the
other alive; a supervisor that starts while the store is away brings up the last wish it finds. A file that cannot
be read, as a power cut leaves one, counts as not written yet, and whoever writes it replaces it.
"""

import logging
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import msgspec

from lastgood.domain.version import Format, Signature

log = logging.getLogger("lastgood.wire")
_Value = TypeVar("_Value")


class HostSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a host needs to load one version. ``artifact`` is a verified local file or folder."""

    key: str
    model: str
    version: int
    label: str | None = None
    digest: str
    format: Format
    factory: str | None = None
    signature: Signature | None = None
    artifact: str
    socket: str
    memory_bytes: int
    max_rows: int
    trust_pickle: bool = False
    trust_callable: bool = True
    trusted_types: tuple[str, ...] = ()


class HostState(StrEnum):
    """Where a host is."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"  # it loaded and said why it cannot serve; it is not restarted by itself
    EXITED = "exited"  # it ended; the supervisor starts it again after ``backoff``


class HostStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one host. ``starts`` counts its lives; ``error`` says why the last one ended.

    ``code`` is an error code when the host itself said why (``corrupt``, ``untrusted`` ...), else empty.
    """

    key: str
    state: HostState
    pid: int = 0
    starts: int = 0
    exit_status: int | None = None
    error: str = ""
    code: str = ""
    rss_bytes: int = 0
    loaded_seconds: float = 0.0
    signature: Signature | None = None


class Desired(msgspec.Struct, frozen=True):
    """The controller's wish."""

    hosts: tuple[HostSpec, ...] = ()


class Observed(msgspec.Struct, frozen=True):
    """The supervisor's view: hosts by key, and the pids of the live gateway workers by slot."""

    written_at: float = 0.0
    hosts: dict[str, HostStatus] = {}
    gateways: dict[int, int] = {}


def _write(path: Path, value: object) -> None:
    draft = path.with_suffix(f".{path.suffix}.draft")
    draft.write_bytes(msgspec.json.encode(value))
    draft.replace(path)


def write_desired(folder: Path, desired: Desired) -> None:
    """Replace the wish."""
    _write(folder / "desired.json", desired)


def write_observed(folder: Path, observed: Observed) -> None:
    """Replace the view."""
    _write(folder / "observed.json", observed)


def write_status(folder: Path, status: HostStatus) -> None:
    """Written by a host about itself, beside the two files."""
    _write(folder / "hosts" / f"{status.key}.json", status)


def last_desired(folder: Path) -> Desired | None:
    """Return the last wish, None when there is none or it cannot be read: that is not the wish for no hosts."""
    return _read(folder / "desired.json", Desired)


def read_desired(folder: Path) -> Desired:
    """Return the last wish; empty when there is none or it cannot be read."""
    return last_desired(folder) or Desired()


def read_observed(folder: Path) -> Observed:
    """Return the last view; empty when there is none or it cannot be read."""
    return _read(folder / "observed.json", Observed) or Observed()


def read_status(folder: Path, key: str) -> HostStatus | None:
    """Return what the host said of itself, None when it said nothing or that cannot be read."""
    return _read(folder / "hosts" / f"{key}.json", HostStatus)


def forget_status(folder: Path, key: str) -> None:
    """Drop what an earlier process of this host said of itself."""
    (folder / "hosts" / f"{key}.json").unlink(missing_ok=True)


def _read(path: Path, kind: type[_Value]) -> _Value | None:
    """Read one file; a power cut may leave it empty or half-written, and then it says nothing."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except ValueError as error:  # msgspec's errors, and bytes that are no UTF-8
        log.warning("%s says nothing that can be read: %s", path, error)
        return None
