"""A plan: the steps of a release, its guardrails, and the false-alarm rate they share."""

from enum import StrEnum
from typing import Final

import msgspec

from lastgood.domain.agreement import AgreementTerms
from lastgood.domain.channel import Channel
from lastgood.domain.custom import CustomTerms
from lastgood.domain.drift import DriftTerms
from lastgood.domain.kpi import KpiTerms


class Strategy(StrEnum):
    """How traffic reaches the candidate."""

    CANARY = "canary"  # step by step
    BLUE_GREEN = "blue_green"  # looked at without traffic, then all at once, stable beside it
    ALL_AT_ONCE = "all_at_once"  # promoted as soon as it is validated


class OnFail(StrEnum):
    """What a failed guardrail does."""

    ROLLBACK = "rollback"
    HOLD = "hold"
    ALERT = "alert"


class OnDeadline(StrEnum):
    """What happens when the plan's deadline passes without a verdict. Never a silent promotion."""

    HOLD = "hold"  # paused until a person resumes, which sets a new deadline
    ROLLBACK = "rollback"  # back to stable; the version is not blamed
    ASK = "ask"  # paused; a person promotes by approving, or goes back


class PromoteWhen(StrEnum):
    """What must be true for a promotion, beside that no guardrail has failed."""

    MEASURED = "measured"  # the steps' times and samples are over, and every guardrail has passed
    PROVEN = "proven"  # every guardrail has shown that the candidate is not worse than its proof margin


class NoData(StrEnum):
    """What a guardrail without any data does when a step would end."""

    HOLD = "hold"  # it is inconclusive, and stands in the way of the promotion
    FAIL = "fail"  # as if it had failed: its on_fail
    IGNORE = "ignore"  # it stands in nobody's way; at least one other must have measured something


class MarginKind(StrEnum):
    """How a margin is meant."""

    ODDS = "odds"  # the candidate's odds of a bad request, as a multiple of stable's
    ABSOLUTE = "absolute"  # the candidate's rate of bad requests minus stable's


class Margin(msgspec.Struct, frozen=True, gc=False):
    """The smallest difference that matters: an odds ratio of at least 1, or a difference of rates above 0."""

    kind: MarginKind = MarginKind.ODDS
    value: float = 1.2


class UnitsChoice(StrEnum):
    """Which units a plan's bad/total guardrails count; ``auto`` looks at stable's history."""

    AUTO = "auto"
    REQUESTS = "requests"
    KEYS = "keys"
    HOSTS = "hosts"


class StepKind(StrEnum):
    """What a step does."""

    SHADOW = "shadow"
    WEIGHT = "weight"
    PAUSE = "pause"
    APPROVE = "approve"


