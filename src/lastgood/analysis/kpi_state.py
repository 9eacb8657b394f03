"""The evidence of KPI guardrails: sums, tests, and what a stratum of labels makes of them.

Labels come one by one, so trials are gathered, stage by stage, until there are some of both arms and :data:`MIN_TRIALS`
in all. That number is no outcome, and the split of a stage does not change.
"""

from typing import Final

import msgspec
import numpy as np

from lastgood.analysis import comparisons, kpi_pairs, kpi_watch
from lastgood.analysis.budget import alphas, proof_alpha, watch_minutes
from lastgood.analysis.comparisons import Proof, Worse
from lastgood.analysis.kpi import PAIRED
from lastgood.analysis.kpi_pairs import WorseInPairs
from lastgood.analysis.kpi_watch import KpiWatch
from lastgood.analysis.slices import slice_part, whole_part
from lastgood.analysis.trials import MAX_HASHES, Trials
from lastgood.domain.kpi import Cursor, Kpi, Labels, Pairs
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
    guardrail's columns, by column and rank. ``paired`` is the test on pairs of shadow steps, ``watch`` what the watch has
    seen.
    """

    test: Worse | ByMeans | None = None
    proofs: tuple[Proof, ...] = ()
    total: Kpi = Kpi()
    open: dict[int, Kpi] = {}
    compared: int = 0
    keys: bytes = b""
    slices: "list[SliceState] | msgspec.UnsetType" = msgspec.UNSET  # left out where no columns are named
    paired: WorseInPairs | msgspec.UnsetType = msgspec.UNSET  # left out where the plan has no shadow step
    paired_proofs: tuple[WorseInPairs, ...] | msgspec.UnsetType = msgspec.UNSET  # likewise
    watch: KpiWatch | msgspec.UnsetType = msgspec.UNSET  # left out before the first label of the watch


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
    begun = _begun(plan, guardrail, alphas(plan).get(guardrail.name, 0.0) * whole_part(guardrail))
    proof = proof_alpha(plan, guardrail)
    if begun.test is None or proof is None or guardrail.metric not in CONFUSIONS:
        return begun
    if begun.paired is msgspec.UNSET:
        proofs = tuple(comparisons.not_worse(one, proof) for one in guardrail.proof)
        return msgspec.structs.replace(begun, proofs=proofs)
    return msgspec.structs.replace(  # either is enough, so they share the rate
        begun,
        proofs=tuple(comparisons.not_worse(one, 0.5 * proof) for one in guardrail.proof),
        paired_proofs=tuple(kpi_pairs.not_worse(one, 0.5 * proof) for one in guardrail.proof),
    )


def split_part(plan: Plan, guardrail: Guardrail) -> float:
    """Return what part of a guardrail's rate is for rows of split traffic; the rest is for pairs of shadow steps."""
    return 0.5 if plan.shadows and guardrail.metric in PAIRED else 1.0


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


def with_labels(plan: Plan, record: LabelRecord, labels: Labels, stage: int, at: float = 0.0) -> LabelRecord:
    """Return the record after one more stratum of labels, read ``at`` epoch seconds."""
    states = dict(record.states)
    for guardrail in plan.guardrails:
        if guardrail.metric in KPIS and guardrail.name in labels.kpis:
            state = states.get(guardrail.name) or initial(plan, guardrail)
            kpi = labels.kpis[guardrail.name]
            if kpi.pairs is msgspec.UNSET:
                after = _after(state, kpi, stage)
            elif stage >= plan.watch_stage:
                after = _watched(plan, guardrail, state, kpi, stage, at)
            else:
                after = _paired(guardrail, state, kpi, stage)
            slices = _slices_after(plan, guardrail, state, kpi, stage)
            states[guardrail.name] = msgspec.structs.replace(after, slices=slices)
    return LabelRecord(states=states, read=record.read | labels.read)


def log_e(state: KpiState) -> float:
    """Return the natural logarithm of the evidence that the candidate is worse, pairs apart; 0 before any."""
    if isinstance(state.test, ByMeans):
        return means.log_e(state.test.state)
    return 0.0 if state.test is None else comparisons.log_e(state.test)


def reached(state: KpiState) -> bool:
    """Return whether the evidence of the steps has ever been enough, that of pairs or that of split traffic."""
    paired = state.paired is not msgspec.UNSET and kpi_pairs.reached(state.paired)
    return paired or (state.test is not None and state.test.state.stopped)


