"""Have the inputs moved away from the training reference? One guardrail's evidence, minute by minute.

Of each feature some sets of bins are watched by change detectors (:mod:`lastgood.stats.detector`) against the set's part of the
reference and the tolerated distance (:mod:`lastgood.analysis.drift_sets`): halves and quarters of numbers, single classes, values
that fit no bin, missing ones, and the bins that have been over-represented so far. A period is a minute with values. All detectors of a guardrail share
one run length: the mean time until any of them raises a false alarm is at least :data:`RUN_LENGTH` minutes.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from lastgood.analysis.drift_bins import Shape, nothing, shape
from lastgood.analysis.drift_sets import allowed, bins_now, classes_of, sets_of
from lastgood.domain.drift import BinCounts
from lastgood.domain.plan import Guardrail
from lastgood.domain.sketch import Feature
from lastgood.stats import detector
from lastgood.stats.detector import Detector
from lastgood.stats.hypergeometric import MAX_TRIALS
from lastgood.stats.money import log_sum

RUN_LENGTH: Final = 30 * 24 * 60.0
"""Minutes: thirty days."""

LATELY: Final = 5
"""Minutes of a block; what was seen lately are the last two of them."""

_DIGITS: Final = (
    1e6  # what is kept of the logarithm of money, rounded down, which is less evidence and never more
)
_LEAST_LATELY: Final = 200  # rows; fewer say too little of a distance


class Watch(msgspec.Struct, frozen=True, array_like=True):
    """The state of one detector, without what the reference says; empty ``log_money`` before the first period."""

    log_money: tuple[float, ...] = ()
    periods: int = 0
    stopped: bool = False


class FeatureState(msgspec.Struct, frozen=True, kw_only=True):
    """One feature's evidence: a watch for each set, and what was seen in all, in this block of minutes and in the one before.

    ``moved``, ``unseen`` and ``missing`` say what has been found, ``found`` how it was then, ``found_at`` in which minute.
    """

    watches: tuple[Watch, ...]
    total: BinCounts
    block: BinCounts
    before: BinCounts
    moved: bool = False
    unseen: bool = False
    missing: bool = False
    found: Shape | None = None
    found_at: int = 0

    @property
    def reached(self) -> bool:
        """Whether anything has been found."""
        return self.found is not None

    def lately(self) -> BinCounts:
        """Return what was seen in the last minutes, or in all where that is too little."""
        last = self.block.plus(self.before)
        return last if last.all >= _LEAST_LATELY else self.total


class InputState(msgspec.Struct, frozen=True, kw_only=True):
    """One guardrail's evidence. ``run_length`` is each detector's, in minutes; the present block began in ``since``.

    ``rows`` are those of the reference; ``classes`` of a categorical feature are watched one by one.
    """

    run_length: float
    rows: int
    classes: int
    features: dict[str, FeatureState]
    since: int = 0


class _Terms(NamedTuple):
    """What a guardrail holds each of its features against."""

    distance: float
    run_length: float
    rows: int
    classes: int


def initial(guardrail: Guardrail, reference: Mapping[str, Feature], rows: int) -> InputState:
    """Return a guardrail's evidence before any value, of its features of a reference of so many rows (0: exactly known)."""
    wanted = {name: reference[name] for name in features_of(guardrail, reference)}
    classes = classes_of(len(wanted))
    sets = {name: sum(1 for _ in sets_of(feature, classes)) for name, feature in wanted.items()}
    return InputState(
        run_length=RUN_LENGTH * max(1, sum(sets.values())),
        rows=rows,
        classes=classes,
        features={
            name: FeatureState(
                watches=(Watch(),) * sets[name],
                total=nothing(feature),
                block=nothing(feature),
                before=nothing(feature),
            )
            for name, feature in wanted.items()
        },
    )


def features_of(guardrail: Guardrail, reference: Mapping[str, Feature]) -> tuple[str, ...]:
    """Return the names of the features that a guardrail looks at; its own may be those that people use."""
    asked = () if guardrail.drift is None else guardrail.drift.features
    return tuple(
        name for name, feature in reference.items() if not asked or name in asked or feature.shown in asked
    )


def with_minute(
    state: InputState,
    guardrail: Guardrail,
    reference: Mapping[str, Feature],
    minute: int,
    counts: Mapping[str, BinCounts],
) -> InputState:
    """Return the evidence after all of one minute's counts."""
    distance = 0.0 if guardrail.drift is None else guardrail.drift.distance
    turned = minute >= state.since + LATELY
    features = {}
    for name, before in state.features.items():
        feature, fresh = reference[name], counts.get(name)
        after = before
        if turned:
            late = before.block if minute < state.since + 2 * LATELY else nothing(feature)
            after = msgspec.structs.replace(before, before=late, block=nothing(feature))
        if fresh is not None and fresh.all:
            after = _after(
                after, feature, _Terms(distance, state.run_length, state.rows, state.classes), minute, fresh
            )
        features[name] = after
    return msgspec.structs.replace(state, features=features, since=minute if turned else state.since)


def log_e(state: FeatureState) -> float:
    """Return the natural logarithm of the money of the detector that has most; 0 before any value."""
    return max((log_sum(one.log_money) for one in state.watches if one.log_money), default=0.0)


def _after(
    state: FeatureState, feature: Feature, terms: _Terms, minute: int, fresh: BinCounts
) -> FeatureState:
    watches, kinds = [], set()
    for one, watch in zip(sets_of(feature, terms.classes), state.watches, strict=True):
        bins = bins_now(one, feature, state.total)
        reference = allowed(one, feature, bins, distance=terms.distance, rows=terms.rows)
        if watch.stopped or reference >= 1.0 or (not bins and one.kind != "missing"):
            watches.append(watch)
            continue
        trials = fresh.all if one.kind == "missing" else fresh.present
        bad = fresh.missing if one.kind == "missing" else sum(fresh.bins[index] for index in bins)
        if trials > MAX_TRIALS:  # rounded down, which is less evidence and never more
            trials, bad = MAX_TRIALS, bad * MAX_TRIALS // trials
        test = detector.update(_detector(watch, terms.run_length, reference), trials, bad)
        money = tuple([math.floor(own * _DIGITS) / _DIGITS for own in test.log_money])
        watches.append(Watch(money, test.periods, test.stopped))
        if test.stopped:
            kinds.add(one.kind)
    state = msgspec.structs.replace(
        state,
        watches=tuple(watches),
        total=state.total.plus(fresh),
        block=state.block.plus(fresh),
        moved=state.moved or "moved" in kinds,
        unseen=state.unseen or "unseen" in kinds,
        missing=state.missing or "missing" in kinds,
    )
    if not kinds or state.found is not None:
        return state
    return msgspec.structs.replace(state, found=shape(feature, state.lately()), found_at=minute)


def _detector(watch: Watch, run_length: float, reference: float) -> Detector:
    start = detector.initial_against(run_length, reference)
    if not watch.log_money:
        return start
    return msgspec.structs.replace(start, log_money=watch.log_money, periods=watch.periods)
