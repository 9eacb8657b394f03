"""Frames between a gateway worker and a model host, over a unix stream socket.

A request or an answer is one frame; several may share one write, and whatever a host finds waiting is
one micro-batch. All integers are little-endian::

    u32 length    of everything after this field
    u32 id        chosen by the gateway, echoed by the host; unique per connection while in flight
    u8  kind      a Request kind, or a Status in an answer
    u8  reserved  0
    u16 name      length of the deployment's name, which comes before the body (0 in answers)
    ... name, body

The body is the JSON that the caller sent, or that the caller will receive: the gateway does not parse it.
"""

import struct
from enum import IntEnum
from typing import Final

HEADER: Final = struct.Struct("<IIBBH")
HEADER_BYTES: Final = HEADER.size
_AFTER_LENGTH: Final = HEADER_BYTES - 4
MAX_FRAME_BYTES: Final = 256 * 1024 * 1024


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


def pack(identifier: int, kind: int, name: bytes, body: bytes) -> bytes:
    """Return one frame."""
    return HEADER.pack(_AFTER_LENGTH + len(name) + len(body), identifier, kind, 0, len(name)) + name + body
