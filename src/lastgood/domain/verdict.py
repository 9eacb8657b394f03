"""A verdict on a guardrail, with the evidence in words and numbers."""

from enum import StrEnum
from typing import Any

import msgspec

from lastgood.domain.plan import NoData, OnFail


class Verdict(StrEnum):
    """``error`` means it could not be measured; ``inconclusive`` that more is needed. Neither passes."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


class Finding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one guardrail says now, in one ``sentence`` for a person and ``numbers`` for a machine.

    ``no_data`` is set while nothing at all has been measured, to what the plan wants then. ``proven`` is whether the
    candidate has been shown not to be worse than the proof margin; None where the plan does not ask for it. From a
    ``dry_run`` finding nothing follows. ``world`` says that it has failed in a way that the version before is not known to do
    better in.
    """

    guardrail: str
    metric: str
    verdict: Verdict
    on_fail: OnFail
    sentence: str
    no_data: NoData | None = None
    proven: bool | None = None
    dry_run: bool = False
    world: bool = False
    numbers: dict[str, Any] = {}
