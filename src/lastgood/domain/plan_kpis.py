"""The guardrails of a plan file that need labels, as a person writes them.

Part of :mod:`lastgood.domain.plan_document`; the rules that span keys are :mod:`lastgood.domain.plan_kpi_rules`.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from lastgood.domain.plan import NoData, OnFail
from lastgood.domain.plan_guardrail_keys import DryRun, Name, Share, WhatFollows, WithoutData
from lastgood.domain.plan_meaning import means
from lastgood.domain.plan_quantity import Duration, Percent, WrittenMargin, WrittenMargins

_Output = Annotated[
    Annotated[str, Meta(min_length=1, max_length=200)] | None,
    means("The output of the model that is looked at. Default: the only one, or the first.", None, "label"),
]
_Positive = Annotated[
    str | int | float | bool | None,
    means(
        "The class of interest. '1', 1 and true are the same class. Required, but for 'accuracy' without a 'threshold'.",
        None,
        1,
        "fraud",
    ),
]
_Threshold = Annotated[
    float | None,
    means(
        "The output is a score, and a row is predicted to be 'positive' from this score on. Default: it is a class.",
        None,
        0.5,
    ),
]
_After = Annotated[
    Duration | None,
    means(
        "Maturity: a label counts once its prediction is that old, so that labels that come quickly, which are often of "
        "one kind, do not count alone. A label that comes later counts when it comes. Default: at once.",
        None,
        "6h",
    ),
]
_Margin = Annotated[
    WrittenMargin | None,
    means(
        "How much worse the candidate may be before it counts as worse: percentage points of the metric (with 2pp, its "
        "recall may be two points below stable's), or odds of a wrong row of at least 1. Of f1, odds are exact; points "
        "are kept safe for every f1, which tolerates up to four times as many of a low one.",
        "1pp",
        "2pp",
        1.2,
    ),
]
_Proof = Annotated[
    WrittenMargins | None,
    means(
        "With 'promote_when: proven': the candidate must be shown to be less than this much worse than stable. Notation "
        "as for 'margin'; wider than a 'margin' of the same kind. Default: odds of 2, or twice the margin in points.",
        None,
        "4pp",
    ),
]
_Least = Annotated[
    Percent | None,
    means(
        "A hard limit: the least that the candidate's metric may be, whatever stable does. Where what a rollback would "
        "return to is hardly better, it holds instead of going back. 'blue_green' and "
        "'all_at_once' need it: they leave no traffic on stable to compare with.",
        None,
        "80%",
    ),
]
_MinRows = Annotated[
    int,
    Meta(ge=1, le=1_000_000_000),
    means(
        "Labelled rows of the candidate that must count before 'min' is judged, and before it can pass. For recall these "
        "are rows of the class of interest."
    ),
]
_MinWrong = Annotated[
    Annotated[int, Meta(ge=1, le=1_000_000)] | None,
    means("Wrong rows of the candidate that must have been seen before the comparison may fail.", 2),
]
_Unit = Annotated[float, Meta(gt=0)]
MAX_SLICES: Final = 5
"""Columns that one guardrail may be judged by."""
_Column = Annotated[str, Meta(min_length=1, max_length=100)]
_Slices = Annotated[
    Annotated[list[_Column], Meta(min_length=1, max_length=MAX_SLICES)] | None,
    means(
        "Columns of the input, such as 'country' or, of a matrix, 'x[3]': the guardrail is also judged for the rows of each "
        "value, so that a candidate that is worse for some of them fails although it is not worse for all. Half of the "
        "guardrail's part of false_rollback_rate goes to them. Default: none.",
        None,
        ["country", "device"],
        uniqueItems=True,
    ),
]


class KpiGuardrail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every guardrail that needs labels has."""

    name: Name = None
    on_fail: WhatFollows = OnFail.ROLLBACK
    after: _After = None
    share: Share = None
    slices: _Slices = None
    min_samples: _MinRows = 50
    no_data: WithoutData = NoData.HOLD
    dry_run: DryRun = False


class ConfusionGuardrail(KpiGuardrail, frozen=True, kw_only=True):
    """What every KPI of classes has, compared with stable's."""

    output: _Output = None
    positive: _Positive = None
    threshold: _Threshold = None
    margin: _Margin = None
    proof: _Proof = msgspec.field(default=None, name="proof_margin")
    min_bad: _MinWrong = None
    minimum: _Least = msgspec.field(default=None, name="min")


class AccuracyGuardrail(ConfusionGuardrail, frozen=True, tag_field="metric", tag="accuracy"):
    """Fails when a smaller part of the candidate's labelled rows is right than of stable's."""


class PrecisionGuardrail(ConfusionGuardrail, frozen=True, tag_field="metric", tag="precision"):
    """Fails when of what the candidate says is of the class of interest a smaller part is than with stable."""


class RecallGuardrail(ConfusionGuardrail, frozen=True, tag_field="metric", tag="recall"):
    """Fails when the candidate finds a smaller part of the class of interest than stable does."""


class F1Guardrail(ConfusionGuardrail, frozen=True, tag_field="metric", tag="f1"):
    """Fails when the harmonic mean of precision and recall is lower than stable's."""


class MeanGuardrail(KpiGuardrail, frozen=True, kw_only=True, tag_field="metric", tag="mean"):
    """Fails when the mean of the labels themselves, a reward such as revenue, is lower with the candidate."""

    range: Annotated[
        tuple[float, float],
        means(
            "From the least to the largest value that is told apart; others count as the nearer end.",
            None,
            [0, 50],
        ),
    ]
    margin: Annotated[
        _Unit, means("How much lower the candidate's mean may be, in the values' own unit.", None, 0.5)
    ]


class MaeGuardrail(KpiGuardrail, frozen=True, kw_only=True, tag_field="metric", tag="mae"):
    """Fails when the candidate's numbers are further from the labels, in the mean, than stable's."""

    range: Annotated[
        tuple[float, float],
        means(
            "From the least to the largest error that is told apart; others count as the nearer end.",
            None,
            [0, 20],
        ),
    ]
    margin: Annotated[
        _Unit, means("How much larger the candidate's mean error may be, in the values' own unit.", None, 0.5)
    ]
    output: _Output = None


MeanDocument = MeanGuardrail | MaeGuardrail
KpiDocument = AccuracyGuardrail | PrecisionGuardrail | RecallGuardrail | F1Guardrail | MeanDocument
KPI_KINDS: Final[dict[str, type[KpiDocument]]] = {
    "accuracy": AccuracyGuardrail,
    "precision": PrecisionGuardrail,
    "recall": RecallGuardrail,
    "f1": F1Guardrail,
    "mean": MeanGuardrail,
    "mae": MaeGuardrail,
}
