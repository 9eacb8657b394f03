"""What has been shown by proof margins, in numbers for a machine."""

import math
from collections.abc import Iterable
from typing import Any

from lastgood.domain.plan import Margin


def margin_numbers(
    part: str, margin: Margin, *, log_e: float, log_bound: float, reached: bool
) -> dict[str, Any]:
    """Return one proof margin of the stream ``part``, with its evidence and the bound for it."""
    return {
        "part": part,
        "kind": margin.kind.value,
        "value": margin.value,
        "log_e": log_e,
        "bound": math.exp(log_bound),
        "reached": reached,
    }


def proof_numbers(margins: Iterable[dict[str, Any]], *, proven: bool) -> dict[str, Any]:
    """Return all margins, of which any is enough, under the evidence of the one that is furthest; there must be one."""
    found = list(margins)
    best = max(found, key=lambda one: (one["reached"], one["log_e"]))
    return {"log_e": best["log_e"], "bound": best["bound"], "reached": proven, "margins": found}
