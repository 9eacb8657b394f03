"""From a table of outcomes, a row for each request, to the strata that a release would have made of them. Pure.

Columns: ``arm`` (``candidate`` or ``stable``), ``time`` (seconds; of all rows, or of none: they follow each other then),
``error``, ``timeout``, ``invalid`` (0 or 1), ``latency`` (seconds), ``prediction``, ``label`` and ``label_time``, one of 0
and 1 for each counter that the plan names, and the plan's columns of slices. A column that is not there says nothing went wrong.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any, Final

import msgspec

from lastgood.analysis import kpi, slices
from lastgood.analysis.strata import MIN_REQUESTS
from lastgood.domain.kpi import Labels, Outcome, class_of, number_of, slice_text
from lastgood.domain.plan import KPIS, Metric, Plan
from lastgood.domain.traffic import BUCKETS_PER_OCTAVE, ArmCounts, Counter, Stratum
from lastgood.errors import Code, LastgoodError
from lastgood.stats import quantiles

_ARMS: Final = ("candidate", "stable")
_LABELS_AT_ONCE: Final = 20
_SECONDS_MAX: Final = 1e11  # epoch seconds are far below it, epoch milliseconds above
_SIGNS: Final = {"1": True, "0": False, "": False}


class OutcomeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One request as a table has it. ``at`` and ``labelled_at`` are seconds; ``latency`` too."""

    at: float
    arm: str
    error: bool = False
    timeout: bool = False
    invalid: bool = False
    latency: float | None = None
    counters: dict[str, bool] = {}
    prediction: Any = None
    label: Any = None
    labelled_at: float = 0.0
    slices: dict[str, str] = {}


def rows_of(table: Iterable[Mapping[str, Any]], plan: Plan) -> list[OutcomeRow]:
    """Return the rows in order of their time.

    :raises LastgoodError: ``invalid``, naming the row (the first is 1) and the column.
    """
    counters = sorted({one.counter for one in plan.guardrails if one.metric is Metric.COUNTER})
    columns = sorted({column for one in plan.guardrails for column in one.slices})
    found, timed = [], None
    for number, given in enumerate(table, start=1):
        has_time = not _empty(given.get("time"))
        if timed is not None and has_time is not timed:
            raise _wrong(number, "time", given.get("time"), "write a time as in all rows, or in none of them")
        timed = has_time
        found.append(_row(number, given, counters, columns))
    return sorted(found, key=attrgetter("at"))


def strata_of(rows: Iterable[OutcomeRow], plan: Plan) -> list[Stratum]:
    """Return the strata of rows in order of time: all in one stage, numbered from 1, labels where they came."""
    found = [*_requests(rows := list(rows)), *_labels(rows, plan)]
    found.sort(key=attrgetter("closed_at"))
    return [
        msgspec.structs.replace(stratum, sequence=number) for number, stratum in enumerate(found, start=1)
    ]


def _row(
    number: int, given: Mapping[str, Any], counters: Iterable[str], columns: Iterable[str]
) -> OutcomeRow:
    arm = str(given.get("arm", "")).strip().lower()
    if arm not in _ARMS:
        raise _wrong(number, "arm", given.get("arm"), "write candidate or stable")
    at = _number(number, given, "time", float(number))
    labelled_at = _number(number, given, "label_time", at)
    latency = None if _empty(given.get("latency")) else _number(number, given, "latency", 0.0)
    if latency is not None and latency < 0.0:
        raise _wrong(number, "latency", given["latency"], "write seconds, 0 or more")
    timeout = _sign(number, given, "timeout")
    return OutcomeRow(
        at=at,
        arm=arm,
        error=_sign(number, given, "error") or timeout,
        timeout=timeout,
        invalid=_sign(number, given, "invalid"),
        latency=latency,
        counters={name: _sign(number, given, name) for name in counters if not _empty(given.get(name))},
        prediction=given.get("prediction"),
        label=None if _empty(given.get("label")) else given["label"],
        labelled_at=max(at, labelled_at),
        slices={column: slice_text(given.get(column)) for column in columns},
    )


