"""From outcomes to counts: which labelled rows a KPI guardrail counts, and which of them are wrong.

What is a trial, and when is it bad
    ========= ============================================= ==============================
    metric    trials                                        bad ones
    ========= ============================================= ==============================
    accuracy  all rows                                      another class was predicted
    recall    rows of the class of interest                 it was not predicted
    precision rows for which that class was predicted       they are of another
    f1        rows that are, or were predicted to be, of it one of both, not the other
    mean      all rows, each with its label as score        -
    mae       all rows, each with the distance as score     -
    ========= ============================================= ==============================
    With ``j`` the part of good trials of ``f1``, F1 is ``2 j / (1 + j)``: it rises and falls with ``j``.
A row counts for the arm its request was meant for, with the answer that the caller had, whoever gave it: leaving out what
stable answered for the candidate would compare easy rows with all rows.

Where keys are the units, a key's rows after its first bad one are left out, and of a mean all after its first: then
what counts of a key ends by itself, and a busy caller is no crowd.

A pair, a request that both arms answered, counts with both answers, one for each arm. Of accuracy and recall both or neither
count for the metric, as that depends on the label alone: what tells the arms apart are pairs in which just one is wrong. Where
keys are the units, no more counts of a key after its first such pair, in either arm; of other metrics after its first
pair with anything wrong. A request without a usable answer to its copy counts in no arm, and a reward (``mean``) is that of the
answer the caller had.

A guardrail with slices counts each row once more for each of its columns, with whatever became of it for all rows.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

import msgspec
import numpy as np

from lastgood.analysis.slices import Places
from lastgood.analysis.trials import MAX_HASHES
from lastgood.domain.kpi import Kpi, KpiCounts, KpiTerms, Outcome, Pairs, Slice, class_of, number_of
from lastgood.domain.plan import CONFUSIONS, Guardrail, Metric
from lastgood.stats.means import bin_of

PAIRED: Final = frozenset((Metric.ACCURACY, Metric.RECALL))
"""Metrics of which a pair counts in both arms or in none."""

_ARMS: Final = ("candidate", "stable")


class Row(Enum):
    """What one labelled row is for a metric of classes."""

    NO_TRIAL = "no trial"
    GOOD = "good"
    BAD = "bad"
    UNUSABLE = "unusable"


class _Sums:
    """One arm's counts while they grow."""

    def __init__(self) -> None:
        self.rows = self.trials = self.bad = self.unusable = self.repeated = 0
        self.scores: dict[int, int] = {}
        self.total = 0.0

    def counts(self) -> KpiCounts:
        return KpiCounts(
            rows=self.rows,
            trials=self.trials,
            bad=self.bad,
            scores=dict(sorted(self.scores.items())),
            total=self.total,
            unusable=self.unusable,
            repeated=self.repeated,
        )


class _Both:
    """Both arms' sums of one stage, or of one slice of it."""

    def __init__(self) -> None:
        self.arms = {arm: _Sums() for arm in _ARMS}
        self.pairs: Pairs | msgspec.UnsetType = msgspec.UNSET

    def kpi(self) -> Kpi:
        candidate, stable = (self.arms[arm].counts() for arm in _ARMS)
        return Kpi(candidate=candidate, stable=stable, pairs=self.pairs)

    def add(self, pair: Pairs) -> None:
        self.pairs = pair if self.pairs is msgspec.UNSET else self.pairs.plus(pair)


def tally(
    guardrail: Guardrail,
    outcomes: Sequence[Outcome],
    remembered: bytes | None,
    appeared: Mapping[str, Sequence[str]] = {},
) -> dict[int, Kpi]:
    """Return what outcomes, in their order, say of both arms, by stage.

    ``remembered`` are the 32-bit marks of keys of which no more counts (see the head of this page), None where keys are
    not the units; there is room for :data:`MAX_HASHES`, and without room no row with a key counts any more. ``appeared``
    are the values that each column of the guardrail's slices has had before, in their order.
    """
    known = None if remembered is None else set(np.frombuffer(remembered, dtype="<u4").tolist())
    places = Places(guardrail.slices, appeared)
    stages: dict[int, _Both] = {}
    parts: dict[int, dict[tuple[str, int], _Both]] = {}
    fresh: dict[int, list[int]] = {}
    for one in outcomes:
        if one.arm not in _ARMS:
            continue
        here = parts.setdefault(one.stage, {})
        touched = [stages.setdefault(one.stage, _Both())]
        touched += [here.setdefault(place, _Both()) for place in places.of(one)]
        answered = _ARMS if _is_pair(guardrail, one) else (one.arm,)
        sums = [both.arms[arm] for both in touched for arm in answered]
        for own in sums:
            own.rows += 1
        if known is not None and one.key is not None and (one.key in known or len(known) >= MAX_HASHES):
            for own in sums:
                own.repeated += 1
            continue
        if one.copied and guardrail.metric is not Metric.MEAN:
            ends = _add_pair(touched, guardrail, one)
        else:
            ends = _add(sums, guardrail, one)
        if ends and known is not None and one.key is not None:
            known.add(one.key)
            fresh.setdefault(one.stage, []).append(one.key)
    return {
        stage: msgspec.structs.replace(
            both.kpi(),
            keys=sorted(fresh.get(stage, ())),
            slices=_slices(places, parts[stage]) if guardrail.slices else msgspec.UNSET,
        )
        for stage, both in sorted(stages.items())
    }