class Step(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One step. ``weight`` and ``rate`` in basis points; ``duration`` in seconds (None for one that a person ends).

    A weight step is over when both its duration has passed and the candidate has answered at least
    ``samples`` requests in it. In a shadow step the candidate answers copies of ``rate`` of the requests, to nobody;
    its ``samples`` are pairs of a request and its copy.
    """

    kind: StepKind
    weight: int = 0
    rate: int = 0
    duration: float | None = 0.0
    samples: int = 0
    message: str = ""


class Metric(StrEnum):
    """What a guardrail looks at."""

    HEALTH = "health"  # the candidate's host answers
    ERRORS = "errors"  # requests that the candidate failed (raised, timed out, host gone)
    TIMEOUTS = "timeouts"  # those among them that ran out of time
    INVALID_OUTPUT = "invalid_output"  # answers with NaN, infinity or the wrong shape
    LATENCY = "latency"  # seconds from gateway to host and back
    COUNTER = "counter"  # a bad/total counter that the version itself reports
    ACCURACY = "accuracy"  # labelled rows whose class was predicted
    PRECISION = "precision"  # rows predicted to be of the class of interest that are
    RECALL = "recall"  # rows of the class of interest that were predicted to be
    F1 = "f1"  # the harmonic mean of both
    MEAN = "mean"  # the labels' own mean: a reward
    MAE = "mae"  # how far a predicted number is from the label, in the mean
    CUSTOM = "custom"  # numbers from outside
    DRIFT = "drift"  # inputs against the training reference
    PREDICTION_DRIFT = "prediction_drift"  # the candidate's outputs against stable's
    AGREEMENT = "agreement"  # rows of copied requests of which both versions say the same


CONFUSIONS: Final = frozenset((Metric.ACCURACY, Metric.PRECISION, Metric.RECALL, Metric.F1))
"""KPIs that are a number of wrong rows of a total."""

KPIS: Final = CONFUSIONS | {Metric.MEAN, Metric.MAE}
"""Metrics that need labels."""

DRIFTS: Final = frozenset((Metric.DRIFT, Metric.PREDICTION_DRIFT))
"""Metrics that look at values instead of at what went wrong."""


class LatencyTest(StrEnum):
    """How a latency guardrail compares the candidate with stable."""

    NONE = "none"  # not at all: only the hard maximum counts
    OBJECTIVE = "objective"  # by the share of requests slower than the objective
    QUANTILES = "quantiles"  # by the shares of requests slower than quantiles of both arms' past
    DISTRIBUTION = "distribution"  # the whole distribution, by ranks


DEFAULT_PROOF: Final = (Margin(MarginKind.ODDS, 2.0), Margin(MarginKind.ABSOLUTE, 0.01))
"""Odds suit rates of any size; where nothing ever goes wrong they can show nothing, and one point can."""

DEFAULT_QUANTILES: Final = (0.5, 0.9, 0.98, 0.998)


class Guardrail(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A metric with a bound and what to do when it is broken.

    ``margin`` is the smallest difference to stable that counts as worse; for a latency distribution it is a factor
    of time (an odds margin of 1.2 stands for "up to 1.2 times as slow"). ``min_bad`` candidate failures are needed
    before a comparison may fail. ``proof`` are the margins within which the candidate must be shown not to be worse
    when the plan promotes by proof; showing any of them is enough. ``maximum`` is a hard limit on a rate (0 to 1)
    or, for latency, on the ``quantile`` in seconds; it is judged once the candidate has answered ``min_samples``
    requests. ``latency_test``, ``objective`` (seconds) and ``quantiles`` say how latencies are compared,
    ``counter`` names the version's own counter. ``misses`` health checks in a row fail. ``share`` is this
    guardrail's part of the plan's ``false_rollback_rate``, 0 for those that compare nothing. A ``dry_run`` guardrail
    is judged at the whole rate and shown, and nothing follows from it.

    ``kpi`` is set for the metrics that need labels. Their trials are labelled rows, and ``margin``, ``min_bad`` and
    ``maximum`` are about wrong ones; of a mean the margin is a part of its range. ``min_samples`` are labelled rows.
    ``drift`` is set for the metrics that look at values, ``agreement`` for that one; their ``min_samples`` are rows.
    With ``slices``, columns of the input, it also compares the rows of each of their values (at half of its rate in all);
    the hard limit, ``min_samples`` and ``proof`` are about all rows.
    """

    name: str
    metric: Metric
    on_fail: OnFail = OnFail.ROLLBACK
    margin: Margin = Margin()
    proof: tuple[Margin, ...] = DEFAULT_PROOF
    min_bad: int = 2
    maximum: float | None = None
    quantile: float = 0.99
    latency_test: LatencyTest = LatencyTest.NONE
    objective: float | None = None
    quantiles: tuple[float, ...] = ()
    counter: str = ""
    min_samples: int = 50
    misses: int = 3
    share: float = 0.0
    no_data: NoData = NoData.HOLD
    dry_run: bool = False
    kpi: KpiTerms | None = None
    custom: CustomTerms | None = None
    drift: DriftTerms | None = None
    agreement: AgreementTerms | None = None
    slices: tuple[str, ...] = ()


class OnRollback(StrEnum):
    """What a rollback does with the data of a release."""

    RESTORE = "restore"  # back to the snapshot, together with the model; what it replaces is kept and counted
    KEEP = "keep"  # the model goes back, the data stays as it is
    FREEZE = "freeze"  # the migration is one-way: nothing moves, a person is told


class DataPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a release does with the data that its versions depend on.

    ``source`` is captured before ``migrate`` (a program and its arguments, run without a shell for at most
    ``migrate_timeout`` seconds; empty for none) changes it. With ``hold`` requests wait from before the migration until
    all traffic is on the candidate: for data that the stable version cannot read any more.
    """

    source: str
    on_rollback: OnRollback = OnRollback.RESTORE
    migrate: tuple[str, ...] = ()
    migrate_timeout: float = 600.0
    hold: bool = False


class DrillPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How often the rollback is rehearsed while what the plan has made stable serves: ``every`` so many seconds."""

    every: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a release runs. Durations are seconds, ``false_rollback_rate`` is a probability per release.

    ``deadline`` bounds the time from the first step, or from the end of a standing shadow, until promotion;
    ``rollback_deadline`` and ``promote_deadline`` bound how long a route change may stay unacknowledged;
    ``validate_deadline`` how long the candidate may take to load and warm up. ``soak`` is the least time from the
    first traffic until promotion. With ``promote_when`` proven, ``false_promotion_rate`` is the chance that a
    candidate that is worse by the proof margin or more is promoted.

    In the watch the version before answers copies of ``watch_shadow`` (basis points, 0 for none) of the requests;
    ``watch_run_length`` is the mean time between two false alarms of what is judged on them.
    """

    strategy: Strategy = Strategy.CANARY
    steps: tuple[Step, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()
    false_rollback_rate: float = 0.01
    promote_when: PromoteWhen = PromoteWhen.MEASURED
    false_promotion_rate: float = 0.05
    soak: float = 0.0
    units: UnitsChoice = UnitsChoice.AUTO
    watch: float = 0.0
    watch_shadow: int = 100
    watch_run_length: float = 30 * 86_400.0
    deadline: float = 7 * 86_400.0
    on_deadline: OnDeadline = OnDeadline.HOLD
    validate_deadline: float = 120.0
    promote_deadline: float = 30.0
    rollback_deadline: float = 30.0
    notify: tuple[Channel, ...] = ()
    data: DataPlan | None = None
    drill: DrillPlan | None = None

    def weight_at(self, step: int) -> int:
        """Return the weight in force at ``step``: that of the last weight step up to it, else 0."""
        stage = self.stage_at(step)
        return self.steps[stage].weight if stage >= 0 else 0

    def shadow_at(self, step: int) -> int:
        """Return the rate of copies in force at ``step``: that of the last shadow step, 0 once there is a weight."""
        stage = self.stage_at(step)
        return self.steps[stage].rate if stage >= 0 else 0

    def stands_at(self, step: int) -> bool:
        """Whether ``step`` is a standing shadow: only a person ends it, and no deadline."""
        if step >= len(self.steps):
            return False
        return self.steps[step].kind is StepKind.SHADOW and self.steps[step].duration is None

    @property
    def shadows(self) -> bool:
        """Whether any step sends copies to the candidate."""
        return any(step.kind is StepKind.SHADOW for step in self.steps)

    @property
    def watch_stage(self) -> int:
        """The stage after the last step's: the promoted version alone is counted in it."""
        return len(self.steps)

    @property
    def pair_stage(self) -> int:
        """The stage after the watch's: requests of the promoted version and their copies are counted in it."""
        return self.watch_stage + 1

    def pairs_at(self, stage: int) -> bool:
        """Whether what is counted in ``stage`` are pairs: requests and their copies."""
        shadow = 0 <= stage < len(self.steps) and self.steps[stage].kind is StepKind.SHADOW
        return shadow or stage == self.pair_stage

    def stage_at(self, step: int) -> int:
        """Return the index of the weight or shadow step in force at ``step``, -1 before the first."""
        for index in range(min(step, len(self.steps) - 1), -1, -1):
            if self.steps[index].kind in (StepKind.WEIGHT, StepKind.SHADOW):
                return index
        return -1


MAX_STEPS: Final = 100
MAX_GUARDRAILS: Final = 50