def _empty(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _number(number: int, given: Mapping[str, Any], column: str, default: float) -> float:
    if _empty(given.get(column)):
        return default
    found = number_of(given[column])
    if found is None or abs(found) > _SECONDS_MAX:
        raise _wrong(
            number, column, given[column], "write a number of seconds (milliseconds divided by 1000)"
        )
    return found


def _sign(number: int, given: Mapping[str, Any], column: str) -> bool:
    if _empty(given.get(column)):
        return False
    sign = _SIGNS.get(class_of(given[column]) or "?")
    if sign is None:
        raise _wrong(number, column, given[column], "write 0 or 1")
    return sign


def _wrong(number: int, column: str, value: object, then: str) -> LastgoodError:
    what = "nothing" if _empty(value) else repr(value)[:80]
    return LastgoodError(
        Code.INVALID, f"Row {number} of the outcomes has {what} as its {column}.", f"There, {then}."
    )


def _requests(rows: Iterable[OutcomeRow]) -> Iterator[Stratum]:
    """Yield strata of at least as many requests as a release takes; what is left at the end is the last one."""
    held: list[OutcomeRow] = []
    compared = False
    for row in rows:
        held.append(row)
        compared = compared or row.arm == "candidate"
        if compared and len(held) >= MIN_REQUESTS:
            yield _stratum(held)
            held, compared = [], False
    if compared:
        yield _stratum(held)


def _stratum(rows: list[OutcomeRow]) -> Stratum:
    arms = {arm: _counts([one for one in rows if one.arm == arm]) for arm in _ARMS}
    return Stratum(
        release=0,
        sequence=0,
        stage=0,
        closed_at=rows[-1].at,
        candidate=arms["candidate"],
        stable=arms["stable"],
    )


def _counts(rows: list[OutcomeRow]) -> ArmCounts:
    latency: dict[int, int] = {}
    counters: dict[str, Counter] = {}
    for row in rows:
        if row.latency is not None:
            bucket = quantiles.bucket_of(max(row.latency * 1e6, 1.0), BUCKETS_PER_OCTAVE)
            latency[bucket] = latency.get(bucket, 0) + 1
        for name, bad in row.counters.items():
            own = counters.setdefault(name, Counter())
            own.total += 1
            own.bad += bad
    return ArmCounts(
        requests=len(rows),
        errors=sum(one.error for one in rows),
        timeouts=sum(one.timeout for one in rows),
        invalid=sum(one.invalid and not one.error for one in rows),
        latency=dict(sorted(latency.items())),
        counters=dict(sorted(counters.items())),
    )


def _labels(rows: Iterable[OutcomeRow], plan: Plan) -> Iterator[Stratum]:
    """Yield strata of labels, in the order in which they count: as they come, but not before their maturity."""
    for guardrail in plan.guardrails:
        if guardrail.metric not in KPIS or guardrail.kpi is None:
            continue
        after = guardrail.kpi.after
        labelled = [(max(one.labelled_at, one.at + after), one) for one in rows if one.label is not None]
        labelled.sort(key=lambda pair: pair[0])
        appeared: dict[str, list[str]] = {}
        for start in range(0, len(labelled), _LABELS_AT_ONCE):
            part = labelled[start : start + _LABELS_AT_ONCE]
            outcomes = [_outcome(guardrail.kpi.output, row) for _, row in part]
            counted = kpi.tally(guardrail, outcomes, None, appeared)[0]
            appeared = slices.appeared_after(appeared, counted)
            yield Stratum(
                release=0,
                sequence=0,
                stage=0,
                closed_at=part[-1][0],
                candidate=ArmCounts(),
                stable=ArmCounts(),
                labels=Labels(kpis={guardrail.name: counted}),
            )


def _outcome(output: str, row: OutcomeRow) -> Outcome:
    answer = None if _empty(row.prediction) else {output or "prediction": row.prediction}
    return Outcome(
        sequence=0,
        release=0,
        stage=0,
        arm=row.arm,
        version=0,
        predicted_at=row.at,
        labelled_at=row.labelled_at,
        value=row.label,
        answer=answer,
        slices=row.slices,
    )
