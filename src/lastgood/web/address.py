"""Where the control API listens, and which life of which process does: ``api.json`` in the run folder."""

from pathlib import Path

import msgspec


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """What the controller's process says of itself.

    ``started`` is when it did, in clock ticks since boot: a process that has its pid later has another one.
    """

    url: str
    pid: int
    started: int


def address_path(run: Path) -> Path:
    """Return where the address is kept."""
    return run / "api.json"


def write_address(run: Path, address: Address) -> None:
    """Replace the address."""
    draft = address_path(run).with_suffix(".draft")
    draft.write_bytes(msgspec.json.encode(address))
    draft.replace(address_path(run))


def read_address(run: Path) -> Address:
    """Return the address.

    :raises OSError: when there is none.
    :raises msgspec.DecodeError: when it is not one.
    """
    return msgspec.json.decode(address_path(run).read_bytes(), type=Address)
