"""The evidence of KPI guardrails: sums, tests, and what a stratum of labels makes of them.

Labels come one by one, so trials are gathered, stage by stage, until there are some of both arms and :data:`MIN_TRIALS`
in all. That number is no outcome, and the split of a stage does not change.
"""

from typing import Final

import msgspec
import numpy as np

from lastgood.analysis import comparisons
from lastgood.analysis.budget import alphas, proof_alpha
from lastgood.analysis.comparisons import Proof, Worse
from lastgood.analysis.slices import slice_part, whole_part
from lastgood.analysis.trials import MAX_HASHES, Trials
from lastgood.domain.kpi import Cursor, Kpi, Labels
from lastgood.domain.plan import CONFUSIONS, KPIS, Guardrail, Plan
from lastgood.domain.traffic import Baseline, Units
from lastgood.stats import means

MIN_TRIALS: Final = 20


class ByMeans(msgspec.Struct, frozen=True, tag="means"):
    """Is the candidate's mean lower."""

    state: means.Means


class KpiState(msgspec.Struct, frozen=True, kw_only=True):
    """One guardrail's evidence.

    ``total`` sums all labelled rows, ``open`` those of each stage that no test has seen. ``compared`` candidate trials had
    trials of stable beside them. ``keys`` are the marks of the keys that are remembered. ``slices`` are those of the
    guardrail's columns, by column and rank.
    """

    test: Worse | ByMeans | None = None
    proofs: tuple[Proof, ...] = ()
    total: Kpi = Kpi()
    open: dict[int, Kpi] = {}
    compared: int = 0
    keys: bytes = b""
    slices: "list[SliceState] | msgspec.UnsetType" = msgspec.UNSET  # left out where no columns are named


class SliceState(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence of one slice (:class:`lastgood.domain.kpi.Slice`); it has no proof, and of rank 0 no test."""

    column: str
    value: str
    rank: int
    state: KpiState


class LabelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the evidence of a release holds of labels: by guardrail, and how far outcomes were read by maturity."""

    states: dict[str, KpiState] = {}
    read: dict[str, Cursor] = {}


def initial(plan: Plan, guardrail: Guardrail) -> KpiState:
    """Return a KPI guardrail's evidence before any label."""
    alpha = alphas(plan).get(guardrail.name, 0.0)
    test = _test(guardrail, alpha * whole_part(guardrail))
    proof = proof_alpha(plan, guardrail)
    if test is None or proof is None or guardrail.metric not in CONFUSIONS:
        return KpiState(test=test)
    return KpiState(test=test, proofs=tuple(comparisons.not_worse(one, proof) for one in guardrail.proof))


def appeared(state: KpiState) -> dict[str, list[str]]:
    """Return the values of each column that have a rank, in its order."""
    found: dict[str, list[str]] = {}
    for one in state.slices or ():
        if one.rank:
            found.setdefault(one.column, []).append(one.value)
    return found


def by_key(baseline: Baseline) -> bool:
    """Whether a release with this baseline counts each key's rows only up to its first bad one."""
    return baseline.units is Units.KEYS


def with_labels(plan: Plan, record: LabelRecord, labels: Labels, stage: int) -> LabelRecord:
    """Return the record after one more stratum of labels."""
    states = dict(record.states)
    for guardrail in plan.guardrails:
        if guardrail.metric in KPIS and guardrail.name in labels.kpis:
            state = states.get(guardrail.name) or initial(plan, guardrail)
            after = _after(state, labels.kpis[guardrail.name], stage)
            slices = _slices_after(plan, guardrail, state, labels.kpis[guardrail.name], stage)
            states[guardrail.name] = msgspec.structs.replace(after, slices=slices)
    return LabelRecord(states=states, read=record.read | labels.read)


def log_e(state: KpiState) -> float:
    """Return the natural logarithm of the evidence that the candidate is worse; 0 before any."""
    if isinstance(state.test, ByMeans):
        return means.log_e(state.test.state)
    return 0.0 if state.test is None else comparisons.log_e(state.test)


def reached(state: KpiState) -> bool:
    """Return whether that evidence has ever been enough."""
    return state.test is not None and state.test.state.stopped


def _test(guardrail: Guardrail, alpha: float) -> Worse | ByMeans | None:
    """Return a guardrail's test at a rate, before any data; none at 0."""
    if alpha <= 0.0:
        return None
    if guardrail.metric in CONFUSIONS:
        return comparisons.worse(guardrail.margin, alpha)
    return ByMeans(means.initial(alpha, guardrail.margin.value))


def _slices_after(
    plan: Plan, guardrail: Guardrail, state: KpiState, kpi: Kpi, stage: int
) -> list[SliceState] | msgspec.UnsetType:
    """Return the slices after one more stratum, those of the guardrail's columns alone."""
    if not guardrail.slices:
        return msgspec.UNSET
    alpha = alphas(plan).get(guardrail.name, 0.0)
    found = {(one.column, one.rank): one for one in state.slices or ()}
    for one in kpi.slices or ():
        if one.column not in guardrail.slices:
            continue
        known = found.get((one.column, one.rank))
        before = (
            KpiState(test=_test(guardrail, alpha * slice_part(guardrail, one.rank)))
            if known is None
            else known.state
        )
        found[one.column, one.rank] = SliceState(
            column=one.column, value=one.value, rank=one.rank, state=_after(before, one.kpi, stage)
        )
    return [one for _, one in sorted(found.items())]


def _after(state: KpiState, kpi: Kpi, stage: int) -> KpiState:
    gathered = state.open.get(stage, Kpi()).plus(kpi)
    total, keys = state.total.plus(kpi), _remembered(state.keys, kpi.keys)
    n1, n0 = gathered.candidate.trials, gathered.stable.trials
    if not (n1 and n0 and n1 + n0 >= MIN_TRIALS):
        waiting = state.open | {stage: gathered}
        return msgspec.structs.replace(state, total=total, open=waiting, keys=keys)
    trials = Trials(n1, gathered.candidate.bad, n0, gathered.stable.bad)
    test = state.test
    if isinstance(test, ByMeans):
        test = ByMeans(means.update(test.state, gathered.candidate.scores, gathered.stable.scores))
    elif test is not None:
        test = comparisons.with_worse(test, trials)
    return KpiState(
        test=test,
        proofs=tuple(comparisons.with_proof(proof, trials) for proof in state.proofs),
        total=total,
        open={number: kept for number, kept in state.open.items() if number != stage},
        compared=state.compared + n1,
        keys=keys,
    )


def _remembered(keys: bytes, fresh: list[int]) -> bytes:
    if not fresh:
        return keys
    known = np.frombuffer(keys, dtype="<u4")
    room = max(0, MAX_HASHES - len(known))
    return np.union1d(known, np.array(fresh[:room], dtype="<u4")).astype("<u4").tobytes()
