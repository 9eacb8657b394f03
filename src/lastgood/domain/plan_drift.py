"""The guardrails of a plan file that look for drift, as a person writes them.

Part of :mod:`lastgood.domain.plan_document`; the rules that span keys are :mod:`lastgood.domain.plan_drift_rules`.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from lastgood.domain.plan import NoData, OnFail
from lastgood.domain.plan_guardrail_keys import DryRun, Name, Share, WhatFollows, WithoutData
from lastgood.domain.plan_meaning import means
from lastgood.domain.plan_quantity import Percent

_Text = Annotated[str, Meta(min_length=1, max_length=200)]
_FollowsInputs = Annotated[
    OnFail,
    means(
        "What happens when it fails: 'alert' only notifies, 'hold' pauses the release until a person decides. 'rollback' is "
        "refused: what the world sends reaches both versions alike and convicts neither."
    ),
]
_Features = Annotated[
    list[_Text] | None,
    means(
        "The features of the training reference that are looked at, by their names there. Default: all of them.",
        None,
        ["tenure", "monthly_charges"],
        minItems=1,
        maxItems=200,
    ),
]
_Distance = Annotated[
    Percent | None,
    means(
        "How far the values may move: the total variation that is tolerated. With 10% no set of values may become more than "
        "ten points likelier than in training.",
        "10%",
        "20%",
    ),
]
_DistanceBetween = Annotated[
    Percent | None,
    means(
        "How far the candidate's outputs may be from stable's: the total variation that is tolerated. With 10% no set of "
        "values may be more than ten points likelier with the candidate.",
        "10%",
        "20%",
    ),
]
_Output = Annotated[
    _Text | None,
    means(
        "The output of the model that is looked at. Default: all of them, at most 16, each at an even part of the chance.",
        None,
        "score",
    ),
]
_MinRows = Annotated[
    int,
    Meta(ge=1, le=1_000_000_000),
    means(
        "Rows that must have been looked at before it can pass. It fails as soon as there is enough evidence."
    ),
]


class DriftGuardrail(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="metric", tag="drift"
):
    """Fails when the inputs of both versions are further from the candidate's training reference than is tolerated.

    It stands outside false_rollback_rate: a false alarm comes once in 30 days on average, at most.
    """

    name: Name = None
    on_fail: _FollowsInputs = OnFail.ALERT
    features: _Features = None
    distance: _Distance = None
    min_samples: _MinRows = 100
    no_data: WithoutData = NoData.IGNORE
    dry_run: DryRun = False


class PredictionDriftGuardrail(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="metric",
    tag="prediction_drift",
):
    """Fails when the candidate's outputs are further from stable's, at the same time, than is tolerated."""

    name: Name = None
    on_fail: WhatFollows = OnFail.ALERT
    output: _Output = None
    distance: _DistanceBetween = None
    share: Share = None
    min_samples: _MinRows = 100
    no_data: WithoutData = NoData.IGNORE
    dry_run: DryRun = False


DriftDocument = DriftGuardrail | PredictionDriftGuardrail
DRIFT_KINDS: Final[dict[str, type[DriftDocument]]] = {
    "drift": DriftGuardrail,
    "prediction_drift": PredictionDriftGuardrail,
}
