"""The guardrails of a plan file as a person writes them: one struct for each metric, with what every key means.

Part of :mod:`lastgood.domain.plan_document`; the rules that span keys are :mod:`lastgood.domain.plan_guardrail_rules`.
"""

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from lastgood.domain.plan import DEFAULT_QUANTILES, NoData, OnFail
from lastgood.domain.plan_agreement import AgreementGuardrail
from lastgood.domain.plan_custom import CustomGuardrail
from lastgood.domain.plan_drift import DRIFT_KINDS, DriftDocument
from lastgood.domain.plan_guardrail_keys import (
    DryRun,
    MaxCounter,
    MaxRate,
    MinBad,
    MinSamples,
    Name,
    ProofMargin,
    RateMargin,
    Share,
    WhatFollows,
    WithoutData,
)
from lastgood.domain.plan_kpis import KPI_KINDS, KpiDocument
from lastgood.domain.plan_meaning import means
from lastgood.domain.plan_quantity import Duration, Quantile, WrittenMargin, WrittenMargins

MAX_QUANTILES: Final = 10
COUNTER_PATTERN: Final = "^[a-z][a-z0-9_]{0,31}$"


class Compare(StrEnum):
    """How whole latencies are compared when no number is given for it."""

    DISTRIBUTION = "distribution"
    QUANTILES = "quantiles"


class HealthGuardrail(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="metric", tag="health"
):
    """Fails when the candidate's host stops answering health checks. Part of every plan, written or not."""

    name: Name = None
    on_fail: WhatFollows = OnFail.ROLLBACK
    misses: Annotated[int, Meta(ge=1, le=1000), means("Health checks in a row that must fail.")] = 3


class RateGuardrail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every rate of bad requests has, compared with stable's."""

    name: Name = None
    on_fail: WhatFollows = OnFail.ROLLBACK
    margin: RateMargin = None
    proof: ProofMargin = msgspec.field(default=None, name="proof_margin")
    min_bad: MinBad = None
    share: Share = None
    maximum: MaxRate = msgspec.field(default=None, name="max")
    min_samples: MinSamples = 50
    no_data: WithoutData = NoData.HOLD
    dry_run: DryRun = False


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
    maximum: MaxCounter = msgspec.field(default=None, name="max")


class LatencyGuardrail(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="metric", tag="latency"
):
    """Fails when the candidate is slower than stable, or than a limit, from gateway to host and back.

    It needs 'max', or one of 'objective', 'quantiles' and 'compare', which say how the two are compared; or both.
    """

    name: Name = None
    on_fail: WhatFollows = OnFail.ROLLBACK
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
    share: Share = None
    quantile: Annotated[
        Quantile | None, means("Which part of the requests must be faster than 'max'.", "p99", "p95")
    ] = None
    maximum: Annotated[
        Duration | None,
        means(
            "A hard limit: the longest latency allowed at 'quantile', whatever stable does. Where what a rollback would "
            "return to is hardly better, it holds instead of going back.",
            None,
            "200ms",
        ),
    ] = msgspec.field(default=None, name="max")
    min_samples: MinSamples = 100
    no_data: WithoutData = NoData.HOLD
    dry_run: DryRun = False


GuardrailDocument = (
    HealthGuardrail
    | ErrorsGuardrail
    | TimeoutsGuardrail
    | InvalidOutputGuardrail
    | LatencyGuardrail
    | CounterGuardrail
    | KpiDocument
    | DriftDocument
    | AgreementGuardrail
    | CustomGuardrail
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
    **KPI_KINDS,
    **DRIFT_KINDS,
    "agreement": AgreementGuardrail,
    "custom": CustomGuardrail,
}