def _begun(plan: Plan, guardrail: Guardrail, alpha: float) -> KpiState:
    """Return the evidence of all rows, or of a slice, at a rate, before any label and without proofs."""
    split = alpha * split_part(plan, guardrail)
    pairs = alpha - split
    paired = kpi_pairs.worse(guardrail.margin, pairs) if pairs > 0.0 else msgspec.UNSET
    return KpiState(test=_test(guardrail, split), paired=paired)


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
    """Return the slices after one more stratum, those of the guardrail's columns alone.

    In the watch their tests of the steps go on with pairs, both answers as two arms.
    """
    if not guardrail.slices:
        return msgspec.UNSET
    alpha = alphas(plan).get(guardrail.name, 0.0)
    found = {(one.column, one.rank): one for one in state.slices or ()}
    for one in kpi.slices or ():
        if one.column not in guardrail.slices:
            continue
        known = found.get((one.column, one.rank))
        rate = alpha * slice_part(guardrail, one.rank)
        before = _begun(plan, guardrail, rate) if known is None else known.state
        shadowed = bool(one.kpi.pairs) and stage < plan.watch_stage
        after = _paired(guardrail, before, one.kpi, stage) if shadowed else _after(before, one.kpi, stage)
        found[one.column, one.rank] = SliceState(
            column=one.column, value=one.value, rank=one.rank, state=after
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
    return msgspec.structs.replace(
        state,
        test=test,
        proofs=tuple(comparisons.with_proof(proof, trials) for proof in state.proofs),
        total=total,
        open={number: kept for number, kept in state.open.items() if number != stage},
        compared=state.compared + n1,
        keys=keys,
    )


def _paired(guardrail: Guardrail, state: KpiState, kpi: Kpi, stage: int) -> KpiState:
    """Return the state after more pairs of a shadow step."""
    if guardrail.metric not in PAIRED or not kpi.pairs:
        return _after(state, kpi, stage)
    paired, proofs = state.paired, state.paired_proofs
    if proofs:
        swapped = kpi_pairs.swapped(kpi.pairs)
        proofs = tuple(kpi_pairs.with_pairs(proof, swapped) for proof in proofs)
    return msgspec.structs.replace(
        state,
        paired=kpi_pairs.with_pairs(paired, kpi.pairs) if paired is not msgspec.UNSET else paired,
        paired_proofs=proofs,
        total=state.total.plus(kpi),
        compared=state.compared + kpi.pairs.pairs,
        keys=_remembered(state.keys, kpi.keys),
    )


def _watched(plan: Plan, guardrail: Guardrail, state: KpiState, kpi: Kpi, stage: int, at: float) -> KpiState:
    """Return the state after more labels of the watch: the tests of the steps stay as they are, but that of means."""
    pairs = stage == plan.pair_stage
    if guardrail.metric not in CONFUSIONS:
        following = _after(state, kpi, stage) if pairs else state
        total = following.total if pairs else state.total.plus(kpi)
        return msgspec.structs.replace(following, total=total, keys=_remembered(following.keys, kpi.keys))
    minutes = watch_minutes(plan).get(guardrail.name)
    watch = state.watch
    if minutes is not None:
        known = watch or kpi_watch.initial(guardrail, minutes)
        watch = kpi_watch.after(known, guardrail, kpi, _of_steps(state), paired=pairs, at=at)
    return msgspec.structs.replace(
        state, watch=watch, total=state.total.plus(kpi), keys=_remembered(state.keys, kpi.keys)
    )


def pairs_of_steps(state: KpiState) -> Pairs:
    """Return the pairs of shadow steps."""
    pairs, seen = state.total.pairs or Pairs(), state.watch.total.pairs if state.watch else Pairs()
    return Pairs(
        pairs=pairs.pairs - seen.pairs,
        only1=pairs.only1 - seen.only1,
        only0=pairs.only0 - seen.only0,
        both=pairs.both - seen.both,
        alone=pairs.alone - seen.alone,
    )


def _of_steps(state: KpiState) -> Trials:
    """Return the labelled rows of both arms together that are not of the watch."""
    own, other = state.total.candidate, state.total.stable
    seen = state.watch.total if state.watch else kpi_watch.Seen()
    alone, beside = seen.alone, seen.beside
    rows = own.trials - alone.n1 + other.trials - beside.n0
    return Trials(n1=rows, bad1=own.bad - alone.bad1 + other.bad - beside.bad0)


def _remembered(keys: bytes, fresh: list[int]) -> bytes:
    if not fresh:
        return keys
    known = np.frombuffer(keys, dtype="<u4")
    room = max(0, MAX_HASHES - len(known))
    return np.union1d(known, np.array(fresh[:room], dtype="<u4")).astype("<u4").tobytes()
