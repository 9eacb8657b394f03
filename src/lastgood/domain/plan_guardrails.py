"""The guardrails of a plan file as a person writes them: one struct for each metric, with what every key means.

Part of :mod:`lastgood.domain.plan_document`; the rules that span keys are :mod:`lastgood.domain.plan_guardrail_rules`.
"""

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from lastgood.domain.plan import DEFAULT_QUANTILES, NoData, OnFail
from lastgood.domain.plan_meaning import means
from lastgood.domain.plan_quantity import Duration, Percent, Quantile, WrittenMargin, WrittenMargins

MAX_QUANTILES: Final = 10
COUNTER_PATTERN: Final = "^[a-z][a-z0-9_]{0,31}$"


class Compare(StrEnum):
    """How whole latencies are compared when no number is given for it."""

    DISTRIBUTION = "distribution"
    QUANTILES = "quantiles"


_NAME = Annotated[
    str | None,
    means(
        "What this guardrail is called in events and reports. Unique within the plan. Default: its metric; "
        "for a counter its counter.",
        None,
        "errors",
    ),
]
_ON_FAIL = Annotated[
    OnFail,
    means(
        "What happens when it fails: 'rollback' goes back to the last good version, 'hold' pauses the "
        "release until a person decides, 'alert' only notifies."
    ),
]
_MARGIN = Annotated[
    WrittenMargin | None,
    means(
        "How much worse the candidate may be before it counts as worse: odds of at least 1 (with 1.2, its odds "
        "of a bad request may be 1.2 times stable's), or percentage points (with 0.5pp, its rate may be half a "
        "point above stable's).",
        1.2,
        1.5,
        "0.5pp",
    ),
]
_PROOF = Annotated[
    WrittenMargins | None,
    means(
        "With 'promote_when: proven': the candidate must be shown to be less than this much worse than stable. "
        "Odds, points, or a list of one of each, of which either is enough. Wider than the 'margin' of the same "
        "kind. Default: odds of 2 or 1pp, of which one that is not wider than 'margin' falls away.",
        None,
        1.5,
        "0.5pp",
        [2, "1pp"],
    ),
]
_MIN_BAD = Annotated[
    Annotated[int, Meta(ge=1, le=1_000_000)] | None,
    means("Bad requests of the candidate that must have been seen before the comparison may fail.", 2),
]
_SHARE = Annotated[
    Percent | None,
    means(
        "This guardrail's part of the plan's false_rollback_rate. The guardrails that compare the candidate "
        "with stable, dry runs apart, and give none divide the rest evenly; all parts together are 100%.",
        None,
        "60%",
    ),
]
_MAX_RATE = Annotated[
    Percent | None,
    means(
        "A hard limit on the candidate's rate, whatever stable does. Default: none for 'canary', 5% for "
        "'blue_green' and 'all_at_once', where no traffic is left on stable to compare with.",
        None,
        "5%",
    ),
]
_MAX_COUNTER = Annotated[
    Percent | None,
    means(
        "A hard limit on the candidate's rate, whatever stable does. 'blue_green' and 'all_at_once' need it: "
        "they leave no traffic on stable to compare with.",
        None,
        "5%",
    ),
]
_MIN_SAMPLES = Annotated[
    int,
    Meta(ge=1, le=1_000_000_000),
    means("Requests that the candidate must have answered before 'max' is judged, and before it can pass."),
]
_NO_DATA = Annotated[
    NoData,
    means(
        "What follows when it has measured nothing at all by the end of the steps: 'hold' stands in the way of "
        "the promotion, 'fail' counts as failed, 'ignore' is not waited for."
    ),
]
_DRY_RUN = Annotated[
    bool,
    means(
        "With true it is judged, at the whole false_rollback_rate, and shown, and nothing follows from it."
    ),
]


class HealthGuardrail(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="metric", tag="health"
):
    """Fails when the candidate's host stops answering health checks. Part of every plan, written or not."""

    name: _NAME = None
    on_fail: _ON_FAIL = OnFail.ROLLBACK
    misses: Annotated[int, Meta(ge=1, le=1000), means("Health checks in a row that must fail.")] = 3


class RateGuardrail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every rate of bad requests has, compared with stable's."""

    name: _NAME = None
    on_fail: _ON_FAIL = OnFail.ROLLBACK
    margin: _MARGIN = None
    proof: _PROOF = msgspec.field(default=None, name="proof_margin")
    min_bad: _MIN_BAD = None
    share: _SHARE = None
    maximum: _MAX_RATE = msgspec.field(default=None, name="max")
    min_samples: _MIN_SAMPLES = 50
    no_data: _NO_DATA = NoData.HOLD
    dry_run: _DRY_RUN = False