def _slices(places: Places, parts: Mapping[tuple[str, int], _Both]) -> list[Slice]:
    return [
        Slice(column=column, value=places.value(column, rank), rank=rank, kpi=both.kpi())
        for (column, rank), both in sorted(parts.items())
    ]


def _is_pair(guardrail: Guardrail, outcome: Outcome) -> bool:
    return outcome.copied and outcome.other is not None and guardrail.metric is not Metric.MEAN


def _add_pair(touched: Sequence[_Both], guardrail: Guardrail, outcome: Outcome) -> bool:
    """Count both answers of a request, all rows first; return whether no more of its key counts."""
    if not _is_pair(guardrail, outcome):
        _add_to(touched, Pairs(alone=1))
        return False
    copy = msgspec.structs.replace(outcome, answer=outcome.other)
    own, other = (outcome, copy) if outcome.arm == "candidate" else (copy, outcome)
    arms = {arm: [both.arms[arm] for both in touched] for arm in _ARMS}
    if guardrail.metric not in CONFUSIONS:
        ended = [_add(arms[arm], guardrail, row) for arm, row in zip(_ARMS, (own, other), strict=True)]
        return any(ended)
    terms = guardrail.kpi or KpiTerms()
    row1, row0 = (row_of(guardrail.metric, terms, one) for one in (own, other))
    if Row.UNUSABLE in (row1, row0):
        for arm, row in zip(_ARMS, (row1, row0), strict=True):
            for sums in arms[arm]:
                sums.unusable += row is Row.UNUSABLE
        return False
    for arm, row in zip(_ARMS, (row1, row0), strict=True):
        _count(arms[arm], row)
    bad1, bad0 = row1 is Row.BAD, row0 is Row.BAD
    if Row.NO_TRIAL in (row1, row0):
        _add_to(touched, Pairs())
        return bad1 or bad0
    only1, only0 = bad1 and not bad0, bad0 and not bad1
    _add_to(touched, Pairs(pairs=1, only1=int(only1), only0=int(only0), both=int(bad1 and bad0)))
    return only1 or only0 if guardrail.metric in PAIRED else bad1 or bad0


def _add_to(touched: Sequence[_Both], pairs: Pairs) -> None:
    for both in touched:
        both.add(pairs)


def _count(sums: Sequence[_Sums], row: Row) -> None:
    for own in sums:
        own.unusable += row is Row.UNUSABLE
        own.trials += row in (Row.GOOD, Row.BAD)
        own.bad += row is Row.BAD


def _add(sums: Sequence[_Sums], guardrail: Guardrail, outcome: Outcome) -> bool:
    """Count a row in all of ``sums``; return whether no more of its key counts."""
    terms = guardrail.kpi or KpiTerms()
    if guardrail.metric in CONFUSIONS:
        row = row_of(guardrail.metric, terms, outcome)
        _count(sums, row)
        return row is Row.BAD
    value = value_of(guardrail.metric, terms, outcome)
    if value is None:
        for own in sums:
            own.unusable += 1
        return False
    clipped = min(max(value, terms.low), terms.high)
    part = min(max((clipped - terms.low) / (terms.high - terms.low), 0.0), 1.0)
    number = bin_of(1.0 - part if guardrail.metric is Metric.MAE else part)
    for own in sums:
        own.trials += 1
        own.total += clipped
        own.scores[number] = own.scores.get(number, 0) + 1
    return True


def row_of(metric: Metric, terms: KpiTerms, outcome: Outcome) -> Row:
    """Return what a labelled row is for a metric of classes."""
    label, predicted = class_of(outcome.value), _predicted(terms, outcome.answer)
    if label is None or predicted is None:
        return Row.UNUSABLE
    if terms.positive and metric is not Metric.ACCURACY:
        return _of_interest(metric, label == terms.positive, predicted == terms.positive)
    if terms.threshold is not None:  # the score tells one class from all others
        return Row.GOOD if (label == terms.positive) is (predicted == terms.positive) else Row.BAD
    return Row.GOOD if label == predicted else Row.BAD


def value_of(metric: Metric, terms: KpiTerms, outcome: Outcome) -> float | None:
    """Return the label of a row, or its distance from what was predicted; None where either is no number."""
    label = number_of(outcome.value)
    if label is None or metric is Metric.MEAN:
        return label
    predicted = number_of(output_of(terms.output, outcome.answer))
    return None if predicted is None else abs(predicted - label)


def _of_interest(metric: Metric, is_one: bool, was_predicted: bool) -> Row:
    counts = {
        Metric.RECALL: is_one,
        Metric.PRECISION: was_predicted,
        Metric.F1: is_one or was_predicted,
    }[metric]
    if not counts:
        return Row.NO_TRIAL
    return Row.GOOD if is_one and was_predicted else Row.BAD


def _predicted(terms: KpiTerms, answer: dict[str, Any] | None) -> str | None:
    """Return the predicted class; with a threshold the class of interest, or nothing in particular."""
    found = output_of(terms.output, answer)
    if terms.threshold is None:
        return class_of(found)
    score = number_of(score_of(found))
    if score is None:
        return None
    return terms.positive if score >= terms.threshold else ""


def score_of(found: Any) -> Any:
    """Return what is the score of a row: of two, as ``predict_proba`` gives them, the second."""
    return found[1] if isinstance(found, list) and len(found) == 2 else found


def output_of(output: str, answer: dict[str, Any] | None) -> Any:
    """Return the value of an output, the first where none is named; the one of a list with one."""
    if not answer:
        return None
    found = answer.get(output) if output else next(iter(answer.values()))
    return found[0] if isinstance(found, list) and len(found) == 1 else found
