"""What the evidence of a release holds: each guardrail's test and the sums of both arms, as plain JSON."""

from collections.abc import Mapping
from typing import Any

import msgspec

from lastgood.domain.traffic import ArmCounts
from lastgood.stats.score import Score


class Arms(msgspec.Struct, frozen=True, kw_only=True):
    """Both arms' counts, over a stage or over the whole release."""

    candidate: ArmCounts = msgspec.field(default_factory=ArmCounts)
    stable: ArmCounts = msgspec.field(default_factory=ArmCounts)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``Evidence.states``.

    ``tests`` maps a guardrail's name to its test; ``total`` is over all stages, ``stages`` by stage, without
    latency. ``compared`` counts the candidate's requests in strata in which stable had requests too.
    """

    tests: dict[str, Score] = {}
    total: Arms = msgspec.field(default_factory=Arms)
    stages: dict[int, Arms] = {}
    compared: int = 0


def read(states: Mapping[str, Any]) -> Record:
    """Return the record; an empty one for a release that has no evidence yet."""
    return msgspec.convert(states, Record, str_keys=True)


def write(record: Record) -> dict[str, Any]:
    """Return the record as what JSON gives back for it: no tuples, string keys, floats bit for bit."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record))
    return plain
