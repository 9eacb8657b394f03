"""The plan file as a person writes it: its keys, their types, what they mean and what they default to.

The JSON Schema (:mod:`lastgood.domain.plan_schema`) and the plan reference are made from these structs, so each
key says all of it here, those of guardrails in :mod:`lastgood.domain.plan_guardrails`, those of data in
:mod:`lastgood.domain.plan_data`, those of drills in :mod:`lastgood.domain.plan_drill`. Turning a document into a
:class:`~lastgood.domain.plan.Plan`, with the rules that span keys, is :mod:`lastgood.domain.plan_file`.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from lastgood.domain.channel import REFERENCE_PATTERN
from lastgood.domain.plan import MAX_GUARDRAILS, MAX_STEPS, OnDeadline, PromoteWhen, Strategy, UnitsChoice
from lastgood.domain.plan_data import DataDocument
from lastgood.domain.plan_drill import DrillDocument
from lastgood.domain.plan_guardrails import GuardrailDocument
from lastgood.domain.plan_meaning import means
from lastgood.domain.plan_quantity import UNTIL_RESUMED, Duration, Pause, Percent, Weight

MAX_CHANNELS: Final = 20


class ShadowStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sends copies of requests to the candidate, which answers them to nobody. Over when both its time and its pairs are reached."""

    shadow: Annotated[
        Weight,
        means(
            "The share of the requests that are copied, from 0.01% to 100%. A whole number is percent too. Shadow steps "
            "come before the first step with a weight.",
            None,
            "10%",
            "0.5%",
        ),
    ]
    duration: Annotated[
        Pause | None,
        means(
            "How long the step lasts at least; 'until resumed' makes a standing shadow, which 'lastgood promote' ends and "
            "no deadline.",
            "0s",
            "1h",
            UNTIL_RESUMED,
        ),
    ] = msgspec.field(default=None, name="for")
    samples: Annotated[
        int,
        Meta(ge=0, le=1_000_000_000),
        means("Pairs of a request and its copy that both versions must have answered in this step."),
    ] = 0


class WeightStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sends a share of the traffic to the candidate. Over when both its time and its samples are reached."""

    weight: Annotated[
        Weight,
        means(
            "The candidate's share of the traffic, from 0.01% to 100%, at least that of the step before. A "
            "whole number is percent too.",
            None,
            "5%",
            "0.5%",
            25,
        ),
    ]
    duration: Annotated[Duration | None, means("How long the step lasts at least.", "0s", "10m")] = (
        msgspec.field(default=None, name="for")
    )
    samples: Annotated[
        int,
        Meta(ge=0, le=1_000_000_000),
        means("Requests that the candidate must have answered in this step."),
    ] = 0


class PauseStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keeps the traffic as it is for a time, or until a person types 'lastgood resume'."""

    pause: Annotated[
        Pause,
        means(
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
        means("What the person is asked.", None, "Ask the fraud team"),
    ]


STEP_KINDS: Final[dict[str, type[ShadowStep | WeightStep | PauseStep | ApproveStep]]] = {
    "shadow": ShadowStep,
    "weight": WeightStep,
    "pause": PauseStep,
    "approve": ApproveStep,
}


class ChannelDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where notifications go: exactly one of 'webhook' and 'command'."""

    webhook: Annotated[
        Annotated[str, Meta(max_length=2000)] | None,
        means(
            "An http or https URL that each event is posted to, as a CloudEvent.",
            None,
            "https://example.org/hook",
            pattern="^https?://",
        ),
    ] = None
    command: Annotated[
        tuple[str, ...] | None,
        means(
            "A program and its arguments, run without a shell; the event comes on its standard input.",
            None,
            ["notify-send", "lastgood"],
            minItems=1,
        ),
    ] = None
    secret: Annotated[
        str | None,
        means(
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
        means(
            "How traffic reaches the candidate: 'canary' step by step, 'blue_green' all at once with "
            "stable kept beside it, 'all_at_once' promoted as soon as it is validated."
        ),
    ] = Strategy.CANARY
    steps: Annotated[
        list[Any] | None,
        means(
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
        means(
            "What must stay true of the candidate. Default: health, errors (60% of false_rollback_rate) and "
            "invalid_output (40%). A list replaces the default; health is added when it is not in it.",
            None,
            minItems=1,
            maxItems=MAX_GUARDRAILS,
        ),
    ] = None
    false_rollback_rate: Annotated[
        Percent | None,
        means(
            "The chance, over the whole release, that a harmless candidate is rolled back by the statistical "
            "guardrails. Above 0%, at most 50%.",
            "1%",
            "0.1%",
        ),
    ] = None
    promote_when: Annotated[
        PromoteWhen,
        means(
            "When the candidate becomes stable: 'measured' when the steps are over and every guardrail has passed; "
            "'proven' as soon as every guardrail that compares has shown that the candidate is not worse than its "
            "'proof_margin', at whatever step, but never past an approval or a pause until resumed."
        ),
    ] = PromoteWhen.MEASURED
    false_promotion_rate: Annotated[
        Percent | None,
        means(
            "With 'promote_when: proven': the chance, over the whole release, that a candidate that is worse by "
            "the proof margin or more is promoted. Above 0%, at most 50%.",
            "5%",
            "1%",
        ),
    ] = None
    soak: Annotated[
        Duration | None,
        means(
            "The least time from the first traffic until promotion; shorter than 'deadline'. Copies are no traffic.",
            "0s",
            "10m",
        ),
    ] = None
    units: Annotated[
        UnitsChoice,
        means(
            "What counts as one trial where rates are compared: 'requests' each request; 'keys' each request, but "
            "of a key nothing after its first bad one, for users who come again; 'hosts' each minute, for "
            "failures that come in bursts; 'auto' chooses by stable's recorded traffic when a release begins."
        ),
    ] = UnitsChoice.AUTO
    watch: Annotated[
        Duration | None,
        means(
            "How long the promoted version is judged, with the way back kept open: by health, by every 'max', and beside "
            "the version before on the copies of 'watch_shadow'.",
            "10m",
            "1h",
        ),
    ] = None
    watch_shadow: Annotated[
        Percent | None,
        means(
            "The share of the requests of which, during the watch, the version before answers copies, to nobody: at least "
            "0.01%, or 0% for none.",
            "1%",
            "0.1%",
            "0%",
        ),
    ] = None
    watch_run_length: Annotated[
        Duration | None,
        means(
            "The mean time between two false alarms of what is judged on the copies of the watch.",
            "30d",
            "7d",
        ),
    ] = None
    deadline: Annotated[
        Duration | None,
        means(
            "The longest time from the first step until promotion; longer than the steps take. Behind a standing shadow "
            "it begins when that ends.",
            "7d",
            "2h",
        ),
    ] = None
    on_deadline: Annotated[
        OnDeadline,
        means(
            "What happens at the deadline: 'hold' pauses until a person resumes, 'rollback' goes back, 'ask' pauses, "
            "says what is missing, and 'lastgood approve' promotes all the same."
        ),
    ] = OnDeadline.HOLD
    validate_deadline: Annotated[
        Duration | None, means("How long the candidate may take to load and warm up.", "2m", "10m")
    ] = None
    promote_deadline: Annotated[
        Duration | None,
        means("How long gateways may take to acknowledge a promotion; then it is 'stuck'.", "30s"),
    ] = None
    rollback_deadline: Annotated[
        Duration | None,
        means("How long gateways may take to acknowledge a rollback; then it is 'stuck'.", "30s"),
    ] = None
    notify: Annotated[
        list[ChannelDocument],
        means(
            "Who hears of every phase change, beside the channels in the settings. Default: nobody else.",
            None,
            maxItems=MAX_CHANNELS,
        ),
    ] = []
    data: Annotated[
        DataDocument | None,
        means(
            "The live data that goes back with the model: captured before the release, perhaps migrated by it. "
            "Default: none."
        ),
    ] = None
    drill: Annotated[
        DrillDocument | None,
        means(
            "How often the rollback is rehearsed while the released version serves. Default: only when somebody types "
            "'lastgood drill'."
        ),
    ] = None
