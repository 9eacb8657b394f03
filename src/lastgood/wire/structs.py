"""Structs are looked at by one thread, before there are others."""

import contextlib
from collections.abc import Iterator

import msgspec

_OURS = "lastgood."


def learn_structs() -> None:
    """Let msgspec look at every struct of ours that is loaded. Call it before a process starts its second thread.

    It looks at a struct when that is first decoded, and keeps what it saw; a second thread that decodes the same struct
    meanwhile finds half of it, and the process ends with a segmentation fault (msgspec 0.22.0, Python 3.11).
    """
    for struct in _below(msgspec.Struct):
        if struct.__module__.startswith(_OURS):
            with contextlib.suppress(TypeError):  # it holds what JSON does not have, so nobody decodes it
                msgspec.json.Decoder(struct)


def _below(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)
