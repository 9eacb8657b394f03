"""Frames between a gateway worker and a model host, over a unix stream socket.

A request or an answer is one frame; several may share one write, and whatever a host finds waiting is
one micro-batch. All integers are little-endian::

    u32 length    of everything after this field
    u32 id        chosen by the gateway, echoed by the host; unique per connection while in flight
    u8  kind      a Request kind, or a Status in an answer
    u8  reserved  0
    u16 name      length of the name field, which comes before the body
    ... name, body

In a request the name is the deployment's. In an answer it is mostly empty; a version that counts something of its
own says there, for this one request, what was bad (1) and what was not: ``low_confidence=0,no_address=1``. The body
is the JSON that the caller sent, or that the caller will receive: the gateway does not parse it.
"""

import re
import struct
from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple

from lastgood.domain.traffic import MAX_COUNTERS

HEADER: Final = struct.Struct("<IIBBH")
HEADER_BYTES: Final = HEADER.size
_AFTER_LENGTH: Final = HEADER_BYTES - 4
MAX_FRAME_BYTES: Final = 256 * 1024 * 1024
COUNTER_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_COUNT: Final = re.compile(rb"([a-z][a-z0-9_]{0,31})=([01])")


class Request(IntEnum):
    """What the gateway asks."""

    INFER = 1  # an Open Inference Protocol V2 body
    INVOCATIONS = 2  # an MLflow scoring body
    METADATA = 3  # no body; the answer is the V2 model metadata's inputs, outputs and platform
    PING = 4  # no body; an empty OK says that the loop of the host runs


class Status(IntEnum):
    """How the host answered. Only ``MODEL_ERROR`` and ``INVALID_OUTPUT`` count against the version."""

    OK = 0
    BAD_INPUT = 1  # the caller's fault: malformed JSON, wrong name, dtype or shape
    MODEL_ERROR = 2  # the model raised
    INVALID_OUTPUT = 3  # NaN, infinity, wrong shape or wrong number of rows
    TOO_LARGE = 4  # more rows than the host accepts
    INTERNAL = 5  # the host itself failed


CALLERS_FAULT: Final = {Status.BAD_INPUT: 400, Status.TOO_LARGE: 413}
"""The HTTP status of what a host refused for what the caller asked."""


class Counts(NamedTuple):
    """What a version counted of one request: ``text`` as it was sent, and whether each counter was ``bad``."""

    text: bytes
    bad: tuple[tuple[str, bool], ...]


def pack(identifier: int, kind: int, name: bytes, body: bytes) -> bytes:
    """Return one frame."""
    return HEADER.pack(_AFTER_LENGTH + len(name) + len(body), identifier, kind, 0, len(name)) + name + body


def pack_counts(bad: Iterable[tuple[str, bool]]) -> bytes:
    """Return an answer's name field for these counters, whose names are right (:data:`COUNTER_NAME`)."""
    return b",".join([b"%b=%d" % (name.encode(), is_bad) for name, is_bad in bad])


@lru_cache(maxsize=1024)
def unpack_counts(field: bytes) -> Counts:
    """Return what an answer's name field says.

    :raises ValueError: if it is not as :func:`pack_counts` writes it, names one twice, or too many.
    """
    parts = field.split(b",")
    found = [_COUNT.fullmatch(part) for part in parts]
    bad = {one[1].decode(): one[2] == b"1" for one in found if one is not None}
    if len(bad) != len(parts) or len(bad) > MAX_COUNTERS:
        raise ValueError(f"no counts: {field[:80]!r}")
    return Counts(field, tuple(bad.items()))
