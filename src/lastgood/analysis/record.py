"""What the evidence of a release holds: each guardrail's comparison and the sums of both arms, as plain JSON."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from lastgood.analysis.parts import Comparison
from lastgood.domain.traffic import ArmCounts, Stratum


class Arms(msgspec.Struct, frozen=True, kw_only=True):
    """Both arms' counts over the whole release."""

    candidate: ArmCounts = msgspec.field(default_factory=ArmCounts)
    stable: ArmCounts = msgspec.field(default_factory=ArmCounts)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``Evidence.states``.

    ``comparisons`` are by the guardrail's name; ``total`` is over all stages, ``stages`` the candidate's requests by
    stage. ``keys`` are the 32-bit hashes of the keys that have gone bad, by metric, where keys are the units.
    ``closed_at`` is when the last stratum closed, ``log`` a running digest of all strata: whoever knows it knows
    whether a log of strata is the one that was judged.
    """

    comparisons: dict[str, Comparison] = {}
    total: Arms = msgspec.field(default_factory=Arms)
    stages: dict[int, int] = {}
    keys: dict[str, bytes] = {}
    closed_at: float = 0.0
    log: str = ""


_encode = msgspec.json.Encoder(order="deterministic").encode


class _States(dict[str, Any]):
    """What :func:`write` gives: plain JSON values, and the record that they are, so that nobody reads them again."""

    record: Record


def read(states: Mapping[str, Any]) -> Record:
    """Return the record; an empty one for a release that has no evidence yet. Neither is ever changed."""
    if isinstance(states, _States):
        return states.record
    return msgspec.convert(states, Record, str_keys=True)


def write(record: Record) -> dict[str, Any]:
    """Return the record as what JSON gives back for it: no tuples, string keys, floats bit for bit."""
    states = _States(msgspec.json.decode(msgspec.json.encode(record)))
    states.record = record
    return states


def closed_at(states: Mapping[str, Any]) -> float:
    """Return when the last stratum closed, in epoch seconds; 0 before the first."""
    return float(states.get("closed_at", 0.0))


def holds_keys(states: Mapping[str, Any]) -> bool:
    """Return whether keys are the units of this evidence; False before the first stratum."""
    return bool(states.get("keys"))


def requests_of_stage(states: Mapping[str, Any], stage: int) -> int:
    """Return the candidate's requests of a stage, without reading all the rest."""
    return int(states.get("stages", {}).get(str(stage), 0))


def chained(log: str, stratum: Stratum) -> str:
    """Return the digest of a log of strata with one more: of the digest before, and the stratum as JSON."""
    plain = msgspec.to_builtins(stratum, str_keys=True)
    return blake2b(log.encode() + _encode(plain), digest_size=16).hexdigest()
