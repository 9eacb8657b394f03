"""The evidence of custom guardrails: what was measured last, how often in a row, and the tests on counts.

Counts are cumulative, so what came between two measurements is the news. It is gathered until there are some of both
arms, :data:`MIN_TRIALS` in all and no more bad ones than trials, and becomes trials of the tests then. What spans a
change of the traffic's split is left out, for nobody can say which part of it came under which split; so is what came
while only one arm had traffic.
"""

from typing import Final

import msgspec

from lastgood.analysis import comparisons, split_check
from lastgood.analysis.budget import alphas, proof_alpha
from lastgood.analysis.comparisons import Proof, Worse
from lastgood.analysis.trials import Trials
from lastgood.domain.custom import Counts, CustomTerms, Measurement, Numbers, Tally
from lastgood.domain.plan import Guardrail, Metric, Plan

MIN_TRIALS: Final = 20


class CustomState(msgspec.Struct, frozen=True, kw_only=True):
    """One guardrail's evidence.

    ``number`` measurements were made, the last at ``at``; ``reading`` is the last one that said something, asked for in
    ``stage`` (before any, the stage of the first that was asked for).
    ``breaches`` of them in a row were out of bounds, ``missing`` measurements in a row said nothing, the last of them with
    ``error`` (empty: no data). Of counts, ``used`` are those that the tests have seen, ``total`` all of the release;
    ``compared`` candidate trials had some of stable beside them and ``left_out`` ones came while the split
    changed, or with no traffic on stable.
    ``fallen`` is what went down although it only ever grows: from then on nothing is compared.
    """

    number: int = 0
    at: float = 0.0
    stage: int = -1
    reading: Numbers | Counts | None = None
    breaches: int = 0
    missing: int = 0
    error: str = ""
    test: Worse | None = None
    proofs: tuple[Proof, ...] = ()
    used: Counts = Counts()
    total: Trials = Trials()
    compared: int = 0
    left_out: int = 0
    fallen: str = ""


CustomRecord = dict[str, CustomState]
"""By the guardrail's name."""


def initial(plan: Plan, guardrail: Guardrail) -> CustomState:
    """Return a custom guardrail's evidence before any measurement."""
    alpha = alphas(plan).get(guardrail.name, 0.0)
    if alpha <= 0.0:
        return CustomState()
    proof = proof_alpha(plan, guardrail)
    proofs = () if proof is None else tuple(comparisons.not_worse(one, proof) for one in guardrail.proof)
    return CustomState(test=comparisons.worse(guardrail.margin, alpha), proofs=proofs)


def with_measurement(plan: Plan, record: CustomRecord, measurement: Measurement, stage: int) -> CustomRecord:
    """Return the record after one more measurement, which was asked for in ``stage``."""
    for guardrail in plan.guardrails:
        if guardrail.name == measurement.guardrail and guardrail.metric is Metric.CUSTOM:
            before = record.get(guardrail.name) or initial(plan, guardrail)
            beside = split_check.is_split(plan, stage)
            after = _after(guardrail, before, measurement, stage, beside=beside)
            return {**record, guardrail.name: after}
    return record


def terms_of(guardrail: Guardrail) -> CustomTerms:
    """Return the terms of a custom guardrail."""
    assert guardrail.custom is not None
    return guardrail.custom


def beyond(guardrail: Guardrail, value: float) -> bool:
    """Return whether a number, or a rate of counts, is out of the guardrail's bounds."""
    terms = terms_of(guardrail)
    high = terms.maximum is not None and value > terms.maximum + (1e-12 if terms.counts else 0.0)
    return high or (terms.minimum is not None and value < terms.minimum)


def log_e(state: CustomState) -> float | None:
    """Return the natural logarithm of the evidence that the candidate is worse; None where nothing is compared."""
    return None if state.test is None else comparisons.log_e(state.test)


def reached(state: CustomState) -> bool:
    """Return whether that evidence has ever been enough."""
    return state.test is not None and comparisons.reached(state.test)


def _after(
    guardrail: Guardrail, state: CustomState, measurement: Measurement, stage: int, *, beside: bool
) -> CustomState:
    seen = msgspec.structs.replace(state, number=measurement.number, at=measurement.at)
    reading = measurement.reading
    if reading is None:
        # The next reading reaches back to the last one, or to the beginning: that is where its counts began.
        begun = stage if state.stage < 0 else state.stage
        return msgspec.structs.replace(seen, missing=state.missing + 1, error=measurement.error, stage=begun)
    seen = msgspec.structs.replace(seen, reading=reading, missing=0, error="", stage=stage)
    if isinstance(reading, Counts):
        return _with_counts(seen, state, reading, stage, beside=beside)
    breaches = state.breaches + 1 if beyond(guardrail, reading.candidate) else 0
    return msgspec.structs.replace(seen, breaches=breaches)


def _with_counts(
    seen: CustomState, before: CustomState, counts: Counts, stage: int, *, beside: bool
) -> CustomState:
    """Return the state after counts; without stable ``beside`` the candidate nothing of them is compared."""
    fallen = before.fallen or _fallen(before, counts)
    if fallen:
        return msgspec.structs.replace(seen, fallen=fallen)
    total = _trials(counts, Counts())
    seen = msgspec.structs.replace(seen, total=total)
    news = _trials(counts, before.used)
    if before.stage not in (-1, stage) or not beside:
        return msgspec.structs.replace(seen, used=counts, left_out=before.left_out + news.n1)
    whole = news.bad1 <= news.n1 and news.bad0 <= news.n0
    if not (whole and news.n1 and news.n0 and news.n1 + news.n0 >= MIN_TRIALS):
        return seen
    return msgspec.structs.replace(
        seen,
        used=counts,
        test=None if before.test is None else comparisons.with_worse(before.test, news),
        proofs=tuple(comparisons.with_proof(proof, news) for proof in before.proofs),
        compared=before.compared + news.n1,
    )


def _fallen(before: CustomState, counts: Counts) -> str:
    """Say which count is lower than it was; empty where none is. It may be lower than what was used, too."""
    known = before.reading if isinstance(before.reading, Counts) else before.used
    for arm, was, now in (
        ("candidate", known.candidate, counts.candidate),
        ("stable", known.stable, counts.stable),
    ):
        for what, old, new in (("bad", was.bad, now.bad), ("total", was.total, now.total)):
            if new < old:
                return f"{arm}'s {what} went down from {old} to {new}, and it counts from the release's beginning"
    return ""


def _trials(counts: Counts, since: Counts) -> Trials:
    own, other = _minus(counts.candidate, since.candidate), _minus(counts.stable, since.stable)
    return Trials(own.total, own.bad, other.total, other.bad)


def _minus(tally: Tally, other: Tally) -> Tally:
    return Tally(tally.bad - other.bad, tally.total - other.total)
