"""Slices by columns that nobody sends, as far as a version's signature tells."""

from lastgood.analysis.traps import Trap
from lastgood.domain.plan import Plan
from lastgood.domain.plan_slices import columns_told, unknown_columns
from lastgood.domain.version import Signature


def slice_traps(plan: Plan, signature: Signature, version: int) -> list[Trap]:
    """Return a trap for each guardrail with slices by a column that no request for ``version`` can have."""
    told = columns_told(signature)
    return [
        Trap(
            guardrail=one.name,
            sentence=f"{one.name} has slices by {', '.join(map(repr, unknown))}, and version {version} takes no such column.",
            next=f"It takes: {told}. A release of a version that takes no more than these would be refused.",
        )
        for one in plan.guardrails
        if (unknown := unknown_columns(one.slices, signature))
    ]
