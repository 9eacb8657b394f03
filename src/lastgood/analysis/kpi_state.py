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
    trials of stable beside them. ``keys`` are the marks of the keys that are remembered.
    """

    test: Worse | ByMeans | None = None
    proofs: tuple[Proof, ...] = ()
    total: Kpi = Kpi()
    open: dict[int, Kpi] = {}
    compared: int = 0
    keys: bytes = b""


class LabelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the evidence of a release holds of labels: by guardrail, and how far outcomes were read by maturity."""

    states: dict[str, KpiState] = {}
    read: dict[str, Cursor] = {}


def initial(plan: Plan, guardrail: Guardrail) -> KpiState:
    """Return a KPI guardrail's evidence before any label."""
    alpha = alphas(plan).get(guardrail.name, 0.0)
    if alpha <= 0.0:
        return KpiState()
    if guardrail.metric not in CONFUSIONS:
        return KpiState(test=ByMeans(means.initial(alpha, guardrail.margin.value)))
    proof = proof_alpha(plan, guardrail)
    proofs = () if proof is None else tuple(comparisons.not_worse(one, proof) for one in guardrail.proof)
    return KpiState(test=comparisons.worse(guardrail.margin, alpha), proofs=proofs)


def by_key(baseline: Baseline) -> bool:
    """Whether a release with this baseline counts each key's rows only up to its first bad one."""
    return baseline.units is Units.KEYS


def with_labels(plan: Plan, record: LabelRecord, labels: Labels, stage: int) -> LabelRecord:
    """Return the record after one more stratum of labels."""
    states = dict(record.states)
    for guardrail in plan.guardrails:
        if guardrail.metric in KPIS and guardrail.name in labels.kpis:
            state = states.get(guardrail.name) or initial(plan, guardrail)
            states[guardrail.name] = _after(state, labels.kpis[guardrail.name], stage)
    return LabelRecord(states=states, read=record.read | labels.read)


def log_e(state: KpiState) -> float:
    """Return the natural logarithm of the evidence that the candidate is worse; 0 before any."""
    if isinstance(state.test, ByMeans):
        return means.log_e(state.test.state)
    return 0.0 if state.test is None else comparisons.log_e(state.test)


def reached(state: KpiState) -> bool:
    """Return whether that evidence has ever been enough."""
    return state.test is not None and state.test.state.stopped


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
    known = np.frombuffer(keys, dtype="<u4")
    room = max(0, MAX_HASHES - len(known))
    return np.union1d(known, np.array(fresh[:room], dtype="<u4")).astype("<u4").tobytes()
