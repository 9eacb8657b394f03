"""What the evidence of a release holds: each guardrail's comparison and the sums of both arms."""

from hashlib import blake2b
from typing import Any

import msgspec

from lastgood.analysis.custom_state import CustomRecord
from lastgood.analysis.drift_state import DriftRecord
from lastgood.analysis.kpi_state import LabelRecord
from lastgood.analysis.parts import Comparison
from lastgood.analysis.split_check import Splits
from lastgood.analysis.watch import Watch
from lastgood.domain.agreement import Agreed
from lastgood.domain.traffic import ArmCounts, Stratum


class Arms(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Both arms' counts over the whole release."""

    candidate: ArmCounts = msgspec.field(default_factory=ArmCounts)
    stable: ArmCounts = msgspec.field(default_factory=ArmCounts)


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """What both versions said of the same requests, by guardrail, and up to which request that has been read."""

    guardrails: dict[str, Agreed] = {}
    read: int = 0


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """``Evidence.states``.

    ``comparisons`` are by the guardrail's name; ``total`` is over all stages, ``stages`` the candidate's requests by
    stage. ``keys`` are the 32-bit hashes of the keys that have gone bad, by metric, where keys are the units.
    ``closed_at`` is when the last stratum closed, ``log`` a running digest of all strata: whoever knows it knows
    whether a log of strata is the one that was judged. ``copied`` are the candidate's latencies of copies, in shadow steps. ``labels`` are what KPI guardrails rest on,
    ``custom`` what custom guardrails do, ``drift`` what those on values do, ``split`` is how requests without a key were split
    between the arms, by stage, ``watch`` what was counted of requests that the version before answered too.
    """

    comparisons: dict[str, Comparison] = {}
    total: Arms = msgspec.field(default_factory=Arms)
    stages: dict[int, int] = {}
    keys: dict[str, bytes] = {}
    closed_at: float = 0.0
    log: str = ""
    copied: dict[int, int] | msgspec.UnsetType = (
        msgspec.UNSET
    )  # left out before the first copy of a shadow step
    labels: LabelRecord | msgspec.UnsetType = msgspec.UNSET  # left out where a plan asks for none
    custom: CustomRecord | msgspec.UnsetType = msgspec.UNSET  # left out where nothing was measured outside
    split: Splits | msgspec.UnsetType = msgspec.UNSET  # left out where no request was sent by chance
    watch: Watch | msgspec.UnsetType = msgspec.UNSET  # left out where the version before answered no copies
    agreement: Agreement | msgspec.UnsetType = msgspec.UNSET  # left out where a plan asks for none
    drift: DriftRecord | msgspec.UnsetType = msgspec.UNSET  # left out where a plan looks for none


_encode = msgspec.json.Encoder(order="deterministic").encode


def read(states: Any) -> Record:
    """Return the record, as it is or out of the JSON that the store gives back: floats survive that bit for bit.

    It is empty for a release that has no evidence yet, and never changed.
    """
    return states if isinstance(states, Record) else msgspec.convert(states, Record, str_keys=True)


def chained(log: str, stratum: Stratum) -> str:
    """Return the digest of a log of strata with one more: of the digest before, and the stratum as JSON."""
    plain = msgspec.to_builtins(stratum, str_keys=True)
    return blake2b(log.encode() + _encode(plain), digest_size=16).hexdigest()