class ErrorsGuardrail(RateGuardrail, frozen=True, tag_field="metric", tag="errors"):
    """Fails when the candidate raises, times out or disappears more often than stable does."""


class TimeoutsGuardrail(RateGuardrail, frozen=True, tag_field="metric", tag="timeouts"):
    """Fails when the candidate runs out of time more often than stable does. Timeouts are errors too."""


class InvalidOutputGuardrail(RateGuardrail, frozen=True, tag_field="metric", tag="invalid_output"):
    """Fails when the candidate answers NaN, infinity or the wrong shape more often than stable does."""


class CounterGuardrail(RateGuardrail, frozen=True, kw_only=True, tag_field="metric", tag="counter"):
    """Fails when requests are bad by a counter of the version's own more often than with stable."""

    counter: Annotated[
        str,
        means(
            "The counter: an output tensor of the version called 'lastgood.NAME', or what it counts as NAME with "
            "lastgood.count. Small letters, digits and '_', at most 32.",
            None,
            "low_confidence",
            pattern=COUNTER_PATTERN,
        ),
    ]
    maximum: _MAX_COUNTER = msgspec.field(default=None, name="max")


class LatencyGuardrail(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="metric", tag="latency"
):
    """Fails when the candidate is slower than stable, or than a limit, from gateway to host and back.

    It needs 'max', or one of 'objective', 'quantiles' and 'compare', which say how the two are compared; or both.
    """

    name: _NAME = None
    on_fail: _ON_FAIL = OnFail.ROLLBACK
    objective: Annotated[
        Duration | None,
        means("Compares the shares of requests that take longer than this.", None, "200ms"),
    ] = None
    quantiles: Annotated[
        list[Quantile] | None,
        means(
            "Compares the shares of requests that take longer than these quantiles of both arms' past.",
            None,
            ["p50", "p99"],
            minItems=1,
            maxItems=MAX_QUANTILES,
        ),
    ] = None
    compare: Annotated[
        Compare | None,
        means(
            "'distribution' compares the whole distributions; its margin is a factor of time. 'quantiles' stands "
            f"for quantiles of {', '.join(f'p{100 * q:g}' for q in DEFAULT_QUANTILES)}.",
            None,
            "distribution",
        ),
    ] = None
    margin: Annotated[
        WrittenMargin | None,
        means(
            "How much worse the candidate may be before it counts as worse, where it is compared with stable: with "
            "'objective' odds or points, with 'quantiles' odds of a slower request, with 'compare: distribution' a "
            "factor of time (1.2: up to 1.2 times as slow). Default: 1.2.",
            None,
            1.5,
        ),
    ] = None
    proof: Annotated[
        WrittenMargins | None,
        means(
            "With 'promote_when: proven': the share of slow requests must be shown to be less than this much above "
            "stable's. Notation and default as for errors.",
            None,
            1.5,
            [2, "1pp"],
        ),
    ] = msgspec.field(default=None, name="proof_margin")
    min_bad: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        means(
            "Slow requests of the candidate that must have been seen before a comparison by 'objective' or "
            "quantiles may fail. Default: 2."
        ),
    ] = None
    share: _SHARE = None
    quantile: Annotated[
        Quantile | None, means("Which part of the requests must be faster than 'max'.", "p99", "p95")
    ] = None
    maximum: Annotated[
        Duration | None,
        means(
            "A hard limit: the longest latency allowed at 'quantile', whatever stable does.", None, "200ms"
        ),
    ] = msgspec.field(default=None, name="max")
    min_samples: _MIN_SAMPLES = 100
    no_data: _NO_DATA = NoData.HOLD
    dry_run: _DRY_RUN = False


GuardrailDocument = (
    HealthGuardrail
    | ErrorsGuardrail
    | TimeoutsGuardrail
    | InvalidOutputGuardrail
    | LatencyGuardrail
    | CounterGuardrail
)
ComparingDocument = (
    ErrorsGuardrail | TimeoutsGuardrail | InvalidOutputGuardrail | LatencyGuardrail | CounterGuardrail
)
GUARDRAIL_KINDS: Final[dict[str, type[GuardrailDocument]]] = {
    "health": HealthGuardrail,
    "errors": ErrorsGuardrail,
    "timeouts": TimeoutsGuardrail,
    "invalid_output": InvalidOutputGuardrail,
    "latency": LatencyGuardrail,
    "counter": CounterGuardrail,
}
