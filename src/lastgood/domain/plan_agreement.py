"""The guardrail of a plan file that looks at whether two versions agree, as a person writes it.

Part of :mod:`lastgood.domain.plan_document`.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from lastgood.domain.agreement import AgreementTerms
from lastgood.domain.placed_yaml import Placed
from lastgood.domain.plan import Guardrail, Metric, NoData, OnFail
from lastgood.domain.plan_guardrail_keys import DryRun, Name, WhatFollows, WithoutData
from lastgood.domain.plan_meaning import means
from lastgood.domain.plan_quantity import Percent

_Output = Annotated[
    Annotated[str, Meta(min_length=1, max_length=200)] | None,
    means("The output of the model that is looked at. Default: the only one, or the first.", None, "label"),
]
_Least = Annotated[
    Percent | None,
    means("The least part of the rows on which both versions must say the same.", "90%", "95%"),
]
_Within = Annotated[
    Annotated[float, Meta(ge=0, le=1_000_000_000)] | None,
    means(
        "The output is a number, and two numbers are the same that are no further apart. Default: it is a class.",
        None,
        0.05,
    ),
]
_MinRows = Annotated[
    int,
    Meta(ge=1, le=1_000_000_000),
    means("Rows that both must have answered before it is judged."),
]


class AgreementGuardrail(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="metric", tag="agreement"
):
    """Fails when candidate and stable say the same of too few rows of copied requests. It needs no labels.

    Two versions that differ need not be a fault, so it alerts unless the plan says otherwise; it is outside false_rollback_rate.
    """

    name: Name = None
    on_fail: WhatFollows = OnFail.ALERT
    output: _Output = None
    minimum: _Least = msgspec.field(default=None, name="min")
    within: _Within = None
    min_samples: _MinRows = 100
    no_data: WithoutData = NoData.IGNORE
    dry_run: DryRun = False


def read_agreement(placed: Placed, document: AgreementGuardrail, path: str) -> Guardrail:
    """Return the guardrail.

    :raises LastgoodError: ``invalid`` with the place of a minimum that says nothing.
    """
    least = AgreementTerms().minimum if document.minimum is None else float(document.minimum)
    if not 0.0 < least <= 1.0:
        message = "A minimum of 0% is never broken."
        raise placed.refusal(f"{path}.min", message, "Give one above it, such as 90%.")
    return Guardrail(
        name=document.name or Metric.AGREEMENT.value,
        metric=Metric.AGREEMENT,
        on_fail=document.on_fail,
        proof=(),
        min_samples=document.min_samples,
        no_data=document.no_data,
        dry_run=document.dry_run,
        agreement=AgreementTerms(output=document.output or "", minimum=least, within=document.within),
    )
