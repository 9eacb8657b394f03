"""Agreement: on how many rows of the same requests both versions say the same. A plain limit, without labels.

What the answers are is read out of the prediction log; rows of which one answer is missing count for ``errors`` already, and not
here.
"""

from collections.abc import Sequence
from typing import Any

from lastgood.analysis import sentences
from lastgood.analysis.kpi import output_of, score_of
from lastgood.analysis.record import Agreement, read
from lastgood.domain.agreement import Agreed, AgreementCounts, AgreementTerms, PairRow
from lastgood.domain.change import Evidence
from lastgood.domain.kpi import class_of, number_of
from lastgood.domain.plan import Guardrail, Metric, Plan
from lastgood.domain.traffic import ArmCounts, Stratum
from lastgood.domain.verdict import Finding, Verdict


def wants(plan: Plan) -> bool:
    """Whether a plan looks at agreement."""
    return any(one.metric is Metric.AGREEMENT for one in plan.guardrails)


def read_until(evidence: Evidence) -> int:
    """Return up to which request the answers have been read."""
    return (read(evidence.states).agreement or Agreement()).read


def tally(terms: AgreementTerms, rows: Sequence[PairRow]) -> Agreed:
    """Return on how many rows both versions say the same."""
    total = Agreed()
    for one in rows:
        own, other = (one.answer, one.other) if one.arm == "candidate" else (one.other, one.answer)
        total = total.plus(_row(terms, output_of(terms.output, own), output_of(terms.output, other)))
    return total


def strata_of(
    plan: Plan, evidence: Evidence, rows: Sequence[PairRow], *, read_to: int, sequence: int, now: float
) -> tuple[Stratum, ...]:
    """Return one stratum of what is new, numbered after ``sequence``; none without rows."""
    if not rows:
        return ()
    found = {one.name: tally(one.agreement, rows) for one in plan.guardrails if one.agreement is not None}
    return (
        Stratum(
            release=evidence.release,
            sequence=sequence + 1,
            stage=rows[-1].stage,
            closed_at=max(now, read(evidence.states).closed_at),
            candidate=ArmCounts(),
            stable=ArmCounts(),
            agreement=AgreementCounts(guardrails=found, read=read_to),
        ),
    )


def with_agreement(before: Agreement, counts: AgreementCounts) -> Agreement:
    """Return what is known of agreement after one more stratum."""
    found = dict(before.guardrails)
    for name, agreed in counts.guardrails.items():
        found[name] = found.get(name, Agreed()).plus(agreed)
    return Agreement(guardrails=found, read=counts.read)  # lower than before in a log that begins anew


def judged(guardrail: Guardrail, agreed: Agreed, *, strata: int, log: str) -> Finding:
    """Judge on how many rows both versions agree; ``strata`` and ``log`` say what this rests on."""
    terms, least = guardrail.agreement or AgreementTerms(), max(1, guardrail.min_samples)
    verdict = Verdict.INCONCLUSIVE
    if agreed.rows >= least:
        broken = agreed.same < terms.minimum * agreed.rows - 1e-9
        verdict = Verdict.FAILED if broken else Verdict.PASSED
    last = sentences.word(verdict, guardrail.on_fail, dry_run=guardrail.dry_run)
    return Finding(
        guardrail=guardrail.name,
        metric=guardrail.metric.value,
        verdict=verdict,
        on_fail=guardrail.on_fail,
        sentence=f"{guardrail.name}: {'; '.join(_told(terms, agreed, least))}: {last}.",
        no_data=None if agreed.rows else guardrail.no_data,
        dry_run=guardrail.dry_run,
        numbers={
            "rows": agreed.rows,
            "same": agreed.same,
            "share": agreed.same / agreed.rows if agreed.rows else None,
            "minimum": terms.minimum,
            "within": terms.within,
            "unusable": agreed.unusable,
            "shift": _shift(agreed),
            "missing": max(0, least - agreed.rows),
            "strata": strata,
            "log": log,
        },
    )


def _row(terms: AgreementTerms, own: Any, other: Any) -> Agreed:
    if terms.within is not None:
        own, other = score_of(own), score_of(other)
    first, second = number_of(own), number_of(other)
    numbers = first is not None and second is not None
    shift = first - second if first is not None and second is not None else 0.0
    if terms.within is not None:
        if not numbers:
            return Agreed(unusable=1)
        return Agreed(rows=1, same=int(abs(shift) <= terms.within), numbers=1, shift=shift)
    one, two = class_of(own), class_of(other)
    if one is None or two is None:
        return Agreed(unusable=1)
    return Agreed(rows=1, same=int(one == two), numbers=int(numbers), shift=shift)


def _told(terms: AgreementTerms, agreed: Agreed, least: int) -> list[str]:
    if not agreed.rows:
        told = ["no row of a copied request so far"]
    else:
        said = "are the same" if terms.within is None else f"are within {terms.within:g} of each other"
        counts = f"{sentences.count(agreed.same)} of {sentences.count(agreed.rows)}"
        told = [f"{sentences.percent(agreed.same / agreed.rows)} of both versions' answers {said}, {counts}"]
    shift, said = _shift(agreed), "answers" if terms.within is None else "numbers"
    if terms.within is not None and shift is not None:
        told.append(
            f"the candidate's are {abs(shift):.3g} {'higher' if shift >= 0.0 else 'lower'} in the mean"
        )
    if agreed.unusable:
        told.append(f"{sentences.plural(agreed.unusable, 'row', 'rows')} without two {said} to compare")
    if agreed.rows < least:
        told.append(f"{sentences.plural(least - agreed.rows, 'more row is', 'more rows are')} needed")
    else:
        place = "under" if agreed.same < terms.minimum * agreed.rows - 1e-9 else "not under"
        told.append(f"{place} the minimum of {sentences.percent(terms.minimum)}")
    return told


def _shift(agreed: Agreed) -> float | None:
    return agreed.shift / agreed.numbers if agreed.numbers else None
