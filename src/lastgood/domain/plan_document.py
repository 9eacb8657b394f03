"""The plan file as a person writes it: its keys, their types, what they mean and what they default to.

The JSON Schema (:mod:`lastgood.domain.plan_schema`) and the plan reference are made from these structs, so each
key says all of it here. Turning a document into a :class:`~lastgood.domain.plan.Plan`, with the rules that span keys, is
:mod:`lastgood.domain.plan_file`.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from lastgood.domain.channel import REFERENCE_PATTERN
from lastgood.domain.plan import MAX_GUARDRAILS, MAX_STEPS, OnDeadline, OnFail, Strategy
from lastgood.domain.plan_quantity import UNTIL_RESUMED, Duration, Pause, Percent, Quantile, Weight

MAX_CHANNELS: Final = 20
DEFAULT_KEY: Final = "lastgood-default"  # carries a default in a person's notation until the schema is ready


def _means(description: str, default: str | int | float | None = None, *examples: Any, **schema: Any) -> Meta:
    extra = {**schema, **({} if default is None else {DEFAULT_KEY: default})}
    return Meta(
        description=description,
        examples=list(examples) or None,
        extra_json_schema=extra or None,
    )


_NAME = Annotated[
    str | None,
    _means(
        "What this guardrail is called in events and reports. Unique within the plan. Default: its metric.",
        None,
        "errors",
    ),
]
_ON_FAIL = Annotated[
    OnFail,
    _means(
        "What happens when it fails: 'rollback' goes back to the last good version, 'hold' pauses the "
        "release until a person decides, 'alert' only notifies."
    ),
]
_MARGIN = Annotated[
    float,
    Meta(ge=1, le=1000),
    _means(
        "How much worse the candidate may be before it counts as worse: an odds ratio, at least 1. With "
        "1.2, its odds of a bad request may be 1.2 times stable's."
    ),
]
_MIN_BAD = Annotated[
    int,
    Meta(ge=1, le=1_000_000),
    _means("Bad requests of the candidate that must have been seen before the comparison may fail."),
]
_SHARE = Annotated[
    Percent | None,
    _means(
        "This guardrail's part of the plan's false_rollback_rate. The statistical guardrails (errors, "
        "invalid_output) that give none divide the rest evenly; all parts together are 100%.",
        None,
        "60%",
    ),
]
_MAX_RATE = Annotated[
    Percent | None,
    _means(
        "A hard limit on the candidate's rate, whatever stable does. Default: none for 'canary', 5% for "
        "'blue_green' and 'all_at_once', where no traffic is left on stable to compare with.",
        None,
        "5%",
    ),
]
_MIN_SAMPLES = Annotated[
    int,
    Meta(ge=1, le=1_000_000_000),
    _means("Requests that the candidate must have answered before 'max' is judged."),
]


class HealthGuardrail(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="metric", tag="health"
):
    """Fails when the candidate's host stops answering health checks. Part of every plan, written or not."""

    name: _NAME = None
    on_fail: _ON_FAIL = OnFail.ROLLBACK
    misses: Annotated[int, Meta(ge=1, le=1000), _means("Health checks in a row that must fail.")] = 3


class ErrorsGuardrail(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="metric", tag="errors"
):
    """Fails when the candidate raises, times out or disappears more often than stable does."""

    name: _NAME = None
    on_fail: _ON_FAIL = OnFail.ROLLBACK
    margin: _MARGIN = 1.2
    min_bad: _MIN_BAD = 2
    share: _SHARE = None
    maximum: _MAX_RATE = msgspec.field(default=None, name="max")
    min_samples: _MIN_SAMPLES = 50


class InvalidOutputGuardrail(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="metric",
    tag="invalid_output",
):
    """Fails when the candidate answers NaN, infinity or the wrong shape more often than stable does."""

    name: _NAME = None
    on_fail: _ON_FAIL = OnFail.ROLLBACK
    margin: _MARGIN = 1.2
    min_bad: _MIN_BAD = 2
    share: _SHARE = None
    maximum: _MAX_RATE = msgspec.field(default=None, name="max")
    min_samples: _MIN_SAMPLES = 50


class LatencyGuardrail(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="metric", tag="latency"
):
    """Fails when a quantile of the candidate's latency, from gateway to host and back, is over a limit."""

    name: _NAME = None
    on_fail: _ON_FAIL = OnFail.ROLLBACK
    quantile: Annotated[
        Quantile | None, _means("Which part of the requests must be faster than 'max'.", "p99", "p95")
    ] = None
    maximum: Annotated[Duration, _means("The longest latency allowed at that quantile.", None, "200ms")] = (
        msgspec.field(name="max")
    )
    min_samples: _MIN_SAMPLES = 100


GuardrailDocument = HealthGuardrail | ErrorsGuardrail | InvalidOutputGuardrail | LatencyGuardrail


class WeightStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sends a share of the traffic to the candidate. Over when both its time and its samples are reached."""

    weight: Annotated[
        Weight,
        _means(
            "The candidate's share of the traffic, from 0.01% to 100%, at least that of the step before. A "
            "whole number is percent too.",
            None,
            "5%",
            "0.5%",
            25,
        ),
    ]
    duration: Annotated[Duration | None, _means("How long the step lasts at least.", "0s", "10m")] = (
        msgspec.field(default=None, name="for")
    )
    samples: Annotated[
        int,
        Meta(ge=0, le=1_000_000_000),
        _means("Requests that the candidate must have answered in this step."),
    ] = 0


class PauseStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keeps the traffic as it is for a time, or until a person types 'lastgood resume'."""

    pause: Annotated[
        Pause,
        _means(
            "A duration, or 'until resumed'. An empty mapping {} means 'until resumed' too.",
            None,
            "10m",
            UNTIL_RESUMED,
        ),
    ]


class ApproveStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Waits until a person types 'lastgood approve'."""

    approve: Annotated[
        str,
        Meta(min_length=1, max_length=500),
        _means("What the person is asked.", None, "Ask the fraud team"),
    ]


STEP_KINDS: Final[dict[str, type[WeightStep | PauseStep | ApproveStep]]] = {
    "weight": WeightStep,
    "pause": PauseStep,
    "approve": ApproveStep,
}


class ChannelDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where notifications go: exactly one of 'webhook' and 'command'."""

    webhook: Annotated[
        Annotated[str, Meta(max_length=2000)] | None,
        _means(
            "An http or https URL that each event is posted to, as a CloudEvent.",
            None,
            "https://example.org/hook",
            pattern="^https?://",
        ),
    ] = None
    command: Annotated[
        tuple[str, ...] | None,
        _means(
            "A program and its arguments, run without a shell; the event comes on its standard input.",
            None,
            ["notify-send", "lastgood"],
            minItems=1,
        ),
    ] = None
    secret: Annotated[
        str | None,
        _means(
            "Where the key that signs the webhook is: env:NAME or file:PATH. Never the key itself.",
            None,
            "env:HOOK_SECRET",
            pattern=REFERENCE_PATTERN,
        ),
    ] = None


class PlanDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a release of Lastgood runs: its steps, what stops it, and who hears of it."""

    strategy: Annotated[
        Strategy,
        _means(
            "How traffic reaches the candidate: 'canary' step by step, 'blue_green' all at once with "
            "stable kept beside it, 'all_at_once' promoted as soon as it is validated."
        ),
    ] = Strategy.CANARY
    steps: Annotated[
        list[Any] | None,
        _means(
            "What happens one after the other; promotion to all traffic follows the last step. Default: for "
            "'canary' 5%, 25% and 50% for 5m each with 200, 500 and 500 samples; for 'blue_green' 100% for 5m "
            "with 200 samples; 'all_at_once' has no steps.",
            None,
            minItems=1,
            maxItems=MAX_STEPS,
            items={"oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in STEP_KINDS.values()]},
        ),
    ] = None
    guardrails: Annotated[
        list[GuardrailDocument] | None,
        _means(
            "What must stay true of the candidate. Default: health, errors (60% of false_rollback_rate) and "
            "invalid_output (40%). A list replaces the default; health is added when it is not in it.",
            None,
            minItems=1,
            maxItems=MAX_GUARDRAILS,
        ),
    ] = None
    false_rollback_rate: Annotated[
        Percent | None,
        _means(
            "The chance, over the whole release, that a harmless candidate is rolled back by the statistical "
            "guardrails. Above 0%, at most 50%.",
            "1%",
            "0.1%",
        ),
    ] = None
    watch: Annotated[
        Duration | None,
        _means("How long the guardrails go on after promotion, with the way back kept open.", "10m", "1h"),
    ] = None
    deadline: Annotated[
        Duration | None,
        _means(
            "The longest time from the first traffic until promotion; longer than the steps take.", "7d", "2h"
        ),
    ] = None
    on_deadline: Annotated[
        OnDeadline,
        _means("What happens at the deadline: 'hold' pauses for a person, 'rollback' goes back."),
    ] = OnDeadline.HOLD
    validate_deadline: Annotated[
        Duration | None, _means("How long the candidate may take to load and warm up.", "2m", "10m")
    ] = None
    promote_deadline: Annotated[
        Duration | None,
        _means("How long gateways may take to acknowledge a promotion; then it is 'stuck'.", "30s"),
    ] = None
    rollback_deadline: Annotated[
        Duration | None,
        _means("How long gateways may take to acknowledge a rollback; then it is 'stuck'.", "30s"),
    ] = None
    notify: Annotated[
        list[ChannelDocument],
        _means(
            "Who hears of every phase change, beside the channels in the settings. Default: nobody else.",
            None,
            maxItems=MAX_CHANNELS,
        ),
    ] = []
