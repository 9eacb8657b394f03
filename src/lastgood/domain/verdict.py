"""A verdict on a guardrail, with the evidence in words and numbers."""

from enum import StrEnum
from typing import Any

import msgspec

from lastgood.domain.plan import OnFail


class Verdict(StrEnum):
    """``error`` means it could not be measured; ``inconclusive`` that more is needed. Neither passes."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one guardrail says now, in one ``sentence`` for a person and ``numbers`` for a machine."""

    guardrail: str
    metric: str
    verdict: Verdict
    on_fail: OnFail
    sentence: str
    numbers: dict[str, Any] = {}
